/**
 * OpenAI's bodies as tasks. What is known and not served is refused by name, never dropped: an answer that ignores `echo`
 * would look right and be wrong.
 */
import { LIMITS, SkeinError, type ChatMessage, type JsonFormat, type ThinkingWish } from '../../mesh/protocol/index.ts'
import type { Attachment, TaskRequest } from '../admission/index.ts'
import type { AnswerForms, AnswerShape, StoredShape } from './answer-form.ts'
import { checkChoices, choicesOf } from './openai-choices.ts'
import type { ChatBody, CompletionBody, Effort, MessageBody } from './openai-schemas.ts'
import type { DeviceLoop } from './tool-loop.ts'
import { messageCalls, narrowed, toolFormat, toolsOf } from './openai-tools.ts'

/** One generation call: the task that it becomes, and how its answer is to be written. */
export interface GenerationCall {
  readonly shape: AnswerShape
  readonly task: Pick<TaskRequest, 'model' | 'prompt' | 'sampling' | 'stop' | 'maxTokens' | 'logprobs' | 'format'>
  /** Of several choices: the task of each, the first of which is `task`, and how many belong to one prompt. */
  readonly choices?: { readonly tasks: readonly GenerationCall['task'][]; readonly perPrompt: number }
  readonly stream: boolean
  readonly includeUsage: boolean
  /** Without an `Idempotency-Key`; with one, an attached task becomes a resumable one. */
  readonly attachment: Attachment
  readonly stored: boolean
  /** What it goes on from was local-only, and so is it. */
  readonly isKeptLocal?: boolean
  /** Members of a response that repeat the request. */
  readonly echo?: Readonly<Record<string, unknown>>
  /** What must be known of a response to read it again, and to go on from it. */
  readonly kept?: Pick<StoredShape, 'hasTools' | 'hasInstructions'>
  /** Devices that the model may call. */
  readonly loop?: DeviceLoop
  /** Those of OpenAI's APIs when absent. */
  readonly forms?: AnswerForms
}

/** Tokens of a legacy completion that names no maximum, as at OpenAI. */
const COMPLETION_TOKENS_DEFAULT = 16

/** `top_k` above this keeps all anyway: no vocabulary is larger. */
const TOP_K_MAX = 1_000_000

/** Ids of tokens are 32 bits wide. */
const TOKEN_MAX = 0xffff_ffff

/** True when the value asks for something that is not served. Values that mean "off" are fine. */
export type Asks = (value: unknown) => boolean

const always: Asks = () => true
export const isFilled: Asks = (value) => typeof value === 'object' && value !== null && Object.keys(value).length > 0
export const isOther =
  (...served: unknown[]): Asks =>
  (value) =>
    !served.includes(value)

const UNSERVED_CHAT: Readonly<Record<string, Asks>> = {
  functions: isFilled,
  function_call: isOther('none', 'auto'),
  audio: always,
  modalities: (value) => (value as string[]).some((modality) => modality !== 'text'),
  web_search_options: always,
  moderation: isFilled,
}

const UNSERVED_COMPLETION: Readonly<Record<string, Asks>> = {
  echo: isOther(false),
  suffix: isOther(''),
}

const UNSERVED_MESSAGE: Readonly<Record<string, Asks>> = {
  function_call: isFilled,
  audio: isFilled,
}

export const unsupported = (param: string): SkeinError =>
  new SkeinError('UNSUPPORTED_PARAMETER', `${param} with this value is not supported yet`, { param })

/** @throws SkeinError UNSUPPORTED_PARAMETER. */
export function refuseUnserved(body: object, unserved: Readonly<Record<string, Asks>>, prefix = ''): void {
  for (const [name, asks] of Object.entries(unserved)) {
    if (!Object.hasOwn(body, name)) continue
    const value = (body as Record<string, unknown>)[name]
    if (value !== null && asks(value)) throw unsupported(prefix + name)
  }
}

