/** Bodies of Anthropic's messages API as tasks. As of OpenAI's calls: what is known and not served is refused by name. */
import { LIMITS, SkeinError, type ChatMessage, type ToolCall } from '../../mesh/protocol/index.ts'
import { messageForms } from './anthropic-answers.ts'
import type { AnthropicTool, Block, CountBody, MessagesBody, Thinking, ToolChoice, Turn } from './anthropic-schemas.ts'
import {
  commonTask,
  isFilled,
  outputFormat,
  refuseUnserved,
  thinkingWish,
  unsupported,
  withinCalls,
  type Asks,
  type GenerationCall,
} from './openai-requests.ts'
import { checkName, checkTools, invalid, toolFormat, type GivenTool, type ToolMembers } from './openai-tools.ts'

const UNSERVED: Readonly<Record<string, Asks>> = {
  // its turns come without those before them, which nobody here holds
  thread: () => true,
  container: () => true,
  mcp_servers: isFilled,
}

/** Of blocks of other types than are read where this one stands. */
function unread({ type }: Block, at: string): SkeinError {
  const param = `${at}.type`
  return new SkeinError('UNSUPPORTED_PARAMETER', `${param} '${type.slice(0, 40)}' is not served here`, { param })
}

function textMember(block: object, member: string, at: string): string {
  const value = (block as Record<string, unknown>)[member]
  if (typeof value !== 'string') throw invalid(`${at}.${member}`, 'must be string')
  return value.toWellFormed()
}

/** The text of content that may have no other blocks. @throws SkeinError INVALID_REQUEST, UNSUPPORTED_PARAMETER. */
function textOf(content: string | readonly Block[], at: string): string {
  if (typeof content === 'string') return content.toWellFormed()
  return content
    .map((block, i) => {
      if (block.type !== 'text') throw unread(block, `${at}[${i}]`)
      return textMember(block, 'text', `${at}[${i}]`)
    })
    .join('')
}

function callId(block: Block, member: string, at: string): string {
  const id = textMember(block, member, at)
  if (id !== '' && id.length <= LIMITS.toolCallIdLengthMax) return id
  throw invalid(`${at}.${member}`, `must be 1 to ${LIMITS.toolCallIdLengthMax} characters`)
}

/** Blocks within a block that is known by its type alone. */
function isContent(value: unknown): value is string | readonly Block[] {
  const isBlock = (each: unknown): boolean =>
    typeof each === 'object' && each !== null && typeof (each as { type?: unknown }).type === 'string'
  return typeof value === 'string' || (Array.isArray(value) && value.every(isBlock))
}

/** A model is told of a failed call by its text: chat templates have no other place for it. */
function resultMessage(block: Block, at: string): ChatMessage {
  const { content = '', is_error } = block as { content?: unknown; is_error?: unknown }
  if (!isContent(content)) throw invalid(`${at}.content`, 'must be string or blocks')
  const text = textOf(content, `${at}.content`)
  return {
    role: 'tool',
    content: is_error === true ? `Error: ${text}` : text,
    toolCallId: callId(block, 'tool_use_id', at),
  }
}

function useCall(block: Block, at: string): ToolCall {
  const { input } = block as { input?: unknown }
  if (typeof input !== 'object' || input === null || Array.isArray(input))
    throw invalid(`${at}.input`, 'must be object')
  return {
    id: callId(block, 'id', at),
    name: checkName(textMember(block, 'name', at), `${at}.name`),
    arguments: JSON.stringify(input),
  }
}

/** The results of a turn, then what is said beside them: templates want results right behind their calls. */
function userMessages(content: readonly Block[], at: string): ChatMessage[] {
  const results: ChatMessage[] = []
  const said: string[] = []
  for (const [i, block] of content.entries())
    if (block.type === 'tool_result') results.push(resultMessage(block, `${at}[${i}]`))
    else if (block.type === 'text') said.push(textMember(block, 'text', `${at}[${i}]`))
    else throw unread(block, `${at}[${i}]`)
  return said.length === 0 ? results : [...results, { role: 'user', content: said.join('') }]
}

function assistantMessage(content: readonly Block[], at: string): ChatMessage {
  let said = ''
  let thought = ''
  const toolCalls: ToolCall[] = []
  for (const [i, block] of content.entries()) {
    const place = `${at}[${i}]`
    if (block.type === 'text') said += textMember(block, 'text', place)
    else if (block.type === 'thinking') thought += textMember(block, 'thinking', place)
    else if (block.type === 'tool_use') toolCalls.push(useCall(block, place))
    // what is encrypted for another server no model here can read
    else if (block.type !== 'redacted_thinking') throw unread(block, place)
  }
  return {
    role: 'assistant',
    content: said,
    ...(thought !== '' && { thought }),
    ...(toolCalls.length > 0 && { toolCalls }),
  }
}

function turnMessages({ role, content }: Turn, index: number): ChatMessage[] {
  const at = `messages[${index}].content`
  if (typeof content === 'string' || role === 'system') return [{ role, content: textOf(content, at) }]
  return role === 'user' ? userMessages(content, at) : [assistantMessage(content, at)]
}

/** Turns of one side in a row are one turn, as at Anthropic: most templates want the sides to take turns. */
function joined(messages: readonly ChatMessage[]): ChatMessage[] {
  const all: ChatMessage[] = []
  for (const message of messages) {
    const last = all.at(-1)
    if (last?.role !== message.role || message.role === 'tool') {
      all.push(message)
      continue
    }
    const thought = [last.thought, message.thought].filter(Boolean).join('\n')
    const toolCalls = [...(last.toolCalls ?? []), ...(message.toolCalls ?? [])]
    all[all.length - 1] = {
      role: last.role,
      content: [last.content, message.content].filter(Boolean).join('\n'),
      ...(thought !== '' && { thought }),
      ...(toolCalls.length > 0 && { toolCalls }),
    }
  }
  return all
}

