/**
 * The events of a response that may think first: an item for the thought, then one for what is said. As for other responses
 * the number of each event follows from the answer alone. Ten numbers belong to each place in it, `n` tokens from its start
 * (one more for what the end released):
 *
 *     0 created · 1 in_progress
 *     10 n + 0, 1        reasoning item: output_item.added · content_part.added, when the thought begins
 *     10 n + 2           reasoning_text.delta that ends with token n
 *     10 n + 3, 4, 5     reasoning_text.done · content_part.done · output_item.done, when the first word is said
 *     10 n + 6, 7        message: output_item.added · content_part.added
 *     10 n + 8           output_text.delta that ends with token n
 *     10 (tokens + 2) …  what of these is still to be closed, then completed or incomplete
 *     10 (tokens + 1)    failed, behind the tokens that were delivered
 */
import type { SkeinError, ThoughtMarks } from '../../mesh/protocol/index.ts'
import type { StreamForm } from './answer-form.ts'
import { AnswerReader, textOf, type ReadPart } from './answer-reader.ts'
import { errorBody } from './openai-errors.ts'
import {
  endStatus,
  itemStatus,
  itemIdOf,
  messageItem,
  partsOf,
  reasoningItem,
  responseObject,
  textPart,
  thoughtPart,
  type ResponseStreamInit,
} from './responses-answers.ts'
import { sseEvent } from './sse.ts'
import type { Batch, EndEvent } from './task-inbox.ts'

/** Numbers of one place. */
export const THOUGHTFUL_STEP = 10
/** Of what is said in a place: the last that it may have. */
const SAID = 8
/** Of what is thought there. */
const THOUGHT = 2

export class ThoughtfulResponseStream implements StreamForm {
  readonly #init: ResponseStreamInit
  readonly #reader: AnswerReader
  #thought = ''
  #said = ''
  #hasBegun = false
  /** The last kind of event, of those that an answer has once, that the client has. */
  #stage = -1
  #lastNumber: number
  #tokens: number

  constructor(init: ResponseStreamInit & { readonly thought: ThoughtMarks }) {
    this.#init = init
    this.#reader = new AnswerReader({ thought: init.thought, hasTools: false })
    this.#tokens = init.after
    this.#lastNumber = init.lastId ?? 0
  }

  open(): string {
    const status = this.#init.echo['background'] === true ? 'queued' : 'in_progress'
    return this.#event('response.created', 0, { response: responseObject(this.#init, { status }) })
  }

