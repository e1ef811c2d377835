import { describe, expect, it } from 'vitest'
import { LIMITS, SkeinError } from '../../../mesh/protocol/index.ts'
import { LONG, ask, joined, kinds, later, sessionOf, settle, taking, textOf } from './support.ts'

describe('a question', () => {
  it('is accepted, answered in chunks against credits, and ended once', async () => {
    const bench = await joined()
    bench.source.says(LONG.slice(0, 30), LONG.slice(30))
    taking(bench, 'uno')
    bench.sessions.says('uno', ask())
    await settle(bench)
    const sent = bench.sessions.to('uno')
    expect(sent[0]).toEqual({ kind: 'accept', id: 7, s: 'accepted' })
    const chunks = bench.sessions.chunksTo('uno')
    expect(textOf(chunks)).toBe(LONG)
    expect(chunks.length).toBeGreaterThan(1)
    expect(chunks.map(({ l }) => l)).toEqual(chunks.map((_, i) => i === chunks.length - 1))
    expect(chunks.at(-1)).toMatchObject({ fin: 'stop', by: 'desk-pc' })
    expect(bench.desk.open).toBe(0)
    await later(bench, 60_000)
    expect(bench.sessions.chunksTo('uno')).toHaveLength(chunks.length)
    expect(kinds(bench.sessions.to('uno'))).not.toContain('fail')
  })

  it('is answered where the device wants it, to the last chunk or its failure', async () => {
    const bench = await joined()
    const replyTo = { topic: 'skein/v1/dev/uno/down/mine', correlation: Uint8Array.of(1, 2) }
    bench.source.says(LONG.slice(0, 30), LONG.slice(30))
    taking(bench, 'uno')
    bench.sessions.says('uno', ask(), replyTo)
    await settle(bench)
    bench.sessions.says('uno', ask({ id: 8, as: 'choice' }), replyTo)
    await settle(bench)
    const { sent } = bench.sessions
    expect(new Set(sent.map(({ message }) => message.kind))).toEqual(new Set(['accept', 'chunk', 'fail']))
    for (const each of sent) expect(each.replyTo).toEqual(replyTo)
  })

  it('asks the coordinator for what the board can take, under a name of its own', async () => {
    const bench = await joined()
    bench.sessions.says('uno', ask({ as: 'choice', of: ['open', 'closed'], tok: 5, m: 'big' }))
    await settle(bench)
    const { request } = bench.source.calls[0]!
    expect(request).toMatchObject({ key: 'b1:uno:1:7', device: 'uno', localOnly: false })
    expect(request.body).toMatchObject({
      ...{ model: 'big', max_tokens: 5, temperature: 0 },
      response_format: { type: 'json_schema', json_schema: { schema: { enum: ['open', 'closed'] } } },
    })
    expect(request.leftMs()).toBe(29_000)
  })

  it('is not accepted before it is durable', async () => {
    const bench = await joined()
    bench.store.failure = new SkeinError('DISK_FULL', 'no room')
    bench.sessions.says('uno', ask())
    await settle(bench)
    expect(bench.sessions.to('uno')).toEqual([{ kind: 'fail', id: 7, c: 'storage_full' }])
    expect(bench.source.calls).toHaveLength(0)
  })

  it('tells how far it is, and not too often', async () => {
    const bench = await joined()
    bench.sessions.says('uno', ask())
    await settle(bench)
    const { listener } = bench.source.calls[0]!
    for (const n of [3, 2, 1]) listener.progress({ s: 'queued', n })
    for (let n = 0; n < 100; n++) listener.progress({ s: 'loading', n })
    listener.progress({ s: 'running' })
    listener.progress({ s: 'running' })
    const told = bench.sessions.to('uno').filter((message) => message.kind === 'accept')
    expect(told.map(({ s, n }) => [s, n])).toEqual([
      ['accepted', undefined],
      ['queued', 3],
      ['loading', 0],
      ['running', undefined],
    ])
  })

  it.each([
    ['without words', { q: '  ' }, 'malformed'],
    ['of a choice without options', { as: 'choice' }, 'malformed'],
    ['whose parts did not come', { pn: 2 }, 'malformed'],
    ['longer than any', { q: 'x'.repeat(LIMITS.askPromptBytesMax + 1) }, 'too_large'],
    ['whose options do not fit', { of: ['half open'], max: 3 }, 'too_large'],
  ])('%s is refused', async (_what, extra, error) => {
    const bench = await joined()
    bench.sessions.says('uno', ask(extra))
    await settle(bench)
    expect(bench.sessions.to('uno')).toEqual([{ kind: 'fail', id: 7, c: error }])
    expect(bench.counts.get(`ask_${error}`)).toBe(1)
  })

  it('stays at home where its owner says so, also after a restart and another word of the owner', async () => {
    const policy = { ...sessionOf('uno').policy, local_only: true }
    const bench = await joined(sessionOf('uno', { policy }))
    bench.sessions.says('uno', ask())
    await settle(bench)
    expect(bench.source.calls[0]!.request.localOnly).toBe(true)
    const again = await bench.restart()
    again.sessions.join(sessionOf('uno'))
    await settle(again)
    expect(again.source.calls.at(-1)!.request.localOnly).toBe(true)
    again.sessions.says('uno', ask({ id: 8 }))
    await settle(again)
    expect(again.source.calls.at(-1)!.request).toMatchObject({ localOnly: false })
  })

  it('of a device that may not ask is refused', async () => {
    const bench = await joined(sessionOf('uno', { policy: { read: true, act: 'no', ask: false, local_only: false } }))
    bench.sessions.says('uno', ask())
    expect(bench.sessions.to('uno')).toEqual([{ kind: 'fail', id: 7, c: 'not_permitted' }])
  })

  it('in parts is one', async () => {
    const bench = await joined()
    bench.sessions.says('uno', { kind: 'prompt', id: 7, i: 1, t: 'in the ' })
    bench.sessions.says('uno', { kind: 'prompt', id: 7, i: 0, t: 'Is it warm ' })
    bench.sessions.says('uno', ask({ q: 'greenhouse?', pn: 2 }))
    await settle(bench)
    expect(bench.source.calls[0]!.request.body['messages']).toMatchObject([
      {},
      { content: 'Is it warm in the greenhouse?' },
    ])
  })

  it('of a model that is done early is ended there, and the rest not paid for', async () => {
    const bench = await joined()
    bench.sessions.says('uno', ask({ as: 'word' }))
    await settle(bench)
    const { listener, signal } = bench.source.calls[0]!
    listener.text('Open, because ', 4)
    await settle(bench)
    expect(signal.aborted).toBe(true)
    expect(bench.sessions.chunksTo('uno')).toMatchObject([{ t: 'Open', l: true, fin: 'stop' }])
  })

  it('whose answer was cut says so', async () => {
    const bench = await joined()
    bench.source.says(LONG)
    bench.sessions.says('uno', ask({ max: 30 }))
    await settle(bench)
    expect(bench.sessions.chunksTo('uno')).toMatchObject([
      { t: 'The vent opens when it is...', l: true, fin: 'shaped' },
    ])
  })

  it('whose answer has no such form is told that', async () => {
    const bench = await joined()
    bench.source.says('I cannot know that.')
    bench.sessions.says('uno', ask({ as: 'number' }))
    await settle(bench)
    expect(bench.sessions.to('uno').at(-1)).toEqual({ kind: 'fail', id: 7, c: 'no_answer' })
  })
})

