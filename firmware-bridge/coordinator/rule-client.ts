/** Rules at the gateway: models answer them, and the desk of calls acts for them. */
import { Type } from 'typebox'
import { CALL_OUTCOMES, parser, SkeinError } from '../../mesh/protocol/index.ts'
import type { Clock, Random } from '../../mesh/runtime/index.ts'
import type { AnswerSource } from '../asks/index.ts'
import { newUuid } from '../ports/index.ts'
import type { ActOutcome, RuleAct, RuleDesk, RuleModels, RuleQuestion } from '../rules/index.ts'
import { textOf, type Endpoints } from './endpoints.ts'

export interface RuleClientComponents {
  readonly endpoints: Endpoints
  readonly source: AnswerSource
  readonly clock: Clock
  readonly random: Random
}

const ANSWER_BYTES_MAX = 64 * 1024
/** Quotes and an end, beside an option: no token is shorter than a byte. */
const TOKENS_BESIDE = 16
const ANSWER_MS = 60_000

const parseCall = parser(
  Type.Object({
    state: Type.Enum(['confirm', 'open', 'ended']),
    outcome: Type.Optional(Type.Enum([...CALL_OUTCOMES])),
  }),
  'answer to a call of a device',
  'INTERNAL',
)

export class RuleClient implements RuleModels, RuleDesk {
  readonly #parts: RuleClientComponents
  readonly #bridge: string

  constructor(components: RuleClientComponents, { bridge }: { readonly bridge: string }) {
    this.#parts = components
    this.#bridge = bridge
  }

  async decide(device: string, question: RuleQuestion, localOnly: boolean, signal: AbortSignal): Promise<string> {
    const { source, random, clock } = this.#parts
    const endsMs = clock.nowMs() + ANSWER_MS
    const model = question.model ?? (await source.usualModel(device, signal))
    let text = ''
    const listener = {
      reached: () => undefined,
      node: () => undefined,
      restarted: () => void (text = ''),
      text: (piece: string) => void (text += piece),
      progress: () => undefined,
    }
    const request = {
      key: `${this.#bridge}:rule:${newUuid(random)}`,
      ...{ device, localOnly, body: bodyOf(question, model), leftMs: () => endsMs - clock.nowMs() },
    }
    await source.answer(request, listener, signal)
    const answer = optionIn(text, question.options)
    if (answer === undefined)
      throw new SkeinError('ENGINE_FAILED', `${model} has answered something else than asked for`)
    return answer
  }

  async act(rule: string, device: string, { capability, value }: RuleAct, signal: AbortSignal): Promise<ActOutcome> {
    const { endpoints } = this.#parts
    const path = `/mesh/v1/devices/${encodeURIComponent(device)}/calls`
    // without a value it would be a read
    const body = { capability, rule, ...(value === undefined ? { op: 'run' } : { value }) }
    // at one coordinator: a call that another one may have carried out is not made again
    const response = await endpoints.askAt(endpoints.url, { method: 'POST', path, body }, signal)
    const { state, outcome = 'unknown' } = parseCall(JSON.parse(await textOf(response, ANSWER_BYTES_MAX)))
    return state === 'confirm' ? 'confirm' : outcome
  }
}

const bodyOf = ({ system, user, options }: RuleQuestion, model: string): Readonly<Record<string, unknown>> => ({
  model,
  messages: [
    { role: 'system', content: system },
    { role: 'user', content: user },
  ],
  max_tokens: Math.max(...options.map((option) => Buffer.byteLength(option))) + TOKENS_BESIDE,
  temperature: 0,
  reasoning_effort: 'none',
  response_format: { type: 'json_schema', json_schema: { name: 'answer', schema: { enum: [...options] } } },
})

/** Held to the options a model writes one of them as JSON; anything else is no answer to act on. */
function optionIn(text: string, options: readonly string[]): string | undefined {
  let said: unknown = text.trim()
  try {
    said = JSON.parse(text)
  } catch {
    // the bare word
  }
  return options.find((option) => option === said)
}
