/**
 * How the next token is drawn: a function of the request and the answer so far, with no generator that runs along. The
 * seed of each draw is a hash of (seed, index in the answer); penalties are counted from the answer's tokens.
 */
import { TokenBias, type ControlledEvaluateInputItem, type LlamaModel, type Token } from 'node-llama-cpp'
import type { Sampling } from '../../../mesh/protocol/index.ts'

type GenerateNext = NonNullable<Exclude<ControlledEvaluateInputItem, Token>[1]['generateNext']>

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
  readonly #sampling: Sampling
  readonly #counts = new Map<Token, number>()
  readonly #bias: TokenBias | undefined

  constructor(model: LlamaModel, sampling: Sampling) {
    this.#sampling = sampling
    const isPenalised = sampling.presencePenalty !== 0 || sampling.frequencyPenalty !== 0
    this.#bias = isPenalised ? TokenBias.for(model) : undefined
  }

  /** Counts a token of the answer. */
  accept(token: Token): void {
    if (this.#bias === undefined) return
    const count = (this.#counts.get(token) ?? 0) + 1
    this.#counts.set(token, count)
    const penalty = this.#sampling.presencePenalty + count * this.#sampling.frequencyPenalty
    this.#bias.set(token, { logit: -penalty })
  }

  /** What the engine is to do for the token of that index in the answer. */
  next(index: number): GenerateNext {
    const { temperature, topP, topK, minP, seed } = this.#sampling
    return {
      token: true,
      options: {
        temperature,
        topP,
        topK,
        minP,
        seed: drawSeed(seed, index),
        ...(this.#bias === undefined ? {} : { tokenBias: this.#bias }),
      },
    }
  }
}