describe('the same question again', () => {
  it('gets the same answer, and costs nothing', async () => {
    const bench = await joined()
    bench.source.says('It is.')
    taking(bench, 'uno')
    for (let i = 0; i < 3; i++) {
      bench.sessions.says('uno', ask())
      await settle(bench)
    }
    expect(bench.source.calls).toHaveLength(1)
    expect(bench.sessions.chunksTo('uno').map(({ t }) => t)).toEqual(['It is.', 'It is.', 'It is.'])
  })

  it('while it is answered is accepted and not asked twice', async () => {
    const bench = await joined()
    bench.sessions.says('uno', ask())
    bench.sessions.says('uno', ask())
    await settle(bench)
    bench.sessions.says('uno', ask())
    await settle(bench)
    expect(bench.source.calls).toHaveLength(1)
    expect(kinds(bench.sessions.to('uno'))).toEqual(['accept', 'accept'])
  })

  it('with other words is refused, and leaves the first alone', async () => {
    const bench = await joined()
    bench.sessions.says('uno', ask())
    await settle(bench)
    bench.sessions.says('uno', ask({ q: 'Is it cold?' }))
    await settle(bench)
    expect(bench.sessions.to('uno').at(-1)).toEqual({ kind: 'fail', id: 7, c: 'duplicate_in_progress' })
    bench.source.calls[0]!.listener.text('Yes.', 1)
    bench.source.calls[0]!.end()
    await settle(bench)
    expect(textOf(bench.sessions.chunksTo('uno'))).toBe('Yes.')
    bench.sessions.says('uno', { kind: 'credit', id: 7, next: 1, n: 1 })
    bench.sessions.says('uno', ask({ q: 'Is it cold?' }))
    await settle(bench)
    expect(bench.sessions.to('uno').at(-1)).toEqual({ kind: 'fail', id: 7, c: 'malformed' })
  })

  it('of another start of the device is another question', async () => {
    const bench = await joined()
    bench.sessions.says('uno', ask())
    await settle(bench)
    bench.sessions.join(sessionOf('uno', { boot: 2 }))
    bench.sessions.says('uno', ask())
    await settle(bench)
    expect(bench.source.calls.map(({ request, signal }) => [request.key, signal.aborted])).toEqual([
      ['b1:uno:1:7', true],
      ['b1:uno:2:7', false],
    ])
  })

  it('after a failure that may pass is asked under another name', async () => {
    const bench = await joined()
    bench.sessions.says('uno', ask())
    await later(bench, 30_000)
    expect(bench.sessions.to('uno').at(-1)).toEqual({ kind: 'fail', id: 7, c: 'offline', retry: 10 })
    bench.source.says('Now it is.')
    bench.sessions.says('uno', ask())
    await settle(bench)
    expect(bench.source.calls.map(({ request }) => request.key)).toEqual(['b1:uno:1:7', 'b1:uno:1:7:2'])
    expect(textOf(bench.sessions.chunksTo('uno'))).toBe('Now it is.')
  })
})

