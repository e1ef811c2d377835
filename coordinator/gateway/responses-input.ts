/** What a response is asked: items as the messages of a chat, and those messages as items again. */
import { LIMITS, SkeinError, type ChatMessage, type TaskId, type ToolCall } from '../../mesh/protocol/index.ts'
import { checkName, invalid, objectText } from './openai-tools.ts'
import { textPart, thoughtPart } from './responses-items.ts'
import type { InputItem } from './responses-schemas.ts'

const unsupported = (param: string): SkeinError =>
  new SkeinError('UNSUPPORTED_PARAMETER', `${param} with this value is not supported yet`, { param })

/** Content parts with text, by the item that may have them. */
const TEXT_PARTS = new Set(['input_text', 'output_text', 'text'])
const THOUGHT_PARTS = new Set(['reasoning_text', 'text'])

type Part = Exclude<InputItem['content'], string | null | undefined>[number]

function partText(part: Part, param: string, types: ReadonlySet<string>): string {
  // what a model refused to say is what it said
  const { type } = part
  if (!types.has(type) && type !== 'refusal') throw unsupported(`${param}.type`)
  const member = type === 'refusal' ? 'refusal' : 'text'
  const value = (part as Readonly<Record<string, unknown>>)[member]
  if (typeof value !== 'string') throw invalid(`${param}.${member}`, 'must be string')
  return value
}

function textOf(content: InputItem['content'], param: string, types = TEXT_PARTS): string {
  if (content === undefined || content === null) throw invalid(param, 'is required')
  const parts =
    typeof content === 'string' ? [content] : content.map((part, i) => partText(part, `${param}[${i}]`, types))
  // half a surrogate pair is legal in JSON and is not in UTF-8
  return parts.join('').toWellFormed()
}

/** An item that stands for one of an earlier response. */
export const isReference = ({ type, role, id }: InputItem): boolean =>
  type === 'item_reference' || ((type ?? undefined) === undefined && role === undefined && typeof id === 'string')

/** Items become messages in their order: what was thought, said and called in a row is one message of the assistant. */
class Conversation {
  readonly #known: Set<string>
  readonly messages: ChatMessage[] = []
  /** Waits for what it led to. */
  #thought = ''

  constructor(before: readonly ChatMessage[]) {
    this.#known = new Set(before.flatMap(({ toolCalls = [] }) => toolCalls.map(({ id }) => id)))
  }

  take(item: InputItem, at: string): void {
    switch (item.type ?? 'message') {
      case 'reasoning':
        // nothing where there is a summary alone
        if (Array.isArray(item.content)) this.#thought += textOf(item.content, `${at}.content`, THOUGHT_PARTS)
        return
      case 'function_call':
        return this.#call(item, at)
      case 'function_call_output':
        return this.#result(item, at)
      case 'message':
        return this.#message(item, at)
      default:
        throw unsupported(`${at}.type`)
    }
  }

  #message({ role, content }: InputItem, at: string): void {
    if (role === undefined) throw invalid(`${at}.role`, 'is required')
    const thought = role === 'assistant' ? this.#thought : ''
    this.#thought = ''
    this.messages.push({ role, content: textOf(content, `${at}.content`), ...(thought && { thought }) })
  }

  #call({ call_id, name, arguments: given }: InputItem, at: string): void {
    if (!call_id) throw invalid(`${at}.call_id`, 'is required')
    if (typeof name !== 'string') throw invalid(`${at}.name`, 'is required')
    if (typeof given !== 'string') throw invalid(`${at}.arguments`, 'is required')
    const call: ToolCall = {
      id: call_id.toWellFormed(),
      name: checkName(name, `${at}.name`),
      arguments: objectText(given, `${at}.arguments`),
    }
    this.#known.add(call.id)
    const last = this.messages.at(-1)
    const thought = this.#thought
    this.#thought = ''
    if (last?.role === 'assistant' && thought === '')
      this.messages[this.messages.length - 1] = { ...last, toolCalls: [...(last.toolCalls ?? []), call] }
    else this.messages.push({ role: 'assistant', content: '', ...(thought && { thought }), toolCalls: [call] })
  }

  #result({ call_id, output }: InputItem, at: string): void {
    if (!call_id) throw invalid(`${at}.call_id`, 'is required')
    const id = call_id.toWellFormed()
    if (!this.#known.has(id)) throw invalid(`${at}.call_id`, `is of no function call of this conversation: ${id}`)
    this.#thought = ''
    this.messages.push({ role: 'tool', content: textOf(output, `${at}.output`), toolCallId: id })
  }
}

