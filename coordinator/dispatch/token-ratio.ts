/**
 * Bytes of prompt for each token, learned from finished tasks: the coordinator has no tokenizer, and the node that has
 * one counts when it is too late for the plan.
 */
import type { ModelDigest } from '../../mesh/protocol/index.ts'
import { movingAverage } from '../../mesh/runtime/index.ts'

/** English text under common BPE vocabularies (OpenAI's rule of thumb). */
const BYTES_PER_TOKEN = 4
/** No common vocabulary makes longer tokens on average; by this a context is ruled out for certain. */
const BYTES_PER_TOKEN_MAX = 16
const WEIGHT = 1 / 8

export class TokenRatio {
  readonly #bytesPerToken = new Map<ModelDigest, number>()

  tokens(digest: ModelDigest, promptBytes: number): number {
    return Math.ceil(promptBytes / (this.#bytesPerToken.get(digest) ?? BYTES_PER_TOKEN))
  }

  tokensMin(promptBytes: number): number {
    return Math.floor(promptBytes / BYTES_PER_TOKEN_MAX)
  }

  learn(digest: ModelDigest, promptBytes: number, promptTokens: number): void {
    if (promptTokens <= 0 || promptBytes <= 0) return
    const sample = Math.min(promptBytes / promptTokens, BYTES_PER_TOKEN_MAX)
    this.#bytesPerToken.set(digest, movingAverage(this.#bytesPerToken.get(digest), sample, WEIGHT))
  }
}
