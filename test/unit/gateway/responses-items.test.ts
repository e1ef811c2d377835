/** Responses that call tools: what they are asked, their items, and their events, which are gone on with behind any. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { COUNTED_EVENTS_MAX, ITEM_STEP } from '../../../coordinator/gateway/responses-item-stream.ts'
import { saysInTurns } from '../../fixtures/twin-answers.ts'
import { createHarness, sent, type Harness } from './harness.ts'

let h: Harness
beforeEach(() => {
  h = createHarness()
})
afterEach(() => h.gateway.stop())

const TOOLS = [
  { type: 'function', name: 'say', description: 'Says it.', parameters: { type: 'object' }, strict: true },
  { type: 'function', name: 'a.b' },
]
const ASK = { model: 'tiny', input: 'hi', tools: TOOLS }
const create = (extra: object = {}, headers: Record<string, string> = {}) =>
  h.post('/v1/responses', { ...ASK, ...extra }, headers)

const call = (name: string, given = '{}'): string =>
  `<tool_call>\n{"name": "${name}", "arguments": ${given}}\n</tool_call>`

const says = (...said: Parameters<typeof saysInTurns>): void => {
  h.twin.script = saysInTurns(...said)
}

interface Item {
  id: string
  type: string
  status: string
  name?: string
  arguments?: string
  call_id?: string
  content?: { text: string }[]
}
interface ResponseEvent {
  type: string
  sequence_number: number
  output_index?: number
  item_id?: string
  delta?: string
  text?: string
  arguments?: string
  item?: Item
  response?: { id: string; status: string; output: Item[] }
}
const eventsOf = (body: string): ResponseEvent[] => sent(body).map(({ data }) => JSON.parse(data) as ResponseEvent)
const brief = ({ type, name, content, arguments: given }: Item): string =>
  `${type} ${name ?? ''}${given ?? ''}${content?.map(({ text }) => text).join('') ?? ''}`

describe('what is asked', () => {
  it('has its tools flat, and calls and results as items', async () => {
    await create({
      parallel_tool_calls: false,
      input: [
        { role: 'user', content: 'a' },
        { type: 'reasoning', summary: [], content: [{ type: 'reasoning_text', text: 'why' }] },
        { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'b' }] },
        { type: 'function_call', call_id: 'c1', name: 'say', arguments: '{"x":1}', id: 'fc_1', status: 'completed' },
        { type: 'function_call', call_id: 'c2', name: 'a.b', arguments: '' },
        { type: 'function_call_output', call_id: 'c1', output: 'one' },
        { type: 'function_call_output', call_id: 'c2', output: [{ type: 'input_text', text: 'two' }] },
        { type: 'function_call', call_id: 'c3', name: 'say', arguments: '{}' },
        { type: 'function_call_output', call_id: 'c3', output: '' },
      ],
    })
    expect(h.twin.calls[0]!.request).toMatchObject({
      prompt: {
        kind: 'chat',
        tools: [
          { name: 'say', description: 'Says it.', parameters: '{"type":"object"}' },
          { name: 'a.b', parameters: '{"type":"object","properties":{}}' },
        ],
        messages: [
          { role: 'user', content: 'a' },
          {
            role: 'assistant',
            content: 'b',
            thought: 'why',
            toolCalls: [
              { id: 'c1', name: 'say', arguments: '{"x":1}' },
              { id: 'c2', name: 'a.b', arguments: '{}' },
            ],
          },
          { role: 'tool', content: 'one', toolCallId: 'c1' },
          { role: 'tool', content: 'two', toolCallId: 'c2' },
          { role: 'assistant', content: '', toolCalls: [{ id: 'c3' }] },
          { role: 'tool', content: '', toolCallId: 'c3' },
        ],
      },
      format: { kind: 'tool-calls', choice: 'auto', callsMax: 1 },
    })
  })

  it.each<[unknown, object | undefined, string[]]>([
    ['none', undefined, []],
    ['required', { kind: 'tool-calls', choice: 'required' }, ['say', 'a.b']],
    [{ type: 'function', name: 'say' }, { choice: 'required', name: 'say', callsMax: 1 }, ['say', 'a.b']],
    [
      { type: 'allowed_tools', mode: 'required', tools: [{ type: 'function', name: 'a.b' }] },
      { choice: 'required' },
      ['a.b'],
    ],
  ])('takes the choice %j', async (tool_choice, format, names) => {
    const { body } = await create({ tool_choice })
    const { request } = h.twin.calls[0]!
    if (format === undefined) expect(request.format).toBeUndefined()
    else expect(request.format).toMatchObject(format)
    const tools = request.prompt.kind === 'chat' ? (request.prompt.tools ?? []) : []
    expect(tools.map(({ name }) => name)).toEqual(names)
    // what the client gave, not what became of it
    expect(JSON.parse(body)).toMatchObject({ tool_choice, tools: [{ name: 'say', strict: true }, { name: 'a.b' }] })
  })

  it('repeats tools by their names where they do not fit the ledger', async () => {
    const description = 'ü'.repeat(30_000)
    const tool_choice = { type: 'function', name: 'say', extra: description }
    expect((await create({ tool_choice })).json().tool_choice).toEqual({ type: 'function', name: 'say' })
    const { body } = await create({ tools: [{ type: 'function', name: 'say', description }] })
    expect(JSON.parse(body).tools).toEqual([{ type: 'function', name: 'say', parameters: null, strict: null }])
    expect(h.twin.calls[1]!.request.prompt).toMatchObject({ tools: [{ description }] })
  })
})

describe('a whole response', () => {
  it('has a message and its calls, and is found again as it was', async () => {
    says(['Let me.\n', call('say', '{"x": 1}'), '\n', call('a.b')])
    const body = (await create()).json()
    const task = String(body.id).slice('resp_'.length)
    expect(body.output).toMatchObject([
      { type: 'message', id: `msg_${task}`, status: 'completed', content: [{ text: 'Let me.' }] },
      {
        type: 'function_call',
        id: `fc_${task}_0`,
        call_id: `call_${task}_0`,
        name: 'say',
        arguments: '{"x": 1}',
        status: 'completed',
      },
      { type: 'function_call', id: `fc_${task}_1`, call_id: `call_${task}_1`, name: 'a.b', arguments: '{}' },
    ])
    expect((await h.get(`/v1/responses/${body.id}`)).json().output).toEqual(body.output)
  })

  it('that was cut in a call has it incomplete', async () => {
    says(['<tool_call>\n{"name": "say", "arguments": {"x', '": '], '', 'length')
    const body = (await create()).json()
    expect(body).toMatchObject({
      status: 'incomplete',
      output: [{ type: 'function_call', status: 'incomplete', arguments: '{"x": ' }],
    })
  })
})

const GIVEN = '{"text": "a }</tool_call> b", "n": [1, {}]}'
const CASES: [string, string[], string][] = [
  ['a call alone', [call('say')], ''],
  [
    'two calls in pieces',
    [
      '<tool_call>\n{"name": "say", "argum',
      'ents": {"te',
      ...GIVEN.slice(4).match(/.{1,5}/g)!,
      '}\n</tool_',
      'call>',
      call('a.b'),
    ],
    '',
  ],
  [
    'text, a call, text, a call',
    ['Let ', 'me.\n', call('say', '{"x": 1}'), ' and ', 'then', call('a.b'), ' done'],
    '.',
  ],
  ['all in one piece', [`Hm ${call('say')}${call('a.b', '{"y": [2]}')}`], ''],
  ['all released by the end', [''], `x${call('say')}`],
  ['what only looks like a call', ['a <tool', '_call>{"na'], 'me"'],
  ['nothing', [], ''],
]

describe('a stream', () => {
  it.each(CASES)('has every event of its items in order: %s', async (_what, pieces, tail) => {
    says(pieces, tail)
    const all = eventsOf((await create({ stream: true })).body)
    const numbers = all.map(({ sequence_number }) => sequence_number)
    expect(numbers).toEqual([...new Set(numbers)].toSorted((a, b) => a - b))
    const { response } = all.at(-1)!
    const added = all.flatMap(({ type, item }) => (type === 'response.output_item.added' ? [item!] : []))
    const done = all.flatMap(({ type, item }) => (type === 'response.output_item.done' ? [item!] : []))
    expect(done).toEqual(response!.output)
    expect(added.map(({ id }) => id)).toEqual(done.map(({ id }) => id))
    for (const item of response!.output) {
      const own = all.filter(({ item_id }) => item_id === item.id)
      const said = own.map(({ delta }) => delta ?? '').join('')
      expect(said).toBe(item.type === 'message' ? item.content![0]!.text : item.arguments)
      const closing = own.find(({ type }) => /(text|arguments)\.done$/.test(type))!
      expect(closing.text ?? closing.arguments).toBe(said)
    }
    const whole = (await create()).json() as { output: Item[] }
    expect(response!.output.map(brief)).toEqual(whole.output.map(brief))
  })

  it.each(CASES)('goes on behind any event exactly once: %s', async (_what, pieces, tail) => {
    says(pieces, tail)
    const whole = eventsOf((await create({ stream: true })).body)
    const { id } = whole[0]!.response!
    const told = (all: readonly ResponseEvent[]): string[] => {
      const texts: string[] = []
      for (const { type, item_id = '', delta } of all)
        if (delta === undefined) texts.push(`${type} ${item_id}`)
        else if (texts.at(-1)?.startsWith(`${type} ${item_id}:`)) texts[texts.length - 1] += delta
        else texts.push(`${type} ${item_id}:${delta}`)
      return texts
    }
    const last = whole.at(-1)!.sequence_number
    for (const { sequence_number: after } of whole) {
      const rest = eventsOf((await h.get(`/v1/responses/${id}?stream=true&starting_after=${after}`)).body)
      const had = whole.filter(({ sequence_number }) => sequence_number <= after)
      if (after < last) expect(rest.every(({ sequence_number }) => sequence_number > after)).toBe(true)
      expect(told([...had, ...(after === last ? [] : rest)]), `behind ${after}`).toEqual(told(whole))
      expect(rest.at(-1)!.response!.output).toEqual(whole.at(-1)!.response!.output)
    }
  })

  it('has room in each place for the events of the longest answer', () => {
    expect(2 * COUNTED_EVENTS_MAX + 1).toBeLessThan(ITEM_STEP)
  })
})
