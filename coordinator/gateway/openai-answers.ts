/**
 * OpenAI's answer shapes. A stream's envelope is the same for every chunk, so it is serialised once; what is left for each
 * chunk is the escaping of its text.
 */
import type { FinishReason, ModelDigest, SkeinError, TaskId, TokenLogprob, Usage } from '../../mesh/protocol/index.ts'
import type { ModelView, Receipt } from '../admission/index.ts'
import type { AnswerHead, Resumption, StreamForm, WholeAnswer } from './answer-form.ts'
import { AnswerReader, readWhole, textOf, type Reading, type ReadPart } from './answer-reader.ts'
import { skeinBody } from './currency.ts'
import { errorBody } from './openai-errors.ts'
import { chatLogprobs, CompletionLogprobs } from './openai-logprobs.ts'
import { callBodies, callDeltas } from './openai-tools.ts'
import { SSE_DONE, sseData } from './sse.ts'
import type { Batch, EndEvent } from './task-inbox.ts'

/** A chat or a text completion. */
export interface CompletionInit extends AnswerHead, Reading {
  readonly shape: 'chat' | 'text'
  /** Likeliest tokens beside each; absent when no log probabilities were asked for. */
  readonly logprobs?: number
  /** Of one of several choices: its number, and the task of the first, by which the answer is known. */
  readonly choice?: { readonly index: number; readonly first: TaskId }
}

export interface CompletionStreamInit extends CompletionInit, Resumption {
  /** The text that the client's chunks were made of; asked for when the answer goes on. */
  readonly textBefore: () => string
  readonly includeUsage: boolean
  /** Whether the client may come back, by the ids of the events. */
  readonly hasIds: boolean
  readonly requestId: string
  /** The `id` of a chunk, from the place behind it; the place itself when absent. */
  readonly idOf?: (place: number) => string
}

const ID_PREFIX = { chat: 'chatcmpl-', text: 'cmpl-' } as const
const CHUNK_OBJECT = { chat: 'chat.completion.chunk', text: 'text_completion' } as const
const WHOLE_OBJECT = { chat: 'chat.completion', text: 'text_completion' } as const

/** `sha256:0123…` as `fp_0123456789ab`: equal fingerprints mean the same model file. */
export const fingerprint = (digest: ModelDigest): string => `fp_${digest.slice('sha256:'.length).slice(0, 12)}`

function head(init: CompletionInit, object: string): object {
  const { shape, created, model, digest, choice } = init
  const taskId = choice?.first ?? init.taskId
  const id = ID_PREFIX[shape] + taskId.slice(taskId.indexOf('_') + 1)
  return { id, object, created, model, system_fingerprint: fingerprint(digest) }
}

/** What every chunk of a streamed chat has. */
export const chatChunk = (init: AnswerHead): object =>
  head({ ...init, shape: 'chat', hasTools: true }, CHUNK_OBJECT.chat)

export function usageBody(usage: Usage): object {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    total_tokens: usage.promptTokens + usage.completionTokens,
    prompt_tokens_details: { cached_tokens: usage.cachedTokens },
    ...(usage.thoughtTokens === undefined
      ? {}
      : { completion_tokens_details: { reasoning_tokens: usage.thoughtTokens } }),
  }
}

/** Writes log probabilities in the shape of the answer; `null` where none were asked for. */
function logprobsWriter({ shape, logprobs }: CompletionInit): (tokens: readonly TokenLogprob[]) => object | null {
  if (logprobs === undefined) return () => null
  if (shape === 'chat') return chatLogprobs
  const parts = new CompletionLogprobs(logprobs)
  return (tokens) => parts.take(tokens)
}

/** An answer that ended by itself and calls tools waits for their results. */
const finishOf = (finishReason: FinishReason, calls: number): string =>
  finishReason === 'stop' && calls > 0 ? 'tool_calls' : finishReason

function wholeMessage(init: CompletionInit, text: string): { message: object; calls: number } {
  const parts = readWhole(text, init)
  const content = textOf(parts, 'content')
  const thought = textOf(parts, 'thought')
  const calls = callBodies(parts, init.taskId)
  const message = {
    role: 'assistant',
    content: content === '' && calls.length > 0 ? null : content,
    refusal: null,
    ...(thought === '' ? {} : { reasoning_content: thought }),
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
  }
  return { message, calls: calls.length }
}

function wholeChoice(init: CompletionInit, { text, logprobs, finishReason }: WholeAnswer): object {
  const { message, calls } = wholeMessage(init, text)
  const content = init.shape === 'chat' ? { message } : { text }
  const finish_reason = finishOf(finishReason, calls)
  return { index: init.choice?.index ?? 0, ...content, logprobs: logprobsWriter(init)(logprobs), finish_reason }
}

/** One of several choices, and how it is to be read. */
export type ChoiceAnswer = readonly [CompletionInit, WholeAnswer]

/** @param usage of all choices together. */
export function wholeCompletions(choices: readonly ChoiceAnswer[], usage: Usage): object {
  const [first] = choices[0]!
  return {
    ...head(first, WHOLE_OBJECT[first.shape]),
    choices: choices.map(([init, answer]) => wholeChoice(init, answer)),
    usage: usageBody(usage),
  }
}

export const wholeCompletion = (init: CompletionInit, answer: WholeAnswer): object => ({
  ...wholeCompletions([[init, answer]], answer.usage),
  ...skeinBody(answer.receipt),
})

