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
} from './responses-answers.ts'
import { ResponseEvents, type ResponseStreamInit } from './responses-stream.ts'
import type { Batch, EndEvent } from './task-inbox.ts'

/** Numbers of one place. */
export const THOUGHTFUL_STEP = 10
/** Of what is said in a place: the last that it may have. */
const SAID = 8
/** Of what is thought there. */
const THOUGHT = 2

export class ThoughtfulResponseStream implements StreamForm {
  readonly #init: ResponseStreamInit
  readonly #events: ResponseEvents
  readonly #reader: AnswerReader
  #thought = ''
  #said = ''
  #hasBegun = false
  /** The last kind of event, of those that an answer has once, that the client has. */
  #stage = -1
  #tokens: number

  constructor(init: ResponseStreamInit & { readonly thought: ThoughtMarks }) {
    this.#init = init
    this.#events = new ResponseEvents(init)
    this.#reader = new AnswerReader({ thought: init.thought, hasTools: false })
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
      this.#events.last(`response.${status}`, first + 5, { response })
    )
  }

  async failure(error: SkeinError, isBreak: boolean): Promise<string> {
    if (isBreak) return this.#events.broken(error, this.#events.lastNumber)
    return this.#events.failed(error, THOUGHTFUL_STEP * (this.#tokens + 1), (view) => {
      if (this.#tokens === 0) return undefined
      return view ? partsOf(this.#init, view.text) : { thought: this.#thought, said: this.#said }
    })
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
      written += this.#events.event(
        'response.reasoning_text.delta',
        place + THOUGHT,
        this.#thoughtAt({ delta: thought }),
      )
    if (said === '') return written
    if (this.#thought !== '') written += this.#closeThought(place + 3, 'completed')
    written += this.#openMessage(place + 6)
    this.#said += said
    const delta = { delta: said, logprobs: [] }
    return written + this.#events.event('response.output_text.delta', place + SAID, this.#saidAt(delta))
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
      this.#events.event('response.output_text.done', first, this.#saidAt({ text, logprobs: [] })) +
      this.#events.event('response.content_part.done', first + 1, this.#saidAt({ part: textPart(text) })) +
      this.#events.event('response.output_item.done', first + 2, { output_index: this.#index, item })
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
    return this.#events.event(type, number, fields)
  }
}
