/** Hashing on a thread of its own, and the buffers that it reads. */
import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../mesh/runtime/index.ts'
import { BufferPool } from '../../../node/models/store/buffer-pool.ts'
import { HashThread } from '../../../node/models/store/hash-thread.ts'
import { after } from './support.ts'

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const sha256 = (...parts: Uint8Array[]): string => createHash('sha256').update(Buffer.concat(parts)).digest('hex')

const IDLE_MS = 5000

function thread(clock = new ManualClock()): HashThread {
  const hashing = new HashThread(clock, { isBackground: true })
  after(() => hashing.close())
  return hashing
}

describe('the hashing thread', () => {
  it('hashes what it is shown, in shared memory and not, and several files at once', async () => {
    const hashing = thread()
    const shared = Buffer.from(new SharedArrayBuffer(3_000_000)).fill(7)
    const own = Buffer.alloc(100_000, 9)
    expect(hex(await hashing.digest(shared.subarray(5)))).toBe(sha256(shared.subarray(5)))
    const [one, two] = [hashing.running(), hashing.running()]
    await Promise.all([one.update(shared), two.update(own), one.update(own)])
    expect(hex(await hashing.digest(own))).toBe(sha256(own))
    await two.update(shared)
    expect([hex(await one.digest()), hex(await two.digest())]).toEqual([sha256(shared, own), sha256(own, shared)])
    expect(hex(await hashing.running().digest())).toBe(sha256())
  })

  it('ends without work and begins again, and stays for a hash that is not finished', async () => {
    const clock = new ManualClock()
    const hashing = thread(clock)
    const own = Buffer.alloc(1000, 9)
    const running = hashing.running()
    await running.update(own)
    await clock.advance(2 * IDLE_MS)
    await running.update(own)
    expect(hex(await running.digest())).toBe(sha256(own, own))
    await clock.advance(IDLE_MS)
    expect(hex(await hashing.digest(own))).toBe(sha256(own))
  })

  it('tells who waits that it is closed, and hashes nothing more', async () => {
    const hashing = thread()
    const running = hashing.running()
    await running.update(Buffer.alloc(10))
    const waiting = hashing.digest(Buffer.alloc(10_000_000))
    const closed = expect.objectContaining({ code: 'CLIENT_CLOSED' }) as unknown
    await Promise.all([expect(waiting).rejects.toEqual(closed), hashing.close()])
    await expect(hashing.digest(Buffer.alloc(1))).rejects.toEqual(closed)
    await expect(running.digest()).rejects.toMatchObject({ code: 'INTERNAL' })
    running.drop()
  })
})

describe('buffers that are used again', () => {
  it('are bounded: who wants one more waits for one that is given back, or lost', async () => {
    const pool = new BufferPool(16, 2)
    const [one] = [await pool.take(), await pool.take()]
    const got: Buffer[] = []
    void pool.take().then((buffer) => got.push(buffer))
    void pool.take().then((buffer) => got.push(buffer))
    await Promise.resolve()
    expect(got).toEqual([])
    pool.give(one)
    await Promise.resolve()
    expect(got[0]).toBe(one)
    pool.lose()
    await new Promise((resolve) => setImmediate(resolve))
    expect([got.length, got[1] === one]).toEqual([2, false])
    for (const buffer of got) pool.give(buffer)
    expect(await pool.take()).toBe(got[1])
    pool.clear()
    expect(got).not.toContain(await pool.take())
  })
})