/**
 * The chunks of one completion. What one batch says is one chunk, thoughts and calls included: with an id between them a
 * client could come back to the middle of it. The `id` of a chunk is the place behind it: tokens up to and with it (as a position), and one
 * more for what the end releases. The chunks behind that have none, since they are written to everyone who comes back.
 */
export class CompletionStream implements StreamForm {
  readonly #init: CompletionStreamInit
  /** Up to the text of a chunk, and from behind it. */
  readonly #open: string
  readonly #close: string
  readonly #head: object
  readonly #logprobs
  /** Of an answer that says more than its text. */
  readonly #reader: AnswerReader | undefined
  #hasBegun = false

  constructor(init: CompletionStreamInit) {
    this.#init = init
    this.#reader = init.hasTools || init.thought ? new AnswerReader(init) : undefined
    this.#head = head(init, CHUNK_OBJECT[init.shape])
    this.#logprobs = logprobsWriter(init)
    const slot = '\u0000'
    // JSON escapes the slot, and no text of a client gets into the envelope unescaped
    const [open, close] = this.#chunk(this.#delta(slot)).split(JSON.stringify(slot))
    this.#open = open!
    this.#close = close!
  }

  open(): string {
    return ''
  }

  /** A chat names the role before any text, once for each answer. */
  begin(): string {
    if (this.#init.shape === 'text' || this.#init.lastId !== undefined) return ''
    return this.#event(this.#chunk({ delta: { role: 'assistant', content: '', refusal: null } }), 0)
  }

  text(batch: Batch): string {
    const { text, logprobs, position } = batch
    if (this.#reader) return this.#read(this.#reader, batch)
    if (this.#isKnown(position) || (text === '' && logprobs.length === 0)) return ''
    if (logprobs.length > 0) return this.#event(this.#chunk(this.#delta(text), this.#logprobs(logprobs)), position)
    return this.#event(this.#open + JSON.stringify(text) + this.#close, position)
  }

  end(end: EndEvent): string {
    return this.finish(end) + this.close(end.usage, end.receipt)
  }

  /** Why this choice ended; others may go on. */
  finish({ finishReason }: EndEvent): string {
    const content = this.#init.shape === 'chat' ? { delta: {} } : { text: '' }
    return sseData(this.#chunk(content, null, finishOf(finishReason, this.#reader?.calls ?? 0)))
  }

  /** The end of the whole answer. @param usage of all its choices. */
  close(usage: Usage, receipt?: Receipt): string {
    const usageChunk = { ...this.#head, choices: [], usage: usageBody(usage), ...skeinBody(receipt) }
    return (this.#init.includeUsage ? sseData(JSON.stringify(usageChunk)) : '') + SSE_DONE
  }

  failure(error: SkeinError): string {
    return sseData(JSON.stringify(errorBody(error, this.#init.requestId)))
  }

  #isKnown(id: number): boolean {
    return this.#init.lastId !== undefined && id <= this.#init.lastId
  }

  /** What the reader holds back at the end has the place of what the end releases. */
  #read(reader: AnswerReader, { text, logprobs, position, tokens, end }: Batch): string {
    if (!this.#hasBegun && (text !== '' || end)) {
      this.#hasBegun = true
      reader.push(this.#init.textBefore())
    }
    const parts = reader.push(text)
    const rest = end ? reader.end() : []
    const id = rest.length > 0 ? tokens + 1 : position
    const fresh = [...(this.#isKnown(position) ? [] : parts), ...(this.#isKnown(id) ? [] : rest)]
    if (fresh.length === 0 && (logprobs.length === 0 || this.#isKnown(position))) return ''
    return this.#event(this.#said(fresh, logprobs), id)
  }

  #said(parts: readonly ReadPart[], logprobs: readonly TokenLogprob[]): string {
    const content = textOf(parts, 'content')
    const thought = textOf(parts, 'thought')
    const calls = callDeltas(parts, this.#init.taskId)
    if (thought === '' && calls.length === 0 && logprobs.length === 0)
      return this.#open + JSON.stringify(content) + this.#close
    const delta = {
      ...(thought === '' ? {} : { reasoning_content: thought }),
      ...(content === '' ? {} : { content }),
      ...(calls.length === 0 ? {} : { tool_calls: calls }),
    }
    return this.#chunk({ delta }, logprobs.length > 0 ? this.#logprobs(logprobs) : null)
  }

  #event(json: string, place: number): string {
    const { hasIds, idOf } = this.#init
    return sseData(json, hasIds ? (idOf?.(place) ?? place) : undefined)
  }

  #delta(text: string): object {
    return this.#init.shape === 'chat' ? { delta: { content: text } } : { text }
  }

  #chunk(content: object, logprobs: object | null = null, finishReason: string | null = null): string {
    const { index } = this.#init.choice ?? { index: 0 }
    const choice = { index, ...content, logprobs, finish_reason: finishReason }
    const usage = this.#init.includeUsage ? { usage: null } : {}
    return JSON.stringify({ ...this.#head, choices: [choice], ...usage })
  }
}

/** @param created Unix seconds; the mesh does not know when a model was made. */
export function modelBody(id: string, model: ModelView, created: number): object {
  return {
    id,
    object: 'model',
    created,
    owned_by: 'skein',
    digest: model.digest,
    aliases: model.aliases,
    context_length: model.contextTokens,
    features: model.features,
  }
}
