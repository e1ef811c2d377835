/**
 * Tools for models whose chat template knows none: told in words, in what the system says, with our own markup for calls, to
 * which answers are then held. Calls of earlier answers and their results stand in the messages, as text. Pure.
 */
import { toolCallText, type ChatMessage, type Tool } from '../../../mesh/protocol/index.ts'

/** JSON of one tool, of which `parameters` stand as they are. */
function toolText({ name, description, parameters }: Tool): string {
  const said = description === undefined ? '' : ` "description": ${JSON.stringify(description)},`
  return `{"name": ${JSON.stringify(name)},${said} "parameters": ${parameters}}`
}

const instruction = (tools: readonly Tool[]): string =>
  [
    'You can call these functions, each given as JSON with the schema of its parameters:',
    ...tools.map(toolText),
    'To call one, answer with its name and arguments as JSON between <tool_call> and </tool_call>, and nothing behind:',
    '<tool_call>\n{"name": "NAME", "arguments": {}}\n</tool_call>',
    'You are then told its result between <tool_response> and </tool_response>. Answer without a call when none is needed.',
  ].join('\n')

const isSystem = ({ role }: ChatMessage): boolean => role === 'system' || role === 'developer'

/** `messages` for a template that shows neither `tools` nor calls. */
export function inWords(messages: readonly ChatMessage[], tools: readonly Tool[]): ChatMessage[] {
  const told = messages.map((message): ChatMessage => {
    const { toolCalls = [], ...rest } = message
    if (message.role === 'tool')
      return { role: 'user', content: `<tool_response>\n${message.content}\n</tool_response>` }
    if (toolCalls.length === 0) return message
    const said = message.content === '' ? [] : [message.content]
    return { ...rest, content: [...said, ...toolCalls.map(toolCallText)].join('\n') }
  })
  if (tools.length === 0) return told
  const [first, ...others] = told
  const content = instruction(tools)
  if (first === undefined || !isSystem(first)) return [{ role: 'system', content }, ...told]
  return [{ ...first, content: `${content}\n\n${first.content}` }, ...others]
}
