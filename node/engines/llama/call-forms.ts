/**
 * Messages and tools in the form of Hugging Face's templates. In what form these want the calls of earlier answers differs,
 * and none says so: which one a template shows is found by rendering.
 */
import { SkeinError, type ChatMessage, type Tool, type ToolCall } from '../../../mesh/protocol/index.ts'
import type { Placeholders } from './placeholders.ts'

export type Turn = Pick<ChatMessage, 'content' | 'name' | 'thought' | 'toolCalls' | 'toolCallId'> & {
  readonly role: 'system' | 'user' | 'assistant' | 'tool'
}

/** How a template is shown earlier calls. */
export interface CallForm {
  /** Arguments are JSON as text. */
  readonly hasTextArguments?: boolean
  /** A message that does nothing but call has no content at all, rather than an empty one. */
  readonly isContentNull?: boolean
  /** The template knows no calls: they stand in the content, as the model writes them. */
  readonly isWritten?: boolean
  /** Nine letters and digits each, as Mistral's templates insist on. */
  readonly hasShortIds?: boolean
}

/** Those that there are, the usual first. */
export const CALL_FORMS: readonly CallForm[] = [
  {},
  { isContentNull: true },
  { hasTextArguments: true },
  { hasTextArguments: true, isContentNull: true },
  { isWritten: true },
]

/** For templates that show calls where there is no content: a text in front of calls is a message of its own. */
export const apart = (turns: readonly Turn[]): readonly Turn[] =>
  turns.flatMap((turn): readonly Turn[] => {
    const { toolCalls, thought, ...said } = turn
    if (turn.content === '' || toolCalls === undefined || toolCalls.length === 0) return [turn]
    return [
      { ...said, ...(thought !== undefined && { thought }) },
      { role: turn.role, content: '', toolCalls },
    ]
  })

const SHORT_ID = /^[A-Za-z0-9]{9}$/

/** The same for the same id, so that a result finds its call. */
export function shortId(id: string): string {
  if (SHORT_ID.test(id)) return id
  // two rounds of FNV-1a give the 46 bits that nine digits of base 36 hold
  const hash = (seed: number): number =>
    [...id].reduce((sum, unit) => Math.imul(sum ^ unit.codePointAt(0)!, 0x01000193) >>> 0, seed)
  const digits = (BigInt(hash(0x811c9dc5)) << 32n) | BigInt(hash(0x050c5d1f))
  return digits.toString(36).padStart(9, '0').slice(-9)
}

/** What the messages of one chat have in common. */
export interface Telling {
  /** Names of tools by the ids of their calls. */
  readonly calledById: ReadonlyMap<string, string>
  readonly told: Placeholders
  readonly form: CallForm
}

/** @throws SkeinError INVALID_REQUEST for arguments that are no JSON. */
export function messageOf(turn: Turn, telling: Telling): Record<string, unknown> {
  const { calledById, told, form } = telling
  const { role, content, thought, toolCalls, toolCallId } = turn
  const name = turn.name ?? (role === 'tool' && toolCallId !== undefined ? calledById.get(toolCallId) : undefined)
  const isCall = toolCalls !== undefined && toolCalls.length > 0
  const written = isCall && form.isWritten ? writtenCalls(toolCalls, told) : ''
  return {
    role,
    content: content === '' && isCall && form.isContentNull ? null : told.content(content) + written,
    // most templates leave out what was thought before the last question
    ...(thought !== undefined && { reasoning_content: told.word(thought) }),
    // templates with channels take a thought or a text in front of a call
    ...(thought !== undefined && isCall && content === '' && { thinking: told.word(thought) }),
    ...(name !== undefined && { name: told.word(name) }),
    ...(toolCallId !== undefined && { tool_call_id: idOf(toolCallId, telling) }),
    ...(toolCalls && { tool_calls: toolCalls.map((call) => callOf(call, telling)) }),
  }
}

const idOf = (id: string, { told, form }: Telling): string => told.word(form.hasShortIds ? shortId(id) : id)

function callOf({ id, name, arguments: given }: ToolCall, telling: Telling): object {
  const { told, form } = telling
  const value = told.value(parsed(given, 'messages'))
  const function_ = { name: told.word(name), arguments: form.hasTextArguments ? JSON.stringify(value) : value }
  return { id: idOf(id, telling), type: 'function', function: function_ }
}

/** As Granite writes them. */
function writtenCalls(calls: readonly ToolCall[], told: Placeholders): string {
  const objects = calls.map(({ name, arguments: given }) => ({
    name: told.word(name),
    arguments: told.value(parsed(given, 'messages')),
  }))
  return `<|tool_call|>[${objects.map((object) => JSON.stringify(object)).join(', ')}]`
}

/** @throws SkeinError INVALID_REQUEST for parameters that are no JSON. */
export const toolOf = ({ name, description, parameters }: Tool, told: Placeholders): object => ({
  type: 'function',
  function: {
    name: told.word(name),
    ...(description !== undefined && { description: told.word(description) }),
    parameters: told.value(parsed(parameters, 'tools')),
  },
})

/** @throws SkeinError INVALID_REQUEST: the gateway has looked at it, other members may not have. */
function parsed(text: string, param: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new SkeinError('INVALID_REQUEST', `${param} has arguments or parameters that are no JSON`, { cause, param })
  }
}
