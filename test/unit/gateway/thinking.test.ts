/** Thoughts in chats and responses: told apart, counted, resumed, and given back. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { taskIdOfResponse, type ThoughtMarks } from '../../../mesh/protocol/index.ts'
import { started, tokens } from '../../fixtures/mesh-service-twin.ts'
import { saysInTurns } from '../../fixtures/twin-answers.ts'
import { CHAT, createHarness, events, sent, type Harness } from './harness.ts'

const MARKS: ThoughtMarks = { open: '<think>', close: '</think>', isOpen: false }

let h: Harness
beforeEach(() => {
  h = createHarness()
  h.twin.thought = MARKS
})
afterEach(() => h.gateway.stop())

const says = (pieces: readonly string[], tail = '', finishReason: 'stop' | 'length' = 'stop'): void => {
  h.twin.script = saysInTurns(pieces, tail, finishReason, { thoughtTokens: 3 })
}
const PIECES = ['<think>', '\nLet me', ' see.', '\n</thi', 'nk>\n', '\nHello', ' <thi', 'nk> there']

interface Chunk {
  choices: { delta: { reasoning_content?: string; content?: string }; finish_reason: string | null }[]
  usage?: object
}
const deltasOf = (body: string): Chunk['choices'][0]['delta'][] =>
  events(body).flatMap((event) => (typeof event === 'string' ? [] : (event as Chunk).choices.map(({ delta }) => delta)))
const joined = (body: string): { thought: string; content: string } => ({
  thought: deltasOf(body)
    .map((delta) => delta.reasoning_content ?? '')
    .join(''),
  content: deltasOf(body)
    .map((delta) => delta.content ?? '')
    .join(''),
})

describe('a chat', () => {
  it('has its thought beside its content, and its tokens counted', async () => {
    says(PIECES)
    const { choices, usage } = (await h.chat()).json()
    expect(choices[0].message).toEqual({
      role: 'assistant',
      content: 'Hello <think> there',
      refusal: null,
      reasoning_content: 'Let me see.',
    })
    expect(usage.completion_tokens_details).toEqual({ reasoning_tokens: 3 })
  })

  it('says nothing when it ends in its thought', async () => {
    says(['<think>', 'so'], '</th', 'length')
    const { choices } = (await h.chat()).json()
    expect(choices[0]).toMatchObject({ message: { content: '', reasoning_content: 'so</th' }, finish_reason: 'length' })
    const { body } = await h.chat({ stream: true })
    expect(joined(body)).toEqual({ thought: 'so</th', content: '' })
    expect(body).toContain('"finish_reason":"length"')
  })

  it('begins within a thought that its prompt opened', async () => {
    h.twin.thought = { ...MARKS, isOpen: true }
    says(['well', '</think>', 'yes'])
    expect((await h.chat()).json().choices[0].message).toMatchObject({ content: 'yes', reasoning_content: 'well' })
  })

  it('is told as it stands by a model that shows no thoughts', async () => {
    h.twin.thought = undefined
    says(PIECES)
    const { message } = (await h.chat()).json().choices[0]
    expect(message).toEqual({ role: 'assistant', content: PIECES.join(''), refusal: null })
  })

  it('reads tool calls in what is said alone', async () => {
    const call = '<tool_call>\n{"name": "x", "arguments": {}}\n</tool_call>'
    says([`<think>maybe ${call}</think>\n`, call])
    const tools = [{ type: 'function', function: { name: 'x' } }]
    const { message, finish_reason } = (await h.chat({ tools })).json().choices[0]
    expect(message).toMatchObject({ content: null, reasoning_content: `maybe ${call}` })
    expect(message.tool_calls).toHaveLength(1)
    expect(finish_reason).toBe('tool_calls')
  })

  it('is streamed in two members, and goes on behind any event exactly once', async () => {
    says(PIECES, '!')
    const ask = { ...CHAT, stream: true }
    const headers = { 'idempotency-key': 'k' }
    const whole = await h.post('/v1/chat/completions', ask, headers)
    expect(joined(whole.body)).toEqual({ thought: 'Let me see.', content: 'Hello <think> there!' })
    const ids = sent(whole.body).flatMap(({ id }) => (id === undefined ? [] : [id]))
    expect(ids.length).toBeGreaterThan(5)
    for (const id of ids) {
      const upTo = sent(whole.body).filter((event) => event.id !== undefined && event.id <= id)
      const had = joined(upTo.map(({ data }) => `data: ${data}\n\n`).join(''))
      const rest = joined((await h.post('/v1/chat/completions', ask, { ...headers, 'last-event-id': `${id}` })).body)
      expect(had.thought + rest.thought, `behind ${id}`).toBe('Let me see.')
      expect(had.content + rest.content, `behind ${id}`).toBe('Hello <think> there!')
    }
  })
})

describe('what a request says of thinking', () => {
  const thinkingOf = async (extra: object): Promise<unknown> => {
    expect((await h.chat(extra)).statusCode).toBe(200)
    const { prompt } = h.twin.calls.at(-1)!.request
    return prompt.kind === 'chat' ? prompt.thinking : undefined
  }

  it.each<[object, object | undefined]>([
    [{}, undefined],
    [{ reasoning_effort: null }, undefined],
    [{ reasoning_effort: 'none' }, { isOn: false }],
    [{ reasoning_effort: 'low' }, { isOn: true, effort: 'low' }],
    [{ chat_template_kwargs: { enable_thinking: false } }, { isOn: false }],
    [{ chat_template_kwargs: { thinking: true } }, { isOn: true }],
    [{ chat_template_kwargs: { enable_thinking: null } }, undefined],
    [{ chat_template_kwargs: { enable_thinking: false }, reasoning_effort: 'high' }, { isOn: false }],
  ])('%j is %j', async (extra, thinking) => {
    expect(await thinkingOf(extra)).toEqual(thinking)
  })

  it.each<[string, string, object]>([
    ['reasoning_effort', 'invalid_request', { reasoning_effort: 'a lot' }],
    ['chat_template_kwargs.enable_thinking', 'invalid_request', { chat_template_kwargs: { enable_thinking: 'no' } }],
    ['chat_template_kwargs.date', 'unsupported_parameter', { chat_template_kwargs: { date: 'today' } }],
    [
      'messages[0].reasoning_content',
      'invalid_request',
      { messages: [{ role: 'user', content: 'x', reasoning_content: 'y' }] },
    ],
  ])('%s is refused as %s', async (param, code, extra) => {
    const answer = await h.chat(extra)
    expect(answer.statusCode).toBe(400)
    expect(answer.json().error).toMatchObject({ code, param })
  })

  it('gives back what an assistant thought', async () => {
    await h.chat({
      messages: [
        { role: 'assistant', content: 'a', reasoning_content: 'why' },
        { role: 'assistant', content: 'b', reasoning: 'how' },
        { role: 'user', content: 'c', reasoning_content: null },
      ],
    })
    expect(h.twin.calls[0]!.request.prompt).toMatchObject({
      messages: [
        { role: 'assistant', content: 'a', thought: 'why' },
        { role: 'assistant', content: 'b', thought: 'how' },
        { role: 'user', content: 'c' },
      ],
    })
  })
})

interface ResponseEvent {
  type: string
  sequence_number: number
  output_index?: number
  delta?: string
  text?: string
  item?: { type: string; status: string }
  response?: { status: string; output: { type: string; status: string; content: { text: string }[] }[] }
}
const eventsOf = (body: string): ResponseEvent[] => sent(body).map(({ data }) => JSON.parse(data) as ResponseEvent)
const ASK = { model: 'tiny', input: 'hi', stream: true }

describe('a response', () => {
  const respond = async (extra: object = {}): Promise<ResponseEvent[]> =>
    eventsOf((await h.post('/v1/responses', { ...ASK, ...extra })).body)

  it('has an item for its thought in front of its message', async () => {
    says(PIECES)
    const { output, usage } = (await h.post('/v1/responses', { ...ASK, stream: false })).json()
    expect(output).toMatchObject([
      {
        type: 'reasoning',
        status: 'completed',
        summary: [],
        content: [{ type: 'reasoning_text', text: 'Let me see.' }],
      },
      { type: 'message', status: 'completed', content: [{ type: 'output_text', text: 'Hello <think> there' }] },
    ])
    expect(usage.output_tokens_details).toEqual({ reasoning_tokens: 3 })
  })

  it('tells it in events of its own', async () => {
    says(PIECES, '!')
    const all = await respond()
    const types = all.map(({ type }) => type.replace('response.', '')).filter((type, i, list) => type !== list[i - 1])
    expect(types).toEqual([
      ...['created', 'in_progress', 'output_item.added', 'content_part.added', 'reasoning_text.delta'],
      ...['reasoning_text.done', 'content_part.done', 'output_item.done'],
      ...['output_item.added', 'content_part.added', 'output_text.delta'],
      ...['output_text.done', 'content_part.done', 'output_item.done', 'completed'],
    ])
    const numbers = all.map((event) => event.sequence_number)
    expect(numbers).toEqual([...new Set(numbers)].toSorted((a, b) => a - b))
    expect(all.find(({ type }) => type === 'response.reasoning_text.done')!.text).toBe('Let me see.')
    expect(all.find(({ type }) => type === 'response.output_text.done')).toMatchObject({
      text: 'Hello <think> there!',
      output_index: 1,
    })
    expect(all.at(-1)!.response!.output.map(({ content }) => content[0]!.text)).toEqual([
      'Let me see.',
      'Hello <think> there!',
    ])
  })

  it.each<[string, readonly string[], string[]]>([
    ['without a thought', ['Hel', 'lo'], ['message']],
    ['with an empty one', ['<think>\n', '\n</think>', 'Hi'], ['message']],
    ['that only thinks', ['<think>', 'hm'], ['reasoning']],
    ['that is empty', [''], ['message']],
  ])('%s has the items that it needs', async (_what, pieces, items) => {
    says(pieces, '', 'length')
    const all = await respond()
    const types = (name: string): string[] => all.flatMap(({ type, item }) => (type === name ? [item!.type] : []))
    expect(types('response.output_item.added')).toEqual(items)
    expect(types('response.output_item.done')).toEqual(items)
    expect(all.at(-1)).toMatchObject({ type: 'response.incomplete', response: { status: 'incomplete' } })
    expect(all.at(-1)!.response!.output.map(({ type, status }) => [type, status])).toEqual(
      items.map((type) => [type, 'incomplete']),
    )
  })

  it.each([
    ['token by token', PIECES, '!'],
    ['in one piece', [PIECES.join('')], ''],
    ['with an end in its thought', ['<think>a', 'b'], 'c'],
    ['with all of it released by the end', [''], '<think>a</think>b'],
  ])('goes on behind any event exactly once: %s', async (_what, pieces, tail) => {
    says(pieces, tail)
    const { body } = await h.post('/v1/responses', ASK)
    const whole = eventsOf(body)
    const id = (whole[0]!.response as unknown as { id: string }).id
    expect(taskIdOfResponse(id)).toBeDefined()
    const ends = whole.at(-1)!.sequence_number
    for (const { sequence_number: after } of whole) {
      const rest = eventsOf((await h.get(`/v1/responses/${id}?stream=true&starting_after=${after}`)).body)
      const had = whole.filter((event) => event.sequence_number <= after)
      const both = [...had, ...(after === ends ? [] : rest)]
      const told = (type: string): string =>
        both.map((event) => (event.type === type ? (event.delta ?? '') : '')).join('')
      const names = both.map(({ type }) => type).filter((type) => !type.endsWith('.delta'))
      expect(names, `behind ${after}`).toEqual(whole.map(({ type }) => type).filter((type) => !type.endsWith('.delta')))
      for (const type of ['response.reasoning_text.delta', 'response.output_text.delta'])
        expect(told(type), `${type} behind ${after}`).toBe(
          whole.map((event) => (event.type === type ? event.delta : '')).join(''),
        )
    }
  })

  it('that failed has what it thought', async () => {
    h.twin.script = async function* () {
      yield started()
      yield tokens(0, '<think>hm')
      await new Promise((resolve) => setImmediate(resolve))
      throw new Error('broken')
    }
    const all = await respond()
    expect(all.at(-1)).toMatchObject({
      type: 'response.failed',
      sequence_number: 2 * 4096,
      response: { status: 'failed', output: [{ type: 'reasoning', status: 'incomplete' }] },
    })
  })

  it('takes an effort, and what was thought before', async () => {
    await respond({
      reasoning: { effort: 'high', summary: 'auto' },
      input: [
        { role: 'user', content: 'a' },
        { type: 'reasoning', id: 'rs_1', summary: [], content: [{ type: 'reasoning_text', text: 'why' }] },
        { role: 'assistant', content: 'b' },
        { type: 'reasoning', id: 'rs_2', summary: [], content: null, encrypted_content: 'x' },
        { role: 'user', content: 'c' },
      ],
    })
    expect(h.twin.calls[0]!.request.prompt).toEqual({
      kind: 'chat',
      messages: [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: 'b', thought: 'why' },
        { role: 'user', content: 'c' },
      ],
      thinking: { isOn: true, effort: 'high' },
    })
    const refused = await h.post('/v1/responses', { ...ASK, reasoning: { summary: 'detailed' } })
    expect(refused.json().error).toMatchObject({ code: 'unsupported_parameter', param: 'reasoning.summary' })
    const silent = await h.post('/v1/responses', { ...ASK, input: [{ type: 'reasoning', summary: [] }] })
    expect(silent.json().error).toMatchObject({ code: 'invalid_request', param: 'input' })
  })
})