/** Types of content parts that OpenAI knows beside text. */
const MEDIA_PARTS = new Set(['image_url', 'input_audio', 'file'])

function partText(part: { readonly type: string }, param: string): string {
  if (MEDIA_PARTS.has(part.type)) throw unsupported(`${param}.type`)
  // what a model refused to say is what it said
  const member = part.type === 'refusal' ? 'refusal' : 'text'
  if (part.type !== member)
    throw new SkeinError('INVALID_REQUEST', `${param}.type '${part.type.slice(0, 40)}' is unknown`, {
      param: `${param}.type`,
    })
  const text = (part as Readonly<Record<string, unknown>>)[member]
  if (typeof text !== 'string')
    throw new SkeinError('INVALID_REQUEST', `${param}.${member} must be string`, { param: `${param}.${member}` })
  return text
}

function chatMessage(message: MessageBody, index: number): ChatMessage {
  const at = `messages[${index}]`
  refuseUnserved(message, UNSERVED_MESSAGE, `${at}.`)
  const { role, name, tool_call_id } = message
  const content = message.content ?? (role === 'assistant' ? message.refusal : undefined)
  const calls = message.tool_calls?.length ? message.tool_calls : undefined
  const fail = (member: string, why: string): SkeinError =>
    new SkeinError('INVALID_REQUEST', `${at}.${member} ${why}`, { param: `${at}.${member}` })
  if (calls && role !== 'assistant') throw fail('tool_calls', 'is for an assistant')
  if ((content === undefined || content === null) && !calls) throw fail('content', 'is required')
  if (role === 'tool' && !tool_call_id) throw fail('tool_call_id', 'is required')
  const thought = message.reasoning_content ?? message.reasoning ?? ''
  if (thought !== '' && role !== 'assistant') throw fail('reasoning_content', 'is for an assistant')
  const parts =
    typeof content === 'string' ? [content] : (content ?? []).map((part, i) => partText(part, `${at}.content[${i}]`))
  return {
    role,
    // half a surrogate pair is legal in JSON and is not in UTF-8
    content: parts.join('').toWellFormed(),
    ...(name === undefined ? {} : { name: name.toWellFormed() }),
    ...(thought === '' ? {} : { thought: thought.toWellFormed() }),
    ...(calls ? { toolCalls: messageCalls(calls, at) } : {}),
    ...(role === 'tool' && tool_call_id ? { toolCallId: tool_call_id.toWellFormed() } : {}),
  }
}

/** @throws SkeinError INVALID_REQUEST, UNSUPPORTED_PARAMETER, each with its `param`. */
function chatMessages(bodies: readonly MessageBody[]): ChatMessage[] {
  return withinCalls(bodies.map(chatMessage))
}

/** @throws SkeinError INVALID_REQUEST when `messages` have more tool calls than a prompt may. */
export function withinCalls(messages: ChatMessage[]): ChatMessage[] {
  const calls = messages.reduce((sum, { toolCalls = [] }) => sum + toolCalls.length, 0)
  if (calls > LIMITS.toolCallsMax)
    throw new SkeinError('INVALID_REQUEST', `messages have more than ${LIMITS.toolCallsMax} tool calls`, {
      param: 'messages',
    })
  return messages
}

/** Names under which servers pass on whether a chat template is to think. */
const SWITCHES = ['enable_thinking', 'thinking']

/** @throws SkeinError INVALID_REQUEST, UNSUPPORTED_PARAMETER for other variables of templates. */
function templateSwitch(given: object = {}): boolean | undefined {
  let isOn: boolean | undefined
  for (const [name, value] of Object.entries(given)) {
    const param = `chat_template_kwargs.${name.slice(0, 64)}`
    if (!SWITCHES.includes(name)) throw unsupported(param)
    if (value === null) continue
    if (typeof value !== 'boolean') throw new SkeinError('INVALID_REQUEST', `${param} must be boolean`, { param })
    isOn = value
  }
  return isOn
}

