/** Tools in chats: what of a request becomes a task, and how calls are told, whole, streamed, and come back to. */
import * as fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LIMITS, toolCallText } from '../../../mesh/protocol/index.ts'
import { end, says, started, tokens, TWIN_USAGE } from '../../fixtures/mesh-service-twin.ts'
import { CHAT, createHarness, events, sent, type Harness } from './harness.ts'

let h: Harness
beforeEach(() => {
  h = createHarness()
})
afterEach(() => h.gateway.stop())

const PARAMETERS = { type: 'object', properties: { unit: { enum: ['C', 'F'] } } }
const tool = (name: string, more: object = {}): object => ({ type: 'function', function: { name, ...more } })
const TOOLS = [
  tool('greenhouse.temperature', { description: 'Reads it', parameters: PARAMETERS, strict: true }),
  tool('say'),
]
const GIVEN = [
  { name: 'greenhouse.temperature', description: 'Reads it', parameters: JSON.stringify(PARAMETERS) },
  { name: 'say', parameters: '{"type":"object","properties":{}}' },
]
const AUTO = { kind: 'tool-calls', choice: 'auto', callsMax: LIMITS.answerToolCallsMax }
const ID = 'call_aaaaaaaaaaaaaaaaaaaaaaab'

const call = (name: string, given = '{}'): string => toolCallText({ name, arguments: given })
const asked = (): (typeof h.twin.calls)[number]['request'] => h.twin.calls.at(-1)!.request

