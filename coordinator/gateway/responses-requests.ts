/** Bodies of OpenAI's responses API as tasks. As of the older calls: what is known and not served is refused by name. */
import { Type, type Static } from 'typebox'
import { LIMITS, SkeinError, type ChatMessage } from '../../mesh/protocol/index.ts'
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
import { EffortSchema, share, temperature, text, tokenCount } from './openai-schemas.ts'
import { SHAPE_BYTES_MAX } from './limits.ts'
import { SkeinBodySchema } from './request-options.ts'

/** OpenAI's bounds of metadata. */
const METADATA_MEMBERS_MAX = 16
const METADATA_VALUE_LENGTH_MAX = 512

const InputItemSchema = Type.Object({
  type: Type.Optional(Type.String()),
  role: Type.Optional(Type.Enum(['system', 'developer', 'user', 'assistant'])),
  content: Type.Optional(Type.Union([Type.String(), Type.Array(Type.Object({ type: Type.String() })), Type.Null()])),
})
type InputItem = Static<typeof InputItemSchema>

export const ResponseBodySchema = Type.Object({
  model: text(256, 1),
  input: Type.Union([
    Type.String(),
    // one message fewer than a chat may have: the instructions are another
    Type.Array(InputItemSchema, { minItems: 1, maxItems: LIMITS.messagesMax - 1 }),
  ]),
  instructions: Type.Optional(Type.String()),
  max_output_tokens: tokenCount(),
  temperature: temperature(),
  top_p: share(),
  text: Type.Optional(Type.Object({ format: Type.Optional(Type.Object({ type: Type.String() })) })),
  reasoning: Type.Optional(
    Type.Object({
      effort: Type.Optional(Type.Union([EffortSchema, Type.Null()])),
      summary: Type.Optional(Type.Union([Type.String(), Type.Null()])),
      generate_summary: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    }),
  ),
  stream: Type.Optional(Type.Boolean()),
  background: Type.Optional(Type.Boolean()),
  store: Type.Optional(Type.Boolean()),
  metadata: Type.Optional(
    Type.Record(Type.String({ pattern: '^.{1,64}$' }), text(METADATA_VALUE_LENGTH_MAX), {
      additionalProperties: false,
      maxProperties: METADATA_MEMBERS_MAX,
    }),
  ),
  skein: Type.Optional(SkeinBodySchema),
})
export type ResponseBody = Static<typeof ResponseBodySchema>

const UNSERVED: Readonly<Record<string, Asks>> = {
  previous_response_id: () => true,
  conversation: () => true,
  prompt: () => true,
  tools: isFilled,
  tool_choice: isOther('none', 'auto'),
  include: isFilled,
  top_logprobs: isOther(0),
  truncation: isOther('disabled'),
  max_tool_calls: () => true,
}

/** Content parts with text, by the role that may have them. */
const TEXT_PARTS = new Set(['input_text', 'output_text', 'text'])

const THOUGHT_PARTS = new Set(['reasoning_text', 'text'])

function partText(part: { readonly type: string }, param: string, types: ReadonlySet<string> = TEXT_PARTS): string {
  if (!types.has(part.type)) throw unsupported(`${param}.type`)
  const { text: value } = part as { readonly text?: unknown }
  if (typeof value !== 'string')
    throw new SkeinError('INVALID_REQUEST', `${param}.text must be string`, { param: `${param}.text` })
  return value
}

/** Of a reasoning item: nothing where there is a summary alone. */
function thoughtOf({ content }: InputItem, at: string): string {
  if (!Array.isArray(content)) return ''
  return content
    .map((part, i) => partText(part, `${at}.content[${i}]`, THOUGHT_PARTS))
    .join('')
    .toWellFormed()
}

/** The messages of a conversation; what was thought belongs to the answer behind it. */
function messagesOf(items: readonly InputItem[]): ChatMessage[] {
  const messages: ChatMessage[] = []
  let thought = ''
  for (const [index, item] of items.entries()) {
    if (item.type === 'reasoning') {
      thought += thoughtOf(item, `input[${index}]`)
      continue
    }
    const next = message(item, index)
    messages.push(next.role === 'assistant' && thought !== '' ? { ...next, thought } : next)
    thought = ''
  }
  if (messages.length === 0) throw new SkeinError('INVALID_REQUEST', 'input has no message', { param: 'input' })
  return messages
}

function message({ type = 'message', role, content }: InputItem, index: number): ChatMessage {
  const at = `input[${index}]`
  if (type !== 'message') throw unsupported(`${at}.type`)
  const missing = role === undefined ? 'role' : 'content'
  if (role === undefined || content === undefined || content === null)
    throw new SkeinError('INVALID_REQUEST', `${at}.${missing} is required`, { param: `${at}.${missing}` })
  const parts =
    typeof content === 'string' ? [content] : content.map((part, i) => partText(part, `${at}.content[${i}]`))
  return { role, content: parts.join('').toWellFormed() }
}

/** The response's members that repeat the request; the long ones are left out where they do not fit the ledger. */
function echoOf(body: ResponseBody, format: object): Record<string, unknown> {
  const echo = {
    background: body.background ?? false,
    max_output_tokens: body.max_output_tokens ?? null,
    metadata: body.metadata ?? {},
    store: body.store ?? true,
    ...(body.reasoning && { reasoning: { effort: body.reasoning.effort ?? null, summary: null } }),
    // null: the model's own
    temperature: body.temperature ?? null,
    top_p: body.top_p ?? null,
  }
  const full = { ...echo, instructions: body.instructions ?? null, text: { format } }
  // half of the room, since other members share it
  if (Buffer.byteLength(JSON.stringify(full)) <= SHAPE_BYTES_MAX / 2) return full
  return { ...echo, instructions: null, text: { format: { type: (format as { type: string }).type } } }
}

/** @throws SkeinError INVALID_REQUEST, UNSUPPORTED_PARAMETER, each with its `param`. */
export function responseCall(body: ResponseBody): GenerationCall {
  refuseUnserved(body, UNSERVED)
  const { input, instructions, background = false, store = true } = body
  const { effort: wanted, summary, generate_summary: older } = body.reasoning ?? {}
  // which kind of summary is left to the server: there is none beside the thought itself
  for (const [name, asked] of Object.entries({ summary, generate_summary: older }))
    if (asked && asked !== 'auto') throw unsupported(`reasoning.${name}`)
  if (background && !store)
    throw new SkeinError('INVALID_REQUEST', 'a background response must be stored', { param: 'store' })
  const messages: ChatMessage[] =
    typeof input === 'string' ? [{ role: 'user', content: input.toWellFormed() }] : messagesOf(input)
  if (instructions !== undefined) messages.unshift({ role: 'system', content: instructions.toWellFormed() })
  const requested = body.text?.format ?? { type: 'text' }
  const format = outputFormat(requested, requested, 'text.format')
  return {
    shape: 'response',
    task: {
      ...commonTask(body, { kind: 'chat', messages, ...thinkingWish(wanted ?? undefined) }, body.max_output_tokens),
      ...(format === undefined ? {} : { format }),
    },
    stream: body.stream ?? false,
    includeUsage: false,
    attachment: background ? 'background' : store ? 'resumable' : 'attached',
    stored: store,
    echo: echoOf(body, requested),
  }
}
