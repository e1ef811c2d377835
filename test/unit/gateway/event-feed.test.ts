/** The feed of events: what is kept, where a client goes on, and what one that is not the admin never sees. */
import { beforeEach, describe, expect, it } from 'vitest'
import { EventFeed, type FollowInit } from '../../../coordinator/gateway/event-feed.ts'
import { EVENT_TYPES, toldOf } from '../../../coordinator/gateway/event-views.ts'
import type { KeyEvent } from '../../../coordinator/access/index.ts'
import { ManualClock, SeededRandom } from '../../../mesh/runtime/index.ts'
import {
  expiryOf,
  lifeOf,
  MESH_EVENTS,
  SECRET_ANSWER,
  SECRET_PROMPT,
  taskOf,
  workOf,
} from '../../fixtures/mesh-events.ts'
import { MeshServiceTwin } from '../../fixtures/mesh-service-twin.ts'
import { sent, turns } from './harness.ts'

const KEEPALIVE_MS = 10_000
const KEPT_MAX = 8

let twin: MeshServiceTwin
let clock: ManualClock
let changeKey: (event: KeyEvent) => void
let seed = 1
beforeEach(() => {
  twin = new MeshServiceTwin()
  clock = new ManualClock()
})

function feedOf(keptMax = KEPT_MAX): EventFeed {
  const access = { watch: (listener: typeof changeKey) => ((changeKey = listener), () => {}) }
  return new EventFeed({ service: twin, access, clock, random: new SeededRandom(seed++) }, keptMax)
}

/** One client, which takes what comes until it is told not to. */
class Reader {
  text = ''
  isOver = false
  behind = 0
  readonly left = new AbortController()
  readonly #pieces: AsyncGenerator<string, void, undefined>

  constructor(feed: EventFeed, init: Partial<FollowInit> = {}) {
    this.#pieces = feed.follow({
      isWanted: () => true,
      signal: this.left.signal,
      keepaliveMs: KEEPALIVE_MS,
      mayFollow: () => Promise.resolve(true),
      onBehind: () => this.behind++,
      ...init,
    })
  }

  /** Takes one piece. */
  async take(): Promise<void> {
    const { value, done } = await this.#pieces.next()
    if (value !== undefined) this.text += value
    this.isOver = done === true
  }

  /** Takes all that come, from now on. */
  reading(): this {
    const read = async (): Promise<void> => {
      while (!this.isOver) await this.take()
    }
    void read()
    return this
  }

  get types(): (string | undefined)[] {
    return sent(this.text).flatMap(({ name }) => (name === undefined ? [] : [name]))
  }

  /** Of the last event that it has. */
  get lastId(): string {
    return [...this.text.matchAll(/^id: (.+)$/gm)].at(-1)![1]!
  }
}

const tell = async (...events: Parameters<MeshServiceTwin['tell']>[0][]): Promise<void> => {
  for (const event of events) twin.tell(event)
  await turns()
}
const joined = MESH_EVENTS[0]!