/**
 * The messages of `input` behind those of the conversation before it.
 *
 * @param instructions that will stand in front of them.
 * @throws SkeinError INVALID_REQUEST, UNSUPPORTED_PARAMETER, CONTEXT_LENGTH_EXCEEDED, each with its `param`.
 */
export function messagesOf(
  input: string | readonly InputItem[],
  before: readonly ChatMessage[] = [],
  instructions = '',
): ChatMessage[] {
  const conversation = new Conversation(before)
  if (typeof input === 'string') conversation.take({ role: 'user', content: input }, 'input')
  else for (const [index, item] of input.entries()) conversation.take(item, `input[${index}]`)
  if (conversation.messages.length === 0) throw invalid('input', 'has no message')
  const messages = [...before, ...conversation.messages]
  checkSize(messages, instructions, before.length > 0 ? 'previous_response_id' : 'input')
  return messages
}

/** What a message or a call takes on the wire beside its texts, at most. */
const MEMBERS_BYTES = 64

/** One conversation may be as large as one request, however many made it. */
function checkSize(messages: readonly ChatMessage[], instructions: string, param: string): void {
  const calls = messages.flatMap(({ toolCalls = [] }) => toolCalls)
  // one fewer than a prompt may have: instructions are another
  if (messages.length >= LIMITS.messagesMax)
    throw invalid(param, `makes a conversation of more than ${LIMITS.messagesMax - 1} messages`)
  if (calls.length > LIMITS.toolCallsMax)
    throw invalid(param, `makes a conversation of more than ${LIMITS.toolCallsMax} tool calls`)
  const texts = [
    instructions,
    ...messages.flatMap(({ content, thought = '', toolCallId = '' }) => [content, thought, toolCallId]),
    ...calls.flatMap(({ id, name, arguments: given }) => [id, name, given]),
  ]
  const around = MEMBERS_BYTES * (messages.length + calls.length)
  if (texts.reduce((sum, text) => sum + Buffer.byteLength(text), around) > LIMITS.promptBytesMax)
    throw new SkeinError('CONTEXT_LENGTH_EXCEEDED', `the conversation is larger than ${LIMITS.promptBytesMax} bytes`, {
      param,
    })
}

/** The messages that a response was asked as items, with ids that follow from their places. */
export function itemsOfMessages(taskId: TaskId, messages: readonly ChatMessage[]): InputItemBody[] {
  const id = (prefix: string, index: number, rest = ''): string => `${taskId.replace('task_', prefix)}_i${index}${rest}`
  return messages.flatMap(({ role, content, thought, toolCalls = [], toolCallId }, index): InputItemBody[] => {
    const status = 'completed'
    if (role === 'tool')
      return [{ id: id('fco_', index), type: 'function_call_output', status, call_id: toolCallId, output: content }]
    if (role !== 'assistant')
      return [
        { id: id('msg_', index), type: 'message', status, role, content: [{ type: 'input_text', text: content }] },
      ]
    const calls = toolCalls.map((call, i) => {
      const named = { call_id: call.id, name: call.name, arguments: call.arguments }
      return { id: id('fc_', index, `_${i}`), type: 'function_call', status, ...named }
    })
    const said = { id: id('msg_', index), type: 'message', status, role, content: [textPart(content)] }
    const reasoning = { id: id('rs_', index), type: 'reasoning', status, summary: [] }
    return [
      ...(thought ? [{ ...reasoning, content: [thoughtPart(thought)] }] : []),
      ...(content !== '' || calls.length === 0 ? [said] : []),
      ...calls,
    ]
  })
}

/** An item as a list shows it. */
export type InputItemBody = { readonly id: string; readonly type: string } & Readonly<Record<string, unknown>>
