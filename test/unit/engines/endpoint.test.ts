/** How a server somewhere else is asked again, and what is read out of what it says. */
import { describe, expect, it } from 'vitest'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import { ManualClock, type Random } from '../../../mesh/runtime/index.ts'
import { assertAnsweredBy, Endpoint } from '../../../node/engines/index.ts'
import { retryAfterMs } from '../../../node/engines/upstream/endpoint.ts'

const half: Random = { next: () => 0.5, bytes: (length) => new Uint8Array(length) }
const endpoint = (keys: readonly string[] = ['a', 'b']) => {
  const clock = new ManualClock()
  return { clock, endpoint: new Endpoint({ clock, random: half }, { keys }) }
}
const refused = (status: number, headers: object = {}, said = '') => ({ status, headers: { ...headers }, said })

describe('the keys of an endpoint', () => {
  it('are used in their order, the next one when one is refused or used up', () => {
    const { clock, endpoint: each } = endpoint(['a', 'b', 'c'])
    expect(each.key).toBe('a')
    const tries = each.tries()
    expect(tries.afterRefusal(refused(401), 'a')).toBe(0)
    expect(each.key).toBe('b')
    expect(tries.afterRefusal(refused(429, {}, '{"error":{"code":"insufficient_quota"}}'), 'b')).toBe(0)
    expect(each.key).toBe('c')
    expect(tries.afterRefusal(refused(403), 'c')).toBeUndefined()
    // of those that are all set aside, the one that is good again first
    expect(each.key).toBe('b')
    void clock.advance(60_000)
    expect(each.key).toBe('b')
    void clock.advance(600_000)
    expect(each.key).toBe('a')
  })

  it('are not changed for a server that is busy', () => {
    const { endpoint: each } = endpoint()
    expect(each.tries().afterRefusal(refused(429), 'a')).toBeGreaterThanOrEqual(0)
    expect(each.key).toBe('a')
  })
})

describe('another try', () => {
  it('is made after what the server asks for, and a little more', () => {
    expect(
      endpoint()
        .endpoint.tries()
        .afterRefusal(refused(429, { 'retry-after': '2' }), 'a'),
    ).toBe(2250)
    expect(
      endpoint()
        .endpoint.tries()
        .afterRefusal(refused(503, { 'retry-after-ms': '80' }), 'a'),
    ).toBe(90)
  })

  it('is made with full jitter where it asks for nothing, and three times at most', () => {
    const { endpoint: each } = endpoint()
    const tries = each.tries()
    expect([1, 2, 3, 4].map(() => tries.afterRefusal(refused(500), 'a'))).toEqual([125, 250, 500, undefined])
    expect(each.restMs, 'an error is no wish to be left alone').toBe(0)
  })

  it('is not made when the wait is too long: nothing is asked for so long', () => {
    const { clock, endpoint: each } = endpoint()
    expect(each.tries().afterRefusal(refused(429, { 'retry-after': '30' }), 'a')).toBeUndefined()
    expect(each.restMs).toBe(30_000)
    const thrown = ((): unknown => {
      try {
        return each.tries().assertOpen('https://x')
      } catch (error) {
        return error
      }
    })()
    expect(thrown).toBeInstanceOf(SkeinError)
    expect(thrown).toMatchObject({ code: 'NO_FREE_SLOT', retryAfterSeconds: 30 })
    void clock.advance(30_000)
    expect(() => each.tries().assertOpen('https://x')).not.toThrow()
  })

  it('is not made of what would be refused again', () => {
    for (const status of [400, 404, 413, 422]) {
      expect(endpoint().endpoint.tries().afterRefusal(refused(status), 'a')).toBeUndefined()
    }
  })

  it('begins within ten seconds, or not at all', () => {
    const { clock, endpoint: each } = endpoint()
    const tries = each.tries()
    expect(tries.afterBreak()).toBe(125)
    void clock.advance(9900)
    expect(tries.afterBreak()).toBeUndefined()
  })
})

describe('Retry-After', () => {
  const date = 'Wed, 21 Oct 2026 07:28:00 GMT'
  const later = 'Wed, 21 Oct 2026 07:28:07 GMT'

  it('counts a date from the clock of the server, which may be wrong', () => {
    expect(retryAfterMs({ 'retry-after': later, date }, 0)).toBe(7000)
    expect(retryAfterMs({ 'retry-after': later }, Date.parse(date))).toBe(7000)
    expect(retryAfterMs({ 'retry-after': date, date: later }, 0)).toBe(0)
  })

  it.each([['soon'], ['-5'], ['1e9'], ['']])('is nothing when it is %j', (told) => {
    expect(retryAfterMs({ 'retry-after': told }, 0)).toBeUndefined()
  })

  it('is a day at most', () => expect(retryAfterMs({ 'retry-after': '999999999' }, 0)).toBe(86_400_000))
})

describe('who answered', () => {
  it.each(['gpt-x', 'gpt-x-2026-08-06', 'gpt-x-20260806', undefined, null, ''])('may be %j', (model) => {
    expect(() => assertAnsweredBy({ model }, 'gpt-x')).not.toThrow()
  })

  it.each(['gpt-x-mini', 'gpt', 'other', 'gpt-x-2026-08-06-mini'])('may not be %j', (model) => {
    expect(() => assertAnsweredBy({ model }, 'gpt-x')).toThrow(/answered with the model/)
  })
})
