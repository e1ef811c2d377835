/** The bounded queue: everything that was pushed is delivered once and in order, whoever is faster. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PushQueue } from '../../../mesh/runtime/index.ts'

async function collect<T>(queue: PushQueue<T>, into: T[] = []): Promise<T[]> {
  for await (const item of queue) into.push(item)
  return into
}

describe('PushQueue', () => {
  it('delivers all in order, whatever the turns of producer and consumer', async () => {
    const batches = fc.array(fc.array(fc.integer(), { maxLength: 5 }))
    await fc.assert(
      fc.asyncProperty(batches, async (turns) => {
        const queue = new PushQueue<number>(1000)
        const reading = collect(queue)
        for (const turn of turns) {
          for (const item of turn) queue.push(item)
          await Promise.resolve()
        }
        queue.end()
        expect(await reading).toEqual(turns.flat())
      }),
    )
  })

  it('refuses an item above its bound, and has room again when one was taken', async () => {
    const queue = new PushQueue<number>(2)
    queue.push(1)
    queue.push(2)
    expect(() => queue.push(3)).toThrow('a queue of 2 items is full')
    const iterator = queue[Symbol.asyncIterator]()
    expect(await iterator.next()).toEqual({ done: false, value: 1 })
    queue.push(3)
    expect(queue.length).toBe(2)
  })

  it('delivers what waits before it ends or fails', async () => {
    const failing = new PushQueue<number>(10)
    failing.push(1)
    failing.fail(new RangeError('broke'))
    failing.push(2)
    failing.fail(new RangeError('again'))
    const got: number[] = []
    await expect(collect(failing, got)).rejects.toThrow('broke')
    expect(got).toEqual([1])
  })

  it('wakes a consumer that waits when it ends or fails', async () => {
    const ending = new PushQueue<number>(1)
    const waiting = collect(ending)
    await Promise.resolve()
    ending.end()
    expect(await waiting).toEqual([])
    const failing = new PushQueue<number>(1)
    const failed = expect(collect(failing)).rejects.toThrow('broke')
    await Promise.resolve()
    failing.fail(new RangeError('broke'))
    await failed
  })

  it('fails with whatever it was failed with, `undefined` too', async () => {
    const queue = new PushQueue<number>(1)
    queue.fail(undefined)
    let thrown = false
    await collect(queue).catch(() => (thrown = true))
    expect(thrown).toBe(true)
  })
})
