/** The SDK's answers through breaks, beside coordinators that say what they are told to. */
import { describe, expect, it } from 'vitest'
import { DivergedError, TruncatedError, UnreachableError, type ChatPart } from '../../../clients/sdk/index.ts'
import { DONE, ends, nobody, refusal, says, sdk, stream } from './harness.ts'

const ASK = { model: 'm', messages: [{ role: 'user', content: 'hi' }] } as const
const WHOLE = [says('Geese '), says('fly.'), ends(), DONE]

async function parts(told: AsyncIterable<ChatPart>): Promise<ChatPart[]> {
  const all: ChatPart[] = []
  for await (const part of told) all.push(part)
  return all
}
const textOf = (all: readonly ChatPart[]): string => all.map((part) => (part.type === 'text' ? part.text : '')).join('')

describe('an answer', () => {
  it('is whole, and says where it was made', async () => {
    const usage = { prompt_tokens: 9, completion_tokens: 3, prompt_tokens_details: { cached_tokens: 4 } }
    const headers = { 'x-skein-task': 'task_1', 'x-skein-node': 'desk-pc', 'x-skein-route': 'mesh' }
    const { skein, asked } = sdk([stream([...WHOLE.slice(0, -1), { choices: [], usage }, DONE], headers)])
    const answer = await skein.chat({ ...ASK, localOnly: true, maxTokens: 7, format: 'json' })
    expect(answer).toEqual({
      ...{ text: 'Geese fly.', thought: '', toolCalls: [], finishReason: 'stop', resumed: 0 },
      ...{ taskId: 'task_1', node: 'desk-pc', route: 'mesh' },
      usage: { promptTokens: 9, cachedTokens: 4, completionTokens: 3 },
    })
    expect(asked[0]!.url).toBe('http://a/v1/chat/completions')
    expect(asked[0]!.body).toMatchObject({
      ...{ model: 'm', max_tokens: 7, stream: true, response_format: { type: 'json_object' } },
      skein: { local_only: true },
    })
  })

  it('tells what the mesh is at, thoughts and calls', async () => {
    const call = (piece: object): object => ({ choices: [{ delta: { tool_calls: [{ index: 0, ...piece }] } }] })
    const { skein } = sdk([
      stream([
        ': queued 2',
        { choices: [{ delta: { reasoning_content: 'Hm.' } }] },
        call({ id: 'call_1', function: { name: 'vent', arguments: '{"open"' } }),
        call({ function: { arguments: ':true}' } }),
        ends('tool_calls'),
        DONE,
      ]),
    ])
    const all = await parts(skein.chatStream(ASK))
    expect(all.slice(0, -1)).toEqual([
      { type: 'status', text: 'queued 2' },
      { type: 'thought', text: 'Hm.' },
      { type: 'tool-call', index: 0, name: 'vent', arguments: '{"open"' },
      { type: 'tool-call', index: 0, name: 'vent', arguments: ':true}' },
    ])
    expect(all.at(-1)).toMatchObject({
      answer: { thought: 'Hm.', toolCalls: [{ id: 'call_1', name: 'vent', arguments: '{"open":true}' }] },
    })
  })

  it('that was cut off at its limit is an error with what there is, unless that is wanted', async () => {
    const cut = [stream([says('Geese'), ends('length'), DONE])]
    const error = await sdk(cut)
      .skein.chat(ASK)
      .catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(TruncatedError)
    expect((error as TruncatedError).partial.text).toBe('Geese')
    expect((await sdk(cut).skein.chat({ ...ASK, allowTruncated: true })).finishReason).toBe('length')
  })
})

