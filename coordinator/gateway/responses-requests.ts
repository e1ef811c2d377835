/** Bodies of OpenAI's responses API as tasks. As of the older calls: what is known and not served is refused by name. */
import { SkeinError, type ChatMessage } from '../../mesh/protocol/index.ts'
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
import { SHAPE_BYTES_MAX } from './limits.ts'
import { messagesOf } from './responses-input.ts'
import type { InputItem, ResponseBody } from './responses-schemas.ts'
import { choiceBody, responseTools, toolBodies } from './responses-tools.ts'

const UNSERVED: Readonly<Record<string, Asks>> = {
  conversation: () => true,
  prompt: () => true,
  truncation: isOther('disabled'),
  context_management: isFilled,
  moderation: isFilled,
  image: isFilled,
}

/** Asks for the log probabilities of all tokens of the message. */
const LOGPROBS = 'message.output_text.logprobs'

/** What may be asked to be included: of items that no response here can have, and thoughts, which are told openly. */
const INCLUDABLE: ReadonlySet<string> = new Set([
  'file_search_call.results',
  'web_search_call.results',
  'web_search_call.action.sources',
  'message.input_image.image_url',
  'computer_call_output.output.image_url',
  'code_interpreter_call.outputs',
  'reasoning.encrypted_content',
  LOGPROBS,
])

/** The response's members that repeat the request; the long ones are left out where they do not fit the ledger. */
function echoOf(body: ResponseBody, format: object): Record<string, unknown> {
  const { tools = [] } = body
  const echo = {
    background: body.background ?? false,
    max_output_tokens: body.max_output_tokens ?? null,
    metadata: body.metadata ?? {},
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    previous_response_id: body.previous_response_id ?? null,
    store: body.store ?? true,
    ...(body.reasoning && { reasoning: { effort: body.reasoning.effort ?? null, summary: null } }),
    // null: the model's own
    temperature: body.temperature ?? null,
    tool_choice: choiceBody(body.tool_choice),
    ...(body.top_logprobs !== undefined && { top_logprobs: body.top_logprobs }),
    top_p: body.top_p ?? null,
  }
  const full = { ...echo, instructions: body.instructions ?? null, text: { format }, tools: toolBodies(tools) }
  // half of the room, since other members share it
  if (Buffer.byteLength(JSON.stringify(full)) <= SHAPE_BYTES_MAX / 2) return full
  const named = tools.map(({ name }) => ({ type: 'function', name, parameters: null, strict: null }))
  // a schema is too long, and a format of one without it would be none
  const { type } = format as { readonly type: string }
  const brief = { type: type === 'json_object' ? type : 'text' }
  return { ...echo, instructions: null, text: { format: brief }, tools: named }
}

/**
 * @param input what it is asked, with all references resolved.
 * @param before the conversation that it goes on with.
 * @throws SkeinError INVALID_REQUEST, UNSUPPORTED_PARAMETER, CONTEXT_LENGTH_EXCEEDED, each with its `param`.
 */
export function responseCall(
  body: ResponseBody,
  input: string | readonly InputItem[] = body.input,
  before: readonly ChatMessage[] = [],
): GenerationCall {
  checkResponse(body)
  const { instructions, background = false, store = true } = body
  const requested = body.text?.format ?? { type: 'text' }
  const content = outputFormat(requested, requested, 'text.format')
  const { tools, format: calls } = responseTools(body, content)
  const format = calls ?? content
  const asked = messagesOf(input, before, instructions)
  const own: ChatMessage[] =
    instructions === undefined ? [] : [{ role: 'system', content: instructions.toWellFormed() }]
  const prompt = {
    kind: 'chat' as const,
    messages: [...own, ...asked],
    ...(tools.length > 0 ? { tools: [...tools] } : {}),
    ...thinkingWish(body.reasoning?.effort ?? undefined),
  }
  return {
    shape: 'response',
    task: {
      ...commonTask(body, prompt, body.max_output_tokens),
      ...(format === undefined ? {} : { format }),
      ...(asksLogprobs(body) ? { logprobs: body.top_logprobs ?? 0 } : {}),
    },
    stream: body.stream ?? false,
    includeUsage: false,
    attachment: background ? 'background' : store ? 'resumable' : 'attached',
    stored: store,
    echo: echoOf(body, requested),
    kept: { hasTools: tools.length > 0, hasInstructions: instructions !== undefined },
  }
}

export const asksLogprobs = ({ include = [] }: Pick<ResponseBody, 'include'>): boolean => include.includes(LOGPROBS)

/** @throws SkeinError INVALID_REQUEST, UNSUPPORTED_PARAMETER, for what needs no look at the input. */
function checkResponse(body: ResponseBody): void {
  refuseUnserved(body, UNSERVED)
  const { background = false, store = true, include = [] } = body
  const { summary, generate_summary: older } = body.reasoning ?? {}
  // which kind of summary is left to the server: there is none beside the thought itself
  for (const [name, asked] of Object.entries({ summary, generate_summary: older }))
    if (asked && asked !== 'auto') throw unsupported(`reasoning.${name}`)
  for (const [i, name] of include.entries()) if (!INCLUDABLE.has(name)) throw unsupported(`include[${i}]`)
  if ((body.top_logprobs ?? 0) > 0 && !asksLogprobs(body))
    throw new SkeinError('INVALID_REQUEST', `top_logprobs is only allowed when include has ${LOGPROBS}`, {
      param: 'top_logprobs',
    })
  if (asksLogprobs(body) && (body.tools ?? []).length > 0) throw unsupported(`include[${include.indexOf(LOGPROBS)}]`)
  if (background && !store)
    throw new SkeinError('INVALID_REQUEST', 'a background response must be stored', { param: 'store' })
}