describe('what the coordinator says', () => {
  it('is asked again when it is busy, under another name, and told when that does not help', async () => {
    const bench = await joined()
    bench.sessions.says('uno', ask())
    for (let i = 0; i < 4; i++) {
      await settle(bench)
      bench.source.calls[i]!.fail(new SkeinError('SATURATED', 'full', { retryAfterSeconds: 2 }))
      await later(bench, 2000)
    }
    expect(bench.source.calls.map(({ request }) => request.key)).toEqual(
      ['', ':2', ':3', ':4'].map((n) => `b1:uno:1:7${n}`),
    )
    expect(bench.sessions.to('uno').at(-1)).toEqual({ kind: 'fail', id: 7, c: 'busy', retry: 2 })
  })

  it('that no node holds the model to a form has it asked freely, once', async () => {
    const bench = await joined()
    bench.sessions.says('uno', ask({ of: ['open', 'closed'] }))
    await settle(bench)
    bench.source.calls[0]!.fail(new SkeinError('UNSUPPORTED_PARAMETER', 'response_format'))
    await later(bench, 2000)
    const { request, listener, end } = bench.source.calls[1]!
    expect(request.key).toBe('b1:uno:1:7:2')
    expect(request.body).not.toHaveProperty('response_format')
    listener.text('I would keep it closed.', 6)
    end()
    await settle(bench)
    expect(textOf(bench.sessions.chunksTo('uno'))).toBe('closed')
    bench.sessions.says('uno', ask({ id: 8 }))
    await settle(bench)
    bench.source.calls[2]!.fail(new SkeinError('UNSUPPORTED_PARAMETER', 'model'))
    await settle(bench)
    expect(bench.sessions.to('uno').at(-1)).toEqual({ kind: 'fail', id: 8, c: 'malformed' })
  })

  it('is final when it says so', async () => {
    const bench = await joined()
    bench.sessions.says('uno', ask())
    await settle(bench)
    bench.source.calls[0]!.fail(new SkeinError('CONTEXT_LENGTH_EXCEEDED', 'too long'))
    await settle(bench)
    bench.sessions.says('uno', ask())
    await settle(bench)
    expect(bench.sessions.to('uno').slice(1)).toEqual([
      { kind: 'fail', id: 7, c: 'too_large' },
      { kind: 'fail', id: 7, c: 'too_large' },
    ])
    expect(bench.source.calls).toHaveLength(1)
  })

  it('may be said from its start again, and goes on behind what the device has', async () => {
    const bench = await joined()
    taking(bench, 'uno')
    bench.sessions.says('uno', ask())
    await settle(bench)
    const { listener, end } = bench.source.calls[0]!
    listener.text(LONG.slice(0, 90), 20)
    await settle(bench)
    const before = bench.sessions.chunksTo('uno').length
    expect(before).toBeGreaterThan(0)
    listener.restarted()
    for (const word of LONG.split(/(?<= )/)) listener.text(word, undefined)
    end()
    await settle(bench)
    expect(textOf(bench.sessions.chunksTo('uno'))).toBe(LONG)
  })

  it('is lost when it is another answer than the device has a part of', async () => {
    const bench = await joined()
    taking(bench, 'uno')
    bench.sessions.says('uno', ask())
    await settle(bench)
    const { listener } = bench.source.calls[0]!
    listener.text(LONG.slice(0, 90), 20)
    await settle(bench)
    listener.restarted()
    listener.text(`No. ${LONG}`, 20)
    await settle(bench)
    expect(bench.sessions.to('uno').at(-1)).toEqual({ kind: 'fail', id: 7, c: 'lost', retry: 1 })
    expect(bench.sessions.chunksTo('uno').every(({ l }) => !l)).toBe(true)
  })
})

