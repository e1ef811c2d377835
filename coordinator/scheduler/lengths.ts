/** How long answers get, learned from those that ended: what a node decodes is not known before, and decides the plan. */
import type { ModelDigest } from '../../mesh/protocol/index.ts'

/** Answers remembered for each model, and models. */
const ANSWERS_MAX = 64
const MODELS_MAX = 256
/** Tokens expected of a model that has not answered yet, and for how many answers that counts. */
const FIRST_GUESS = 256
const FIRST_GUESS_WEIGHT = 4

export class AnswerLengths {
  /** Ring of lengths; the least recently asked model first. */
  readonly #lengths = new Map<ModelDigest, { readonly tokens: number[]; next: number }>()

  /** Tokens that an answer of at most `maxTokens` is expected to get: the mean, each length cut at `maxTokens`. */
  expected(digest: ModelDigest, maxTokens: number): number {
    const tokens = this.#lengths.get(digest)?.tokens ?? []
    let sum = FIRST_GUESS_WEIGHT * Math.min(FIRST_GUESS, maxTokens)
    for (const each of tokens) sum += Math.min(each, maxTokens)
    return sum / (tokens.length + FIRST_GUESS_WEIGHT)
  }

  /**
   * An answer ended after `tokens` of at most `maxTokens`. One that was cut there would have been longer: it tells
   * nothing unless it got longer than expected.
   */
  learn(digest: ModelDigest, tokens: number, maxTokens: number): void {
    if (tokens <= 0) return
    if (tokens >= maxTokens && tokens < this.expected(digest, Number.POSITIVE_INFINITY)) return
    const known = this.#lengths.get(digest) ?? { tokens: [], next: 0 }
    this.#lengths.delete(digest)
    this.#lengths.set(digest, known)
    known.tokens[known.next] = tokens
    known.next = (known.next + 1) % ANSWERS_MAX
    if (this.#lengths.size > MODELS_MAX) this.#lengths.delete(this.#lengths.keys().next().value!)
  }
}
