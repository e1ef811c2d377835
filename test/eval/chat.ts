/**
 * The bundled language model, asked its held-out cases through a real `skein up` and its API, greedy. Each line of the table
 * has the least that it must reach; JSON is held to its schema, tool calls to their tools, as users get them.
 */
import { chatCases, faultOf, responseFormat, rowOf, type ChatAnswer, type ChatCase } from './chat-cases.ts'
import type { Figure } from './figure.ts'
import { SkeinProcess } from '../fixtures/skein-process.ts'

/** Share of right answers. Where the issue of the model names none, what it had when it was made, less a little. */
const LEAST: Readonly<Record<string, number>> = {
  'tool call': 0.95,
  'yes-no': 0.95,
  choice: 0.95,
  difference: 0.9,
  recall: 0.9,
  sum: 0.9,
  units: 0.95,
  json: 0.95,
  refusal: 0.95,
  say: 0.9,
  summary: 0.85,
  story: 0.9,
}
const PARALLEL = 4
const MAX_TOKENS = 320

interface Completion {
  readonly choices: readonly {
    readonly message: {
      readonly content: string | null
      readonly reasoning_content?: string
      readonly tool_calls?: readonly { readonly function: ChatAnswer['calls'][number] }[]
    }
    readonly finish_reason: string
  }[]
  readonly error?: { readonly message: string }
}

/** @param show how many wrong answers to print of each line. @param path see `chatCases`. */
export async function evaluateChat(print: (line: string) => void, show: number, path?: string): Promise<Figure[]> {
  const up = await SkeinProcess.start({ args: ['up', '--http', '127.0.0.1:0', '--no-mdns'] })
  try {
    const cases = chatCases(path)
    const rows = new Map<string, { right: number; all: number }>()
    let validJson = 0
    let asked = 0
    const left = cases.values()
    const work = async (): Promise<void> => {
      for (const each of left) {
        const answer = await ask(up.http, each)
        const row = rowOf(each)
        const counted = rows.get(row) ?? { right: 0, all: 0 }
        const fault = faultOf(each, answer)
        counted.all++
        if (fault === undefined) counted.right++
        else if (counted.all - counted.right <= show) print(told(each, answer, fault))
        rows.set(row, counted)
        if (each.check.kind !== 'json') continue
        asked++
        if (isObject(answer.content)) validJson++
      }
    }
    await Promise.all(Array.from({ length: PARALLEL }, work))
    const figures = [...rows].map(([row, { right, all }]) => ({
      name: `chat, ${row}`,
      value: right / all,
      least: LEAST[row] ?? 0,
      of: all,
    }))
    return [...figures, { name: 'chat, valid JSON under a schema', value: validJson / asked, least: 1, of: asked }]
  } finally {
    await up.kill()
  }
}

async function ask(http: string, each: ChatCase): Promise<ChatAnswer> {
  const format = responseFormat(each)
  const response = await fetch(`${http}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'skein-tiny',
      messages: each.messages,
      ...(each.tools && { tools: each.tools }),
      ...(format && { response_format: format }),
      max_tokens: MAX_TOKENS,
      temperature: 0,
    }),
  })
  const { choices, error } = (await response.json()) as Completion
  const choice = choices?.[0]
  if (!choice) throw new TypeError(`${response.status}: ${error?.message}`)
  const { content, reasoning_content: thought = '', tool_calls = [] } = choice.message
  return {
    content: content ?? '',
    thought,
    calls: tool_calls.map((call) => call.function),
    finishReason: choice.finish_reason,
  }
}

function told({ messages, tools }: ChatCase, { content, thought, calls }: ChatAnswer, fault: string): string {
  const said = [content, ...calls.map((call) => `${call.name}(${call.arguments})`)].filter((part) => part !== '')
  const names = tools ? ` with ${tools.length} tools` : ''
  const before = thought === '' ? '' : `\n    thought ${thought.trim().replaceAll('\n', '\n      ')}`
  return `  wrong${names}: ${JSON.stringify(messages)}${before}\n    said ${said.join(' ')}\n    ${fault}`
}

function isObject(text: string): boolean {
  try {
    return typeof JSON.parse(text) === 'object'
  } catch {
    return false
  }
}
