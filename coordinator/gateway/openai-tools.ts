/** Tools in OpenAI's chats: what a request gives, what its messages had called, and what an answer calls. */
import { Type, type Static, type TNull, type TSchema, type TUnion } from 'typebox'
import {
  answeredCalls,
  LIMITS,
  SkeinError,
  TOOL_NAME,
  type AnsweredCall,
  type JsonFormat,
  type TaskId,
  type Tool,
  type ToolCall,
  type ToolFormat,
} from '../../mesh/protocol/index.ts'
import type { ReadPart } from './answer-reader.ts'
import { nestsDeeper } from './json-body.ts'

/** Members of bodies that may be `null` are as if they were not given. */
export const orNull = <T extends TSchema>(schema: T): TUnion<[T, TNull]> => Type.Union([schema, Type.Null()])

export const ToolBodySchema = Type.Object({
  type: Type.String(),
  function: Type.Optional(
    Type.Object({
      name: Type.String(),
      description: Type.Optional(orNull(Type.String())),
      parameters: Type.Optional(orNull(Type.Object({}))),
      // arguments are held to their schema as far as it can be held to, whatever this says
      strict: Type.Optional(orNull(Type.Boolean())),
    }),
  ),
})
export type ToolBody = Static<typeof ToolBodySchema>

export const ToolCallBodySchema = Type.Object({
  id: Type.String({ minLength: 1, maxLength: LIMITS.toolCallIdLengthMax }),
  type: Type.Optional(Type.String()),
  function: Type.Optional(Type.Object({ name: Type.String(), arguments: Type.String() })),
})
export type ToolCallBody = Static<typeof ToolCallBodySchema>

/** Members of a chat body that are about tools. */
export interface ToolMembers {
  readonly tools?: readonly ToolBody[]
  /** `none`, `auto`, `required`, or the one function to call. */
  readonly tool_choice?: unknown
  readonly parallel_tool_calls?: boolean
}

const NO_PARAMETERS = '{"type":"object","properties":{}}'
const NAME = new RegExp(TOOL_NAME)

export const invalid = (param: string, why: string): SkeinError =>
  new SkeinError('INVALID_REQUEST', `${param} ${why}`, { param })

const unsupported = (param: string): SkeinError =>
  new SkeinError('UNSUPPORTED_PARAMETER', `${param} with this value is not supported yet`, { param })

/** The function of a tool or a call. @throws SkeinError UNSUPPORTED_PARAMETER for tools of other types. */
function functionOf<F>(given: { type?: string; function?: F } | null, at: string): F {
  const { type = 'function', function: named } = given ?? {}
  if (type !== 'function') throw unsupported(`${at}.type`)
  if (named === undefined) throw invalid(`${at}.function`, 'is required')
  return named
}

/** @throws SkeinError INVALID_REQUEST naming `param`. */
export function checkName(name: string, param: string): string {
  if (NAME.test(name)) return name
  throw invalid(param, 'must be 1 to 64 of A-Z a-z 0-9 . _ -')
}

/** A tool as a request gives it, whatever its API calls the members. */
export interface GivenTool {
  readonly name: string
  readonly description?: string | null
  readonly parameters?: object | null
  /** Places of the members in the body. */
  readonly at: { readonly name: string; readonly parameters: string }
}

/** @throws SkeinError INVALID_REQUEST with its `param`. */
export function checkTools(given: readonly GivenTool[]): Tool[] {
  if (given.length > LIMITS.toolsMax) throw invalid('tools', `must not be more than ${LIMITS.toolsMax}`)
  const names = new Set<string>()
  let bytes = 0
  const tools = given.map(({ description, parameters, at, ...named }): Tool => {
    const name = checkName(named.name, at.name)
    if (names.has(name)) throw invalid(at.name, `is that of another tool: ${name}`)
    names.add(name)
    const schema = parameters ? JSON.stringify(parameters) : NO_PARAMETERS
    if (schema.length > LIMITS.outputSchemaLengthMax)
      throw invalid(at.parameters, `is longer than ${LIMITS.outputSchemaLengthMax} characters`)
    const tool = {
      name,
      ...(description ? { description: description.toWellFormed() } : {}),
      parameters: schema,
    }
    bytes += Buffer.byteLength(name + (tool.description ?? '') + schema)
    return tool
  })
  if (bytes > LIMITS.toolsBytesMax) throw invalid('tools', `are longer than ${LIMITS.toolsBytesMax} bytes`)
  return tools
}

/**
 * The tools that the model is shown: none with `tool_choice: "none"`.
 *
 * @throws SkeinError INVALID_REQUEST, UNSUPPORTED_PARAMETER, each with its `param`.
 */
export function toolsOf({ tools = [], tool_choice }: ToolMembers): Tool[] {
  const shown = checkTools(toolsIn(tools))
  return tool_choice === 'none' ? [] : shown
}

/** @throws SkeinError INVALID_REQUEST, UNSUPPORTED_PARAMETER, each with its `param`. */
const toolsIn = (tools: readonly ToolBody[]): GivenTool[] =>
  tools.map((body, i) => {
    const at = `tools[${i}]`
    return { ...functionOf(body, at), at: { name: `${at}.function.name`, parameters: `${at}.function.parameters` } }
  })

/**
 * `allowed_tools` said as fewer tools, and a plain choice.
 *
 * @throws SkeinError INVALID_REQUEST, UNSUPPORTED_PARAMETER, each with its `param`.
 */
