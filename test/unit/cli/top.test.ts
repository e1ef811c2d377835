/** What `skein top` shows, whatever the mesh is and whatever size the terminal has. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { TopPicture, type Reading } from '../../../clients/cli/top/picture.ts'
import { renderTop } from '../../../clients/cli/top/screen.ts'
import type { NodeView, TaskSummary } from '../../../coordinator/index.ts'
import type { ToldEvent } from '../../../clients/cli/event-stream.ts'

const node = (name: string, eligible = true, more: Partial<NodeView> = {}): NodeView =>
  ({
    ...{ peerId: name, name, roles: ['node'], state: 'ready', eligible, isSelf: false, labels: {} },
    reasons: eligible ? [] : ['draining'],
    certificateExpiresAtMs: 0,
    models: [{ digest: 'sha256:1', name: 'tiny', residency: 'resident', contextTokens: 1024, slots: 4, slotsInUse: 2 }],
    ...more,
  }) as unknown as NodeView
const task = (taskId: string, tokens: number, attempts = 1): TaskSummary =>
  ({
    ...{ taskId, tokens, attempts, model: 'tiny', priority: 'default', tenant: 'local', state: 'running' },
    admittedAtMs: 0,
  }) as unknown as TaskSummary
const reading = (atMs: number, nodes: readonly NodeView[], tasks: readonly TaskSummary[]): Reading =>
  ({
    ...{ atMs, nodes, tasks },
    self: { name: 'desk', peerId: 'desk' },
    stats: { dispatch: { running: tasks.length, waiting: { default: 3 } } },
  }) as unknown as Reading
const plain = { columns: 100, rows: 30, paint: (_: unknown, text: string) => text }
const ended = (taskId: string, completionTokens: number, atMs: number): ToldEvent =>
  ({
    ...{ type: 'task.ended', taskId, completionTokens, atMs, key: 'local', model: 'tiny', outcome: 'completed' },
    ...{ attempts: 1, promptTokens: 5, cachedTokens: 0, tookMs: 10 },
  }) as unknown as ToldEvent

describe('the picture', () => {
  it('counts each token once, whether its task is open or has ended', () => {
    const picture = new TopPicture()
    picture.take(reading(0, [], [task('a', 40)]))
    picture.take(reading(1000, [], [task('a', 100)]))
    picture.event(ended('a', 130, 1500))
    picture.event(ended('b', 70, 1600))
    picture.take(reading(2000, [], []))
    expect(picture.tokensPerSecond).toBe((40 + 60 + 30 + 70) / 2)
  })

  it('forgets what is older than ten seconds', () => {
    const picture = new TopPicture()
    picture.take(reading(0, [], [task('a', 500)]))
    picture.take(reading(11_000, [], [task('a', 500)]))
    expect(picture.tokensPerSecond).toBe(0)
  })

  it('keeps the last events alone', () => {
    const picture = new TopPicture()
    for (let i = 0; i < 1000; i++) picture.event(ended(`t${i}`, 1, i))
    expect(picture.events).toHaveLength(200)
    expect(picture.events[0]).toMatchObject({ taskId: 't999' })
  })
})

describe('the screen', () => {
  it('shows who is here, what runs and what happened', () => {
    const picture = new TopPicture()
    picture.take(reading(60_000, [node('lap', false), node('desk')], [task('task_1', 7, 2)]))
    picture.event(ended('task_0', 12, 59_000))
    const text = renderTop(picture, plain).join('\n')
    expect(text).toMatch(/^skein top {2}desk · 2 members · 1 running · 3 waiting/)
    expect(text).toMatch(/desk +ready +▰▰▰▱▱▱ 2\/4/)
    expect(text).toMatch(/lap +draining/)
    expect(text.indexOf('desk  ')).toBeLessThan(text.indexOf('lap  '))
    expect(text).toMatch(/task_1 +running +- +7 +1 +1 min/)
    expect(text).toContain('task_0 completed, 5 + 12 tokens')
  })

  it('shows how warm machines are and what they take, where one tells and is there', () => {
    const loads = { memoryFreeBytes: 1, temperatureCelsius: 61, watts: 38 } as NodeView['load']
    const screenOf = (...nodes: NodeView[]): string => {
      const picture = new TopPicture()
      picture.take(reading(0, nodes, []))
      return renderTop(picture, plain).join('\n')
    }
    const warm = node('desk', true, { load: loads! })
    expect(screenOf(warm, node('lap'))).toMatch(/HEAT, POWER[^]*desk .* 61 °C, 38 W [^]*lap +ready +\S+ 2\/4 +- +- /)
    const away = { ...warm, state: 'disconnected' } as NodeView
    for (const nodes of [[node('lap')], [away]]) expect(screenOf(...nodes)).not.toMatch(/HEAT|61/)
  })

  it('says so when there is nothing, and why nothing new comes', () => {
    const picture = new TopPicture()
    picture.take(reading(0, [], []))
    picture.problem = 'no coordinator answers'
    const text = renderTop(picture, plain).join('\n')
    expect(text).toContain('no members; another machine joins by: skein invite')
    expect(text).toContain('nothing runs')
    expect(text).toContain('no coordinator answers')
  })

  it('a name is text and no command to the terminal', () => {
    const picture = new TopPicture()
    picture.take(reading(0, [node('\x1b]0;title\x07')], []))
    const text = renderTop(picture, plain).join('\n')
    for (const control of ['\x1b', '\x07']) expect(text).not.toContain(control)
  })

  it('never has more lines or longer ones than fit', () => {
    const sizes = { columns: fc.integer({ min: 1, max: 150 }), rows: fc.integer({ min: 1, max: 60 }) }
    fc.assert(
      fc.property(fc.record(sizes), fc.nat(40), fc.nat(60), (size, nodes, tasks) => {
        const picture = new TopPicture()
        const all = Array.from({ length: nodes }, (_, i) => node(`node-${i}`, i % 3 > 0))
        picture.take(
          reading(
            0,
            all,
            Array.from({ length: tasks }, (_, i) => task(`task_${i}`, i)),
          ),
        )
        for (let i = 0; i < 30; i++) picture.event(ended(`t${i}`, 1, i))
        const lines = renderTop(picture, { ...plain, ...size })
        expect(lines.length).toBeLessThanOrEqual(size.rows)
        for (const line of lines) expect(line.length).toBeLessThanOrEqual(size.columns)
      }),
    )
  })

  it('what does not fit is counted', () => {
    const picture = new TopPicture()
    picture.take(
      reading(
        0,
        Array.from({ length: 50 }, (_, i) => node(`node-${i}`)),
        [],
      ),
    )
    const text = renderTop(picture, plain).join('\n')
    const [, more] = /and (\d+) more/.exec(text)!
    expect(text.match(/^node-/gm)!.length + Number(more)).toBe(50)
  })
})
