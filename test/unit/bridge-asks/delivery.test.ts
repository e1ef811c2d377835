import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ManualClock, SeededRandom } from '../../../mesh/runtime/index.ts'
import { Chunker } from '../../../firmware-bridge/asks/chunker.ts'
import { Delivery } from '../../../firmware-bridge/asks/delivery.ts'
import { FairLine } from '../../../firmware-bridge/asks/fair-line.ts'
import { PromptParts } from '../../../firmware-bridge/asks/prompt-parts.ts'
import type { Chunk } from '../../../firmware-bridge/messages/index.ts'

/** Chunks of ten characters. */
function chunkerOf(count: number): Chunker {
  const chunker = new Chunker(7, 1000, ({ t }) => t.length <= 10)
  chunker.feed('0123456789'.repeat(count))
  chunker.end({ fin: 'stop', by: undefined })
  return chunker
}

/** A board that takes chunks in order alone, behind a link that loses some of what goes either way. */
function board(chunker: Chunker, win: number, loss = 0, seed = 1) {
  const clock = new ManualClock()
  const random = new SeededRandom(seed)
  const sent: number[] = []
  const taken: Chunk[] = []
  let inFlightMax = 0
  let inFlight = 0
  let isTaken = false
  const isLost = (): boolean => random.next() < loss
  const hear = (chunk: Chunk): void => {
    inFlight--
    if (chunk.i === taken.length) taken.push(chunk)
    const credit = { kind: 'credit', id: 7, next: taken.length, n: win } as const
    if (!isLost()) clock.timer(5, () => delivery.credit(credit))
  }
  const delivery = new Delivery({
    ...{ chunker, win, grantsCredit: true, clock },
    send: (chunk) => {
      sent.push(chunk.i)
      inFlightMax = Math.max(inFlightMax, ++inFlight)
      if (isLost()) inFlight--
      else clock.timer(5, () => hear(chunk))
      return 'sent'
    },
    onTaken: () => (isTaken = true),
    onTooLarge: () => expect.unreachable(),
  })
  delivery.resume()
  delivery.ready(chunker.chunks.length)
  return { clock, delivery, sent, taken, inFlightMax: () => inFlightMax, isTaken: () => isTaken }
}

describe('a delivery', () => {
  it('keeps to the window, sends each chunk once, and ends', async () => {
    for (const win of [1, 2, 4]) {
      const run = board(chunkerOf(12), win)
      await run.clock.advance(1000)
      expect(run.sent).toEqual(Array.from({ length: 12 }, (_, i) => i))
      expect(run.inFlightMax()).toBeLessThanOrEqual(win)
      expect(run.isTaken()).toBe(true)
      await run.clock.advance(100_000)
      expect(run.sent).toHaveLength(12)
      expect(run.clock.pendingTimers).toBe(0)
    }
  })

  it('comes whole and in order over a link that loses, without a flood', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer(),
        fc.integer({ min: 1, max: 4 }),
        fc.double({ min: 0, max: 0.25, noNaN: true }),
        async (seed, win, loss) => {
          const run = board(chunkerOf(10), win, loss, seed)
          await run.clock.advance(600_000)
          expect(run.taken.map(({ i }) => i)).toEqual(Array.from({ length: 10 }, (_, i) => i))
          expect(run.sent.length).toBeLessThan(10 * 20)
        },
      ),
      { numRuns: 60 },
    )
  })

  it('sends the last chunk again after 2 s without a credit, and rarer each time', async () => {
    const sent: number[] = []
    const clock = new ManualClock()
    const chunker = chunkerOf(3)
    const delivery = new Delivery({
      ...{ chunker, win: 2, grantsCredit: true, clock },
      send: ({ i }) => (sent.push(i), 'sent'),
      onTaken: () => undefined,
      onTooLarge: () => undefined,
    })
    delivery.resume()
    delivery.ready(3)
    expect(sent).toEqual([0, 1])
    await clock.advance(1999)
    expect(sent).toEqual([0, 1])
    await clock.advance(1)
    expect(sent).toEqual([0, 1, 1])
    await clock.advance(3999)
    expect(sent).toHaveLength(3)
    await clock.advance(1)
    expect(sent).toEqual([0, 1, 1, 1])
    // the board has lost the first: both come again, and not once for each time that it says so
    delivery.credit({ kind: 'credit', id: 7, next: 0, n: 2 })
    delivery.credit({ kind: 'credit', id: 7, next: 0, n: 2 })
    expect(sent).toEqual([0, 1, 1, 1, 0, 1])
    // credits for what there never was are nobody's
    delivery.credit({ kind: 'credit', id: 7, next: 9, n: 2 })
    expect(sent).toHaveLength(6)
    delivery.credit({ kind: 'credit', id: 7, next: 2, n: 0 })
    await clock.advance(60_000)
    expect(sent).toHaveLength(6)
    delivery.credit({ kind: 'credit', id: 7, next: 2, n: 1 })
    expect(sent.at(-1)).toBe(2)
    expect(delivery.hasEnded).toBe(true)
  })

  it('takes a last chunk for taken by a board that says nothing more', async () => {
    const sent: number[] = []
    let isTaken = false
    const clock = new ManualClock()
    const delivery = new Delivery({
      ...{ chunker: chunkerOf(1), win: 1, grantsCredit: true, clock },
      send: ({ i }) => (sent.push(i), 'sent'),
      onTaken: () => (isTaken = true),
      onTooLarge: () => undefined,
    })
    delivery.resume()
    delivery.ready(1)
    await clock.advance(109_000)
    expect([sent.length, isTaken]).toEqual([9, false])
    await clock.advance(1000)
    expect([sent.length, isTaken, clock.pendingTimers]).toEqual([9, true, 0])
  })

  it('holds still while the board is not there', async () => {
    const sent: number[] = []
    const clock = new ManualClock()
    let isThere = false
    const delivery = new Delivery({
      ...{ chunker: chunkerOf(2), win: 1, grantsCredit: true, clock },
      send: ({ i }) => (isThere ? (sent.push(i), 'sent') : 'offline'),
      onTaken: () => undefined,
      onTooLarge: () => undefined,
    })
    delivery.resume()
    delivery.ready(2)
    await clock.advance(60_000)
    expect(sent).toEqual([])
    expect(clock.pendingTimers).toBe(0)
    isThere = true
    delivery.resume()
    expect(sent).toEqual([0])
  })
})

