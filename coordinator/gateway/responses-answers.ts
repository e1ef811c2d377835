/** OpenAI's response object. Its stream: `responses-stream.ts`. */
import { ERRORS, responseIdOf, type ErrorCode, type FinishReason, type Usage } from '../../mesh/protocol/index.ts'
import type { TaskView } from '../admission/index.ts'
import { storedShape, type WholeAnswer } from './answer-form.ts'
import { itemsOf, outputOf, type ItemsHead, type OutputItem } from './responses-items.ts'

export interface ResponseHead extends ItemsHead {
  /** Members that repeat the request. */
  readonly echo: Readonly<Record<string, unknown>>
}

type ResponseStatus = 'queued' | 'in_progress' | 'completed' | 'incomplete' | 'failed' | 'cancelled'

/** How far a response is. */
interface ResponseState {
  readonly status: ResponseStatus
  /** No output when absent. */
  readonly items?: readonly OutputItem[]
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

/** An item is done, cut short, or still growing. */
export const itemStatus = (status: ResponseStatus): string =>
  status === 'completed' ? 'completed' : status === 'queued' || status === 'in_progress' ? 'in_progress' : 'incomplete'

function usageBody({ promptTokens, cachedTokens, completionTokens, thoughtTokens = 0 }: Usage): object {
  return {
    input_tokens: promptTokens,
    input_tokens_details: { cached_tokens: cachedTokens, cache_write_tokens: 0 },
    output_tokens: completionTokens,
    output_tokens_details: { reasoning_tokens: thoughtTokens },
    total_tokens: promptTokens + completionTokens,
  }
}

/** OpenAI's few codes of a response that failed; ours is its `type`. */
function failureBody({ code, message }: NonNullable<ResponseState['error']>): object {
  const { http } = ERRORS[code]
  const theirs = http === 429 ? 'rate_limit_exceeded' : http < 500 ? 'invalid_prompt' : 'server_error'
  return { code: theirs, message, type: code.toLowerCase() }
}

export function responseObject(
  head: ResponseHead,
  { status, items, usage, error, completedAt }: ResponseState,
): object {
  return {
    id: responseIdOf(head.taskId),
    object: 'response',
    created_at: head.created,
    completed_at: completedAt ?? null,
    status,
    error: error ? failureBody(error) : null,
    incomplete_details: status === 'incomplete' ? { reason: 'max_output_tokens' } : null,
    model: head.model,
    output: items === undefined ? [] : outputOf(head, items, itemStatus(status)),
    access_programs: null,
    instructions: null,
    metadata: null,
    parallel_tool_calls: true,
    previous_response_id: null,
    temperature: null,
    tool_choice: 'auto',
    tools: [],
    top_p: null,
    truncation: 'disabled',
    usage: usage ? usageBody(usage) : null,
    ...head.echo,
  }
}

export const headOf = (view: TaskView): ResponseHead => {
  const { created, response = {}, hasTools = false } = storedShape(view)
  const { taskId, digest, model, thought } = view
  return { taskId, digest, model, created, ...(thought && { thought }), hasTools, echo: response }
}

/** A task as a response, at any time of its life. The text of one that was purged is gone. */
export function responseOfTask(view: TaskView): object {
  const { state, result, text, logprobs, tokens, isPurged, endedAtMs } = view
  const hasText = !isPurged && (text !== '' || tokens > 0 || state === 'completed')
  const head = headOf(view)
  return responseObject(head, {
    status: state === 'completed' ? endStatus(result?.finishReason) : TASK_STATUS[state],
    ...(hasText ? { items: itemsOf(head, text, logprobs) } : {}),
    ...(result?.usage ? { usage: result.usage } : {}),
    ...(result?.error ? { error: result.error } : {}),
    ...(endedAtMs === undefined ? {} : { completedAt: Math.floor(endedAtMs / 1000) }),
  })
}

export function wholeResponse(head: ResponseHead, answer: WholeAnswer, completedAt: number): object {
  const { text, logprobs, finishReason, usage } = answer
  const items = itemsOf(head, text, logprobs)
  return responseObject(head, { status: endStatus(finishReason), items, usage, completedAt })
}
