/** `skein events`: lines for people, and a connection that is made again behind the last event. */
import { describe, expect, it } from 'vitest'
import { renderEvent } from '../../../clients/cli/commands/events.ts'
import { followEvents, type ToldEvent } from '../../../clients/cli/event-stream.ts'
import { toldOf } from '../../../coordinator/gateway/event-views.ts'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import { ManualClock } from '../../../mesh/runtime/index.ts'
import { expiryOf, lifeOf, MESH_EVENTS, taskIdAt, taskOf, workOf } from '../../fixtures/mesh-events.ts'

const RETRY_MS = 30_000

const events = [...lifeOf(taskOf()), expiryOf(taskOf()), workOf('local', true), ...MESH_EVENTS]
  .flatMap((event) => toldOf(event)?.view ?? [])
  .map((view) => ({ ...view, atMs: 1_800_000_000_000 }))

describe('a line', () => {
  it('says of each event what people want to know', () => {
    const lines = events.map((event) => renderEvent(event))
    const task = taskIdAt('a')
    expect(lines.map((line) => line.replace(/^\d\d:\d\d:\d\d {2}/, '').replace(/ {2,}/, ' | '))).toEqual([
      `task.queued | ${task} for key:ada: tiny, interactive`,
      `task.started | ${task} on desk (mesh), after 40 ms`,
      `task.moved | ${task} to desk (mesh): lost`,
      `task.ended | ${task} completed, 16 + 11 tokens in 400 ms, 2 attempts`,
      `task.ended | ${task} expired: TASK_EXPIRED, 0 + 0 tokens in 5 s, 0 attempts`,
      `work.ended | ${taskIdAt('w')} for local: embed ATTEMPTS_EXHAUSTED, in 20 ms`,
      'node.joined | desk (12D3KooWDesk)',
      'node.lost | desk (12D3KooWDesk)',
      'replica.sent | desk: sha256:0123456789ab, it is asked for',
      'budget.spent | 12 micro-units; 88 of 100 are left for 2026-11-22',
      'budget.exhausted | 7 micro-units were needed by key:a; 2 of 100 are left for the month from 2026-11-01',
      'budget.set | local has set the budget of key:a: 100 micro-units a day, wait at the limit',
    ])
  })

  it('takes no orders from a name', () => {
    const [event] = events.filter(({ type }) => type === 'node.joined')
    expect(renderEvent({ ...event!, name: '\u001b[2Jdesk' } as ToldEvent)).toContain('\\x1b[2Jdesk')
  })
})

/** A coordinator that answers each connection with the next of `answers`. */
class Source {
  readonly clock = new ManualClock()
  readonly asked: (string | undefined)[] = []
  readonly heard: string[] = []
  readonly left = new AbortController()
  lost = 0
  readonly #answers: (() => Response)[]

  constructor(...answers: (() => Response)[]) {
    this.#answers = answers
  }

  follow(): Promise<unknown> {
    const open = async (after: string | undefined): Promise<Response> => {
      this.asked.push(after)
      const answer = this.#answers.shift() ?? unreachable
      return answer()
    }
    const listener = { event: ({ type }: ToldEvent) => void this.heard.push(type), lost: () => void this.lost++ }
    return followEvents({ open, clock: this.clock }, listener, this.left.signal).catch((thrown: unknown) => thrown)
  }

  /** Lets time pass, and what waits for it happen. */
  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 250) {
      for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
      await this.clock.advance(250)
    }
  }
}

const unreachable = (): never => {
  throw new SkeinError('COORDINATOR_UNREACHABLE', 'nobody is there')
}
const says = (...pieces: string[]) => {
  return () =>
    new Response(pieces.map((piece, n) => `id: x-${n + 1}\nevent: ${piece}\ndata: {"type":"${piece}"}\n\n`).join(''))
}

describe('a connection that breaks', () => {
  it('is made again behind the last event, as often as need be', async () => {
    const source = new Source(says('node.joined', 'node.lost'), unreachable, says('node.serving'))
    const over = source.follow()
    await source.pass(2000)
    expect(source.heard).toEqual(['node.joined', 'node.lost', 'node.serving'])
    expect(source.asked.slice(0, 3)).toEqual([undefined, 'x-2', 'x-2'])
    expect(source.lost).toBe(2)
    source.left.abort(new TypeError('enough'))
    await source.pass(5000)
    expect(await over).toEqual(new TypeError('enough'))
  })

  it('is given up when nobody answers any more', async () => {
    const source = new Source(says('node.joined'))
    const over = source.follow()
    await source.pass(RETRY_MS + 10_000)
    expect(await over).toMatchObject({ code: 'COORDINATOR_UNREACHABLE' })
    expect(source.asked.length).toBeGreaterThan(5)
  })

  it('is not made again when there never was one, or the key is refused', async () => {
    const never = new Source()
    expect(await never.follow()).toMatchObject({ code: 'COORDINATOR_UNREACHABLE' })
    const refused = (): never => {
      throw new SkeinError('UNAUTHENTICATED', 'the key was revoked')
    }
    const revoked = new Source(says('node.joined'), refused)
    const over = revoked.follow()
    await revoked.pass(1000)
    expect(await over).toMatchObject({ code: 'UNAUTHENTICATED' })
    expect(revoked.asked).toHaveLength(2)
  })
})