describe('the line', () => {
  it('gives devices turns, and says who goes before whom', () => {
    const line = new FairLine<{ device: string; n: number }>()
    const [a1, a2, a3, b1] = [1, 2, 3, 1].map((n, i) => ({ device: i < 3 ? 'a' : 'b', n }))
    for (const item of [a1!, a2!, a3!, b1!]) line.add(item)
    expect([a1, a2, a3, b1].map((item) => line.place(item!))).toEqual([0, 2, 3, 1])
    expect(line.take()).toBe(a1)
    expect(line.take()).toBe(b1)
    expect(line.remove(a2!)).toBe(true)
    expect(line.remove(a2!)).toBe(false)
    expect(line.take()).toBe(a3)
    expect(line.take()).toBeUndefined()
    expect(line.size).toBe(0)
  })
})

describe('parts of a prompt', () => {
  it('are joined when all are there, for two prompts of a device at most', () => {
    const parts = new PromptParts()
    const add = (id: number, i: number, t: string): boolean => parts.add('uno', { kind: 'prompt', id, i, t })
    add(1, 1, 'b')
    expect(parts.take('uno', 1, 2)).toBeUndefined()
    add(1, 0, 'a')
    add(1, 0, 'A')
    expect(parts.take('uno', 1, 2)).toBe('Ab')
    expect(parts.take('esp', 1, 2)).toBeUndefined()
    add(2, 0, 'x')
    add(3, 0, 'y')
    expect(parts.take('uno', 1, 2)).toBeUndefined()
    expect(parts.take('uno', 3, 1)).toBe('y')
    parts.clear('uno')
    expect(parts.take('uno', 3, 1)).toBeUndefined()
    expect(parts.take('uno', 9, 0)).toBe('')
  })

  it('are kept of so many devices', () => {
    const parts = new PromptParts()
    for (let n = 0; n <= 256; n++) parts.add(`d${n}`, { kind: 'prompt', id: 1, i: 0, t: 'x' })
    expect(parts.take('d0', 1, 1)).toBeUndefined()
    expect(parts.take('d1', 1, 1)).toBe('x')
  })

  it('are not kept beyond the longest prompt', () => {
    const parts = new PromptParts()
    const t = 'x'.repeat(4096)
    const kept = [0, 1, 2, 3, 4].map((i) => parts.add('uno', { kind: 'prompt', id: 1, i, t }))
    expect(kept).toEqual([true, true, true, true, false])
    expect(parts.take('uno', 1, 1)).toBeUndefined()
  })
})
