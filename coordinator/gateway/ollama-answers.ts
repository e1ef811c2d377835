/**
 * Ollama's answers: one object, or a stream of lines of JSON. A call is told whole, since its arguments are an object there.
 * NDJSON has no comments: a client that waits is sent what Ollama itself writes where a token released no text, a line
 * that says nothing, so that no proxy takes the connection for dead.
 */
import {
  CALL_OPEN,
  type AnsweredCall,
  type FinishReason,
  type SkeinError,
  type TaskId,
  type TokenLogprob,
  type Usage,
} from '../../mesh/protocol/index.ts'
import type { Clock } from '../../mesh/runtime/index.ts'
import type { TaskTiming } from '../admission/index.ts'
import type { AnswerForms, AnswerHead, StreamForm, WholeAnswer } from './answer-form.ts'
import { AnswerReader, readWhole, type ReadPart } from './answer-reader.ts'
import { ollamaError } from './ollama-errors.ts'
import { tokenLogprobs } from './openai-logprobs.ts'
import { callId, jsonObject } from './openai-tools.ts'
import type { Batch, EndEvent } from './task-inbox.ts'

export const NDJSON = 'application/x-ndjson'

export const line = (value: object): string => `${JSON.stringify(value)}\n`

export const nanoseconds = (ms: number): number => Math.round(ms * 1e6)

export interface OllamaFormsInit {
  readonly kind: 'chat' | 'generate'
  readonly hasTools: boolean
  readonly hasLogprobs: boolean
  /** Monotonic time at which the request came. */
  readonly beganAtMs: number
}

/** A call, by its number in the answer. */
interface Call extends AnsweredCall {
  readonly index: number
}

/** What a line says. */
interface Said {
  readonly content: string
  readonly thought: string
  readonly calls: readonly object[]
}

const NOTHING: Said = { content: '', thought: '', calls: [] }

/** Gathers calls until they are whole. */
class CallGatherer {
  readonly #taskId: TaskId
  #open: Call | undefined

  constructor(taskId: TaskId) {
    this.#taskId = taskId
  }

  /** @param isEnd nothing follows. */
  take(parts: readonly ReadPart[], isEnd: boolean): Said {
    const said = { content: '', thought: '', calls: [] as object[] }
    for (const part of parts) {
      if (part.kind === 'thought') said.thought += part.text
      else if (part.kind === 'arguments') this.#open = { ...this.#open!, arguments: this.#open!.arguments + part.text }
      else {
        this.#close(said)
        if (part.kind === 'content') said.content += part.text
        else this.#open = { index: part.index, name: part.name, arguments: '' }
      }
    }
    if (isEnd) this.#close(said)
    return said
  }

  #close(said: { content: string; calls: object[] }): void {
    const call = this.#open
    this.#open = undefined
    if (!call) return
    const { index, name, arguments: given } = call
    const object = jsonObject(given)
    if (object) said.calls.push({ id: callId(this.#taskId, index), function: { index, name, arguments: object } })
    // cut off: no client could run it, and what was written must not vanish
    else said.content += `${CALL_OPEN}\n{"name": ${JSON.stringify(name)}, "arguments": ${given}`
  }
}

/** What both forms of an answer are made of. */
class OllamaBody {
  readonly #clock: Clock
  readonly #init: OllamaFormsInit
  readonly #head: AnswerHead

  constructor(clock: Clock, init: OllamaFormsInit, head: AnswerHead) {
    this.#clock = clock
    this.#init = init
    this.#head = head
  }

  of({ content, thought, calls }: Said, logprobs: readonly TokenLogprob[]): object {
    const { kind, hasLogprobs } = this.#init
    const thinking = thought === '' ? {} : { thinking: thought }
    const tool_calls = calls.length === 0 ? {} : { tool_calls: calls }
    return {
      ...emptyBody(this.#head.model, this.#clock.wallMs()),
      ...(kind === 'chat'
        ? { message: { role: 'assistant', content, ...thinking, ...tool_calls } }
        : { response: content, ...thinking }),
      done: false,
      ...(hasLogprobs && logprobs.length > 0 ? { logprobs: tokenLogprobs(logprobs) } : {}),
    }
  }

  /** Where the time went is known; what of it the loading of a model took is not. */
  end(reason: FinishReason, { promptTokens, completionTokens }: Usage, { firstTokenMs, decodeMs }: TaskTiming): object {
    return {
      done: true,
      done_reason: reason,
      total_duration: nanoseconds(this.#clock.nowMs() - this.#init.beganAtMs),
      prompt_eval_count: promptTokens,
      prompt_eval_duration: nanoseconds(firstTokenMs),
      eval_count: completionTokens,
      eval_duration: nanoseconds(decodeMs),
    }
  }
}

/** How every answer begins. @param wallMs time of its making. */
export const emptyBody = (model: string, wallMs: number): object => ({
  model,
  created_at: new Date(wallMs).toISOString(),
})

/** @param clock for when each line was made, and how long the answer took. */
export function ollamaForms(clock: Clock, init: OllamaFormsInit): AnswerForms {
  const { hasTools } = init
  return {
    whole(head: AnswerHead, { text, logprobs, finishReason, usage, timing }: WholeAnswer): object {
      const body = new OllamaBody(clock, init, head)
      const parts = readWhole(text, { ...(head.thought && { thought: head.thought }), hasTools })
      const said = new CallGatherer(head.taskId).take(parts, true)
      return { ...body.of(said, logprobs), ...body.end(finishReason, usage, timing) }
    },
    stream: (start) => new OllamaStream(new OllamaBody(clock, init, start), start, hasTools),
  }
}

/** The lines of one answer. */
class OllamaStream implements StreamForm {
  readonly contentType = NDJSON
  readonly #body: OllamaBody
  readonly #requestId: string
  readonly #reader: AnswerReader
  readonly #calls: CallGatherer

  constructor(body: OllamaBody, { requestId, taskId, thought }: AnswerHead & { requestId: string }, hasTools: boolean) {
    this.#body = body
    this.#requestId = requestId
    this.#reader = new AnswerReader({ ...(thought && { thought }), hasTools })
    this.#calls = new CallGatherer(taskId)
  }

  comment(): string {
    return line(this.#body.of(NOTHING, []))
  }

  open(): string {
    return ''
  }

  begin(): string {
    return ''
  }

  text({ text, logprobs, end }: Batch): string {
    const parts = [...(text === '' ? [] : this.#reader.push(text)), ...(end ? this.#reader.end() : [])]
    const said = this.#calls.take(parts, end !== undefined)
    const isSilent = said.content === '' && said.thought === '' && said.calls.length === 0
    return isSilent && logprobs.length === 0 ? '' : line(this.#body.of(said, logprobs))
  }

  end({ finishReason, usage, timing }: EndEvent): string {
    return line({ ...this.#body.of(NOTHING, []), ...this.#body.end(finishReason, usage, timing) })
  }

  failure(error: SkeinError): string {
    return line(ollamaError(error, this.#requestId))
  }
}
