/** OpenAI's response object. Its stream: `responses-stream.ts`. */
import { responseIdOf, type ErrorCode, type FinishReason, type Parted, type Usage } from '../../mesh/protocol/index.ts'
import type { TaskView } from '../admission/index.ts'
import { storedShape, type AnswerHead, type WholeAnswer } from './answer-form.ts'
import { readWhole, textOf } from './answer-reader.ts'

export interface ResponseHead extends AnswerHead {
  /** Members that repeat the request. */
  readonly echo: Readonly<Record<string, unknown>>
}

type ResponseStatus = 'queued' | 'in_progress' | 'completed' | 'incomplete' | 'failed' | 'cancelled'

/** How far a response is. */
interface ResponseState {
  readonly status: ResponseStatus
  /** No output item when absent. */
  readonly parts?: Parted
  readonly usage?: Usage
  readonly error?: { readonly code: ErrorCode; readonly message: string }
  /** Unix seconds. */
  readonly completedAt?: number
}

const TASK_STATUS: Readonly<Record<TaskView['state'], ResponseStatus>> = {
  queued: 'queued',
  running: 'in_progress',
  completed: 'completed',
  failed: 'failed',
  cancelled: 'cancelled',
  expired: 'failed',
  rejected: 'failed',
}

export const endStatus = (finishReason: FinishReason | undefined): ResponseStatus =>
  finishReason === 'length' ? 'incomplete' : 'completed'

export const textPart = (text: string): object => ({ type: 'output_text', text, annotations: [], logprobs: [] })

export const thoughtPart = (text: string): object => ({ type: 'reasoning_text', text })

export const itemIdOf = ({ taskId }: AnswerHead, prefix = 'msg_'): string => taskId.replace('task_', prefix)

export const reasoningItem = (head: AnswerHead, status: string, content: object[]): object => ({
  id: itemIdOf(head, 'rs_'),
  type: 'reasoning',
  status,
  summary: [],
  content,
})

export const messageItem = (head: AnswerHead, status: string, content: object[]): object => ({
  id: itemIdOf(head),
  type: 'message',
  status,
  role: 'assistant',
  content,
})

/** An item is done, cut short, or still growing. */
export const itemStatus = (status: ResponseStatus): string =>
  status === 'completed' ? 'completed' : status === 'queued' || status === 'in_progress' ? 'in_progress' : 'incomplete'

function usageBody({ promptTokens, cachedTokens, completionTokens, thoughtTokens = 0 }: Usage): object {
  return {
    input_tokens: promptTokens,
    input_tokens_details: { cached_tokens: cachedTokens },
    output_tokens: completionTokens,
    output_tokens_details: { reasoning_tokens: thoughtTokens },
    total_tokens: promptTokens + completionTokens,
  }
}

/** What the text of an answer says, and what was thought in front of it. */
export function partsOf({ thought }: AnswerHead, text: string): Parted {
  const parts = readWhole(text, { ...(thought && { thought }), hasTools: false })
  return { thought: textOf(parts, 'thought'), said: textOf(parts, 'content') }
}

/** An answer that ended in its thought has said nothing. */
function outputOf(head: ResponseHead, status: ResponseStatus, { thought, said }: Parted): object[] {
  const ofItem = itemStatus(status)
  const reasoning = reasoningItem(head, said === '' ? ofItem : 'completed', [thoughtPart(thought)])
  const message = messageItem(head, ofItem, [textPart(said)])
  return thought === '' ? [message] : said === '' ? [reasoning] : [reasoning, message]
}

export function responseObject(
  head: ResponseHead,
  { status, parts, usage, error, completedAt }: ResponseState,
): object {
  return {
    id: responseIdOf(head.taskId),
    object: 'response',
    created_at: head.created,
    completed_at: completedAt ?? null,
    status,
    error: error ? { code: error.code.toLowerCase(), message: error.message } : null,
    incomplete_details: status === 'incomplete' ? { reason: 'max_output_tokens' } : null,
    model: head.model,
    output: parts === undefined ? [] : outputOf(head, status, parts),
    parallel_tool_calls: false,
    previous_response_id: null,
    tool_choice: 'none',
    tools: [],
    truncation: 'disabled',
    usage: usage ? usageBody(usage) : null,
    ...head.echo,
  }
}

export const headOf = (view: TaskView): ResponseHead => {
  const { created, response = {} } = storedShape(view)
  const { taskId, digest, model, thought } = view
  return { taskId, digest, model, created, ...(thought && { thought }), echo: response }
}

/** A task as a response, at any time of its life. The text of one that was purged is gone. */
export function responseOfTask(view: TaskView): object {
  const { state, result, text, tokens, isPurged, endedAtMs } = view
  const hasText = !isPurged && (text !== '' || tokens > 0 || state === 'completed')
  const head = headOf(view)
  return responseObject(head, {
    status: state === 'completed' ? endStatus(result?.finishReason) : TASK_STATUS[state],
    ...(hasText ? { parts: partsOf(head, text) } : {}),
    ...(result?.usage ? { usage: result.usage } : {}),
    ...(result?.error ? { error: result.error } : {}),
    ...(endedAtMs === undefined ? {} : { completedAt: Math.floor(endedAtMs / 1000) }),
  })
}

export function wholeResponse(head: ResponseHead, answer: WholeAnswer, completedAt: number): object {
  const { text, finishReason, usage } = answer
  return responseObject(head, { status: endStatus(finishReason), parts: partsOf(head, text), usage, completedAt })
}