describe('a request with tools', () => {
  it.each<[string, object, object | undefined]>([
    ['nothing else', {}, AUTO],
    ['auto', { tool_choice: 'auto' }, AUTO],
    ['a JSON answer', { response_format: { type: 'json_object' } }, { ...AUTO, content: { kind: 'json' } }],
    ['one call at most', { parallel_tool_calls: false }, { ...AUTO, callsMax: 1 }],
    ['required', { tool_choice: 'required' }, { ...AUTO, choice: 'required' }],
    [
      'exactly one',
      { tool_choice: 'required', parallel_tool_calls: false },
      { ...AUTO, choice: 'required', callsMax: 1 },
    ],
    [
      'a named one',
      { tool_choice: { type: 'function', function: { name: 'say' } } },
      { ...AUTO, choice: 'required', name: 'say', callsMax: 1 },
    ],
  ])('and %s is a task with them', async (_what, extra, format) => {
    expect((await h.chat({ tools: TOOLS, ...extra })).statusCode).toBe(200)
    expect(asked().prompt).toMatchObject({ tools: GIVEN })
    expect(asked().format).toEqual(format)
  })

  it.each([{ tools: TOOLS, tool_choice: 'none' }, { tools: [] }, { tool_choice: 'auto', parallel_tool_calls: false }])(
    'shows none with %j',
    async (extra) => {
      h.twin.script = says(call('say'))
      const answer = await h.chat(extra)
      expect(asked().prompt).not.toHaveProperty('tools')
      expect(asked()).not.toHaveProperty('format')
      // nothing was offered, so that nothing is called
      expect(answer.json().choices[0]).toMatchObject({ message: { content: call('say') }, finish_reason: 'stop' })
    },
  )

  it('has the calls of earlier answers, and their results', async () => {
    const calls = [
      { id: 'call_1', type: 'function', function: { name: 'say', arguments: '{"text": "x"}' } },
      { id: 'call_2', function: { name: 'a.b', arguments: '' } },
    ]
    const messages = [
      { role: 'user', content: 'say x' },
      { role: 'assistant', content: null, tool_calls: calls },
      { role: 'tool', tool_call_id: 'call_1', content: [{ type: 'text', text: 'said' }] },
      { role: 'assistant', content: 'so', tool_calls: null },
    ]
    await h.chat({ messages })
    expect(asked().prompt).toEqual({
      kind: 'chat',
      messages: [
        { role: 'user', content: 'say x' },
        {
          role: 'assistant',
          content: '',
          toolCalls: [
            { id: 'call_1', name: 'say', arguments: '{"text": "x"}' },
            { id: 'call_2', name: 'a.b', arguments: '{}' },
          ],
        },
        { role: 'tool', content: 'said', toolCallId: 'call_1' },
        { role: 'assistant', content: 'so' },
      ],
    })
  })

  const message = (extra: object): object => ({ messages: [{ role: 'assistant', content: null, ...extra }] })
  const calls = (fields: object): object => message({ tool_calls: [{ id: 'c', type: 'function', ...fields }] })
  const deep = '{"a":'.repeat(LIMITS.jsonDepthMax + 1) + '1' + '}'.repeat(LIMITS.jsonDepthMax + 1)

  it.each<[string, object]>([
    ['tools', { tools: {} }],
    ['tools[0]', { tools: ['x'] }],
    ['tools[0].type', { tools: [{ function: { name: 'x' } }] }],
    ['tools[0].function', { tools: [{ type: 'function' }] }],
    ['tools[0].function.name', { tools: [tool('a b')] }],
    ['tools[0].function.name', { tools: [tool('x'.repeat(65))] }],
    ['tools[1].function.name', { tools: [tool('x'), tool('x')] }],
    ['tools[0].function.description', { tools: [tool('x', { description: 5 })] }],
    ['tools[0].function.parameters', { tools: [tool('x', { parameters: 'x' })] }],
    [
      'tools[0].function.parameters',
      { tools: [tool('x', { parameters: { description: 'x'.repeat(LIMITS.outputSchemaLengthMax) } })] },
    ],
    ['tools', { tools: Array.from({ length: LIMITS.toolsMax + 1 }, (_, i) => tool(`t${i}`)) }],
    ['tools', { tools: [tool('x', { description: 'x'.repeat(LIMITS.toolsBytesMax) })] }],
    ['tool_choice', { tools: TOOLS, tool_choice: 'maybe' }],
    ['tool_choice', { tools: TOOLS, tool_choice: 5 }],
    ['tool_choice', { tool_choice: 'required' }],
    ['tool_choice', { tool_choice: { type: 'function', function: { name: 'say' } } }],
    ['tool_choice', { tools: TOOLS, tool_choice: { type: 'function', function: { name: 'other' } } }],
    ['tool_choice.type', { tools: TOOLS, tool_choice: {} }],
    ['tool_choice.function.name', { tools: TOOLS, tool_choice: { type: 'function', function: {} } }],
    ['parallel_tool_calls', { tools: TOOLS, parallel_tool_calls: 'no' }],
    ['messages[0].content', message({ tool_calls: [] })],
    [
      'messages[0].tool_calls',
      {
        messages: [{ role: 'user', content: 'x', tool_calls: [{ id: 'c', function: { name: 'x', arguments: '{}' } }] }],
      },
    ],
    ['messages[0].tool_calls[0].id', message({ tool_calls: [{ function: { name: 'x', arguments: '{}' } }] })],
    ['messages[0].tool_calls[0].id', message({ tool_calls: [{ id: 'x'.repeat(LIMITS.toolCallIdLengthMax + 1) }] })],
    ['messages[0].tool_calls[0].function', calls({})],
    ['messages[0].tool_calls[0].function.name', calls({ function: { name: '', arguments: '{}' } })],
    ['messages[0].tool_calls[0].function.arguments', calls({ function: { name: 'x' } })],
    ['messages[0].tool_calls[0].function.arguments', calls({ function: { name: 'x', arguments: '[]' } })],
    ['messages[0].tool_calls[0].function.arguments', calls({ function: { name: 'x', arguments: '{"a":' } })],
    ['messages[0].tool_calls[0].function.arguments', calls({ function: { name: 'x', arguments: deep } })],
    ['messages[0].tool_call_id', { messages: [{ role: 'tool', content: 'x' }] }],
    [
      'messages',
      message({
        tool_calls: Array.from({ length: LIMITS.toolCallsMax + 1 }, () => ({
          id: 'c',
          function: { name: 'x', arguments: '{}' },
        })),
      }),
    ],
  ])('that is wrong in %s is refused', async (param, extra) => {
    const answer = await h.chat(extra)
    expect(answer.statusCode).toBe(400)
    expect(answer.json().error).toMatchObject({ code: 'invalid_request', param })
    expect(h.twin.calls).toEqual([])
  })

  it.each<[string, object]>([
    ['tools[0].type', { tools: [{ type: 'custom', custom: { name: 'x' } }] }],
    ['tool_choice.type', { tools: TOOLS, tool_choice: { type: 'custom', custom: { name: 'x' } } }],
    ['messages[0].tool_calls[0].type', message({ tool_calls: [{ id: 'c', type: 'custom' }] })],
    ['messages[0].function_call', message({ content: 'x', function_call: { name: 'x' } })],
    ['functions', { functions: [{ name: 'x' }] }],
  ])('that asks for %s is refused as not supported yet', async (param, extra) => {
    expect((await h.chat(extra)).json().error).toMatchObject({ code: 'unsupported_parameter', param })
  })
})

