/** Log probabilities of a response: in its events, in its item, and again when it is read later. */
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { TokenLogprob } from '../../../mesh/protocol/index.ts'
import { end, started, tokens, TWIN_MODEL, TWIN_USAGE } from '../../fixtures/mesh-service-twin.ts'
import { createHarness, sent, type Harness } from './harness.ts'

const ASKED = { include: ['message.output_text.logprobs'], top_logprobs: 1 }

const bytes = (text: string): Uint8Array => Buffer.from(text)
const logprobOf = (piece: Uint8Array, logprob: number): TokenLogprob => ({
  bytes: piece,
  logprob,
  top: [{ bytes: bytes('x'), logprob: -0.5 }],
})
const EURO = bytes('€')
const LOGPROBS = [logprobOf(bytes('Hi'), -0.25), logprobOf(EURO.subarray(0, 1), -1), logprobOf(EURO.subarray(1), -2)]

let h: Harness
beforeEach(() => {
  h = createHarness()
  // the second token is half a character: it releases nothing
  h.twin.script = async function* () {
    yield started()
    for (const [index, text] of ['Hi', '', '€'].entries()) {
      yield tokens(index, text, 1, [LOGPROBS[index]!])
      await new Promise((resolve) => setImmediate(resolve))
    }
    yield end('', { ...TWIN_USAGE, completionTokens: 3 })
  }
})
afterEach(() => h.gateway.stop())

const create = (extra: object = {}, headers: Record<string, string> = {}) =>
  h.post('/v1/responses', { model: 'tiny', input: 'hi', ...extra }, headers)

const top = { token: 'x', logprob: -0.5 }
const BRIEF = [
  { token: 'Hi', logprob: -0.25, top_logprobs: [top] },
  { token: '\ufffd', logprob: -1, top_logprobs: [top] },
  { token: '\ufffd\ufffd', logprob: -2, top_logprobs: [top] },
]
const FULL = BRIEF.map((each, i) => ({
  ...each,
  bytes: [...LOGPROBS[i]!.bytes],
  top_logprobs: [{ ...top, bytes: [120] }],
}))

interface ToldEvent {
  readonly type: string
  readonly sequence_number: number
  readonly logprobs?: object[]
  readonly part?: { logprobs: object[] }
  readonly item?: { content: { logprobs: object[] }[] }
  readonly response?: { output: { content: { logprobs: object[] }[] }[] }
}
/** Without the moment of the end, which is the twin's own. */
const told = (body: string): ToldEvent[] =>
  sent(body).map(({ data }) => JSON.parse(data.replace(/"completed_at":\d+,/, '')) as ToldEvent)

it('stand in the item of a whole response, and of one that is read later', async () => {
  const answer = await create(ASKED)
  expect(answer.json()).toMatchObject({ top_logprobs: 1, output: [{ content: [{ text: 'Hi€' }] }] })
  expect(answer.json().output[0].content[0].logprobs).toEqual(FULL)
  expect((await h.get(`/v1/responses/${answer.json().id}`)).json().output).toEqual(answer.json().output)
  expect(h.twin.calls[0]!.request.logprobs).toBe(1)
})

it('are none without being asked for, and each alone without likelier ones', async () => {
  const plain = await create()
  expect(h.twin.calls[0]!.request.logprobs).toBeUndefined()
  expect(plain.json()).not.toHaveProperty('top_logprobs')
  await create({ include: ASKED.include })
  expect(h.twin.calls[1]!.request.logprobs).toBe(0)
})

it('come with the deltas whose text is theirs, and all together at the end', async () => {
  const all = told((await create({ ...ASKED, stream: true })).body)
  const deltas = all.filter(({ type }) => type === 'response.output_text.delta')
  expect(deltas.map(({ logprobs }) => logprobs)).toEqual([BRIEF.slice(0, 1), BRIEF.slice(1)])
  expect(all.find(({ type }) => type === 'response.output_text.done')!.logprobs).toEqual(BRIEF)
  expect(all.find(({ type }) => type === 'response.content_part.done')!.part!.logprobs).toEqual(FULL)
  expect(all.find(({ type }) => type === 'response.output_item.done')!.item!.content[0]!.logprobs).toEqual(FULL)
  expect(all.at(-1)!.response!.output[0]!.content[0]!.logprobs).toEqual(FULL)
})

it('are the same for who comes back in the middle', async () => {
  const key = { 'idempotency-key': 'k' }
  const whole = told((await create({ ...ASKED, stream: true }, key)).body)
  for (const { sequence_number } of whole.slice(0, -1)) {
    const rest = told(
      (await create({ ...ASKED, stream: true }, { ...key, 'last-event-id': String(sequence_number) })).body,
    )
    expect(rest).toEqual(whole.filter((each) => each.sequence_number > sequence_number))
  }
})

it('are refused of a model that thinks: which tokens are of its message is not known', async () => {
  h.twin.modelViews = [{ ...TWIN_MODEL, features: [...TWIN_MODEL.features, 'thinking'] }]
  const answer = await create({ ...ASKED, model: 'org/tiny-chat' })
  expect(answer.json().error).toMatchObject({ code: 'unsupported_parameter', param: 'include' })
  expect((await create()).statusCode).toBe(200)
})

it('are no part of what the mesh tells of a task', async () => {
  const { id } = (await create(ASKED)).json()
  const task = await h.get(`/mesh/v1/tasks/${id}`)
  expect(task.json()).not.toHaveProperty('logprobs')
})
