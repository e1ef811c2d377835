/**
 * OpenAI's answer shapes. A stream's envelope is the same for every chunk, so it is serialised once; what is left for each
 * chunk is the escaping of its text.
 */
import type { FinishReason, ModelDigest, TaskId, Usage } from '../../mesh/protocol/index.ts'
import type { ModelView } from '../admission/index.ts'
import type { AnswerShape } from './openai-requests.ts'
import { SSE_DONE, sseData } from './sse.ts'

export interface AnswerInit {
  readonly shape: AnswerShape
  readonly taskId: TaskId
  readonly digest: ModelDigest
  /** As the client wrote it. */
  readonly model: string
  /** Unix seconds. */
  readonly created: number
}

const ID_PREFIX = { chat: 'chatcmpl-', text: 'cmpl-' } as const
const CHUNK_OBJECT = { chat: 'chat.completion.chunk', text: 'text_completion' } as const
const WHOLE_OBJECT = { chat: 'chat.completion', text: 'text_completion' } as const

/** `sha256:0123…` as `fp_0123456789ab`: equal fingerprints mean the same model file. */
export const fingerprint = (digest: ModelDigest): string => `fp_${digest.slice('sha256:'.length).slice(0, 12)}`

function head(init: AnswerInit, object: string): object {
  const { shape, taskId, created, model, digest } = init
  const id = ID_PREFIX[shape] + taskId.slice(taskId.indexOf('_') + 1)
  return { id, object, created, model, system_fingerprint: fingerprint(digest) }
}

export function usageBody(usage: Usage): object {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    total_tokens: usage.promptTokens + usage.completionTokens,
    prompt_tokens_details: { cached_tokens: usage.cachedTokens },
  }
}

export function wholeAnswer(init: AnswerInit, text: string, finishReason: FinishReason, usage: Usage): object {
  const content = init.shape === 'chat' ? { message: { role: 'assistant', content: text, refusal: null } } : { text }
  const choice = { index: 0, ...content, logprobs: null, finish_reason: finishReason }
  return { ...head(init, WHOLE_OBJECT[init.shape]), choices: [choice], usage: usageBody(usage) }
}

/** Writes the events of one stream. */
export class StreamWriter {
  readonly #shape: AnswerShape
  readonly #includeUsage: boolean
  /** Up to the text of a chunk, and from behind it. */
  readonly #open: string
  readonly #close: string
  readonly #head: object

  constructor(init: AnswerInit, includeUsage: boolean) {
    this.#shape = init.shape
    this.#includeUsage = includeUsage
    this.#head = head(init, CHUNK_OBJECT[init.shape])
    const slot = '\u0000'
    // JSON escapes the slot, and no text of a client gets into the envelope unescaped
    const [open, close] = this.#chunk(this.#delta(slot), null).split(JSON.stringify(slot))
    this.#open = open!
    this.#close = close!
  }

  /** The first event: a chat names the role before any text. */
  begin(): string {
    return this.#shape === 'chat' ? this.#chunk({ delta: { role: 'assistant', content: '', refusal: null } }, null) : ''
  }

  text(text: string): string {
    return this.#open + JSON.stringify(text) + this.#close
  }

  end(finishReason: FinishReason, usage: Usage): string {
    const last = this.#chunk(this.#shape === 'chat' ? { delta: {} } : { text: '' }, finishReason)
    const usageChunk = this.#includeUsage
      ? sseData(JSON.stringify({ ...this.#head, choices: [], usage: usageBody(usage) }))
      : ''
    return last + usageChunk + SSE_DONE
  }

  #delta(text: string): object {
    return this.#shape === 'chat' ? { delta: { content: text } } : { text }
  }

  #chunk(content: object, finishReason: FinishReason | null): string {
    const choice = { index: 0, ...content, logprobs: null, finish_reason: finishReason }
    const usage = this.#includeUsage ? { usage: null } : {}
    return sseData(JSON.stringify({ ...this.#head, choices: [choice], ...usage }))
  }
}

/** Each model with the id by which it is listed: its first alias, or its digest when another model has that alias too. */
export function identified(models: readonly ModelView[]): Map<string, ModelView> {
  const byId = new Map<string, ModelView>()
  for (const model of models) {
    const alias = model.aliases[0]
    byId.set(alias === undefined || byId.has(alias) ? model.digest : alias, model)
  }
  return byId
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
  }
}
