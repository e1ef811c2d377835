/** What clients say of kept answers. */
import { describe, expect, it } from 'vitest'
import { cacheHeaders, cacheWish } from '../../../coordinator/gateway/cache-control.ts'

describe('cacheWish', () => {
  it.each([
    ['no-store', { mode: 'off' }],
    ['no-cache', { mode: 'refresh' }],
    ['No-Cache, no-STORE', { mode: 'off' }],
    ['max-age=0', { mode: 'refresh' }],
    ['max-age=60', { mode: 'use', ageMsMax: 60_000 }],
    [' max-age = "60" , x', { mode: 'use', ageMsMax: 60_000 }],
    ['max-age=soon', { mode: 'refresh' }],
    ['max-age=-1', { mode: 'refresh' }],
    ['max-age', { mode: 'refresh' }],
    ['max-age=99999999999999999999', { mode: 'use', ageMsMax: 1000 * 2 ** 31 }],
    ['only-if-cached', { mode: 'use', onlyKept: true }],
    ['only-if-cached, max-age=5', { mode: 'use', ageMsMax: 5000, onlyKept: true }],
    ['only-if-cached, no-cache', { mode: 'refresh', onlyKept: true }],
    ['max-stale=7, foo', { mode: 'use' }],
    ['', { mode: 'use' }],
    [',,=,', { mode: 'use' }],
  ])('Cache-Control: %s', (header, wish) => {
    expect(cacheWish(undefined, { 'cache-control': header })).toEqual(wish)
  })

  it('the member of the body goes before the header', () => {
    const headers = { 'cache-control': 'no-store' }
    expect(cacheWish('use', headers)).toEqual({ mode: 'use' })
    expect(cacheWish('only', headers)).toEqual({ mode: 'use', onlyKept: true })
    expect(cacheWish('refresh', {})).toEqual({ mode: 'refresh' })
    expect(cacheWish('off', {})).toEqual({ mode: 'off' })
    expect(cacheWish(undefined, {})).toBeUndefined()
  })
})

describe('cacheWish, within bounds', () => {
  const says = (mode: 'use' | 'only' | undefined, isBarred: boolean, isUnstored: boolean) =>
    cacheWish(mode, {}, { isBarred, isUnstored })

  it('a key that takes no part takes none, whatever the request says', () => {
    expect([says(undefined, true, false), says('use', true, false)]).toEqual([{ mode: 'off' }, { mode: 'off' }])
    expect(says('only', true, false)).toEqual({ mode: 'off', onlyKept: true })
  })

  it('a response that is not to be stored takes part when it says so', () => {
    expect([says(undefined, false, true), says('use', false, true)]).toEqual([{ mode: 'off' }, { mode: 'use' }])
  })
})

describe('cacheHeaders', () => {
  it('tell how an answer stood to the kept ones, and the age of one that was kept', () => {
    expect(cacheHeaders({ outcome: 'hit', ageMs: 1999 })).toEqual({ 'x-skein-cache': 'hit', age: '1' })
    expect(cacheHeaders({ outcome: 'shared' })).toEqual({ 'x-skein-cache': 'shared' })
  })
})
