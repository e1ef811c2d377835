/**
 * Held-out cases of the bundled language model (`bundled/chat.jsonl`, written by `scripts/bundled-model/heldout.py`): what
 * each asks, and whether an answer is right.
 */
import { readFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { storyFaults } from './story.ts'

interface ToolCall {
  readonly name: string
  readonly arguments: unknown
}

/** By `kind`, as the generator wrote it. */
type Check =
  | { readonly kind: 'tool-call'; readonly calls: readonly ToolCall[] }
  | { readonly kind: 'no-call' | 'refusal' }
  | { readonly kind: 'yes-no'; readonly expect: 'Yes' | 'No'; readonly value?: string; readonly skill?: string }
  | { readonly kind: 'choice'; readonly expect: string; readonly among: readonly string[] }
  | { readonly kind: 'number'; readonly expect: string; readonly skill: string }
  | { readonly kind: 'summary'; readonly trend: string; readonly low: string; readonly high: string }
  | { readonly kind: 'json'; readonly expect: Readonly<Record<string, unknown>> }
  | { readonly kind: 'say'; readonly expect: string }
  | { readonly kind: 'story'; readonly names: readonly string[] }

export interface ChatCase {
  readonly skill: string
  readonly messages: readonly object[]
  readonly tools?: readonly object[]
  readonly check: Check
}

/** What came back of it. */
export interface ChatAnswer {
  readonly content: string
  /** What it thought first, shown with an answer that is wrong. */
  readonly thought: string
  readonly calls: readonly { readonly name: string; readonly arguments: string }[]
  readonly finishReason: string
}

/** @param path of other cases than those of the repository. */
export function chatCases(path: string | URL = new URL('./bundled/chat.jsonl', import.meta.url)): ChatCase[] {
  const lines = readFileSync(path, 'utf8').trim().split('\n')
  return lines.map((line) => JSON.parse(line) as ChatCase)
}

/** The line of the table that a case counts for. */
export function rowOf({ skill, check }: ChatCase): string {
  if (check.kind === 'yes-no' || check.kind === 'choice') return check.kind
  if (skill === 'refusal-no-tool') return 'refusal'
  if (check.kind === 'number') return check.skill
  if (check.kind === 'tool-call') return 'tool call'
  return check.kind
}

/** What an answer must be held to, if anything: JSON of exactly the members that were asked for. */
export function responseFormat({ check }: ChatCase): object | undefined {
  if (check.kind !== 'json') return undefined
  const properties = Object.fromEntries(
    Object.entries(check.expect).map(([key, value]) => [key, { type: typeof value }]),
  )
  const schema = { type: 'object', properties, required: Object.keys(properties), additionalProperties: false }
  return { type: 'json_schema', json_schema: { name: 'answer', strict: true, schema } }
}

/** Why `answer` is wrong; nothing when it is right. */
export function faultOf({ check }: ChatCase, answer: ChatAnswer): string | undefined {
  const { content, calls } = answer
  if (check.kind === 'tool-call') return callFault(check.calls, calls)
  if (calls.length > 0) return `called ${calls.map(({ name }) => name).join(', ')}`
  switch (check.kind) {
    case 'no-call':
      return undefined
    case 'refusal':
      return content.startsWith('Sorry') ? undefined : 'no refusal'
    case 'yes-no': {
      const hasValue = check.value === undefined || content.includes(check.value)
      const said = /\b(?:yes|no)\b/i.exec(content)?.[0].toLowerCase()
      return said === check.expect.toLowerCase() && hasValue ? undefined : `not ${check.expect}`
    }
    case 'choice':
      return concluded(content, check.among) === check.expect ? undefined : `not ${check.expect}`
    case 'number':
      return numbers(content).at(-1) === Number(check.expect) ? undefined : `not ${check.expect}`
    case 'summary': {
      const isWhole = [check.low, check.high].every((each) => numbers(content).includes(Number(each)))
      return isWhole && content.includes(check.trend) ? undefined : `not ${check.trend}, ${check.low} to ${check.high}`
    }
    case 'json':
      return isDeepStrictEqual(parsed(content), check.expect) ? undefined : `not ${JSON.stringify(check.expect)}`
    case 'say':
      return content === check.expect ? undefined : `not "${check.expect}"`
    case 'story':
      return storyFaults(content, check.names)[0]
  }
}

function callFault(expected: readonly ToolCall[], calls: ChatAnswer['calls']): string | undefined {
  const made = calls.map(({ name, arguments: text }) => ({ name, arguments: parsed(text) }))
  return isDeepStrictEqual(made, expected) ? undefined : `not ${JSON.stringify(expected)}`
}

/** `undefined` when `text` is no JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

/** The one option that the last sentence of `text` names, if it is one; of two that overlap the longer. */
function concluded(text: string, options: readonly string[]): string | undefined {
  let last = text
    .trim()
    .split(/(?<=[.!?])\s+/)
    .at(-1)!
    .toLowerCase()
  const named = options
    .toSorted((a, b) => b.length - a.length)
    .filter((option) => {
      const rest = last.replaceAll(new RegExp(`\\b${option.toLowerCase()}\\b`, 'g'), ' ')
      const isNamed = rest !== last
      last = rest
      return isNamed
    })
  return named.length === 1 ? named[0] : undefined
}

const numbers = (text: string): number[] => (text.match(/(?<![\w.])-?\d+(?:\.\d+)?/g) ?? []).map(Number)
