/** What a node gives of its models: tickets, the rate and number of transfers, hashes of chunks. */
import { createHash } from 'node:crypto'
import { utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { asPeerId, LIMITS } from '../../../mesh/protocol/index.ts'
import { ManualClock, SystemRandom, type CancelTimer } from '../../../mesh/runtime/index.ts'
import { Pacer } from '../../../node/models/share/pacer.ts'
import {
  SharedFile,
  SharedFiles,
  type ChunkHashing,
  type SharedModel,
} from '../../../node/models/share/shared-files.ts'
import { Tickets } from '../../../node/models/share/tickets.ts'
import { BufferPool } from '../../../node/models/store/index.ts'
import { digestOf, temporaryDirectory } from './support.ts'

const random = new SystemRandom()
const ONE = asPeerId(`12D3KooW${'1'.repeat(44)}`)
const TWO = asPeerId(`12D3KooW${'2'.repeat(44)}`)
const never = new AbortController().signal

describe('tickets', () => {
  const tickets = (): { clock: ManualClock; tickets: Tickets } => {
    const clock = new ManualClock()
    return { clock, tickets: new Tickets({ clock, random }) }
  }
  const code = (act: () => unknown): string | undefined => {
    try {
      act()
      return undefined
    } catch (thrown) {
      return (thrown as { code: string }).code
    }
  }

  it('are good for their member and model, until they expire', async () => {
    const { clock, tickets: kept } = tickets()
    const secret = kept.issue(ONE, digestOf('a'))
    expect(secret).toHaveLength(32)
    expect(kept.check(secret, { peer: ONE, digest: digestOf('a') })).toMatchObject({ peer: ONE, digest: digestOf('a') })
    expect(code(() => kept.check(secret, { peer: TWO }))).toBe('FORBIDDEN')
    expect(code(() => kept.check(secret, { digest: digestOf('b') }))).toBe('FORBIDDEN')
    expect(code(() => kept.check(random.bytes(32), {}))).toBe('UNAUTHENTICATED')
    await clock.advance(LIMITS.modelTicketMs - 1)
    expect(code(() => kept.check(secret, {}))).toBeUndefined()
    await clock.advance(1)
    expect(code(() => kept.check(secret, {}))).toBe('UNAUTHENTICATED')
  })

  it('are void when their member is gone, and only its own', () => {
    const { tickets: kept } = tickets()
    const [one, two] = [kept.issue(ONE, digestOf('a')), kept.issue(TWO, digestOf('a'))]
    kept.drop(ONE)
    expect(code(() => kept.check(one, {}))).toBe('UNAUTHENTICATED')
    expect(code(() => kept.check(two, {}))).toBeUndefined()
  })

  it('are bounded: of a member its oldest goes, of all the oldest', () => {
    const { tickets: kept } = tickets()
    const ofOne = Array.from({ length: LIMITS.modelTicketsPerPeerMax + 1 }, () => kept.issue(ONE, digestOf('a')))
    expect(code(() => kept.check(ofOne[0]!, {}))).toBe('UNAUTHENTICATED')
    expect(code(() => kept.check(ofOne[1]!, {}))).toBeUndefined()
    for (let i = 0; i < 2 * LIMITS.modelTicketsMax; i++) kept.issue(asPeerId(`peer${i}`.padEnd(44, 'x')), digestOf('a'))
    expect(kept.size).toBe(LIMITS.modelTicketsMax)
  })
})

const open = (): undefined => undefined

/** A clock whose timers fire late, as on a machine that has too much to do. */
class LaggingClock extends ManualClock {
  lateMs = 0

  override timer(delayMs: number, fire: () => void): CancelTimer {
    return super.timer(delayMs + this.lateMs, fire)
  }
}

describe('the pacer', () => {
  it('lets nothing begin while the owner does not want it, and says why and when to come back', () => {
    let reason: string | undefined = 'outside its hours'
    const pacer = new Pacer(new ManualClock(), { busyBytesPerSecond: 1, isBusy: () => false, refusal: () => reason })
    const refused = expect.objectContaining({
      code: 'SATURATED',
      retryAfterSeconds: 30,
      message: expect.stringContaining('outside its hours') as unknown,
    }) as Error
    expect(() => pacer.begin(ONE)).toThrow(refused)
    expect(() => pacer.checkOpen()).toThrow(refused)
    reason = undefined
    pacer.begin(ONE)()
    expect(pacer.running).toBe(0)
  })

  it('lets everything through without answers, and keeps to its rate while some stream', async () => {
    const clock = new ManualClock()
    let isBusy = false
    const pacer = new Pacer(clock, { busyBytesPerSecond: 1000, isBusy: () => isBusy, refusal: open })
    for (let i = 0; i < 100; i++) await pacer.pace(1000)
    isBusy = true
    let passed = 0
    const all = Promise.all(Array.from({ length: 10 }, () => pacer.pace(100).then(() => passed++)))
    await clock.advance(0)
    expect(passed).toBe(1)
    await clock.advance(450)
    expect(passed).toBe(5)
    await clock.advance(500)
    await all
    expect(passed).toBe(10)
  })

  it('takes a share of its rate while waits end late, and all of it again when they do not', async () => {
    const clock = new LaggingClock()
    const pacer = new Pacer(clock, { busyBytesPerSecond: 1000, isBusy: () => true, refusal: open })
    const isPassed = { value: false }
    /** How long 100 bytes take when it has gone on so for three seconds. */
    const settledMs = async (): Promise<number> => {
      for (const endMs = clock.nowMs() + 3000; clock.nowMs() < endMs;) {
        isPassed.value = false
        const pacing = pacer.pace(100).then(() => (isPassed.value = true))
        while (!isPassed.value) await clock.advance(5)
        await pacing
      }
      const beganMs = clock.nowMs()
      isPassed.value = false
      const pacing = Promise.all([pacer.pace(100), pacer.pace(100)]).then(() => (isPassed.value = true))
      while (!isPassed.value) await clock.advance(5)
      await pacing
      return clock.nowMs() - beganMs
    }
    expect(await settledMs()).toBeLessThan(220)
    clock.lateMs = 20
    expect(await settledMs()).toBeGreaterThan(800)
    clock.lateMs = 0
    expect(await settledMs()).toBeLessThan(220)
  })

  it('bounds the chunks that are given at once, of one member and of all, and says when to come back', () => {
    const pacer = new Pacer(new ManualClock(), { busyBytesPerSecond: 1, isBusy: () => false, refusal: open })
    const saturated = expect.objectContaining({ code: 'SATURATED', retryAfterSeconds: 0.5 }) as Error
    const given = Array.from({ length: LIMITS.modelTransfersPerPeerMax }, () => pacer.begin(ONE))
    expect(() => pacer.begin(ONE)).toThrow(saturated)
    const others = Array.from({ length: LIMITS.modelTransfersMax - given.length }, (_, i) =>
      pacer.begin(asPeerId(`peer${i}`.padEnd(44, 'x'))),
    )
    expect(() => pacer.begin(TWO)).toThrow(saturated)
    others[0]!()
    others[0]!()
    expect(pacer.running).toBe(LIMITS.modelTransfersMax - 1)
    pacer.begin(TWO)
    for (const done of given) done()
    pacer.begin(ONE)
  })
})

describe('shared files', () => {
  const pacer = new Pacer(new ManualClock(), { busyBytesPerSecond: 1, isBusy: () => false, refusal: open })
  const CHUNK = LIMITS.modelChunkBytes
  const bytes = Buffer.alloc(2 * CHUNK + 5, 7)
  const chunkHashing = (): ChunkHashing => ({
    hashing: { digest: (of) => Promise.resolve(createHash('sha256').update(of).digest()) },
    buffers: new BufferPool(CHUNK, 1),
  })

  it('tell the hashes of chunks, and give no chunk that the file does not have', async () => {
    const path = join(await temporaryDirectory(), 'm.gguf')
    await writeFile(path, bytes)
    const file = await SharedFile.open(path, chunkHashing())
    const hash = (start: number): Buffer => createHash('sha256').update(bytes.subarray(start, start + CHUNK)).digest() // prettier-ignore
    const all = Buffer.concat([hash(0), hash(CHUNK), hash(2 * CHUNK)])
    expect(Buffer.from(await file.hashes(0, pacer, never)).equals(all)).toBe(true)
    expect(Buffer.from(await file.hashes(2, pacer, never)).equals(all.subarray(64))).toBe(true)
    expect(file.rangeOf(2)).toEqual({ start: 2 * CHUNK, end: bytes.length })
    await expect(file.hashes(3, pacer, never)).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
    expect(() => file.rangeOf(3)).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST' }) as Error)
    await file.close()
  })

  it('are given no further when they have changed, and are found by name, digest and reference', async () => {
    const path = join(await temporaryDirectory(), 'm.gguf')
    await writeFile(path, bytes)
    const model: SharedModel = {
      digest: digestOf('a'),
      names: ['M-Q8_0', 'other'],
      references: ['hf:a/b'],
      path,
      sizeBytes: bytes.length,
      quantization: 'Q8_0',
    }
    const clock = new ManualClock()
    let looked = 0
    const shelf = [model]
    const files = new SharedFiles(() => Promise.resolve(shelf.slice(0, ++looked)), clock)
    for (const text of ['m-q8_0', 'OTHER', 'hf:a/b', digestOf('a'), ''])
      expect([text, await files.find(text)]).toEqual([text, [model]])
    for (const text of ['hf:a/B', 'm', digestOf('b')]) expect(await files.find(text)).toEqual([])
    // what is asked for by the hundred in a second is not looked up each time
    looked = 0
    for (let i = 0; i < 3; i++) await files.open(digestOf('a'))
    expect(looked).toBe(1)
    await clock.advance(1000)
    await files.open(digestOf('a'))
    expect(looked).toBe(2)
    shelf.pop()
    await clock.advance(1000)
    await expect(files.open(digestOf('a'))).rejects.toMatchObject({ code: 'MODEL_NOT_STORED' })
    shelf.push(model)
    await files.open(digestOf('a'))
    await utimes(path, 1, 1)
    await expect(files.open(digestOf('a'))).rejects.toMatchObject({ code: 'MODEL_FILE_INVALID' })
    await expect(files.open(digestOf('b'))).rejects.toMatchObject({ code: 'MODEL_NOT_STORED' })
    await files.close()
  })
})