const CALLED = (index: number, name: string, given = '{}'): object => ({
  id: `${ID}_${index}`,
  type: 'function',
  function: { name, arguments: given },
})

describe('a whole answer', () => {
  it('has its calls, and waits for their results', async () => {
    h.twin.script = says('<tool_', call('a.b', '{"unit": "C"}').slice(6), '\n', call('say'))
    const { choices } = (await h.chat({ tools: TOOLS })).json()
    expect(choices).toEqual([
      {
        index: 0,
        message: {
          role: 'assistant',
          content: null,
          refusal: null,
          tool_calls: [CALLED(0, 'a.b', '{"unit": "C"}'), CALLED(1, 'say')],
        },
        logprobs: null,
        finish_reason: 'tool_calls',
      },
    ])
  })

  it('has text beside them, and no calls where it has none', async () => {
    h.twin.script = says('Let me see.\n', call('say'))
    expect((await h.chat({ tools: TOOLS })).json().choices[0].message).toMatchObject({
      content: 'Let me see.',
      tool_calls: [CALLED(0, 'say')],
    })
    h.twin.script = says('No tool ', 'is needed. ')
    const { message, finish_reason } = (await h.chat({ tools: TOOLS })).json().choices[0]
    expect(message).toEqual({ role: 'assistant', content: 'No tool is needed. ', refusal: null })
    expect(finish_reason).toBe('stop')
  })

  it('that was cut in a call has it as text, and says that it was cut', async () => {
    h.twin.script = async function* () {
      yield started()
      yield tokens(0, call('say'))
      yield tokens(1, '\n<tool_call>\n{"na')
      yield end('', TWIN_USAGE, 1, 'length')
    }
    const { message, finish_reason } = (await h.chat({ tools: TOOLS })).json().choices[0]
    expect(message).toMatchObject({ content: '<tool_call>\n{"na', tool_calls: [CALLED(0, 'say')] })
    expect(finish_reason).toBe('length')
  })

  it('that was cut in the arguments of a call has them as far as they came', async () => {
    h.twin.script = async function* () {
      yield started()
      yield tokens(0, '<tool_call>\n{"name": "say", "arguments": {"text": "so')
      yield end('', TWIN_USAGE, 1, 'length')
    }
    const { message, finish_reason } = (await h.chat({ tools: TOOLS })).json().choices[0]
    expect(message).toMatchObject({ content: null, tool_calls: [CALLED(0, 'say', '{"text": "so')] })
    expect(finish_reason).toBe('length')
  })
})

