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

describe('what is known of an answer', () => {
  it('is told each time that more is: by headers, and by comments that are no statuses', async () => {
    const headers = {
      'x-skein-task': 'task_1',
      'x-skein-route': 'cloud',
      'x-skein-cloud-reason': 'too-big',
      'x-skein-attempts': '2',
    }
    const told = [': queued 2', ': keepalive', ': node desk-pc', ...WHOLE.slice(0, 2), ': cost 0.000123', ends(), DONE]
    const made: object[] = []
    let heard = 0
    const { skein } = sdk([stream(told, headers)])
    const all = await parts(skein.chatStream(ASK, { onMade: (each) => made.push(each), onAlive: () => heard++ }))
    expect(made.at(-1)).toEqual({
      ...{ taskId: 'task_1', node: 'desk-pc', route: 'cloud', attempts: 2, cloudReason: 'too-big', cost: 0.000123 },
    })
    expect(made).toHaveLength(3)
    expect(all.filter(({ type }) => type === 'status')).toEqual([
      { type: 'status', text: 'queued 2' },
      { type: 'status', text: 'node desk-pc' },
    ])
    expect(all.at(-1)).toMatchObject({ answer: { cost: 0.000123, node: 'desk-pc' } })
    expect(heard).toBeGreaterThan(told.length - 2)
  })

  it('includes the devices that the model has used; such an answer is asked for once, without a name', async () => {
    const calls = [
      { tool: 'greenhouse.temperature', arguments: '{}', op: 'read', outcome: 'done', value: 31.2, unit: 'C' },
    ]
    const { skein, asked } = sdk([stream([says('31 C.'), ends(), { choices: [], skein: { calls } }, DONE])])
    const answer = await skein.chat({ ...ASK, devices: 'read', topK: 4, minP: 0.1, effort: 'low' })
    expect(answer.deviceCalls).toEqual([
      { tool: 'greenhouse.temperature', arguments: '{}', outcome: 'done', value: 31.2, unit: 'C' },
    ])
    expect(asked[0]!.headers.has('idempotency-key')).toBe(false)
    expect(asked[0]!.body).toMatchObject({ skein: { devices: 'read' }, top_k: 4, min_p: 0.1, reasoning_effort: 'low' })

    for (const replies of [
      [stream([says('31')]), stream(WHOLE)],
      [nobody, stream(WHOLE)],
    ]) {
      const broken = sdk(replies)
      await expect(broken.skein.chat({ ...ASK, devices: 'act' })).rejects.toBeInstanceOf(UnreachableError)
      expect(broken.asked).toHaveLength(1)
    }
    // what was refused was not done
    const refused = sdk([refusal(503, 'saturated'), stream(WHOLE)])
    expect((await refused.skein.chat({ ...ASK, devices: 'act' })).text).toBe('Geese fly.')
  })

  it('of its breaks is told before each new try, which may be forbidden', async () => {
    const waits: number[] = []
    const { skein } = sdk([refusal(503, 'saturated', { 'retry-after': '3' }), stream(WHOLE)])
    await skein.chat(ASK, { onBreak: (error, waitMs) => waits.push(error.code === 'saturated' ? waitMs : 0) })
    expect(waits).toEqual([3000])
    const { skein: other, asked } = sdk([refusal(503, 'local_only')])
    const stop = (error: Error): void => {
      throw error
    }
    await expect(other.chat(ASK, { onBreak: stop })).rejects.toMatchObject({ code: 'local_only' })
    expect(asked).toHaveLength(1)
  })
})

describe('a task', () => {
  it('has its attempts and times, and can be ended', async () => {
    const attempt = (node: string, reason: string, code?: string): object => ({
      assigned: { node: { name: node }, route: 'mesh', reason, atMs: 5 },
      ...(code !== undefined && { ended: { code } }),
    })
    const body = {
      ...{ taskId: 'task_1', state: 'completed', attempts: [attempt('a', 'first', 'NODE_LOST'), attempt('b', 'lost')] },
      result: { timing: { queuedMs: 1, firstTokenMs: 2, decodeMs: 3 } },
    }
    const { skein, asked } = sdk([() => Response.json(body)])
    expect(await skein.tasks.get('task_1')).toEqual({
      ...{ id: 'task_1', state: 'completed', timing: { queuedMs: 1, firstTokenMs: 2, decodeMs: 3 } },
      attempts: [
        { node: 'a', route: 'mesh', reason: 'first', atMs: 5, code: 'NODE_LOST' },
        { node: 'b', route: 'mesh', reason: 'lost', atMs: 5, code: undefined },
      ],
    })
    await skein.tasks.cancel('task_1')
    expect(asked.map(({ url }) => url)).toEqual([
      'http://a/mesh/v1/tasks/task_1',
      'http://a/mesh/v1/tasks/task_1/cancel',
    ])
    await expect(sdk([() => Response.json({})]).skein.tasks.get('x')).rejects.toMatchObject({ code: 'protocol' })
  })
})

it('readiness is that of the coordinator, or that nobody answers', async () => {
  expect(await sdk([() => Response.json({ ready: true })]).skein.readiness()).toBe('ready')
  expect(await sdk([refusal(503, 'no_node')]).skein.readiness()).toBe('waiting')
  expect(await sdk([nobody]).skein.readiness()).toBe('away')
})
