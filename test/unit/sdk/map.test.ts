/** Many requests at once: as many as are carried, results in order, errors alone. */
import { describe, expect, it } from 'vitest'
import { SkeinApiError, type MapProgress } from '../../../clients/sdk/index.ts'
import { nobody, sdk } from './harness.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('map', () => {
  it('has a result for each input, in their order, and one that fails takes none along', async () => {
    const { skein } = sdk([nobody])
    const results = await skein.map([3, 1, 2], async (n) => {
      for (let i = 0; i < n; i++) await turn()
      if (n === 1) throw new TypeError('one')
      return n * 10
    })
    expect(results).toMatchObject([
      { status: 'done', value: 30 },
      { status: 'failed', error: { message: 'one' } },
      { status: 'done', value: 20 },
    ])
    expect(await skein.map([], () => Promise.resolve(1))).toEqual([])
  })

  it('runs more at once as answers come, to its bound, and fewer when it is turned away', async () => {
    const { skein, clock } = sdk([nobody])
    let running = 0
    let most = 0
    let calls = 0
    const seen: MapProgress[] = []
    const results = await skein.map(
      Array.from({ length: 200 }, (_, i) => i),
      async (n) => {
        most = Math.max(most, ++running)
        await turn()
        running--
        if (++calls === 150) throw new SkeinApiError('full', { code: 'saturated', status: 503, retryAfterMs: 700 })
        return n
      },
      { concurrency: 2, concurrencyMax: 9, onProgress: (progress) => seen.push(progress) },
    )
    expect(results.map((result) => result.status === 'done' && result.value)).toEqual(
      Array.from({ length: 200 }, (_, i) => i),
    )
    expect(most).toBe(9)
    const limits = seen.map(({ concurrency }) => concurrency)
    expect(Math.min(...limits.slice(100))).toBe(4)
    expect(clock.slept).toEqual([700])
    expect(seen.at(-1)).toMatchObject({ done: 200, failed: 0, running: 0, total: 200 })
  })

  it('gives an input up that is turned away again and again', async () => {
    const { skein } = sdk([nobody])
    let calls = 0
    const [result] = await skein.map([1], () => {
      calls++
      return Promise.reject(new SkeinApiError('full', { code: 'saturated', status: 429 }))
    })
    expect(result).toMatchObject({ status: 'failed', error: { code: 'saturated' } })
    expect(calls).toBe(21)
  })

  it('ends with its signal, and begins nothing more', async () => {
    const { skein } = sdk([nobody])
    const controller = new AbortController()
    let began = 0
    const mapped = skein.map(
      [1, 2, 3, 4, 5, 6],
      async (_, __, signal) => {
        began++
        if (began === 2) controller.abort(new TypeError('enough'))
        await turn()
        signal.throwIfAborted()
      },
      { concurrency: 2, signal: controller.signal },
    )
    await expect(mapped).rejects.toThrow('enough')
    await turn()
    expect(began).toBe(2)
  })
})
