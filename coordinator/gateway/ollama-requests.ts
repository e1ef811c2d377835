/**
 * Ollama's bodies as tasks. As of OpenAI's: what is known and not served is refused by name, never dropped. What concerns
 * only how a server loads a model (`num_gpu`, `keep_alive` and their like) is for the nodes' owners to say, and ignored.
 */
import { LIMITS, SkeinError, type ChatMessage, type JsonFormat, type ToolCall } from '../../mesh/protocol/index.ts'
import type { ModelView } from '../admission/index.ts'
import type { AnswerForms } from './answer-form.ts'
import type { OllamaChat, OllamaGenerate, OllamaMessage, OllamaOptions, Think } from './ollama-schemas.ts'
import {
  commonTask,
  isFilled,
  isOther,
  outputFormat,
  refuseUnserved,
  thinkingWish,
  unsupported,
  type Asks,
  type GenerationCall,
} from './openai-requests.ts'
import { messageCalls, toolFormat, toolsOf } from './openai-tools.ts'

/** What a request for an answer says, apart from its prompt. */
type Asked = Pick<OllamaChat, 'model' | 'options' | 'format' | 'think' | 'stream' | 'logprobs' | 'top_logprobs'>

const UNSERVED: Readonly<Record<string, Asks>> = {
  suffix: isOther(''),
  template: isOther(''),
  images: isFilled,
  context: isFilled,
  _debug_render_only: isOther(false),
}
/** Without the values that change no answer. */
const UNSERVED_OPTIONS: Readonly<Record<string, Asks>> = {
  typical_p: isOther(1),
  tfs_z: isOther(1),
  mirostat: isOther(0),
}
const UNSERVED_MESSAGE: Readonly<Record<string, Asks>> = { images: isFilled }

const ROLES = ['system', 'user', 'assistant', 'tool'] as const

const invalid = (param: string, why: string): SkeinError =>
  new SkeinError('INVALID_REQUEST', `${param} ${why}`, { param })

/** The draws that `-1` asks for are drawn anyway. */
function withoutRandomSeed({ seed, ...options }: OllamaOptions): OllamaOptions {
  return seed === undefined || seed === -1 ? options : { ...options, seed }
}

/** @throws SkeinError UNSUPPORTED_PARAMETER for a penalty that counts other tokens than the last `repeatPenaltyTokens`. */
function withPenalty({ repeat_penalty = 1, repeat_last_n = LIMITS.repeatPenaltyTokens, ...options }: OllamaOptions) {
  if (repeat_penalty === 1 || repeat_last_n === 0) return options
  if (repeat_last_n !== LIMITS.repeatPenaltyTokens) throw unsupported('options.repeat_last_n')
  return { ...options, repetition_penalty: repeat_penalty }
}

/** @throws SkeinError INVALID_REQUEST for a context that no node has. */
function checkContext({ num_ctx = 0 }: OllamaOptions, name: string, { contextTokens }: ModelView): void {
  if (num_ctx > contextTokens)
    throw invalid('options.num_ctx', `is more than the ${contextTokens} tokens that '${name}' can hold; leave it out`)
}

function wishOf(think: Think | undefined, name: string, { features }: ModelView): ReturnType<typeof thinkingWish> {
  if (think === undefined) return {}
  if (think !== false && !features.includes('thinking'))
    throw invalid('think', `is not for '${name}': it does not think`)
  if (typeof think === 'boolean') return thinkingWish(undefined, think)
  return thinkingWish(think === 'max' ? 'xhigh' : think)
}

function formatOf(format: Asked['format'] = ''): JsonFormat | undefined {
  if (format === '') return undefined
  const asked = format === 'json' ? { type: 'json_object' } : { type: 'json_schema', schema: format }
  return outputFormat(asked, asked, 'format')
}

function generationCall(
  asked: Asked,
  prompt: GenerationCall['task']['prompt'],
  format: GenerationCall['task']['format'],
  forms: AnswerForms,
): GenerationCall {
  const { options = {}, logprobs = false, top_logprobs = 0, stream = true } = asked
  refuseUnserved(options, UNSERVED_OPTIONS, 'options.')
  const { num_predict: wanted = -1, ...sampling } = withPenalty(withoutRandomSeed(options))
  return {
    shape: 'chat',
    task: {
      ...commonTask({ ...sampling, model: asked.model }, prompt, wanted > 0 ? wanted : undefined),
      ...(logprobs ? { logprobs: top_logprobs } : {}),
      ...(format ? { format } : {}),
    },
    stream,
    includeUsage: false,
    attachment: 'attached',
    stored: false,
    forms,
  }
}