/** What a request says of thinking, as a member of its prompt; `isOn` goes before the effort. */
export function thinkingWish(effort: Effort | undefined, isOn?: boolean): { readonly thinking?: ThinkingWish } {
  if (effort === undefined && isOn === undefined) return {}
  const wanted = isOn ?? effort !== 'none'
  if (!wanted || effort === undefined || effort === 'none') return { thinking: { isOn: wanted } }
  return { thinking: { isOn: wanted, effort: effort === 'max' ? 'xhigh' : effort } }
}

/** What the three bodies have in common; the responses API has no other sampling options than the first two. */
type CommonBody = Pick<ChatBody, 'model' | 'temperature' | 'top_p'> &
  Partial<
    Pick<
      ChatBody,
      | 'top_k'
      | 'min_p'
      | 'presence_penalty'
      | 'frequency_penalty'
      | 'seed'
      | 'stop'
      | 'repetition_penalty'
      | 'logit_bias'
    >
  >

/** What the client names; the rest is for admission to fill, which knows what the model's makers recommend. */
function samplingOf(body: CommonBody): TaskRequest['sampling'] {
  const { temperature, top_p: topP, top_k: topK, min_p: minP, presence_penalty, frequency_penalty, seed } = body
  const { repetition_penalty: repeatPenalty = 1, logit_bias } = body
  return {
    ...(temperature !== undefined && { temperature }),
    ...(topP !== undefined && { topP }),
    ...(topK !== undefined && { topK: topK < 0 || topK > TOP_K_MAX ? 0 : topK }),
    ...(minP !== undefined && { minP }),
    ...(presence_penalty !== undefined && { presencePenalty: presence_penalty }),
    ...(frequency_penalty !== undefined && { frequencyPenalty: frequency_penalty }),
    // OpenAI's seed is any integer, ours 32 bits: equal seeds stay equal
    ...(seed !== undefined && { seed: Number(BigInt.asUintN(32, BigInt(seed))) }),
    // what changes nothing is not asked for: not every node can do it
    ...(repeatPenalty !== 1 && { repeatPenalty }),
    ...logitBiasOf(logit_bias),
  }
}

/** @throws SkeinError INVALID_REQUEST for a token that no model has. */
function logitBiasOf(given: ChatBody['logit_bias'] = {}): Pick<TaskRequest['sampling'], 'logitBias'> {
  const logitBias = Object.entries(given)
    .map(([token, bias]) => ({ token: Number(token), bias }))
    .filter(({ bias }) => bias !== 0)
    // equal biases are equal requests
    .toSorted((a, b) => a.token - b.token)
  const last = logitBias.at(-1)?.token ?? 0
  if (last > TOKEN_MAX)
    throw new SkeinError('INVALID_REQUEST', `logit_bias names no token: ${last}`, { param: 'logit_bias' })
  return logitBias.length === 0 ? {} : { logitBias }
}

export function commonTask(
  body: CommonBody,
  prompt: TaskRequest['prompt'],
  maxTokens: number | undefined,
): GenerationCall['task'] {
  const stop = body.stop ?? []
  // beyond what any task may generate: the context is the bound, as without a maximum
  const isBounded = maxTokens !== undefined && maxTokens <= LIMITS.generatedTokensMax
  return {
    model: body.model,
    prompt,
    sampling: samplingOf(body),
    stop: (typeof stop === 'string' ? [stop] : stop).map((each) => each.toWellFormed()),
    ...(isBounded ? { maxTokens } : {}),
  }
}

/**
 * What `format` holds the answer to; nothing when it is plain text.
 *
 * @param holder of the members `name` and `schema`: chats have them a level deeper than responses.
 * @throws SkeinError INVALID_REQUEST, UNSUPPORTED_PARAMETER.
 */