describe('a device', () => {
  it('that sleeps gets its answer when it wakes', async () => {
    const bench = await joined()
    bench.sessions.says('uno', ask({ ttl: 3600 }))
    await settle(bench)
    bench.sessions.become('uno', 'sleeping')
    bench.source.calls[0]!.listener.text('It is.', 2)
    bench.source.calls[0]!.end()
    await later(bench, 600_000)
    expect(bench.sessions.chunksTo('uno')).toHaveLength(0)
    bench.sessions.become('uno', 'ready')
    expect(bench.sessions.chunksTo('uno')).toMatchObject([{ t: 'It is.', l: true }])
  })

  it('that cancels is told nothing more', async () => {
    const bench = await joined()
    bench.sessions.says('uno', ask())
    await settle(bench)
    bench.sessions.says('uno', { kind: 'cancel', id: 7 })
    await later(bench, 60_000)
    expect(bench.source.calls[0]!.signal.aborted).toBe(true)
    expect(kinds(bench.sessions.to('uno'))).toEqual(['accept'])
  })

  it('that is revoked has nothing asked for it any more', async () => {
    const bench = await joined()
    bench.sessions.says('uno', ask())
    await settle(bench)
    bench.sessions.leave('uno')
    expect(bench.source.calls[0]!.signal.aborted).toBe(true)
    expect(bench.desk.open).toBe(0)
  })

  it('that asks too often is held back, and others are not', async () => {
    const bench = await joined(sessionOf('uno'), { asksPerMinute: 2 })
    bench.source.says('Yes.')
    taking(bench, 'uno')
    for (const id of [1, 2, 3]) bench.sessions.says('uno', ask({ id }))
    await settle(bench)
    expect(bench.sessions.to('uno').at(-1)).toEqual({ kind: 'fail', id: 3, c: 'rate_limited', retry: 30 })
    bench.sessions.join(sessionOf('esp'))
    bench.sessions.says('esp', ask({ id: 3 }))
    await later(bench, 30_000)
    bench.sessions.says('uno', ask({ id: 3 }))
    await settle(bench)
    expect(bench.sessions.chunksTo('esp')[0]).toMatchObject({ id: 3, t: 'Yes.' })
    expect(bench.sessions.chunksTo('uno').at(-1)).toMatchObject({ id: 3, t: 'Yes.' })
  })

  it("has its owner's word before that of the bridge, from the next question on", async () => {
    const policy = { ...sessionOf('uno').policy, asks_per_minute: 3, tokens_per_day: 1_000_000 }
    const bench = await joined(sessionOf('uno', { policy }), { asksPerMinute: 1, tokensPerDay: 1 })
    bench.source.says('Yes.')
    taking(bench, 'uno')
    for (const id of [1, 2, 3, 4]) bench.sessions.says('uno', ask({ id }))
    await settle(bench)
    expect(bench.sessions.to('uno').filter(({ kind }) => kind === 'fail')).toEqual([
      { kind: 'fail', id: 4, c: 'rate_limited', retry: 20 },
    ])
    bench.sessions.join(sessionOf('uno', { policy: { ...policy, tokens_per_day: 1 } }))
    await later(bench, 20_000)
    bench.sessions.says('uno', ask({ id: 5 }))
    await settle(bench)
    expect(bench.sessions.to('uno').at(-1)).toMatchObject({ kind: 'fail', id: 5, c: 'quota' })
  })

  it('that has had its tokens waits for the next day', async () => {
    const bench = await joined(sessionOf('uno'), { tokensPerDay: 10 })
    bench.source.says('Yes.')
    taking(bench, 'uno')
    bench.sessions.says('uno', ask({ id: 1 }))
    await settle(bench)
    bench.sessions.says('uno', ask({ id: 2 }))
    await settle(bench)
    expect(bench.sessions.to('uno').at(-1)).toMatchObject({ kind: 'fail', id: 2, c: 'quota' })
    await later(bench, 86_400_000)
    bench.sessions.says('uno', ask({ id: 3 }))
    await settle(bench)
    expect(bench.sessions.chunksTo('uno').at(-1)).toMatchObject({ id: 3 })
  })

  it('has few open questions, and takes turns with others', async () => {
    const bench = await joined(sessionOf('uno'), { asksPerMinute: 1000 })
    for (let id = 0; id <= LIMITS.asksPerDeviceMax; id++) bench.sessions.says('uno', ask({ id }))
    await settle(bench)
    expect(bench.sessions.to('uno').at(-1)).toEqual({ kind: 'fail', id: LIMITS.asksPerDeviceMax, c: 'busy', retry: 1 })
    for (let i = 0; i < LIMITS.asksRunningMax; i++) {
      bench.sessions.join(sessionOf(`d${i}`))
      for (const id of [1, 2]) bench.sessions.says(`d${i}`, ask({ id }))
    }
    await settle(bench)
    expect(bench.source.calls).toHaveLength(LIMITS.asksRunningMax)
    expect(bench.sessions.to('d31')).toContainEqual(expect.objectContaining({ kind: 'accept', s: 'queued' }))
    // who has nothing running yet goes before second questions
    bench.source.calls[0]!.end()
    await settle(bench)
    expect(bench.source.calls.at(-1)!.request.key).toBe('b1:d28:1:1')
  })

  it('that cannot grant credits gets lines at a pace', async () => {
    const bench = await joined(sessionOf('uno', { grantsCredit: false }))
    bench.source.says(
      'It is warm.\nThe vent is open, and the fan is running at half of its speed since noon today. '.repeat(2),
    )
    bench.sessions.says('uno', ask())
    await settle(bench)
    expect(bench.sessions.chunksTo('uno')).toHaveLength(1)
    await later(bench, 1000)
    const chunks = bench.sessions.chunksTo('uno')
    expect(chunks.at(-1)!.l).toBe(true)
    expect(textOf(chunks)).not.toContain('\n')
    expect(bench.desk.open).toBe(0)
  })
})

