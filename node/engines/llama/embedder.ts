/**
 * Embeddings by llama.cpp, of models that were made for them: their file says how the vectors of the tokens become one
 * (`pooling_type`), and llama.cpp does it. Such a model has one context, of one text at a time, and generates nothing.
 */
import type { LlamaEmbeddingContext, LlamaModel, Token } from 'node-llama-cpp'
import { SkeinError, type WorkResult } from '../../../mesh/protocol/index.ts'
import type { LoadRequest, WorkRequest } from '../engine.ts'
import { unitVector } from '../unit-vector.ts'
import { planContext } from './memory.ts'

export interface EmbedderInit {
  readonly model: LlamaModel
  readonly request: LoadRequest
  readonly threads: number
  /** Memory for the context, in bytes. */
  readonly freeBytes: number
}

/** A text is computed in one batch, whose memory grows with the square of its length. */
const UNASKED_TOKENS_MAX = 2048

export class Embedder {
  /** Tokens of one text, special ones included. */
  readonly tokensMax: number
  readonly #model: LlamaModel
  readonly #context: LlamaEmbeddingContext
  /** The last text that was queued: the context takes one at a time, in order. */
  #turn: Promise<unknown> = Promise.resolve()
  #isClosed = false
  #running = 0

  private constructor(model: LlamaModel, context: LlamaEmbeddingContext, tokensMax: number) {
    this.#model = model
    this.#context = context
    this.tokensMax = tokensMax
  }

  /** @throws SkeinError MODEL_LOAD_FAILED with the numbers when it does not fit; what the library throws. */
  static async open({ model, request, threads, freeBytes }: EmbedderInit): Promise<Embedder> {
    const trained = model.trainContextSize || UNASKED_TOKENS_MAX
    const wanted = Math.min(trained, request.contextTokens ?? UNASKED_TOKENS_MAX)
    const planned = { ...request, contextTokens: wanted }
    const tokensMax = await planContext({ model, request: planned, slots: 1, batchTokens: wanted, freeBytes })
    // one more than a text may have: the library takes none that fills its context
    const contextSize = tokensMax + 1
    const context = await model.createEmbeddingContext({ contextSize, batchSize: contextSize, threads })
    return new Embedder(model, context, tokensMax)
  }

  get running(): number {
    return this.#running
  }

  /**
   * @throws SkeinError INVALID_REQUEST for other work; CONTEXT_LENGTH_EXCEEDED, ENGINE_FAILED; the signal's reason.
   */
  async work({ work }: WorkRequest, signal: AbortSignal): Promise<WorkResult> {
    if (work.kind !== 'embed')
      throw new SkeinError('INVALID_REQUEST', `the model has embed, and not ${work.kind}`, { param: 'model' })
    const { texts, dimensions } = work
    this.#running++
    try {
      let promptTokens = 0
      const inputs: Token[][] = []
      for (const [i, text] of texts.entries()) {
        const input = this.#tokens(text)
        promptTokens += this.#checked(input, `text ${i + 1} of ${texts.length}`)
        inputs.push(input)
      }
      const vectors: Uint8Array[] = []
      for (const input of inputs) vectors.push(unitVector(await this.#embed(input, signal), dimensions))
      return { kind: 'embed', vectors, promptTokens }
    } finally {
      this.#running--
    }
  }

  /** Waits for the text that is computed; those behind it fail. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#turn.catch(() => undefined)
    await this.#context.dispose()
  }

  /** What a text says is never a special token. Of nothing at all the library makes no vector: one token stands for it. */
  #tokens(text: string): Token[] {
    const { bos, eos } = this.#model.tokens
    const tokens = this.#model.tokenize(text)
    const empty = bos ?? eos
    return tokens.length > 0 || empty === null ? tokens : [empty]
  }

  /** Tokens of a text, with those that the library puts around it. @throws SkeinError CONTEXT_LENGTH_EXCEEDED. */
  #checked(input: readonly Token[], which: string): number {
    const tokens = this.#context.calculateInputLength([...input])
    if (tokens > this.tokensMax)
      throw new SkeinError(
        'CONTEXT_LENGTH_EXCEEDED',
        `${which} has ${tokens} tokens, and the model takes ${this.tokensMax}`,
        { param: 'input' },
      )
    return tokens
  }

  #embed(input: readonly Token[], signal: AbortSignal): Promise<readonly number[]> {
    const turn = this.#turn
      .catch(() => undefined)
      .then(async () => {
        signal.throwIfAborted()
        if (this.#isClosed) throw new SkeinError('ENGINE_FAILED', 'the model was unloaded')
        return (await this.#context.getEmbeddingFor([...input])).vector
      })
    this.#turn = turn
    return turn
  }
}