export function outputFormat(format: { type: string }, holder: unknown, param: string): JsonFormat | undefined {
  switch (format.type) {
    case 'text':
      return undefined
    case 'json_object':
      return { kind: 'json' }
    case 'json_schema':
      return { kind: 'json-schema', schema: schemaText(holder, format === holder ? param : `${param}.json_schema`) }
    default:
      throw unsupported(`${param}.type`)
  }
}

function schemaText(holder: unknown, at: string): string {
  const schema = (holder as { readonly schema?: unknown } | undefined)?.schema
  const param = `${at}.schema`
  if (typeof schema !== 'object' || schema === null || Array.isArray(schema))
    throw new SkeinError('INVALID_REQUEST', `${param} must be object`, { param })
  const text = JSON.stringify(schema)
  if (text.length > LIMITS.outputSchemaLengthMax)
    throw new SkeinError('INVALID_REQUEST', `${param} is longer than ${LIMITS.outputSchemaLengthMax} characters`, {
      param,
    })
  return text
}

/**
 * @param prompts each as a task of one choice.
 * @throws SkeinError INVALID_REQUEST when options of a stream are given for none.
 */
function completionOf(
  shape: 'chat' | 'text',
  body: ChatBody | CompletionBody,
  prompts: readonly GenerationCall['task'][],
): GenerationCall {
  const stream = body.stream ?? false
  if (body.stream_options !== undefined && !stream)
    throw new SkeinError('INVALID_REQUEST', 'stream_options is only allowed when stream is true', {
      param: 'stream_options',
    })
  const includeUsage = body.stream_options?.include_usage ?? false
  const perPrompt = body.n ?? 1
  const tasks = choicesOf(prompts, perPrompt)
  const choices = tasks.length > 1 ? { choices: { tasks, perPrompt } } : {}
  return { shape, task: tasks[0]!, ...choices, stream, includeUsage, attachment: 'attached', stored: false }
}

/** @throws SkeinError INVALID_REQUEST, UNSUPPORTED_PARAMETER, each with its `param`. */
export function chatCall(body: ChatBody): GenerationCall {
  refuseUnserved(body, UNSERVED_CHAT)
  const { logprobs = false, top_logprobs = 0, response_format } = body
  if (top_logprobs > 0 && !logprobs)
    throw new SkeinError('INVALID_REQUEST', 'top_logprobs is only allowed when logprobs is true', {
      param: 'top_logprobs',
    })
  const content = response_format && outputFormat(response_format, response_format.json_schema, 'response_format')
  const members = narrowed(body)
  const tools = toolsOf(members)
  const format = toolFormat(members, tools, content) ?? content
  const messages = chatMessages(body.messages)
  const thinking = thinkingWish(body.reasoning_effort, templateSwitch(body.chat_template_kwargs))
  const prompt = { kind: 'chat' as const, messages, ...(tools.length > 0 ? { tools } : {}), ...thinking }
  const task = {
    ...commonTask(body, prompt, body.max_completion_tokens ?? body.max_tokens),
    ...(logprobs ? { logprobs: top_logprobs } : {}),
    ...(format ? { format } : {}),
  }
  return completionOf('chat', body, [task])
}

/** @throws SkeinError INVALID_REQUEST, UNSUPPORTED_PARAMETER, each with its `param`. */
export function completionCall(body: CompletionBody): GenerationCall {
  const { prompt, n = 1, best_of = n, logprobs } = body
  refuseUnserved({ ...body, best_of }, { ...UNSERVED_COMPLETION, best_of: isOther(n) })
  const texts = typeof prompt === 'string' ? [prompt] : prompt
  if (!texts.every((text) => typeof text === 'string')) throw unsupported('prompt')
  checkChoices(texts.length, n)
  const tasks = texts.map((text) => ({
    ...commonTask(body, { kind: 'text', text: text.toWellFormed() }, body.max_tokens ?? COMPLETION_TOKENS_DEFAULT),
    // 0 asks for the log probability of the chosen token alone
    ...(logprobs === undefined ? {} : { logprobs }),
  }))
  return completionOf('text', body, tasks)
}
