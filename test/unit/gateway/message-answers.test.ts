/** Anthropic's messages API: how answers and their streams are written. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LIMITS, SkeinError, type ThoughtMarks } from '../../../mesh/protocol/index.ts'
import { end, started, status, tokens } from '../../fixtures/mesh-service-twin.ts'
import { saysInTurns } from '../../fixtures/twin-answers.ts'
import { comments, createHarness, sent, turns, type Harness } from './harness.ts'

const MARKS: ThoughtMarks = { open: '<think>', close: '</think>', isOpen: false }
const CALL = '<tool_call>\n{"name": "lamp.set", "arguments": {"on": true}}\n</tool_call>'
const TOOL = { name: 'lamp.set', description: 'Switches it', input_schema: { type: 'object' } }
const ASK = { model: 'tiny', max_tokens: 64, messages: [{ role: 'user', content: 'hi' }] }

let h: Harness
beforeEach(() => {
  h = createHarness()
})
afterEach(() => h.gateway.stop())

const post = (extra: object = {}, headers: Record<string, string> = {}) =>
  h.post('/v1/messages', { ...ASK, ...extra }, headers)

const says = (...said: Parameters<typeof saysInTurns>): void => {
  h.twin.script = saysInTurns(...said)
}

describe('a whole message', () => {
  it('has the members of the API, and no others', async () => {
    says(['Hello', ' there'])
    const { headers, ...response } = await post({}, { 'x-request-id': 'mine' })
    expect(response.json()).toEqual({
      id: expect.stringMatching(/^msg_[a-z2-7]{24}$/),
      type: 'message',
      role: 'assistant',
      model: 'tiny',
      content: [{ type: 'text', text: 'Hello there', citations: null }],
      stop_reason: 'end_turn',
      stop_sequence: null,
      stop_details: null,
      container: null,
      diagnostics: null,
      usage: {
        input_tokens: 4,
        cache_creation: null,
        cache_creation_input_tokens: 0,
        cache_read_input_tokens: 3,
        inference_geo: null,
        output_tokens: 2,
        output_tokens_details: null,
        server_tool_use: null,
        service_tier: null,
        speed: null,
      },
    })
    expect(headers).toMatchObject({ 'request-id': 'mine', 'x-skein-node': 'desk-pc' })
  })

  it('has its calls as blocks, with what is said beside them', async () => {
    says(['One moment.\n', CALL, '\n', CALL])
    const { content, stop_reason } = (await post({ tools: [TOOL] })).json()
    expect(content).toMatchObject([
      { type: 'text', text: 'One moment.' },
      { type: 'tool_use', id: expect.stringMatching(/^toolu_[a-z2-7]{24}_0$/), name: 'lamp.set', input: { on: true } },
      { type: 'tool_use', id: expect.stringMatching(/_1$/), input: { on: true } },
    ])
    expect(stop_reason).toBe('tool_use')
  })

  it('tells of a call that was cut that it was cut', async () => {
    says(['<tool_call>\n{"name": "lamp.set", "arguments": {"on": tr'], '', 'length')
    const { content, stop_reason } = (await post({ tools: [TOOL] })).json()
    expect(content).toMatchObject([{ type: 'tool_use', input: {} }])
    expect(stop_reason).toBe('max_tokens')
  })

  it('names the stop sequence that ended it, also in the middle of a call', async () => {
    const ask = { stop_sequences: ['END', '}'], tools: [TOOL] }
    const cut = (text: string, stopIndex: number): void => {
      h.twin.script = async function* () {
        yield started()
        yield tokens(0, text)
        yield { ...end(), stopIndex }
      }
    }
    cut('Well', 0)
    expect((await post(ask)).json()).toMatchObject({ stop_reason: 'stop_sequence', stop_sequence: 'END' })
    const delta = { stop_reason: 'stop_sequence', stop_sequence: 'END', stop_details: null, container: null }
    expect(eventsOf((await post({ ...ask, stream: true })).body).at(-2)).toMatchObject({ delta })
    cut('<tool_call>\n{"name": "lamp.set", "arguments": {"on": true', 1)
    expect((await post(ask)).json()).toMatchObject({ content: [{ input: {} }], stop_sequence: '}' })
    // of a node that names one that nobody asked for
    cut('Well', 2)
    expect((await post(ask)).json()).toMatchObject({ stop_reason: 'end_turn', stop_sequence: null })
  })

  it('is an error when no client could read a call of it', async () => {
    says(['<tool_call>\n{"name": "lamp.set", "arguments": {"on": maybe}}\n</tool_call>'])
    const failed = { error: { type: 'api_error', details: { error_code: 'engine_failed' } } }
    const response = await post({ tools: [TOOL] })
    expect(response.statusCode).toBe(502)
    expect(response.json()).toMatchObject(failed)
    const deep = LIMITS.jsonDepthMax + 1
    says([`<tool_call>\n{"name": "x", "arguments": {"a": ${'['.repeat(deep)}${']'.repeat(deep)}}}\n</tool_call>`])
    expect((await post({ tools: [TOOL] })).json()).toMatchObject(failed)
  })

  it('shows thoughts to who asks for them', async () => {
    h.twin.thought = MARKS
    const answer = async (thinking?: object): Promise<object[]> => {
      says(['<think>', 'Hm.', '</think>', 'Yes'])
      return (await post(thinking && { thinking })).json().content
    }
    const text = { type: 'text', text: 'Yes', citations: null }
    const thought = { type: 'thinking', thinking: 'Hm.', signature: 'unsigned' }
    expect(await answer({ type: 'enabled', budget_tokens: 2000 })).toEqual([thought, text])
    expect(await answer({ type: 'adaptive', display: 'omitted' })).toEqual([{ ...thought, thinking: '' }, text])
    expect(await answer({ type: 'disabled' })).toEqual([text])
    expect(await answer()).toEqual([text])
  })

  it('is the same again under its Idempotency-Key', async () => {
    const headers = { 'idempotency-key': 'k' }
    const first = await post({}, headers)
    const again = await post({}, headers)
    expect(again.json()).toEqual(first.json())
    expect(again.headers['x-skein-replayed']).toBe('true')
    expect((await post({ max_tokens: 65 }, headers)).json()).toMatchObject({ error: { type: 'invalid_request_error' } })
  })
})

/** The events of a stream, each with its name checked, without the pings. */
const eventsOf = (body: string): Record<string, unknown>[] =>
  sent(body).flatMap(({ name, data }) => {
    const event = JSON.parse(data) as { type: string }
    expect(event.type).toBe(name)
    return name === 'ping' ? [] : [event]
  })