interface Delta {
  readonly content?: string
  readonly tool_calls?: readonly Piece[]
}
interface Piece {
  readonly index: number
  /** Of the first piece of a call. */
  readonly id?: string
  readonly function: { readonly name?: string; readonly arguments: string }
}
const choiceOf = (event: unknown): { delta: Delta; finish_reason: string | null } | undefined =>
  (event as { choices?: [{ delta: Delta; finish_reason: string | null }] }).choices?.[0]
const deltas = (body: string): Delta[] => events(body).flatMap((event) => choiceOf(event)?.delta ?? [])
const textOf = (body: string): string =>
  deltas(body)
    .map(({ content = '' }) => content)
    .join('')
const callsOf = (body: string): Piece[] => deltas(body).flatMap(({ tool_calls = [] }) => tool_calls)
const finish = (body: string): unknown => choiceOf(events(body).at(-2))?.finish_reason

/** Each piece two tokens, by itself. */
function speaks(pieces: readonly string[], tail = ''): void {
  h.twin.script = async function* () {
    yield started()
    for (const [i, piece] of pieces.entries()) {
      yield tokens(2 * i, piece, 2)
      await new Promise((resolve) => setImmediate(resolve))
    }
    yield end(tail, { ...TWIN_USAGE, completionTokens: 2 * pieces.length })
  }
}

const KEY = { 'idempotency-key': 'key-1' }
const stream = (headers: Record<string, string> = KEY) =>
  h.post('/v1/chat/completions', { ...CHAT, stream: true, tools: TOOLS }, headers)

describe('a stream', () => {
  it('tells text as it comes, and a call that comes at once in one piece', async () => {
    speaks([
      'Let ',
      'me.',
      '\n<tool',
      '_call>\n{"name": "a.b", ',
      '"arguments": {"x": 1}}\n</tool_call>',
      '\n',
      call('say'),
    ])
    const { body } = await stream()
    expect(textOf(body)).toBe('Let me.')
    expect(callsOf(body)).toEqual([
      { index: 0, ...CALLED(0, 'a.b', '{"x": 1}') },
      { index: 1, ...CALLED(1, 'say') },
    ])
    expect(finish(body)).toBe('tool_calls')
    expect(events(body).at(-1)).toBe('[DONE]')
    expect(deltas(body)[1]).toEqual({ content: 'Let' })
  })

  it('tells the arguments of a call as they come, each piece once for who comes back', async () => {
    const given = '{"text": "a }</tool_call> b", "n": [1, {}]}'
    speaks([
      '<tool_call>\n{"name"',
      ': "say", "argum',
      'ents": {"te',
      ...given.slice(4).match(/.{1,3}/g)!,
      '}\n</tool_',
      'call>',
      call('a.b'),
    ])
    const whole = await stream()
    const joined = (pieces: readonly Piece[]): string[] => {
      const said: string[] = []
      for (const { index, function: called } of pieces)
        said[index] = (said[index] ?? '') + (called.name ? `${called.name}: ` : '') + called.arguments
      return said
    }
    const pieces = callsOf(whole.body)
    expect(pieces.length).toBeGreaterThan(8)
    expect(pieces[0]).toEqual({ index: 0, ...CALLED(0, 'say', '{"te') })
    expect(pieces[1]).toEqual({ index: 0, function: { arguments: 'xt"' } })
    expect(joined(pieces)).toEqual([`say: ${given}`, 'a.b: {}'])
    expect(textOf(whole.body)).toBe('')
    const had: Piece[] = []
    for (const { id, data } of sent(whole.body).filter((event) => event.id !== undefined)) {
      had.push(...(choiceOf(JSON.parse(data))!.delta.tool_calls ?? []))
      const rest = await stream({ ...KEY, 'last-event-id': String(id) })
      expect(joined([...had, ...callsOf(rest.body)]), `behind ${id}`).toEqual(joined(pieces))
    }
  })

  it('tells what looked like a call at its end', async () => {
    speaks(['a ', '<tool_call>', '{"name":'], ' x')
    const { body } = await stream()
    expect(textOf(body)).toBe('a <tool_call>{"name": x')
    expect(callsOf(body)).toEqual([])
    expect(finish(body)).toBe('stop')
  })

  it('tells log probabilities beside calls', async () => {
    const logprob = (text: string) => ({ bytes: Buffer.from(text), logprob: -1, top: [] })
    h.twin.script = async function* () {
      yield started()
      yield tokens(0, call('say'), 1, [logprob('<tool_call>')])
      yield end()
    }
    const { body } = await h.chat({ stream: true, tools: TOOLS, logprobs: true })
    const chunk = events(body)[1] as { choices: [{ delta: Delta; logprobs: { content: object[] } }] }
    expect(chunk.choices[0].delta.tool_calls).toHaveLength(1)
    expect(chunk.choices[0].logprobs.content).toHaveLength(1)
  })
})