  begin(): string {
    const response = responseObject(this.#init, { status: 'in_progress' })
    return this.#event('response.in_progress', 1, { response })
  }

  text({ text, tokens, position, end }: Batch): string {
    this.#tokens = tokens
    const missed = text !== '' || end ? this.#missed() : []
    const written = this.#write([...missed, ...this.#reader.push(text)], position)
    return written + this.#write(end ? this.#reader.end() : [], tokens + 1)
  }

  end({ finishReason, usage }: EndEvent, tokens: number): string {
    const status = endStatus(finishReason)
    const first = THOUGHTFUL_STEP * (tokens + 2)
    const isSilent = this.#said === ''
    const response = responseObject(this.#init, {
      status,
      parts: { thought: this.#thought, said: this.#said },
      usage,
      completedAt: this.#init.now(),
    })
    return (
      (isSilent && this.#thought !== '' ? this.#closeThought(first, itemStatus(status)) : '') +
      (isSilent && this.#thought === '' ? this.#openMessage(first) : '') +
      (isSilent && this.#thought !== '' ? '' : this.#closeMessage(first + 2, itemStatus(status))) +
      this.#last(`response.${status}`, first + 5, { response })
    )
  }

  async failure(error: SkeinError, isBreak: boolean): Promise<string> {
    const { error: body } = errorBody(error, this.#init.requestId)
    // the number that the client is to come back with: an event of the stream, not of the answer
    if (isBreak) {
      const { code, message, param } = body
      return this.#last('error', this.#lastNumber, { code, message, param, error: body })
    }
    const view = await this.#init.view().catch(() => undefined)
    const isCancelled = view?.state === 'cancelled'
    const parts = view ? partsOf(this.#init, view.text) : { thought: this.#thought, said: this.#said }
    const response = responseObject(this.#init, {
      status: isCancelled ? 'cancelled' : 'failed',
      ...(this.#tokens === 0 ? {} : { parts }),
      ...(isCancelled ? {} : { error: { code: error.code, message: body.message } }),
      completedAt: this.#init.now(),
    })
    // OpenAI has no event for a cancelled response, and its client knows none
    const name = isCancelled ? 'response.incomplete' : 'response.failed'
    return this.#last(name, THOUGHTFUL_STEP * (this.#tokens + 1), { response })
  }

  /** Of the answer in front of this stream, what the client was still to be told in the place that it left. */
  #missed(): ReadPart[] {
    if (this.#hasBegun) return []
    this.#hasBegun = true
    const before = this.#reader.push(this.#init.textBefore())
    const last = (this.#init.lastId ?? 0) % THOUGHTFUL_STEP
    const hasThought = last >= THOUGHT
    const hasSaid = last >= SAID
    const thought = textOf(before, 'thought')
    const said = textOf(before, 'content')
    if (hasThought) this.#thought = thought
    if (hasSaid) this.#said = said
    if (said !== '') this.#stage = last
    else if (thought !== '') this.#stage = Math.min(last, THOUGHT)
    return before.filter(({ kind }) => !(kind === 'thought' ? hasThought : hasSaid))
  }

  #write(parts: readonly ReadPart[], position: number): string {
    const place = THOUGHTFUL_STEP * position
    const thought = textOf(parts, 'thought')
    const said = textOf(parts, 'content')
    let written = ''
    this.#thought += thought
    if (this.#thought !== '') written += this.#openThought(place)
    if (thought !== '')
      written += this.#event('response.reasoning_text.delta', place + THOUGHT, this.#thoughtAt({ delta: thought }))
    if (said === '') return written
    if (this.#thought !== '') written += this.#closeThought(place + 3, 'completed')
    written += this.#openMessage(place + 6)
    this.#said += said
    const delta = { delta: said, logprobs: [] }
    return written + this.#event('response.output_text.delta', place + SAID, this.#saidAt(delta))
  }

  #openThought(place: number): string {
    const item = reasoningItem(this.#init, 'in_progress', [])
    return (
      this.#once(0, 'response.output_item.added', place, { output_index: 0, item }) +
      this.#once(1, 'response.content_part.added', place + 1, this.#thoughtAt({ part: thoughtPart('') }))
    )
  }

  #closeThought(first: number, status: string): string {
    const text = this.#thought
    const item = reasoningItem(this.#init, status, [thoughtPart(text)])
    return (
      this.#once(3, 'response.reasoning_text.done', first, this.#thoughtAt({ text })) +
      this.#once(4, 'response.content_part.done', first + 1, this.#thoughtAt({ part: thoughtPart(text) })) +
      this.#once(5, 'response.output_item.done', first + 2, { output_index: 0, item })
    )
  }

  #openMessage(first: number): string {
    const item = messageItem(this.#init, 'in_progress', [])
    return (
      this.#once(6, 'response.output_item.added', first, { output_index: this.#index, item }) +
      this.#once(7, 'response.content_part.added', first + 1, this.#saidAt({ part: textPart('') }))
    )
  }

  #closeMessage(first: number, status: string): string {
    const text = this.#said
    const item = messageItem(this.#init, status, [textPart(text)])
    return (
      this.#event('response.output_text.done', first, this.#saidAt({ text, logprobs: [] })) +
      this.#event('response.content_part.done', first + 1, this.#saidAt({ part: textPart(text) })) +
      this.#event('response.output_item.done', first + 2, { output_index: this.#index, item })
    )
  }

  get #index(): number {
    return this.#thought === '' ? 0 : 1
  }

  #thoughtAt(fields: object): object {
    return { item_id: itemIdOf(this.#init, 'rs_'), output_index: 0, content_index: 0, ...fields }
  }

  #saidAt(fields: object): object {
    return { item_id: itemIdOf(this.#init), output_index: this.#index, content_index: 0, ...fields }
  }

  #once(stage: number, type: string, number: number, fields: object): string {
    if (stage <= this.#stage) return ''
    this.#stage = stage
    return this.#event(type, number, fields)
  }

  #event(type: string, number: number, fields: object): string {
    const { lastId } = this.#init
    return lastId !== undefined && number <= lastId ? '' : this.#last(type, number, fields)
  }

  /** Written whatever the client has: no stream ends in silence. */
  #last(type: string, number: number, fields: object): string {
    this.#lastNumber = Math.max(this.#lastNumber, number)
    const json = JSON.stringify({ type, sequence_number: number, ...fields })
    return sseEvent(type, json, this.#init.hasIds ? number : undefined)
  }
}
