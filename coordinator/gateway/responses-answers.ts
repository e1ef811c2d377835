/**
 * OpenAI's response object and the events of its stream. The number of each event follows from the answer alone, so that a
 * client may come back after a restart of the coordinator with the last number that it has:
 *
 *     0 created · 1 in_progress · 2 output_item.added · 3 content_part.added
 *     3 + n              delta that ends with token n
 *     4 + tokens         delta of what the end released, if it did
 *     5 + tokens …       output_text.done · content_part.done · output_item.done · completed or incomplete
 *     4 + tokens         failed, behind the tokens that were delivered
 *
 * Responses that may think first have others: `responses-thoughts.ts`.
 */
import {
  responseIdOf,
  type ErrorCode,
  type FinishReason,
  type Parted,
  type SkeinError,
  type Usage,
} from '../../mesh/protocol/index.ts'
import type { TaskView } from '../admission/index.ts'
import { storedShape, type AnswerHead, type Resumption, type StreamForm, type WholeAnswer } from './answer-form.ts'
import { readWhole, textOf } from './answer-reader.ts'
import { errorBody } from './openai-errors.ts'
import { sseEvent } from './sse.ts'
import type { Batch, EndEvent } from './task-inbox.ts'

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

/** Number of the event before the first delta. */
export const RESPONSE_PREAMBLE = 3

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

export interface ResponseStreamInit extends ResponseHead, Resumption {
  /** Whether the client may come back, by the ids of the events. */
  readonly hasIds: boolean
  readonly requestId: string
  /** The task as it is, for what this stream has not seen of it. */
  readonly view: () => Promise<TaskView>
  /** The text in front of `after`; asked for when the answer goes on. */
  readonly textBefore: () => string
  /** Unix seconds of the end, asked for when it is there. */
  readonly now: () => number
}

/** The events of one response, as many of them as the client does not have. */
export class ResponseStream implements StreamForm {
  readonly #init: ResponseStreamInit
  readonly #place: { item_id: string; output_index: 0; content_index: 0 }
  /** Of the tokens that this stream saw. */
  #text = ''
  #tokens: number

  constructor(init: ResponseStreamInit) {
    this.#init = init
    this.#tokens = init.after
    this.#place = { item_id: itemIdOf(init), output_index: 0, content_index: 0 }
  }

  open(): string {
    const status = this.#init.echo['background'] === true ? 'queued' : 'in_progress'
    return this.#event('response.created', 0, { response: responseObject(this.#init, { status }) })
  }

  begin(): string {
    const item = messageItem(this.#init, 'in_progress', [])
    return (
      this.#event('response.in_progress', 1, { response: responseObject(this.#init, { status: 'in_progress' }) }) +
      this.#event('response.output_item.added', 2, { output_index: 0, item }) +
      this.#event('response.content_part.added', RESPONSE_PREAMBLE, { ...this.#place, part: textPart('') })
    )
  }

  text({ text, tokens, position }: Batch): string {
    this.#tokens = tokens
    if (text === '') return ''
    this.#text += text
    const delta = { ...this.#place, delta: text, logprobs: [] }
    return this.#event('response.output_text.delta', RESPONSE_PREAMBLE + position, delta)
  }

  async end({ finishReason, usage }: EndEvent, tokens: number): Promise<string> {
    const text = this.#init.after === 0 ? this.#text : (await this.#init.view()).text
    const status = endStatus(finishReason)
    const completedAt = this.#init.now()
    const first = RESPONSE_PREAMBLE + tokens + 2
    const item = messageItem(this.#init, itemStatus(status), [textPart(text)])
    const response = responseObject(this.#init, { status, parts: { thought: '', said: text }, usage, completedAt })
    return (
      this.#event('response.output_text.done', first, { ...this.#place, text, logprobs: [] }) +
      this.#event('response.content_part.done', first + 1, { ...this.#place, part: textPart(text) }) +
      this.#event('response.output_item.done', first + 2, { output_index: 0, item }) +
      this.#last(`response.${status}`, first + 3, { response })
    )
  }

  async failure(error: SkeinError, isBreak: boolean): Promise<string> {
    const { error: body } = errorBody(error, this.#init.requestId)
    // the number that the client is to come back with: an event of the stream, not of the answer
    if (isBreak) {
      const { code, message, param } = body
      return this.#last('error', RESPONSE_PREAMBLE + this.#tokens, { code, message, param, error: body })
    }
    const view = await this.#init.view().catch(() => undefined)
    const isCancelled = view?.state === 'cancelled'
    const response = responseObject(this.#init, {
      status: isCancelled ? 'cancelled' : 'failed',
      ...(this.#tokens === 0
        ? {}
        : { parts: { thought: '', said: this.#init.after === 0 ? this.#text : (view?.text ?? '') } }),
      ...(isCancelled ? {} : { error: { code: error.code, message: body.message } }),
      completedAt: this.#init.now(),
    })
    // OpenAI has no event for a cancelled response, and its client knows none
    const name = isCancelled ? 'response.incomplete' : 'response.failed'
    return this.#last(name, RESPONSE_PREAMBLE + this.#tokens + 1, { response })
  }

  #event(type: string, sequence: number, fields: object): string {
    const { lastId } = this.#init
    return lastId !== undefined && sequence <= lastId ? '' : this.#last(type, sequence, fields)
  }

  /** Written whatever the client has: no stream ends in silence. */
  #last(type: string, sequence: number, fields: object): string {
    const json = JSON.stringify({ type, sequence_number: sequence, ...fields })
    return sseEvent(type, json, this.#init.hasIds ? sequence : undefined)
  }
}