describe('a stream that breaks', () => {
  it('goes on behind its last event, as the same task', async () => {
    const { skein, asked } = sdk([
      stream([says('Geese '), says('fl')]),
      nobody,
      (one) => {
        expect(one.headers.get('last-event-id')).toBe('1')
        return stream([says('y.'), ends(), DONE])(one)
      },
    ])
    const all = await parts(skein.chatStream(ASK))
    expect(textOf(all)).toBe('Geese fly.')
    expect(all.at(-1)).toMatchObject({ answer: { text: 'Geese fly.', resumed: 2 } })
    const names = new Set(asked.map(({ headers }) => headers.get('idempotency-key')))
    expect(names.size).toBe(1)
    expect(new Set(asked.map(({ body }) => body['seed'])).size).toBe(1)
  })

  it('is told anew by another coordinator, and nothing of it twice', async () => {
    const { skein, asked } = sdk(
      [stream([says('Geese '), says('fl')]), nobody, stream(WHOLE)],
      ['http://a', 'http://b'],
    )
    const all = await parts(skein.chatStream(ASK))
    expect(textOf(all)).toBe('Geese fly.')
    expect(asked.map(({ url }) => new URL(url).host)).toEqual(['a', 'a', 'b'])
    expect(asked[2]!.headers.has('last-event-id')).toBe(false)
  })

  it('is an error when another coordinator makes another answer', async () => {
    const other = stream([says('Ducks swim.')])
    const { skein } = sdk([stream([says('Geese ')]), nobody, other], ['http://a', 'http://b'])
    await expect(skein.chat(ASK)).rejects.toBeInstanceOf(DivergedError)
    // it ends before what was told does
    const less = stream([says('Gee'), ends(), DONE])
    await expect(
      sdk([stream([says('Geese ')]), nobody, less], ['http://a', 'http://b']).skein.chat(ASK),
    ).rejects.toThrow(DivergedError)
  })

  it('is given up when nobody answers for long', async () => {
    const { skein, clock } = sdk([stream([says('Geese ')]), nobody])
    await expect(skein.chat(ASK)).rejects.toBeInstanceOf(UnreachableError)
    expect(clock.nowMs()).toBeGreaterThan(5000)
    expect(clock.nowMs()).toBeLessThanOrEqual(10_000)
  })

  it('without a finish reason, or with garbage, is no answer', async () => {
    for (const events of [
      [says('x'), DONE],
      ['data: nonsense', DONE],
      [ends('abort'), DONE],
    ])
      await expect(sdk([stream(events)]).skein.chat(ASK)).rejects.toMatchObject({ code: 'protocol' })
  })

  it('with an error in its middle ends with it, and is asked again after a restart', async () => {
    const failed = { error: { message: 'no node', code: 'attempts_exhausted' } }
    await expect(sdk([stream([says('x'), failed])]).skein.chat(ASK)).rejects.toMatchObject({
      code: 'attempts_exhausted',
    })
    const stopping = { error: { message: 'bye', code: 'shutting_down' } }
    const { skein } = sdk([stream([says('Geese '), stopping]), stream([says('fly.'), ends(), DONE])])
    expect((await skein.chat(ASK)).text).toBe('Geese fly.')
  })
})

describe('a refusal', () => {
  it('is an error with its code and the member at fault', async () => {
    const { skein, asked } = sdk([refusal(404, 'model_not_found', { 'x-request-id': 'req_1' })])
    await expect(skein.chat(ASK)).rejects.toMatchObject({ code: 'model_not_found', status: 404, requestId: 'req_1' })
    expect(asked).toHaveLength(1)
  })

  it('that passes is waited for as long as was asked', async () => {
    const { skein, clock } = sdk([refusal(503, 'saturated', { 'retry-after': '3' }), stream(WHOLE)])
    expect((await skein.chat(ASK)).text).toBe('Geese fly.')
    expect(clock.slept).toEqual([3000])
  })

  it('of what may not be repeated is not repeated', async () => {
    const { skein, asked } = sdk([nobody])
    await expect(skein.devices.set('greenhouse', 'vent', true)).rejects.toBeInstanceOf(UnreachableError)
    expect(asked).toHaveLength(1)
  })
})

it('ends when its signal does', async () => {
  const controller = new AbortController()
  const { skein } = sdk([stream([says('Geese ')]), nobody])
  const reason = new TypeError('enough')
  const answer = parts(skein.chatStream(ASK, { signal: controller.signal }))
  controller.abort(reason)
  await expect(answer).rejects.toBe(reason)
})
