/** Tools in OpenAI's responses: flat, where chats have them a level deeper. */
import { SkeinError, type JsonFormat, type Tool, type ToolFormat } from '../../mesh/protocol/index.ts'
import { checkTools, invalid, toolFormat } from './openai-tools.ts'
import type { FlatTool, ResponseBody } from './responses-schemas.ts'

/** What a response may call, and how. */
export interface ResponseTools {
  /** Those that the model is shown. */
  readonly tools: readonly Tool[]
  readonly format: ToolFormat | undefined
}

const unsupported = (param: string): SkeinError =>
  new SkeinError('UNSUPPORTED_PARAMETER', `${param} with this value is not supported yet`, { param })

/** The name of a function that a choice names at `at`. */
function functionName(named: unknown, at: string): string {
  const { type, name } = (typeof named === 'object' && named !== null ? named : {}) as Partial<Record<string, unknown>>
  if (typeof type !== 'string') throw invalid(`${at}.type`, 'must be string')
  if (type !== 'function') throw unsupported(`${at}.type`)
  if (typeof name !== 'string') throw invalid(`${at}.name`, 'must be string')
  return name
}

/** `tools` as far as `choice` allows them, and the choice as chats have it. */
function narrowed(tools: readonly Tool[], choice: unknown): { tools: readonly Tool[]; choice: unknown } {
  if (choice === undefined || typeof choice === 'string') return { tools, choice }
  const { type, mode, tools: given } = (choice ?? {}) as Partial<Record<string, unknown>>
  if (type !== 'allowed_tools')
    return { tools, choice: { type: 'function', function: { name: functionName(choice, 'tool_choice') } } }
  if (mode !== 'auto' && mode !== 'required') throw invalid('tool_choice.mode', 'must be auto or required')
  if (!Array.isArray(given) || given.length === 0) throw invalid('tool_choice.tools', 'must name a tool')
  const names = new Set(given.map((each, i) => functionName(each, `tool_choice.tools[${i}]`)))
  const unknown = [...names].find((name) => !tools.some((tool) => tool.name === name))
  if (unknown !== undefined) throw invalid('tool_choice.tools', `names no tool: ${unknown.slice(0, 64)}`)
  return { tools: tools.filter(({ name }) => names.has(name)), choice: mode }
}

/** @throws SkeinError INVALID_REQUEST, UNSUPPORTED_PARAMETER, each with its `param`. */
export function responseTools(
  {
    tools = [],
    tool_choice,
    parallel_tool_calls = true,
  }: Pick<ResponseBody, 'tools' | 'tool_choice' | 'parallel_tool_calls'>,
  content: JsonFormat | undefined,
): ResponseTools {
  const given = tools.map(({ type, name, description, parameters }, i) => {
    const at = `tools[${i}]`
    if (type !== 'function') throw unsupported(`${at}.type`)
    if (typeof name !== 'string') throw invalid(`${at}.name`, 'is required')
    const optional = { ...(description && { description }), ...(parameters && { parameters }) }
    return { name, ...optional, at: { name: `${at}.name`, parameters: `${at}.parameters` } }
  })
  const { tools: shown, choice } = narrowed(checkTools(given), tool_choice)
  const format = toolFormat({ tool_choice: choice, parallel_tool_calls }, shown, content)
  return { tools: choice === 'none' ? [] : shown, format }
}

/** The tools as a response repeats them. */
export const toolBodies = (tools: readonly FlatTool[]): object[] =>
  tools.map(({ name, description, parameters, strict }) => ({
    type: 'function',
    name,
    ...(description && { description }),
    parameters: parameters ?? null,
    strict: strict ?? null,
  }))

/** The choice as a response repeats it: of one that was taken, what is known of it and nothing else that came with it. */
export function choiceBody(choice: unknown): unknown {
  if (choice === undefined || typeof choice === 'string') return choice ?? 'auto'
  const { type, name, mode, tools = [] } = choice as FlatTool & { readonly mode?: string; readonly tools?: FlatTool[] }
  if (type !== 'allowed_tools') return { type, name }
  return { type, mode, tools: tools.map((each) => ({ type: each.type, name: each.name })) }
}
