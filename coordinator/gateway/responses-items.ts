/** The items of a response's output: a thought, what is said, and calls, in the order in which the answer has them. */
import type { TokenLogprob } from '../../mesh/protocol/index.ts'
import { AnswerReader, type ReadPart } from './answer-reader.ts'
import type { AnswerHead } from './answer-form.ts'
import { tokenLogprobs } from './openai-logprobs.ts'
import { callId } from './openai-tools.ts'

/** How an answer is to be read into items. */
export interface ItemsHead extends AnswerHead {
  /** Whether it may call tools. */
  readonly hasTools: boolean
}

/** One item, as far as the answer has come. Messages and calls are numbered each from 0. */
export type OutputItem =
  | { readonly kind: 'thought'; readonly index?: number; readonly text: string }
  | {
      readonly kind: 'message'
      readonly index: number
      readonly text: string
      /** Of its tokens, where they were asked for. */
      readonly logprobs?: readonly TokenLogprob[]
    }
  | { readonly kind: 'call'; readonly index: number; readonly name: string; readonly text: string }

export const messageOf = (text: string, logprobs: readonly TokenLogprob[] = []): OutputItem => ({
  kind: 'message',
  index: 0,
  text,
  logprobs,
})

/** What one part adds: to the item `to`, or as a new one. */
interface Addition {
  readonly to: number
  readonly item: OutputItem
  /** Of its text. */
  readonly delta: string
}

/** `items` with what `part` says, and what that added. */
export function add(items: readonly OutputItem[], part: ReadPart): Addition {
  const last = items.at(-1)
  const at = items.length
  if (part.kind === 'call')
    return { to: at, item: { kind: 'call', index: part.index, name: part.name, text: '' }, delta: '' }
  if (part.kind === 'arguments') {
    const to = items.findIndex((item) => item.kind === 'call' && item.index === part.index)
    const call = items[to]!
    return { to, item: { ...call, text: call.text + part.text }, delta: part.text }
  }
  const kind = part.kind === 'thought' ? 'thought' : 'message'
  if (last?.kind === kind) return { to: at - 1, item: { ...last, text: last.text + part.text }, delta: part.text }
  const index = items.filter((item) => item.kind === kind).length
  // an answer of several rounds has several thoughts
  if (kind === 'thought')
    return { to: at, item: { kind, ...(index > 0 && { index }), text: part.text }, delta: part.text }
  return { to: at, item: { kind, index, text: part.text }, delta: part.text }
}

/** What the text of an answer says. @param logprobs of its tokens, of one that is a message alone. */
export function itemsOf(
  { thought, hasTools }: ItemsHead,
  text: string,
  logprobs: readonly TokenLogprob[] = [],
): OutputItem[] {
  if (logprobs.length > 0 && !thought && !hasTools) return [messageOf(text, logprobs)]
  const reader = new AnswerReader({ ...(thought && { thought }), hasTools })
  const items: OutputItem[] = []
  for (const part of [...reader.push(text), ...reader.end()]) {
    const { to, item } = add(items, part)
    items[to] = item
  }
  return items
}

const ID_PREFIX = { thought: 'rs_', message: 'msg_', call: 'fc_' } as const

/** It follows from the answer alone, so that who comes back meets it again. */
export function itemId({ taskId }: AnswerHead, item: OutputItem): string {
  const id = taskId.replace('task_', ID_PREFIX[item.kind])
  if (item.kind !== 'call' && (item.index ?? 0) === 0) return id
  return `${id}_${item.index}`
}

export const textPart = (text: string, logprobs: readonly TokenLogprob[] = []): object => ({
  type: 'output_text',
  text,
  annotations: [],
  logprobs: tokenLogprobs(logprobs),
})

export const thoughtPart = (text: string): object => ({ type: 'reasoning_text', text })

/** @param isBegun it has no content yet, as its first event tells it. */
export function itemBody(head: AnswerHead, item: OutputItem, status: string, isBegun = false): object {
  const id = itemId(head, item)
  if (item.kind === 'call') {
    const text = isBegun ? '' : item.text
    return {
      id,
      type: 'function_call',
      status,
      call_id: callId(head.taskId, item.index),
      name: item.name,
      arguments: text,
    }
  }
  if (item.kind === 'thought')
    return { id, type: 'reasoning', status, summary: [], content: isBegun ? [] : [thoughtPart(item.text)] }
  return {
    id,
    type: 'message',
    status,
    role: 'assistant',
    content: isBegun ? [] : [textPart(item.text, item.logprobs)],
  }
}

/** An answer that says nothing is an empty message. The last item is as far as the answer is. */
export function outputOf(head: AnswerHead, items: readonly OutputItem[], status: string): object[] {
  const all = items.length === 0 ? [messageOf('')] : items
  return all.map((item, i) => itemBody(head, item, i === all.length - 1 ? status : 'completed'))
}
