/** The official client on the responses API: it parses every event, and comes back to answers as its own documents say. */
import OpenAI from 'openai'
import type { ResponseStreamEvent } from 'openai/resources/responses/responses'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SkeinError } from '../../mesh/protocol/index.ts'
import { end, says, saysAndHangs, started, status, tokens, TWIN_USAGE } from '../fixtures/mesh-service-twin.ts'
import { strictFetch } from '../fixtures/openai/strict.ts'
import { startGateway, type RunningGateway } from './gateway.harness.ts'

let running: RunningGateway
let client: OpenAI
beforeEach(async () => {
  running = await startGateway({ apiKey: 'sk-test' })
  client = new OpenAI({ baseURL: `${running.gateway.url}/v1`, apiKey: 'sk-test', maxRetries: 0, fetch: strictFetch })
})
afterEach(() => running.gateway.stop())

const ASK = { model: 'tiny', input: 'hi' }

async function collect(stream: AsyncIterable<ResponseStreamEvent>): Promise<ResponseStreamEvent[]> {
  const all: ResponseStreamEvent[] = []
  for await (const event of stream) all.push(event)
  return all
}
const textOf = (all: readonly ResponseStreamEvent[]): string =>
  all.map((event) => (event.type === 'response.output_text.delta' ? event.delta : '')).join('')

/** `pieces` with a gate before each of the last ones, so that a client can leave between. */
function speaksUntil(gate: Promise<void>): void {
  running.twin.script = async function* () {
    yield status('queued 1')
    yield started()
    yield tokens(0, 'Grüße', 2)
    yield tokens(2, ' 😀')
    await gate
    yield started(2, 'attic')
    yield tokens(3, ' Welt')
    yield end('!', { ...TWIN_USAGE, completionTokens: 4 }, 2)
  }
}