function messagesOf({ system = '', messages }: CountBody): ChatMessage[] {
  const instructions = textOf(system, 'system')
  const first: ChatMessage[] = instructions === '' ? [] : [{ role: 'system', content: instructions }]
  const all = joined([...first, ...messages.flatMap(turnMessages)])
  if (all.length > LIMITS.messagesMax)
    throw invalid('messages', `have more than ${LIMITS.messagesMax} turns and tool results`)
  return withinCalls(all)
}

function givenTool({ type, name, description, input_schema }: AnthropicTool, index: number): GivenTool {
  const at = `tools[${index}]`
  if (type && type !== 'custom') throw unsupported(`${at}.type`)
  if (!input_schema) throw invalid(`${at}.input_schema`, 'is required')
  return {
    name,
    ...(description && { description }),
    parameters: input_schema,
    at: { name: `${at}.name`, parameters: `${at}.input_schema` },
  }
}

/** As OpenAI's chats say it. @throws SkeinError INVALID_REQUEST for a tool that is not named. */
function choiceMembers({ type, name, disable_parallel_tool_use }: ToolChoice): ToolMembers {
  const parallel = { parallel_tool_calls: disable_parallel_tool_use !== true }
  if (type === 'any') return { tool_choice: 'required', ...parallel }
  if (type !== 'tool') return { tool_choice: type, ...parallel }
  if (name === undefined) throw invalid('tool_choice.name', 'is required')
  return { tool_choice: { type: 'function', function: { name } }, ...parallel }
}

/** Who asks for no thinking is not shown any: clients of this API take the first block for the answer. */
function wishOf({ thinking, output_config }: CountBody): ReturnType<typeof thinkingWish> {
  const { effort } = output_config ?? {}
  const wanted = effort === 'max' ? 'xhigh' : (effort ?? undefined)
  if (thinking?.type === 'adaptive') return thinkingWish(wanted)
  return thinkingWish(wanted, thinking?.type === 'enabled')
}

const showsThoughts = (thinking: Thinking | undefined): 'whole' | 'omitted' | 'none' => {
  if (thinking === undefined || thinking.type === 'disabled') return 'none'
  return thinking.display === 'omitted' ? 'omitted' : 'whole'
}

/** What is asked, for an answer and for the count of its tokens. */
function askedOf(body: CountBody): Pick<GenerationCall['task'], 'format'> & {
  prompt: Extract<GenerationCall['task']['prompt'], { kind: 'chat' }>
} {
  refuseUnserved(body, UNSERVED)
  const { tools: given = [], tool_choice = { type: 'auto' }, output_config } = body
  const wanted = output_config?.format
  const content = wanted ? outputFormat(wanted, wanted, 'output_config.format') : undefined
  const choice = choiceMembers(tool_choice)
  const checked = checkTools(given.map(givenTool))
  const tools = tool_choice.type === 'none' ? [] : checked
  const format = toolFormat(choice, tools, content) ?? content
  const shown = tools.length > 0 ? { tools } : {}
  const prompt = { kind: 'chat' as const, messages: messagesOf(body), ...shown, ...wishOf(body) }
  return { prompt, ...(format && { format }) }
}

/** @throws SkeinError INVALID_REQUEST, UNSUPPORTED_PARAMETER, each with its `param`. */
export function messagesCall(body: MessagesBody): GenerationCall {
  const { model, messages, max_tokens, stream = false, temperature, top_p, top_k, thinking } = body
  const { stop_sequences: stops = [] } = body
  const { prompt, format } = askedOf(body)
  if (messages.at(-1)?.role === 'assistant') {
    const param = `messages[${messages.length - 1}].role`
    throw new SkeinError(
      'UNSUPPORTED_PARAMETER',
      `${param} is assistant, and an answer cannot be begun for the model`,
      {
        param,
      },
    )
  }
  const sampling = {
    model,
    ...(temperature !== undefined && { temperature }),
    ...(top_p !== undefined && { top_p }),
    ...(top_k !== undefined && { top_k }),
    stop: stops,
  }
  return {
    shape: 'chat',
    task: { ...commonTask(sampling, prompt, max_tokens), ...(format && { format }) },
    stream,
    includeUsage: false,
    attachment: 'attached',
    stored: false,
    forms: messageForms({ hasTools: prompt.tools !== undefined, thoughts: showsThoughts(thinking), stops }),
  }
}

/**
 * Only a node that has the model can count: it renders the template. It is asked for an answer of one token, whose usage says
 * how many the prompt has; what it prefilled for that is warm for the question itself.
 *
 * @throws SkeinError INVALID_REQUEST, UNSUPPORTED_PARAMETER, each with its `param`.
 */
export function countCall(body: CountBody): GenerationCall {
  const { prompt } = askedOf(body)
  return {
    shape: 'chat',
    task: commonTask({ model: body.model, temperature: 0 }, prompt, 1),
    stream: false,
    includeUsage: false,
    attachment: 'attached',
    stored: false,
    forms: {
      ...messageForms({ hasTools: false, thoughts: 'none', stops: [] }),
      whole: (_head, { usage }) => ({ input_tokens: usage.promptTokens }),
    },
  }
}