describe('who comes back', () => {
  it.each(['', 'tail', '\n<tool_ca', `\n${call('late')}`])(
    'has each call once, behind every id, tail %j',
    async (tail) => {
      speaks(
        [
          'Let',
          ' me ',
          '<tool_call>\n{"name": "a.b"',
          ', "arguments": {}}',
          '\n</tool_call>',
          '\n',
          call('say'),
          'x <tool',
        ],
        tail,
      )
      const whole = await stream()
      const chunks = sent(whole.body).filter(({ id }) => id !== undefined)
      let text = ''
      const calls: object[] = []
      for (const { id, data } of chunks) {
        const { content = '', tool_calls = [] } = choiceOf(JSON.parse(data))!.delta
        text += content
        calls.push(...tool_calls)
        const rest = await stream({ ...KEY, 'last-event-id': String(id) })
        expect(rest.statusCode).toBe(200)
        expect(text + textOf(rest.body), `behind ${id}`).toBe(textOf(whole.body))
        expect([...calls, ...callsOf(rest.body)], `behind ${id}`).toEqual(callsOf(whole.body))
        expect(finish(rest.body)).toBe('tool_calls')
      }
      expect(calls).toHaveLength(tail.includes('late') ? 3 : 2)
      expect(h.twin.calls).toHaveLength(1)
    },
  )

  it('gets the same ids from a replay', async () => {
    speaks([call('say'), call('say')])
    const first = callsOf((await stream()).body)
    expect(callsOf((await stream()).body)).toEqual(first)
    expect(new Set(first.map((each) => each.id)).size).toBe(2)
  })

  it('has all of it once, wherever the text was cut', async () => {
    const fragment = fc.oneof(
      fc.constantFrom(
        '<tool_call>',
        '</tool_call>',
        '\n',
        ' ',
        '{"name": "x", "arguments": {}}',
        '"',
        call('a'),
        `${call('b')}\n`,
      ),
      fc.string({ maxLength: 4 }),
    )
    let run = 0
    await fc.assert(
      fc.asyncProperty(
        fc.array(fragment, { minLength: 1, maxLength: 8 }),
        fragment,
        fc.nat(),
        async (pieces, tail, at) => {
          const key = { 'idempotency-key': `run-${run++}` }
          speaks(pieces, tail)
          const whole = await stream(key)
          const chunks = sent(whole.body).filter(({ id }) => id !== undefined)
          const had = chunks.slice(0, 1 + (at % chunks.length))
          const rest = await stream({ ...key, 'last-event-id': String(had.at(-1)!.id) })
          const begun = had.map(({ data }) => choiceOf(JSON.parse(data))!.delta)
          expect(begun.map(({ content = '' }) => content).join('') + textOf(rest.body)).toBe(textOf(whole.body))
          expect([...begun.flatMap(({ tool_calls = [] }) => tool_calls), ...callsOf(rest.body)]).toEqual(
            callsOf(whole.body),
          )
          expect(finish(rest.body)).toBe(finish(whole.body))
        },
      ),
      { numRuns: 60 },
    )
  })
})