describe('the official client', () => {
  it('gets a whole response, and finds it again', async () => {
    const response = await client.responses.create(ASK)
    expect(response).toMatchObject({ status: 'completed', output_text: 'Hello world' })
    const found = await client.responses.retrieve(response.id)
    expect(found.output_text).toBe('Hello world')
    expect(found.usage).toEqual(response.usage)
  })

  it('accumulates a stream into the response that it ends with', async () => {
    speaksUntil(Promise.resolve())
    const stream = client.responses.stream(ASK)
    const types: string[] = []
    for await (const event of stream) types.push(event.type)
    const final = await stream.finalResponse()
    expect(final.output_text).toBe('Grüße 😀 Welt!')
    expect(types[0]).toBe('response.created')
    expect(types.at(-1)).toBe('response.completed')
    expect(types).toContain('response.output_item.done')
  })

  it('comes back with starting_after, again and again, and has every letter once', async () => {
    const gate = Promise.withResolvers<void>()
    speaksUntil(gate.promise)
    const first = await client.responses.create({ ...ASK, stream: true, background: true })
    const had: ResponseStreamEvent[] = []
    for await (const event of first) {
      had.push(event)
      if (event.type === 'response.output_text.delta') break
    }
    const created = had[0] as Extract<ResponseStreamEvent, { type: 'response.created' }>
    gate.resolve()
    const rest = await collect(
      await client.responses.retrieve(created.response.id, {
        stream: true,
        starting_after: had.at(-1)!.sequence_number,
      }),
    )
    expect(textOf([...had, ...rest])).toBe('Grüße 😀 Welt!')
    const all = await collect(await client.responses.retrieve(created.response.id, { stream: true }))
    for (const { sequence_number } of all) {
      const tail = await collect(
        await client.responses.retrieve(created.response.id, { stream: true, starting_after: sequence_number }),
      )
      const head = all.filter((event) => event.sequence_number <= sequence_number)
      expect(textOf([...head, ...tail])).toBe('Grüße 😀 Welt!')
      expect(tail.at(-1)!.type).toBe('response.completed')
    }
  })

  it('replays a response through its own accumulator', async () => {
    const { id } = await client.responses.create(ASK)
    const replay = client.responses.stream({ response_id: id })
    expect((await replay.finalResponse()).output_text).toBe('Hello world')
  })

  it('runs one in the background, and cancels it', async () => {
    running.twin.script = saysAndHangs('some')
    const { id, status: at } = await client.responses.create({ ...ASK, background: true })
    expect(['queued', 'in_progress']).toContain(at)
    expect((await client.responses.cancel(id)).status).toBe('cancelled')
    const stream = client.responses.stream({ response_id: id })
    expect((await stream.finalResponse()).status).toBe('cancelled')
  })

  it('hears of a failure as a failed response', async () => {
    running.twin.script = async function* () {
      yield started()
      yield tokens(0, 'half')
      throw new SkeinError('ATTEMPTS_EXHAUSTED', 'every node was lost')
    }
    const stream = client.responses.stream(ASK)
    const final = await stream.finalResponse()
    expect(final).toMatchObject({ status: 'failed', error: { code: 'server_error', type: 'attempts_exhausted' } })
  })

  it('hears of a stop as an error, and not as an end of the response', async () => {
    running.twin.script = saysAndHangs('a')
    const stream = await client.responses.create({ ...ASK, stream: true })
    const reading = collect(stream)
    await running.twin.called()
    const refused = expect(reading).rejects.toBeInstanceOf(OpenAI.APIError)
    await running.gateway.stop()
    await refused
    expect(running.twin.inside(running.twin.taskIds[0]!).view().state).toBe('running')
  })

  it('parses what a schema holds the answer to', async () => {
    running.twin.script = async function* () {
      yield started()
      yield tokens(0, '{"a":1}')
      yield end()
    }
    const format = { type: 'json_schema' as const, name: 'x', schema: { type: 'object' }, strict: true }
    const response = await client.responses.create({ ...ASK, text: { format } })
    expect(JSON.parse(response.output_text)).toEqual({ a: 1 })
    expect(response.text?.format).toMatchObject({ type: 'json_schema', name: 'x' })
  })

  it('has a tool called, streamed and whole, and goes on with the result', async () => {
    const call = '<tool_call>\n{"name": "warmth", "arguments": {"unit": "C"}}\n</tool_call>'
    const tools = [{ type: 'function' as const, name: 'warmth', parameters: { type: 'object' }, strict: true }]
    running.twin.script = says('Let me ', 'look.\n', call.slice(0, 30), call.slice(30))
    const stream = client.responses.stream({ ...ASK, tools })
    let given = ''
    for await (const event of stream) if (event.type === 'response.function_call_arguments.delta') given += event.delta
    const first = await stream.finalResponse()
    expect(first.output_text).toBe('Let me look.')
    const called = first.output.find((item) => item.type === 'function_call')!
    expect(called).toMatchObject({ name: 'warmth', arguments: '{"unit": "C"}', status: 'completed' })
    expect(given).toBe('{"unit": "C"}')
    expect((await client.responses.create({ ...ASK, tools, tool_choice: 'required' })).output).toHaveLength(2)
    running.twin.script = says('17 degrees')
    const second = await client.responses.create({
      model: 'tiny',
      previous_response_id: first.id,
      input: [{ type: 'function_call_output', call_id: called.call_id, output: '17' }],
      tools,
    })
    expect(second).toMatchObject({ output_text: '17 degrees', previous_response_id: first.id })
    const types: string[] = []
    for await (const item of client.responses.inputItems.list(second.id, { order: 'asc', limit: 2 }))
      types.push(item.type)
    expect(types).toEqual(['message', 'message', 'function_call', 'function_call_output'])
    await client.responses.delete(first.id)
    await expect(client.responses.retrieve(first.id)).rejects.toMatchObject({ status: 404 })
    const lost = client.responses.create({ ...ASK, previous_response_id: first.id })
    await expect(lost).rejects.toMatchObject({ status: 404, param: 'previous_response_id' })
    // what it went on from is its own
    expect((await client.responses.retrieve(second.id)).output_text).toBe('17 degrees')
  })

  it('keeps nothing of what is not to be stored', async () => {
    const { id } = await client.responses.create({ ...ASK, store: false })
    await expect(client.responses.retrieve(id)).rejects.toMatchObject({ status: 404 })
    await expect(client.responses.inputItems.list(id)).rejects.toMatchObject({ status: 404 })
  })

  it('lists models in its own types', async () => {
    const { data } = await client.models.list()
    expect(data.map(({ id }) => id)).toContain('tiny')
    expect((await client.models.retrieve('org/tiny-chat')).object).toBe('model')
  })

  it('gets log probabilities of a chat in its own types', async () => {
    const bytes = new TextEncoder().encode('Hi')
    running.twin.script = async function* () {
      yield started()
      yield tokens(0, 'Hi', 1, [{ bytes, logprob: -0.25, top: [{ bytes, logprob: -0.25 }] }])
      yield end()
    }
    const chat = await client.chat.completions.create({
      model: 'tiny',
      messages: [{ role: 'user', content: 'x' }],
      logprobs: true,
      top_logprobs: 1,
    })
    expect(chat.choices[0]!.logprobs?.content?.[0]).toEqual({
      token: 'Hi',
      logprob: -0.25,
      bytes: [72, 105],
      top_logprobs: [{ token: 'Hi', logprob: -0.25, bytes: [72, 105] }],
    })
  })
})