describe('a client', () => {
  it('is told what happens from then on, in order, with the time', async () => {
    const feed = feedOf()
    await tell(joined)
    const reader = new Reader(feed).reading()
    await turns()
    expect(feed.followers).toBe(1)
    await tell(...lifeOf(taskOf()))
    expect(reader.types).toEqual(['task.queued', 'task.started', 'task.moved', 'task.ended'])
    const [queued, , moved, ended] = sent(reader.text).filter(({ name }) => name !== undefined)
    const atMs = clock.wallMs()
    expect(JSON.parse(queued!.data)).toMatchObject({ type: 'task.queued', atMs, key: 'key:ada', model: 'tiny' })
    expect(JSON.parse(moved!.data)).toMatchObject({ attempt: 2, node: { name: 'desk' }, reason: 'lost' })
    expect(JSON.parse(ended!.data)).toMatchObject({
      ...{ outcome: 'completed', finishReason: 'stop', attempts: 2, tookMs: 400 },
      ...{ promptTokens: 16, cachedTokens: 4, completionTokens: 11 },
    })
    reader.left.abort()
    await turns()
    expect([reader.isOver, feed.followers]).toEqual([true, 0])
  })

  it('goes on behind the last event that it has', async () => {
    const feed = feedOf()
    const first = new Reader(feed).reading()
    await tell(...lifeOf(taskOf()))
    const after = first.lastId
    first.left.abort()
    await tell(joined, workOf('local'))
    const second = new Reader(feed, { after }).reading()
    await turns()
    expect(second.types).toEqual(['node.joined', 'work.ended'])
    expect(first.lastId).not.toBe(second.lastId)
  })

  it('is told that it missed some: of an earlier life, or more than are kept', async () => {
    const before = new Reader(feedOf()).reading()
    await tell(joined)
    const feed = feedOf()
    const early = new Reader(feed).reading()
    await turns()
    const { lastId } = early
    // a number that there is in this life, too
    const elsewhere = `${before.lastId.split('-')[0]}-${KEPT_MAX}`
    for (let n = 0; n < KEPT_MAX + 1; n++) await tell(joined)
    for (const after of [before.lastId, elsewhere, lastId, 'nonsense', `${lastId.split('-')[0]}-99999`]) {
      const reader = new Reader(feed, { after }).reading()
      await turns()
      expect(reader.types, after).toEqual(['events.missed', ...Array<string>(KEPT_MAX).fill('node.joined')])
    }
    expect(early.types).toHaveLength(KEPT_MAX + 1)
  })

  it('that does not read holds nothing, and is given up when the ring has turned past it', async () => {
    const feed = feedOf()
    const slow = new Reader(feed)
    await slow.take()
    for (let n = 0; n < KEPT_MAX; n++) await tell(joined)
    await slow.take()
    expect(slow.types).toHaveLength(KEPT_MAX)
    for (let n = 0; n < KEPT_MAX + 1; n++) await tell(joined)
    await slow.take()
    expect([slow.isOver, slow.behind, slow.types.length, feed.followers]).toEqual([true, 1, KEPT_MAX, 0])
  })

  it('hears that its connection lives when nothing happens, and no more than that', async () => {
    const reader = new Reader(feedOf()).reading()
    await turns()
    await clock.advance(2 * KEEPALIVE_MS)
    await turns()
    expect(reader.text.match(/^: keepalive$/gm)).toHaveLength(2)
    expect(reader.types).toEqual([])
  })

  it('has its rights looked at when a key changes, and now and then', async () => {
    let may = true
    let asked = 0
    const mayFollow = (): Promise<boolean> => (asked++, Promise.resolve(may))
    const feed = feedOf()
    const reader = new Reader(feed, { mayFollow }).reading()
    await tell(joined)
    expect(asked).toBe(0)
    await clock.advance(KEEPALIVE_MS)
    await turns()
    expect([asked, reader.isOver]).toEqual([1, false])
    may = false
    changeKey({ type: 'key.revoked', id: 'key:ada', name: 'ada' })
    await turns()
    expect([asked, reader.isOver]).toEqual([2, true])
    expect(reader.types).toEqual(['node.joined'])
  })

  it('is let go when the gateway stops', async () => {
    const feed = feedOf()
    const reader = new Reader(feed).reading()
    await turns()
    feed.close()
    await turns()
    expect([reader.isOver, feed.followers]).toEqual([true, 0])
  })
})

describe('events', () => {
  const all = [...lifeOf(taskOf()), expiryOf(taskOf()), workOf('key:ada'), workOf('key:ada', true), ...MESH_EVENTS]

  it('tell no word of a prompt or an answer', () => {
    const told = JSON.stringify(all.map((event) => toldOf(event)?.view))
    expect(told).toContain('TASK_EXPIRED')
    expect(told).not.toContain(SECRET_PROMPT)
    expect(told).not.toContain(SECRET_ANSWER)
  })

  it('of tasks and work have an owner, and no others have', () => {
    for (const event of all) {
      const told = toldOf(event)
      if (told) expect(told.tenant, event.type).toBe(/^(task|work)\./.test(told.view.type) ? 'key:ada' : undefined)
    }
  })

  it('are of the types that a client may name', () => {
    const types = new Set(all.flatMap((event) => toldOf(event)?.view.type ?? []))
    expect(types.size).toBeGreaterThan(8)
    for (const type of types) expect(EVENT_TYPES).toContain(type)
  })
})
