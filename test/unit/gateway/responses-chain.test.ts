/** Responses that go on from earlier ones, their input items, and how they are deleted. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LIMITS, SkeinError, taskIdOfResponse, type TaskId } from '../../../mesh/protocol/index.ts'
import { end, says, saysAndHangs, started, tokens } from '../../fixtures/mesh-service-twin.ts'
import { createHarness, type Harness } from './harness.ts'

let h: Harness
beforeEach(() => {
  h = createHarness()
})
afterEach(() => h.gateway.stop())

const create = async (extra: object = {}) => h.post('/v1/responses', { model: 'tiny', input: 'hi', ...extra })
const idOf = async (extra: object = {}): Promise<string> => (await create(extra)).json().id
const messages = (): unknown => {
  const { prompt } = h.twin.calls.at(-1)!.request
  return prompt.kind === 'chat' ? prompt.messages : undefined
}
const remove = (id: string) => h.gateway.app.inject({ method: 'DELETE', url: `/v1/responses/${id}` })
const itemsOf = async (id: string, query = '') => (await h.get(`/v1/responses/${id}/input_items${query}`)).json()

const TOOLS = [{ type: 'function', name: 'say' }]
const CALL = '<tool_call>\n{"name": "say", "arguments": {"x": 1}}\n</tool_call>'

describe('previous_response_id', () => {
  it('goes on with the whole conversation, and without its instructions', async () => {
    const first = await idOf({ instructions: 'be brief' })
    const second = await idOf({ input: 'and?', previous_response_id: first, instructions: 'be long' })
    expect(messages()).toEqual([
      { role: 'system', content: 'be long' },
      { role: 'user', content: 'hi' },
      { role: 'assistant', content: 'Hello world' },
      { role: 'user', content: 'and?' },
    ])
    const third = (await create({ input: 'so?', previous_response_id: second })).json()
    expect(third.previous_response_id).toBe(second)
    expect(messages()).toEqual([
      { role: 'user', content: 'hi' },
      { role: 'assistant', content: 'Hello world' },
      { role: 'user', content: 'and?' },
      { role: 'assistant', content: 'Hello world' },
      { role: 'user', content: 'so?' },
    ])
  })

  it('that was local-only keeps what goes on from it, or names one of its items, local-only', async () => {
    const local = await idOf({ skein: { local_only: true } })
    const second = await idOf({ input: 'and?', previous_response_id: local, skein: { local_only: false } })
    expect(h.twin.calls.at(-1)!.request.localOnly).toBe(true)
    await idOf({ input: 'so?', previous_response_id: second })
    expect(h.twin.calls.at(-1)!.request.localOnly).toBe(true)
    const [item] = (await itemsOf(local)).data
    await create({
      input: [
        { type: 'item_reference', id: item.id },
        { role: 'user', content: 'so?' },
      ],
    })
    expect(h.twin.calls.at(-1)!.request.localOnly).toBe(true)
    await idOf({ input: 'and?', previous_response_id: await idOf() })
    expect(h.twin.calls.at(-1)!.request).not.toHaveProperty('localOnly')
  })

  it('goes on behind a call with its result, and behind a thought', async () => {
    h.twin.thought = { open: '<think>', close: '</think>', isOpen: false }
    h.twin.script = says('<think>why</think>', 'Let me.\n', CALL)
    const first = (await create({ tools: TOOLS })).json()
    const { call_id } = first.output.at(-1)
    h.twin.script = says('Done')
    const input = [{ type: 'function_call_output', call_id, output: 'said' }]
    await create({ input, previous_response_id: first.id, tools: TOOLS })
    expect(messages()).toEqual([
      { role: 'user', content: 'hi' },
      {
        role: 'assistant',
        content: 'Let me.',
        thought: 'why',
        toolCalls: [{ id: call_id, name: 'say', arguments: '{"x": 1}' }],
      },
      { role: 'tool', content: 'said', toolCallId: call_id },
    ])
  })

  it('leaves out a call that was cut', async () => {
    h.twin.script = async function* () {
      yield started()
      yield tokens(0, 'So <tool_call>\n{"name": "say", "arguments": {"x')
      yield end('', undefined, 1, 'length')
    }
    const previous_response_id = await idOf({ tools: TOOLS })
    await create({ input: 'go on', previous_response_id })
    expect(messages()).toMatchObject([{ content: 'hi' }, { role: 'assistant', content: 'So' }, { content: 'go on' }])
    expect(JSON.stringify(messages())).not.toContain('toolCalls')
  })

  const refused = async (previous_response_id: string, statusCode: number, code: string): Promise<void> => {
    const { calls } = h.twin
    const before = calls.length
    const answer = await create({ previous_response_id })
    expect(answer.statusCode).toBe(statusCode)
    expect(answer.json().error).toMatchObject({ code, param: 'previous_response_id' })
    expect(calls).toHaveLength(before)
  }

  it('is of a response that is there', async () => {
    await refused('resp_x', 404, 'not_found')
    await refused(`resp_${'a'.repeat(24)}`, 404, 'not_found')
    await refused(await idOf({ store: false }), 404, 'not_found')
    const chat = await h.chat()
    await refused(String(chat.headers['x-skein-task']).replace('task_', 'resp_'), 404, 'not_found')
    const deleted = await idOf()
    await remove(deleted)
    await refused(deleted, 404, 'not_found')
  })

  it('is of a response of the same key, for an admin too', async () => {
    const id = await idOf()
    Object.assign(h.twin.inside(taskIdOfResponse(id) as TaskId).call.request, { tenant: 'another' })
    expect((await h.get(`/v1/responses/${id}`)).statusCode).toBe(200)
    await refused(id, 404, 'not_found')
    const item = { type: 'item_reference', id: id.replace('resp_', 'msg_') }
    expect((await create({ input: [item] })).json().error).toMatchObject({ code: 'not_found', param: 'input[0].id' })
  })

  it('is of a response that has ended whole', async () => {
    h.twin.script = saysAndHangs('some')
    const running = await idOf({ background: true })
    await refused(running, 400, 'invalid_request')
    await h.gateway.app.inject({ method: 'POST', url: `/v1/responses/${running}/cancel` })
    await refused(running, 400, 'invalid_request')
    h.twin.script = async function* () {
      yield started()
      throw new SkeinError('TASK_EXPIRED', 'too late')
    }
    const failed = String((await create()).headers['x-skein-task']).replace('task_', 'resp_')
    await refused(failed, 400, 'invalid_request')
  })

  it('makes no conversation that is larger than one request may be', async () => {
    const text = 'x'.repeat(LIMITS.promptBytesMax / 2)
    const previous_response_id = await idOf({ input: text })
    const answer = await create({ input: text, previous_response_id })
    expect(answer.json().error).toMatchObject({ code: 'context_length_exceeded', param: 'previous_response_id' })
    const half = { input: 'x', instructions: text, previous_response_id }
    expect((await create(half)).json().error).toMatchObject({ code: 'context_length_exceeded' })
    const many = Array.from({ length: LIMITS.messagesMax - 1 }, () => ({ role: 'user', content: '' }))
    const full = await idOf({ input: many })
    expect((await create({ previous_response_id: full })).json().error).toMatchObject({ code: 'invalid_request' })
  })
})

describe('references to items', () => {
  it('stand for what was asked and answered', async () => {
    h.twin.script = says('Let me.\n', CALL)
    const { id, output } = (await create({ tools: TOOLS })).json()
    const { data } = await itemsOf(id)
    const input = [
      { type: 'item_reference', id: data[0].id },
      { id: output[0].id },
      { type: 'item_reference', id: output[1].id },
      { type: 'function_call_output', call_id: output[1].call_id, output: 'said' },
    ]
    await create({ input })
    expect(messages()).toEqual([
      { role: 'user', content: 'hi' },
      {
        role: 'assistant',
        content: 'Let me.',
        toolCalls: [{ id: output[1].call_id, name: 'say', arguments: '{"x": 1}' }],
      },
      { role: 'tool', content: 'said', toolCallId: output[1].call_id },
    ])
  })

  it.each(['msg_1', `msg_${'a'.repeat(24)}`])('%s is refused', async (id) => {
    const answer = await create({
      input: [
        { role: 'user', content: 'x' },
        { type: 'item_reference', id },
      ],
    })
    expect(answer.statusCode).toBe(404)
    expect(answer.json().error).toMatchObject({ code: 'not_found', param: 'input[1].id' })
  })

  it('to an item that its response does not have are refused', async () => {
    const task = (await idOf()).slice('resp_'.length)
    const answer = await create({ input: [{ type: 'item_reference', id: `msg_${task}_7` }] })
    expect(answer.json().error).toMatchObject({ code: 'not_found', param: 'input[0].id' })
    const many = Array.from({ length: 65 }, (_, i) => ({
      type: 'item_reference',
      id: `msg_${String.fromCharCode(97 + (i % 26), 97 + Math.floor(i / 26)).padEnd(24, 'a')}`,
    }))
    expect((await create({ input: many })).json().error).toMatchObject({ code: 'invalid_request', param: 'input' })
  })
})

describe('input items', () => {
  const input = [
    { role: 'developer', content: 'a' },
    { role: 'assistant', content: 'b' },
    { type: 'function_call', call_id: 'c1', name: 'say', arguments: '{}' },
    { type: 'function_call_output', call_id: 'c1', output: 'c' },
    { type: 'reasoning', summary: [], content: [{ type: 'reasoning_text', text: 'why' }] },
    { role: 'assistant', content: 'd' },
    { role: 'user', content: 'e' },
  ]
  it('are what the response was asked, the newest first, without its instructions', async () => {
    const id = await idOf({ input, instructions: 'x' })
    const { data, ...list } = await itemsOf(id, '?order=asc')
    expect(data).toMatchObject([
      { type: 'message', role: 'developer', status: 'completed', content: [{ type: 'input_text', text: 'a' }] },
      { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'b', annotations: [] }] },
      { type: 'function_call', call_id: 'c1', name: 'say', arguments: '{}' },
      { type: 'function_call_output', call_id: 'c1', output: 'c' },
      { type: 'reasoning', summary: [], content: [{ type: 'reasoning_text', text: 'why' }] },
      { type: 'message', content: [{ text: 'd' }] },
      { type: 'message', content: [{ text: 'e' }] },
    ])
    expect(list).toEqual({ object: 'list', first_id: data[0].id, last_id: data[6].id, has_more: false })
    expect(new Set(data.map((item: { id: string }) => item.id)).size).toBe(7)
    expect((await itemsOf(id)).data).toEqual(data.toReversed())
  })

  it('come in pages', async () => {
    const id = await idOf({ input })
    const all = (await itemsOf(id)).data as { id: string }[]
    const pages: string[] = []
    for (let after = ''; ;) {
      const page = await itemsOf(id, `?limit=3${after && `&after=${after}`}`)
      pages.push(...page.data.map((item: { id: string }) => item.id))
      if (!page.has_more) break
      after = page.last_id
    }
    expect(pages).toEqual(all.map((item) => item.id))
  })

  it.each([
    ['limit', '?limit=0'],
    ['limit', '?limit=101'],
    ['order', '?order=up'],
    ['after', '?after=msg_1'],
  ])('refuse %s in %s', async (param, query) => {
    const id = await idOf()
    expect(await itemsOf(id, query)).toMatchObject({ error: { code: 'invalid_request', param } })
  })
})

describe('a response that is deleted', () => {
  it('is nowhere any more', async () => {
    const id = await idOf()
    expect((await remove(id)).json()).toEqual({ id, object: 'response', deleted: true })
    for (const rest of ['', '?stream=true', '/input_items'])
      expect((await h.get(`/v1/responses/${id}${rest}`)).statusCode).toBe(404)
    expect((await remove(id)).statusCode).toBe(404)
    expect(h.twin.inside(taskIdOfResponse(id) as TaskId).isPurged).toBe(true)
  })

  it('is cancelled when it runs', async () => {
    h.twin.script = saysAndHangs('some')
    const id = await idOf({ background: true })
    expect((await remove(id)).statusCode).toBe(200)
    expect(h.twin.inside(taskIdOfResponse(id) as TaskId).view().state).toBe('cancelled')
  })
})

describe('with store: false', () => {
  it('a response cannot be read afterwards', async () => {
    const { id } = (await create({ store: false })).json()
    const cancel = await h.gateway.app.inject({ method: 'POST', url: `/v1/responses/${id}/cancel` })
    for (const answer of [
      await h.get(`/v1/responses/${id}`),
      await h.get(`/v1/responses/${id}?stream=true`),
      await h.get(`/v1/responses/${id}/input_items`),
      await remove(id),
      cancel,
    ])
      expect(answer.json().error).toMatchObject({ code: 'not_found', message: expect.stringContaining(id) })
  })
})
