/**
 * How the next token is drawn: a function of the request and the answer so far, with no generator that runs along. The
 * seed of each draw is a hash of (seed, index in the answer); penalties are counted from the answer's tokens, and what the
 * answer is held to is moved on by them.
 */
import { TokenBias, type LlamaModel, type Token } from 'node-llama-cpp'
import { LIMITS } from '../../../mesh/protocol/index.ts'
import type { GenerationRequest } from '../engine.ts'
import type { FormatState } from './format-state.ts'
import type { Draw } from './native.ts'

/** 32 bits of (seed, index), by two rounds of MurmurHash3's finaliser. */
export function drawSeed(seed: number, index: number): number {
  return mix(mix(seed ^ 0x9e3779b9) ^ index)
}

function mix(value: number): number {
  let h = value | 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

export class Sampler {
  readonly #request: GenerationRequest
  readonly #counts = new Map<Token, number>()
  readonly #bias: TokenBias | undefined
  /** By token, as the request moves it. */
  readonly #moved: ReadonlyMap<number, number>
  /** The end of the answer, as long as the penalty of repeats looks. */
  readonly #recent: Token[] = []
  readonly #format: FormatState | undefined

  /**
   * @param format state of an answer that has no token yet.
   * @param vocabularySize tokens that the model has; `logitBias` of others is passed over.
   */
  constructor(model: LlamaModel, request: GenerationRequest, format: FormatState | undefined, vocabularySize: number) {
    this.#request = request
    const { presencePenalty, frequencyPenalty, logitBias = [] } = request.sampling
    this.#moved = new Map(logitBias.map(({ token, bias }) => [token, bias]))
    const isBiased = presencePenalty !== 0 || frequencyPenalty !== 0 || logitBias.length > 0
    this.#bias = isBiased ? TokenBias.for(model) : undefined
    for (const [token, logit] of this.#moved) if (token < vocabularySize) this.#bias!.set(token as Token, { logit })
    this.#format = format
  }

  /**
   * Takes tokens of the answer that were drawn elsewhere.
   *
   * @throws SkeinError INVALID_REQUEST for tokens that the request's format does not allow.
   */
  replay(tokens: readonly Token[]): void {
    for (const token of tokens) {
      this.#count(token)
      this.#format?.replayed(token)
    }
  }

  /** Takes a token of the answer that was drawn here. */
  accept(token: Token): void {
    this.#count(token)
    this.#format?.drawn(token)
  }

  /** How the token of that index in the answer is drawn. */
  next(index: number): Draw {
    const { temperature, topP, topK, minP, seed, repeatPenalty } = this.#request.sampling
    const { logprobs } = this.#request
    return {
      options: {
        temperature,
        topP,
        topK,
        minP,
        seed: drawSeed(seed, index),
        ...(this.#bias && { tokenBias: this.#bias }),
        ...(repeatPenalty !== undefined && {
          repeatPenalty: {
            punishTokens: [...this.#recent],
            maxPunishTokens: LIMITS.repeatPenaltyTokens,
            penalty: repeatPenalty,
          },
        }),
      },
      ...(this.#format?.grammar && { grammar: this.#format.grammar }),
      ...(logprobs !== undefined && { logprobs }),
    }
  }

  #count(token: Token): void {
    const { presencePenalty, frequencyPenalty, repeatPenalty } = this.#request.sampling
    if (repeatPenalty !== undefined && this.#recent.push(token) > LIMITS.repeatPenaltyTokens) this.#recent.shift()
    if (this.#bias === undefined) return
    const count = (this.#counts.get(token) ?? 0) + 1
    this.#counts.set(token, count)
    this.#bias.set(token, {
      logit: (this.#moved.get(token) ?? 0) - (presencePenalty + count * frequencyPenalty),
    })
  }
}
