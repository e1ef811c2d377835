/**
 * The events of OpenAI's stream of a response. The number of each event follows from the answer alone, so that a
 * client may come back after a restart of the coordinator with the last number that it has:
 *
 *     0 created · 1 in_progress · 2 output_item.added · 3 content_part.added
 *     3 + n              delta that ends with token n
 *     4 + tokens         delta of what the end released, if it did
 *     5 + tokens …       output_text.done · content_part.done · output_item.done · completed or incomplete
 *     4 + tokens         failed, behind the tokens that were delivered
 *
 * Responses that may think first, or call tools, have others: `responses-item-stream.ts`.
 */
import type { SkeinError, TokenLogprob } from '../../mesh/protocol/index.ts'
import type { TaskView } from '../admission/index.ts'
import type { Resumption, StreamForm } from './answer-form.ts'
import { errorBody } from './openai-errors.ts'
import { eventLogprobs } from './openai-logprobs.ts'
import { endStatus, itemStatus, responseObject, type ResponseHead } from './responses-answers.ts'
import { itemBody, itemId, messageOf, textPart, type OutputItem } from './responses-items.ts'
import { sseEvent } from './sse.ts'
import type { Batch, EndEvent } from './task-inbox.ts'

/** Number of the event before the first delta. */
export const RESPONSE_PREAMBLE = 3

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

/** The events of a response that all its streams write alike. */
export class ResponseEvents {
  readonly #init: ResponseStreamInit
  #lastNumber: number

  constructor(init: ResponseStreamInit) {
    this.#init = init
    this.#lastNumber = init.lastId ?? 0
  }

  /** Of the last event that the client has. */
  get lastNumber(): number {
    return this.#lastNumber
  }

  /** The first of all. */
  open(): string {
    const status = this.#init.echo['background'] === true ? 'queued' : 'in_progress'
    return this.event('response.created', 0, { response: responseObject(this.#init, { status }) })
  }

  /** One that is skipped when the client has it. */
  event(type: string, number: number, fields: object): string {
    const { lastId } = this.#init
    return lastId !== undefined && number <= lastId ? '' : this.last(type, number, fields)
  }

  /** Written whatever the client has: no stream ends in silence. */
  last(type: string, number: number, fields: object): string {
    this.#lastNumber = Math.max(this.#lastNumber, number)
    const json = JSON.stringify({ type, sequence_number: number, ...fields })
    return sseEvent(type, json, this.#init.hasIds ? number : undefined)
  }

  /** An event of the stream, not of the answer. @param number that the client is to come back with. */
  broken(error: SkeinError, number: number): string {
    const { error: body } = errorBody(error, this.#init.requestId)
    const { code, message, param } = body
    return this.last('error', number, { code, message, param, error: body })
  }

  /** The answer failed or was cancelled. @param items what was said, of the task where it is still known. */
  async failed(
    error: SkeinError,
    number: number,
    items: (view?: TaskView) => readonly OutputItem[] | undefined,
  ): Promise<string> {
    const view = await this.#init.view().catch(() => undefined)
    const isCancelled = view?.state === 'cancelled'
    const said = items(view)
    const { message } = errorBody(error, this.#init.requestId).error
    const response = responseObject(this.#init, {
      status: isCancelled ? 'cancelled' : 'failed',
      ...(said ? { items: said } : {}),
      ...(isCancelled ? {} : { error: { code: error.code, message } }),
      completedAt: this.#init.now(),
    })
    // OpenAI has no event for a cancelled response, and its client knows none
    return this.last(isCancelled ? 'response.incomplete' : 'response.failed', number, { response })
  }
}

/** The events of one response, as many of them as the client does not have. */
export class ResponseStream implements StreamForm {
  readonly #init: ResponseStreamInit
  readonly #events: ResponseEvents
  readonly #place: { item_id: string; output_index: 0; content_index: 0 }
  /** Of the tokens that this stream saw. */
  #text = ''
  readonly #logprobs: TokenLogprob[] = []
  #tokens: number

  constructor(init: ResponseStreamInit) {
    this.#init = init
    this.#events = new ResponseEvents(init)
    this.#tokens = init.after
    this.#place = { item_id: itemId(init, messageOf('')), output_index: 0, content_index: 0 }
  }

  open(): string {
    return this.#events.open()
  }

  begin(): string {
    const item = itemBody(this.#init, messageOf(''), 'in_progress', true)
    return (
      this.#events.event('response.in_progress', 1, {
        response: responseObject(this.#init, { status: 'in_progress' }),
      }) +
      this.#events.event('response.output_item.added', 2, { output_index: 0, item }) +
      this.#events.event('response.content_part.added', RESPONSE_PREAMBLE, { ...this.#place, part: textPart('') })
    )
  }

  text({ text, logprobs, tokens, position }: Batch): string {
    this.#tokens = tokens
    // the last ones may have released no text: they are told at the end
    for (const each of logprobs) this.#logprobs.push(each)
    if (text === '') return ''
    this.#text += text
    const delta = { ...this.#place, delta: text, logprobs: eventLogprobs(logprobs) }
    return this.#events.event('response.output_text.delta', RESPONSE_PREAMBLE + position, delta)
  }

  async end({ finishReason, usage }: EndEvent, tokens: number): Promise<string> {
    const { text, logprobs = [] } = await this.#said()
    const status = endStatus(finishReason)
    const completedAt = this.#init.now()
    const first = RESPONSE_PREAMBLE + tokens + 2
    const said = messageOf(text, logprobs)
    const item = itemBody(this.#init, said, itemStatus(status))
    const response = responseObject(this.#init, { status, items: [said], usage, completedAt })
    return (
      this.#events.event('response.output_text.done', first, {
        ...this.#place,
        text,
        logprobs: eventLogprobs(logprobs),
      }) +
      this.#events.event('response.content_part.done', first + 1, { ...this.#place, part: textPart(text, logprobs) }) +
      this.#events.event('response.output_item.done', first + 2, { output_index: 0, item }) +
      this.#events.last(`response.${status}`, first + 3, { response })
    )
  }

  async failure(error: SkeinError, isBreak: boolean): Promise<string> {
    const number = RESPONSE_PREAMBLE + this.#tokens
    if (isBreak) return this.#events.broken(error, number)
    return this.#events.failed(error, number + 1, (view) => {
      if (this.#tokens === 0) return undefined
      const { text, logprobs } = this.#init.after === 0 ? this.#seen : (view ?? this.#seen)
      return [messageOf(text, logprobs)]
    })
  }

  /** Of the tokens that this stream saw. */
  get #seen(): Pick<TaskView, 'text' | 'logprobs'> {
    return { text: this.#text, logprobs: this.#logprobs }
  }

  /** The whole answer. */
  async #said(): Promise<Pick<TaskView, 'text' | 'logprobs'>> {
    return this.#init.after === 0 ? this.#seen : this.#init.view()
  }
}
