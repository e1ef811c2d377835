import { describe, expect, it } from 'vitest'
import { LONG, ask, joined, kinds, later, sessionOf, settle, taking, textOf } from './support.ts'

describe('an end comes before the time is over', () => {
  it('with what failed, once', async () => {
    const bench = await joined()
    bench.sessions.says('uno', ask({ ttl: 10 }))
    await settle(bench)
    bench.source.calls[0]!.listener.reached()
    await later(bench, 8999)
    expect(kinds(bench.sessions.to('uno'))).toEqual(['accept'])
    await later(bench, 1)
    expect(bench.sessions.to('uno').at(-1)).toEqual({ kind: 'fail', id: 7, c: 'deadline', retry: 5 })
    expect(bench.source.calls[0]!.signal.aborted).toBe(true)
    await later(bench, 60_000)
    expect(bench.sessions.to('uno').filter(({ kind }) => kind === 'fail')).toHaveLength(1)
    expect(bench.desk.open).toBe(0)
  })

  it('with the part that the board has, marked as cut, and never a sign of the whole', async () => {
    const bench = await joined()
    taking(bench, 'uno')
    bench.sessions.says('uno', ask({ ttl: 10 }))
    await settle(bench)
    const [call] = bench.source.calls
    call!.listener.reached()
    call!.listener.text(LONG.slice(0, 150), 30)
    await later(bench, 9000)
    const chunks = bench.sessions.chunksTo('uno')
    expect(chunks.filter(({ l, fin }) => l || fin !== undefined)).toEqual([chunks.at(-1)])
    expect(chunks.at(-1)).toMatchObject({ l: true, fin: 'length' })
    expect(LONG.startsWith(textOf(chunks))).toBe(true)
    expect(textOf(chunks).length).toBeGreaterThan(50)
    expect(call!.signal.aborted).toBe(true)
    await later(bench, 60_000)
    expect(kinds(bench.sessions.to('uno'))).not.toContain('fail')
    expect(bench.desk.open).toBe(0)
    // a part is not what the question is answered with
    bench.source.says('It is.')
    bench.sessions.says('uno', ask({ ttl: 10 }))
    await settle(bench)
    expect(textOf(bench.sessions.chunksTo('uno').slice(chunks.length))).toBe('It is.')
  })

  it('with a failure where a part would be another answer, or could not be marked', async () => {
    for (const [session, extra] of [
      [sessionOf('uno'), { as: 'json' }],
      [sessionOf('uno', { grantsCredit: false, win: 1 }), {}],
    ] as const) {
      const bench = await joined(session)
      bench.source.says(extra.as === 'json' ? `{"a": "${'x'.repeat(150)}"}` : LONG.slice(0, 150))
      if (extra.as === undefined) bench.source.stalls()
      bench.sessions.says('uno', ask({ ttl: 10, ...extra }))
      await later(bench, 9000)
      expect(bench.sessions.chunksTo('uno').length).toBeGreaterThan(0)
      expect(bench.sessions.chunksTo('uno').some(({ l }) => l)).toBe(false)
      expect(bench.sessions.to('uno').at(-1)).toMatchObject({ kind: 'fail', c: 'deadline' })
    }
  })

  it('with a word on an answer that is whole and was not taken, which is given later', async () => {
    const bench = await joined()
    bench.source.says(LONG)
    bench.sessions.says('uno', ask({ ttl: 5 }))
    await later(bench, 5000)
    expect(
      bench.sessions
        .chunksTo('uno')
        .slice(0, -1)
        .every(({ i, l }) => i === 0 && !l),
    ).toBe(true)
    // without credit there may be no room for more
    expect(bench.sessions.to('uno').at(-1)).toEqual({ kind: 'chunk', id: 7, i: 1, l: true, t: '', fin: 'length' })
    taking(bench, 'uno')
    const before = bench.sessions.chunksTo('uno').length
    bench.sessions.says('uno', ask({ ttl: 5 }))
    await settle(bench)
    expect(textOf(bench.sessions.chunksTo('uno').slice(before))).toBe(LONG)
    expect(bench.source.calls).toHaveLength(1)
  })

  it('and none after the last chunk was sent', async () => {
    const bench = await joined()
    bench.source.says('Yes.')
    bench.sessions.says('uno', ask({ ttl: 5 }))
    await later(bench, 60_000)
    expect(kinds(bench.sessions.to('uno'))).not.toContain('fail')
    expect(bench.desk.open).toBe(0)
  })
})
