/**
 * How the next token is drawn: a function of the request and the answer so far, with no generator that runs along. The
 * seed of each draw is a hash of (seed, index in the answer); penalties are counted from the answer's tokens, and a
 * grammar is moved on by them.
 */
import { LlamaGrammarEvaluationState, TokenBias, type LlamaGrammar, type LlamaModel, type Token } from 'node-llama-cpp'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import type { GenerationRequest } from '../engine.ts'
import { acceptByGrammar, type Draw } from './native.ts'

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
  readonly #model: LlamaModel
  readonly #request: GenerationRequest
  readonly #counts = new Map<Token, number>()
  readonly #bias: TokenBias | undefined
  readonly #grammar: LlamaGrammarEvaluationState | undefined

  /** @param grammar of the request's format. */
  constructor(model: LlamaModel, request: GenerationRequest, grammar: LlamaGrammar | undefined) {
    this.#model = model
    this.#request = request
    const { presencePenalty, frequencyPenalty } = request.sampling
    this.#bias = presencePenalty !== 0 || frequencyPenalty !== 0 ? TokenBias.for(model) : undefined
    this.#grammar = grammar && new LlamaGrammarEvaluationState({ model, grammar })
  }

  /**
   * Takes tokens of the answer that were drawn elsewhere.
   *
   * @throws SkeinError INVALID_REQUEST for tokens that the request's format does not allow.
   */
  replay(tokens: readonly Token[]): void {
    for (const token of tokens) {
      this.accept(token)
      if (this.#grammar !== undefined) this.#replayInGrammar(this.#grammar, token)
    }
  }

  /** Counts a token of the answer. The grammar knows those that were drawn here. */
  accept(token: Token): void {
    if (this.#bias === undefined) return
    const { presencePenalty, frequencyPenalty } = this.#request.sampling
    const count = (this.#counts.get(token) ?? 0) + 1
    this.#counts.set(token, count)
    this.#bias.set(token, { logit: -(presencePenalty + count * frequencyPenalty) })
  }

  /** How the token of that index in the answer is drawn. */
  next(index: number): Draw {
    const { temperature, topP, topK, minP, seed } = this.#request.sampling
    const { logprobs } = this.#request
    return {
      options: {
        temperature,
        topP,
        topK,
        minP,
        seed: drawSeed(seed, index),
        ...(this.#bias && { tokenBias: this.#bias }),
      },
      ...(this.#grammar && { grammar: this.#grammar }),
      ...(logprobs !== undefined && { logprobs }),
    }
  }

  #replayInGrammar(grammar: LlamaGrammarEvaluationState, token: Token): void {
    try {
      // the library aborts the process over a token that ends a text
      if (!this.#model.isEogToken(token)) return acceptByGrammar(this.#model, grammar, token)
    } catch {
      // told below
    }
    throw new SkeinError('INVALID_REQUEST', 'the tokens so far do not fit the format', { param: 'response_format' })
  }
}
