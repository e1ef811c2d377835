/**
 * The events of a response that may think first, or call tools: its items one behind the other. As for other responses the
 * number of each event follows from the answer alone. `4096` numbers belong to each place in it, `n` tokens from its start
 * (one more for what the end released). Events that begin, close or end something are counted from 1 over the whole answer,
 * whoever reads it in whatever pieces; the count of the last one, `c`, says in which item a delta is:
 *
 *     0 created · 1 in_progress
 *     4096 n + 2 c       output_item.added · content_part.added · …_text.done · function_call_arguments.done ·
 *                        content_part.done · output_item.done
 *     4096 n + 2 c + 1   reasoning_text.delta · output_text.delta · function_call_arguments.delta that ends with token n
 *     4096 (tokens + 2)  and on: what of these is still to be closed
 *     4096 (tokens + 3)  completed or incomplete
 *     4096 (tokens + 1)  failed, behind the tokens that were delivered
 *
 * Who comes back behind a number has all that is told up to its place by smaller ones.
 */
import { LIMITS, type SkeinError } from '../../mesh/protocol/index.ts'
import type { StreamForm } from './answer-form.ts'
import { AnswerReader, type ReadPart } from './answer-reader.ts'
import { endStatus, itemStatus, responseObject } from './responses-answers.ts'
import { add, itemBody, itemId, itemsOf, messageOf, textPart, thoughtPart, type OutputItem } from './responses-items.ts'
import { ResponseEvents, type ResponseStreamInit } from './responses-stream.ts'
import type { Batch, EndEvent } from './task-inbox.ts'

/** Numbers of one place: more than twice the events but deltas that an answer with the most calls may have. */
export const ITEM_STEP = 4096

/** Two for the beginning of a text item, three for its end; a call has one and two; a message may stand before each call. */
export const COUNTED_EVENTS_MAX = 5 + 3 * LIMITS.answerToolCallsMax + 5 * (LIMITS.answerToolCallsMax + 1)

const TEXT_NAME = { thought: 'reasoning_text', message: 'output_text' } as const

export class ResponseItemStream implements StreamForm {
  readonly #init: ResponseStreamInit
  readonly #events: ResponseEvents
  readonly #reader: AnswerReader
  readonly #items: OutputItem[] = []
  /** Of the last item, what was not written yet. */
  #delta = ''
  #counted = 0
  #hasRead = false
  #tokens: number

  constructor(init: ResponseStreamInit) {
    const { thought, hasTools } = init
    this.#init = init
    this.#events = new ResponseEvents(init)
    this.#reader = new AnswerReader({ ...(thought && { thought }), hasTools })
    this.#tokens = init.after
  }

  open(): string {
    return this.#events.open()
  }

  begin(): string {
    const response = responseObject(this.#init, { status: 'in_progress' })
    return this.#events.event('response.in_progress', 1, { response })
  }

  text({ text, tokens, position, end }: Batch): string {
    this.#tokens = tokens
    const written = text !== '' || end ? this.#before() : ''
    const parts = this.#reader.push(text)
    const rest = end ? this.#reader.end() : []
    // what the end released, and what was held back until then, have one place
    if (position > tokens) return written + this.#write([...parts, ...rest], position)
    return written + this.#write(parts, position) + this.#write(rest, tokens + 1)
  }

  end({ finishReason, usage }: EndEvent, tokens: number): string {
    const status = endStatus(finishReason)
    const place = ITEM_STEP * (tokens + 2)
    const opened = this.#items.length === 0 ? this.#open(messageOf(''), place) : ''
    const closed = this.#close(place, itemStatus(status))
    const completedAt = this.#init.now()
    const response = responseObject(this.#init, { status, items: this.#items, usage, completedAt })
    return opened + closed + this.#events.last(`response.${status}`, ITEM_STEP * (tokens + 3), { response })
  }

  async failure(error: SkeinError, isBreak: boolean): Promise<string> {
    if (isBreak) return this.#events.broken(error, this.#events.lastNumber)
    return this.#events.failed(error, ITEM_STEP * (this.#tokens + 1), (view) => {
      if (this.#tokens === 0) return undefined
      return view ? itemsOf(this.#init, view.text) : this.#items
    })
  }

  /** Reads what is in front of this stream; of its events those are written that the client lacks in the place it left. */
  #before(): string {
    if (this.#hasRead) return ''
    this.#hasRead = true
    const place = Math.floor((this.#init.lastId ?? 0) / ITEM_STEP)
    return this.#write(this.#reader.push(this.#init.textBefore()), place)
  }

  #write(parts: readonly ReadPart[], position: number): string {
    const place = ITEM_STEP * position
    let written = ''
    for (const part of parts) {
      const { to, item, delta } = add(this.#items, part)
      if (to === this.#items.length) {
        written += this.#flush(place)
        if (to > 0) written += this.#close(place, 'completed')
        written += this.#open(item, place)
      } else this.#items[to] = item
      this.#delta += delta
    }
    return written + this.#flush(place)
  }

  #open(item: OutputItem, place: number): string {
    this.#items.push(item)
    const output_index = this.#items.length - 1
    const body = itemBody(this.#init, item, 'in_progress', true)
    const added = this.#event('output_item.added', place, { output_index, item: body })
    if (item.kind === 'call') return added
    const part = item.kind === 'thought' ? thoughtPart('') : textPart('')
    return added + this.#event('content_part.added', place, { ...this.#at(item), content_index: 0, part })
  }

  /** Of the last item. */
  #close(place: number, status: string): string {
    const item = this.#items.at(-1)!
    const done = { output_index: this.#items.length - 1, item: itemBody(this.#init, item, status) }
    const { text } = item
    if (item.kind === 'call')
      return (
        this.#event('function_call_arguments.done', place, { ...this.#at(item), arguments: text }) +
        this.#event('output_item.done', place, done)
      )
    const at = { ...this.#at(item), content_index: 0 }
    const part = item.kind === 'thought' ? thoughtPart(text) : textPart(text)
    return (
      this.#event(`${TEXT_NAME[item.kind]}.done`, place, { ...at, text, ...logprobsOf(item) }) +
      this.#event('content_part.done', place, { ...at, part }) +
      this.#event('output_item.done', place, done)
    )
  }

  #flush(place: number): string {
    const delta = this.#delta
    if (delta === '') return ''
    this.#delta = ''
    const item = this.#items.at(-1)!
    const number = place + 2 * this.#counted + 1
    if (item.kind === 'call')
      return this.#events.event('response.function_call_arguments.delta', number, { ...this.#at(item), delta })
    const fields = { ...this.#at(item), content_index: 0, delta, ...logprobsOf(item) }
    return this.#events.event(`response.${TEXT_NAME[item.kind]}.delta`, number, fields)
  }

  /** One that is counted. */
  #event(type: string, place: number, fields: object): string {
    this.#counted++
    return this.#events.event(`response.${type}`, place + 2 * this.#counted, fields)
  }

  #at(item: OutputItem): { item_id: string; output_index: number } {
    return { item_id: itemId(this.#init, item), output_index: this.#items.length - 1 }
  }
}

/** OpenAI's events of a message have them, those of a thought have not. */
const logprobsOf = ({ kind }: OutputItem): object => (kind === 'message' ? { logprobs: [] } : {})