interface BlockEvent {
  readonly type: string
  readonly index: number
  readonly content_block: { readonly type: string; readonly name?: string }
  readonly delta: Readonly<Record<'text' | 'thinking' | 'partial_json' | 'signature', string | undefined>>
}

/** What a client puts together: a line for each block, in its order. */
function blocksOf(body: string): string[] {
  const blocks: string[] = []
  const open = new Set<number>()
  for (const event of eventsOf(body) as unknown as BlockEvent[]) {
    if (event.type === 'content_block_start') {
      expect(event.index).toBe(blocks.length)
      expect(open.size).toBe(0)
      open.add(event.index)
      blocks.push(`${event.content_block.type}:${event.content_block.name ?? ''}`)
    } else if (event.type === 'content_block_delta') {
      expect(open.has(event.index)).toBe(true)
      const { delta } = event
      blocks[event.index] += delta.text ?? delta.thinking ?? delta.partial_json ?? `|${delta.signature}`
    } else if (event.type === 'content_block_stop') expect(open.delete(event.index)).toBe(true)
  }
  expect(open.size).toBe(0)
  return blocks
}

describe('a streamed message', () => {
  it('has the events of the API in their order', async () => {
    says(['Hello', ' there'], '!')
    const response = await post({ stream: true })
    expect(response.headers).toMatchObject({ 'content-type': expect.stringMatching(/^text\/event-stream/) })
    expect(response.headers['request-id']).toBe(response.headers['x-request-id'])
    const all = eventsOf(response.body)
    expect(all[0]).toMatchObject({
      message: { content: [], stop_reason: null, usage: { input_tokens: 0, output_tokens: 0 } },
    })
    expect(all.slice(-2)).toEqual([
      {
        type: 'message_delta',
        delta: { stop_reason: 'end_turn', stop_sequence: null, stop_details: null, container: null },
        usage: {
          input_tokens: 4,
          cache_creation_input_tokens: 0,
          cache_read_input_tokens: 3,
          output_tokens: 2,
          output_tokens_details: null,
          server_tool_use: null,
        },
      },
      { type: 'message_stop' },
    ])
    expect(blocksOf(response.body)).toEqual(['text:Hello there!'])
  })

  it('opens and closes a block for each run, whatever the pieces', async () => {
    h.twin.thought = MARKS
    const text = `<think>Hm.</think>Well: ${CALL}${CALL} done`
    for (const size of [1, 3, 7, 1000]) {
      says(text.match(new RegExp(`[^]{1,${size}}`, 'g'))!)
      const { body } = await post({ stream: true, tools: [TOOL], thinking: { type: 'adaptive' } })
      expect(blocksOf(body), `pieces of ${size}`).toEqual([
        'thinking:Hm.|unsigned',
        'text:Well:',
        'tool_use:lamp.set{"on": true}',
        'tool_use:lamp.set{"on": true}',
        'text:done',
      ])
      expect(body).toContain('"stop_reason":"tool_use"')
    }
  })

  it('tells thoughts without their text, or not at all', async () => {
    h.twin.thought = MARKS
    says(['<think>', 'Hm.', '</think>', 'Yes'])
    const omitted = await post({ stream: true, thinking: { type: 'enabled', display: 'omitted' } })
    expect(blocksOf(omitted.body)).toEqual(['thinking:|unsigned', 'text:Yes'])
    says(['<think>', 'Hm.', '</think>', 'Yes'])
    expect(blocksOf((await post({ stream: true })).body)).toEqual(['text:Yes'])
  })

  it('says nothing and ends all the same', async () => {
    says([], '', 'length')
    const { body } = await post({ stream: true })
    expect(eventsOf(body).map(({ type }) => type)).toEqual(['message_start', 'message_delta', 'message_stop'])
    expect(body).toContain('"stop_reason":"max_tokens"')
  })

  it('pings where other streams have comments, and says there what it waits for', async () => {
    h.twin.script = async function* () {
      yield started()
      yield status('node lost\n\nevent: error')
      await turns()
      yield tokens(0, 'a')
      yield end()
    }
    const { body } = await post({ stream: true })
    expect(comments(body)).toEqual(['node lost event: error'])
    expect(sent(body).filter(({ name }) => name === 'ping')).toEqual([
      { id: undefined, name: 'ping', data: '{"type":"ping"}' },
    ])
  })

  it('ends with an error event when it breaks', async () => {
    h.twin.script = async function* () {
      yield started()
      yield tokens(0, 'half')
      throw new SkeinError('ATTEMPTS_EXHAUSTED', 'every node was lost')
    }
    const { body } = await post({ stream: true }, { 'x-request-id': 'r1' })
    expect(eventsOf(body).at(-1)).toEqual({
      type: 'error',
      error: { type: 'api_error', message: 'every node was lost', details: { error_code: 'attempts_exhausted' } },
      request_id: 'r1',
    })
    expect(body).not.toContain('message_stop')
  })
})