/**
 * @param model as it is known in the mesh.
 * @throws SkeinError INVALID_REQUEST, UNSUPPORTED_PARAMETER, each with its `param`.
 */
export function ollamaChatCall(body: OllamaChat, model: ModelView, forms: AnswerForms): GenerationCall {
  refuseUnserved(body, UNSERVED)
  checkContext(body.options ?? {}, body.model, model)
  const tools = toolsOf({ tools: body.tools ?? [] })
  const content = formatOf(body.format)
  const format = toolFormat({}, tools, content) ?? content
  const wish = wishOf(body.think, body.model, model)
  const messages = messagesOf(body.messages ?? [])
  const prompt = { kind: 'chat' as const, messages, ...(tools.length > 0 ? { tools } : {}), ...wish }
  return generationCall(body, prompt, format, forms)
}

/**
 * @param model as it is known in the mesh.
 * @throws SkeinError INVALID_REQUEST, UNSUPPORTED_PARAMETER, each with its `param`.
 */
export function ollamaGenerateCall(body: OllamaGenerate, model: ModelView, forms: AnswerForms): GenerationCall {
  refuseUnserved(body, UNSERVED)
  checkContext(body.options ?? {}, body.model, model)
  const { prompt = '', system = '', raw = false } = body
  if (raw && system !== '') throw invalid('system', 'is not for a raw prompt')
  const wish = wishOf(body.think, body.model, model)
  const format = formatOf(body.format)
  const text = prompt.toWellFormed()
  if (raw) return generationCall(body, { kind: 'text', text }, format, forms)
  const messages: ChatMessage[] = [{ role: 'user', content: text }]
  if (system !== '') messages.unshift({ role: 'system', content: system.toWellFormed() })
  return generationCall(body, { kind: 'chat', messages, ...wish }, format, forms)
}

/** Messages whose tool results bear the ids of their calls, also where the client knows of no ids. */
function messagesOf(bodies: readonly OllamaMessage[]): ChatMessage[] {
  const open: ToolCall[] = []
  let calls = 0
  return bodies.map((body, index) => {
    const at = `messages[${index}]`
    refuseUnserved(body, UNSERVED_MESSAGE, `${at}.`)
    const role = ROLES.find((each) => each === body.role.toLowerCase())
    if (role === undefined) throw invalid(`${at}.role`, `must be ${ROLES.join(', ')}`)
    const message = { role, content: (body.content ?? '').toWellFormed() }
    if (role === 'tool') return { ...message, ...resultOf(body, open) }
    const called = callsOf(body, at, calls)
    if (called.length > 0 && role !== 'assistant') throw invalid(`${at}.tool_calls`, 'is for an assistant')
    calls += called.length
    if (calls > LIMITS.toolCallsMax) throw invalid('messages', `have more than ${LIMITS.toolCallsMax} tool calls`)
    if (role === 'assistant') open.splice(0, open.length, ...called)
    const thought = role === 'assistant' ? (body.thinking ?? '').toWellFormed() : ''
    return { ...message, ...(thought && { thought }), ...(called.length > 0 && { toolCalls: called }) }
  })
}

function callsOf({ tool_calls }: OllamaMessage, at: string, before: number): ToolCall[] {
  const bodies = (tool_calls ?? []).map(({ id, function: { name, arguments: given } }, i) => ({
    id: id || `call_${before + i}`,
    function: { name, arguments: JSON.stringify(given ?? {}) },
  }))
  return messageCalls(bodies, at)
}

/** The call among those that are `open` whose result it is: by its id, else by its tool, else the next one. */
function resultOf(body: OllamaMessage, open: ToolCall[]): Pick<ChatMessage, 'name' | 'toolCallId'> {
  const { tool_call_id, tool_name } = body
  const found = tool_call_id
    ? open.find(({ id }) => id === tool_call_id)
    : tool_name
      ? open.find(({ name }) => name === tool_name)
      : open[0]
  if (found) open.splice(open.indexOf(found), 1)
  const id = tool_call_id || found?.id
  return {
    ...(tool_name ? { name: tool_name.toWellFormed() } : {}),
    ...(id === undefined ? {} : { toolCallId: id.toWellFormed() }),
  }
}