export function narrowed(members: ToolMembers): ToolMembers {
  const { tools = [], tool_choice } = members
  const { type, allowed_tools } = (tool_choice ?? {}) as Partial<Record<string, unknown>>
  if (type !== 'allowed_tools') return members
  const at = 'tool_choice.allowed_tools'
  const { mode, tools: given } = (allowed_tools ?? {}) as Partial<Record<string, unknown>>
  if (mode !== 'auto' && mode !== 'required') throw invalid(`${at}.mode`, 'must be auto or required')
  if (!Array.isArray(given) || given.length === 0) throw invalid(`${at}.tools`, 'must name a tool')
  const names = new Set(given.map((each, i) => functionOf(each as ToolBody, `${at}.tools[${i}]`).name))
  const unknown = [...names].find((name) => !tools.some((tool) => tool.function?.name === name))
  if (unknown !== undefined) throw invalid(`${at}.tools`, `names no tool: ${String(unknown).slice(0, 64)}`)
  // all are looked at before some are left out
  checkTools(toolsIn(tools))
  return { ...members, tools: tools.filter((tool) => names.has(String(tool.function?.name))), tool_choice: mode }
}

/** The name of the one function to call. */
function namedChoice(choice: unknown): string {
  if (typeof choice !== 'object' || choice === null)
    throw invalid('tool_choice', 'must be none, auto, required, or a function')
  const { type, function: named } = choice as {
    readonly type?: unknown
    readonly function?: { readonly name?: unknown }
  }
  if (typeof type !== 'string') throw invalid('tool_choice.type', 'must be string')
  if (type !== 'function') throw unsupported('tool_choice.type')
  if (typeof named?.name !== 'string') throw invalid('tool_choice.function.name', 'must be string')
  return named.name
}

/**
 * How `tools` may be called, and what an answer that calls none is held to; nothing when none are shown.
 *
 * @throws SkeinError INVALID_REQUEST, UNSUPPORTED_PARAMETER, each with its `param`.
 */
export function toolFormat(
  { tool_choice = 'auto', parallel_tool_calls = true }: ToolMembers,
  tools: readonly Tool[],
  content: JsonFormat | undefined,
): ToolFormat | undefined {
  const callsMax = parallel_tool_calls ? LIMITS.answerToolCallsMax : 1
  if (tool_choice === 'none') return undefined
  if (tool_choice === 'auto')
    return tools.length === 0
      ? undefined
      : { kind: 'tool-calls', choice: 'auto', callsMax, ...(content ? { content } : {}) }
  const name = tool_choice === 'required' ? undefined : namedChoice(tool_choice)
  if (tools.length === 0) throw invalid('tool_choice', 'is only allowed with tools')
  if (name === undefined) return { kind: 'tool-calls', choice: 'required', callsMax }
  if (!tools.some((tool) => tool.name === name)) throw invalid('tool_choice', `names no tool: ${name.slice(0, 64)}`)
  // of a function by name OpenAI makes one call
  return { kind: 'tool-calls', choice: 'required', name, callsMax: 1 }
}

/** @throws SkeinError INVALID_REQUEST, UNSUPPORTED_PARAMETER, each with its `param`. */
export function messageCalls(calls: readonly ToolCallBody[], at: string): ToolCall[] {
  return calls.map((body, i) => {
    const place = `${at}.tool_calls[${i}]`
    const { name, arguments: given } = functionOf(body, place)
    return {
      id: body.id.toWellFormed(),
      name: checkName(name, `${place}.function.name`),
      arguments: objectText(given, `${place}.function.arguments`),
    }
  })
}

/** Models of other makers write nothing where there are no arguments. @throws SkeinError INVALID_REQUEST naming `param`. */
export function objectText(text: string, param: string): string {
  if (text.trim() === '') return '{}'
  if (nestsDeeper(Buffer.from(text), LIMITS.jsonDepthMax))
    throw invalid(param, `nests deeper than ${LIMITS.jsonDepthMax} levels`)
  if (jsonObject(text) === undefined) throw invalid(param, 'must be a JSON object')
  return text.toWellFormed()
}

/** The object that `text` is as JSON; `undefined` when it is none, or nests deeper than `LIMITS.jsonDepthMax`. */
export function jsonObject(text: string): object | undefined {
  if (nestsDeeper(Buffer.from(text), LIMITS.jsonDepthMax)) return undefined
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** Of the call with that index. It follows from the answer alone, so that who comes back meets it again. */
export const callId = (taskId: TaskId, index: number, prefix = 'call_'): string =>
  `${prefix}${taskId.slice(taskId.indexOf('_') + 1)}_${index}`

const callBody = (taskId: TaskId, index: number, { name, arguments: given }: AnsweredCall): object => ({
  id: callId(taskId, index),
  type: 'function',
  function: { name, arguments: given },
})

/** The calls of a whole answer, as members of its message. */
export const callBodies = (parts: readonly ReadPart[], taskId: TaskId): object[] =>
  answeredCalls(parts.filter((part) => part.kind !== 'thought')).map((call, index) => callBody(taskId, index, call))

/** What `parts` say of calls, as members of a delta: a call begins with its id and name, its arguments follow. */
export function callDeltas(parts: readonly ReadPart[], taskId: TaskId): object[] {
  const deltas = new Map<number, { name?: string; given: string }>()
  for (const part of parts)
    if (part.kind === 'call') deltas.set(part.index, { name: part.name, given: '' })
    else if (part.kind === 'arguments') {
      const begun = deltas.get(part.index)
      deltas.set(part.index, { ...begun, given: (begun?.given ?? '') + part.text })
    }
  return Array.from(deltas, ([index, { name, given }]) => ({
    index,
    ...(name === undefined ? { function: { arguments: given } } : callBody(taskId, index, { name, arguments: given })),
  }))
}