describe('a bridge that is started again', () => {
  it('goes on with the answer behind what the device has', async () => {
    const first = await joined()
    taking(first, 'uno')
    first.sessions.says('uno', ask())
    await settle(first)
    first.source.calls[0]!.listener.text(LONG.slice(0, 90), 20)
    await settle(first)
    const had = first.sessions.chunksTo('uno')
    const second = await first.restart()
    await settle(second)
    second.source.calls[0]!.listener.text(LONG, 30)
    second.source.calls[0]!.end()
    expect(second.source.calls[0]!.request.key).toBe('b1:uno:1:7')
    expect(second.source.calls[0]!.request.body).toEqual(first.source.calls[0]!.request.body)
    second.sessions.join(sessionOf('uno'))
    second.sessions.says('uno', { kind: 'credit', id: 7, next: had.length, n: 1 })
    taking(second, 'uno')
    second.sessions.says('uno', { kind: 'credit', id: 7, next: had.length, n: 1 })
    await settle(second)
    const rest = second.sessions.chunksTo('uno').filter(({ i }) => i >= had.length)
    expect(textOf(had) + textOf([...new Map(rest.map((chunk) => [chunk.i, chunk])).values()])).toBe(LONG)
    expect(rest.at(-1)!.l).toBe(true)
  })

  it('tells what is over by then', async () => {
    const first = await joined()
    first.sessions.says('uno', ask({ ttl: 10 }))
    await settle(first)
    await first.desk.stop()
    await later(first, 20_000)
    const second = await first.restart()
    second.sessions.join(sessionOf('uno'))
    await settle(second)
    expect(second.desk.open).toBe(0)
    expect(await second.store.find({ device: 'uno', boot: 1, id: 7 })).toMatchObject({ progress: 'failed' })
  })

  it('does not go on with what was taken', async () => {
    const first = await joined()
    first.source.says('Yes.')
    taking(first, 'uno')
    first.sessions.says('uno', ask())
    await settle(first)
    const second = await first.restart()
    expect(second.desk.open).toBe(0)
  })
})
