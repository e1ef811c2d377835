/** The ports of the browser that are more than a call of it. */
import { describe, expect, it } from 'vitest'
import { mintId, systemRandom } from '../../../../clients/web/platform/ids.ts'
import { systemClock } from '../../../../clients/web/platform/clock.ts'
import { tabLocks } from '../../../../clients/web/platform/tabs.ts'

describe('an id', () => {
  const at = (ms: number) => mintId({ nowMs: () => ms }, systemRandom)

  it('is a UUID of version 7 that begins with its time', () => {
    const id = at(0x0199f2c47b1e)
    expect(id).toMatch(/^0199f2c4-7b1e-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  })

  it('sorts by its time, and is nobody else’s', () => {
    const ids = [1, 255, 256, 2 ** 32, 2 ** 47].map(at)
    expect(ids.toSorted()).toEqual(ids)
    expect(new Set(Array.from({ length: 1000 }, () => at(1))).size).toBe(1000)
  })
})

it('chance is from 0 to below 1', () => {
  const values = Array.from({ length: 1000 }, () => systemRandom.unit())
  expect(values.every((value) => value >= 0 && value < 1)).toBe(true)
  expect(new Set(values).size).toBeGreaterThan(990)
})

it('a sleep ends with its signal, also one that has fired already', async () => {
  const stop = new AbortController()
  const slept = systemClock.sleep(3_600_000, stop.signal)
  stop.abort(new RangeError('over'))
  await expect(slept).rejects.toThrow('over')
  expect(() => systemClock.sleep(1, stop.signal)).toThrow('over')
})

describe('locks, also where the browser has none', () => {
  const locks = tabLocks()

  it('let in one after another, in order', async () => {
    const told: string[] = []
    const gate = Promise.withResolvers<undefined>()
    const first = locks.hold('chat', async () => {
      told.push('first')
      await gate.promise
      told.push('first ends')
    })
    const second = locks.hold('chat', () => Promise.resolve(void told.push('second')))
    expect(await locks.holdIfFree('chat', () => Promise.resolve('mine'))).toBeUndefined()
    expect(await locks.holdIfFree('other', () => Promise.resolve('mine'))).toBe('mine')
    gate.resolve(undefined)
    await Promise.all([first, second])
    expect(told).toEqual(['first', 'first ends', 'second'])
    expect(await locks.holdIfFree('chat', () => Promise.resolve('mine'))).toBe('mine')
  })

  it('are let go by work that fails, and not taken by who no longer waits', async () => {
    await expect(locks.hold('a', () => Promise.reject(new RangeError('failed')))).rejects.toThrow('failed')
    const gate = Promise.withResolvers<undefined>()
    const first = locks.hold('a', () => gate.promise)
    const stop = new AbortController()
    const waiting = locks.hold('a', () => Promise.resolve('in'), stop.signal)
    stop.abort(new RangeError('gone'))
    gate.resolve(undefined)
    await first
    await expect(waiting).rejects.toThrow('gone')
  })
})
