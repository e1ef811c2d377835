/**
 * The one file that reaches behind node-llama-cpp's public interface, for exactly the version that `package.json` pins.
 * Its `controlledEvaluate` takes no grammar, tells logits only after the sampling options were applied to them, and makes
 * a sampler with a buffer of the vocabulary's size for each token, which costs 6 % of a decode step of a 135M model. Here
 * one sampler serves a sequence, and the logits of a step are looked at more than once.
 */
import type { LlamaContextSequence, LlamaGrammarEvaluationState, LlamaModel, Token, TokenBias } from 'node-llama-cpp'

export interface Draw {
  readonly options: {
    readonly temperature: number
    readonly topP: number
    readonly topK: number
    readonly minP: number
    readonly seed: number
    readonly tokenBias?: TokenBias
    readonly repeatPenalty?: {
      readonly punishTokens: readonly Token[]
      readonly maxPunishTokens: number
      readonly penalty: number
    }
  }
  /** Holds the token to a grammar; moved on by the token that is drawn. */
  readonly grammar?: LlamaGrammarEvaluationState
  /** How many of the likeliest tokens to tell beside the drawn one; no log probabilities when absent. */
  readonly logprobs?: number
}

/** Natural logarithms of probabilities before sampling options, penalties and grammar were applied. */
export interface DrawnLogprobs {
  readonly logprob: number
  /** Likeliest first. */
  readonly top: readonly { readonly token: Token; readonly logprob: number }[]
}

export interface Drawn {
  readonly token: Token
  readonly logprobs?: DrawnLogprobs
}

type SamplerConfig = Readonly<Record<string, unknown>>

interface NativeSampler {
  applyConfig(config: SamplerConfig): void
  dispose(): void
}

/** Which logits to tell: of these tokens, the highest, the lowest, the drawn one, and this many of the highest. */
type LogitFilter = readonly [tokens: readonly Token[], max: boolean, min: boolean, drawn: boolean, top: number]

interface NativeContext {
  sampleToken(index: number, sampler: NativeSampler): Promise<Token | -1>
  sampleToken(
    index: number,
    sampler: NativeSampler,
    probabilities: false,
    confidence: false,
    logits: LogitFilter,
    /** The sum of `exp(logit - highest logit)`. */
    isWeightTold: boolean,
  ): Promise<[Token | -1, undefined, undefined, tokensAndLogits: number[], weight: number | undefined]>
}

interface SequenceInternals {
  readonly _context: { readonly _ctx: NativeContext }
  readonly _tokenMeter: unknown
  readonly _takeIntervalCheckpointIfNeededAfterBatch: unknown
  _resolveSamplerConfig(options: object): SamplerConfig
  _decodeTokens<T>(
    tokens: readonly Token[],
    isLogitWanted: readonly true[],
    priority: number,
    meter: unknown,
    contextShift: { readonly size: number; readonly strategy: 'eraseBeginning' },
    onLogits: (index: number) => Promise<T>,
    afterBatch: unknown,
  ): Promise<T[]>
}

interface ModelInternals {
  readonly _model: { getTokenString(token: Token): string | undefined }
  readonly _llama: {
    readonly _bindings: {
      readonly AddonSampler: {
        new (model: ModelInternals['_model']): NativeSampler
        acceptGrammarEvaluationStateToken(state: unknown, token: Token): void
      }
    }
  }
}

/** The library's default; all sequences have the same. */
const PRIORITY = 5
/** Never needed: an attempt ends in front of a full context. */
const CONTEXT_SHIFT = { size: 1, strategy: 'eraseBeginning' } as const
const NO_OPTIONS = { topK: 0, topP: 1, minP: 0, seed: 0 } as const

const internals = (model: LlamaModel): ModelInternals => model as unknown as ModelInternals

/** A token as the vocabulary writes it. */
export const vocabularyText = (model: LlamaModel, token: Token): string =>
  internals(model)._model.getTokenString(token) ?? ''

/** Moves a grammar on by a token. @throws what the library throws when the token does not fit. */
export function acceptByGrammar(model: LlamaModel, grammar: LlamaGrammarEvaluationState, token: Token): void {
  const state = (grammar as unknown as { readonly _state: unknown })._state
  internals(model)._llama._bindings.AddonSampler.acceptGrammarEvaluationStateToken(state, token)
}

/** Evaluates the tokens of one sequence, and draws behind them. One call at a time. */
export class SequenceDecoder {
  readonly #model: LlamaModel
  readonly #sequence: SequenceInternals
  readonly #sampler: NativeSampler
  /** Of log probabilities: made when they are first asked for. */
  #all: NativeSampler | undefined
  #likeliest: NativeSampler | undefined

  constructor(model: LlamaModel, sequence: LlamaContextSequence) {
    this.#model = model
    this.#sequence = sequence as unknown as SequenceInternals
    this.#sampler = this.#newSampler()
  }

  /**
   * @param draw of the token behind the last of `tokens`; none is drawn without it.
   * @returns undefined without `draw`, and when the grammar leaves no token.
   * @throws what the library throws.
   */
  async evaluate(tokens: readonly Token[], draw?: Draw): Promise<Drawn | undefined> {
    const isLogitWanted: true[] = []
    if (draw !== undefined) isLogitWanted[tokens.length - 1] = true
    const drawn = await this.#sequence._decodeTokens(
      tokens,
      isLogitWanted,
      PRIORITY,
      this.#sequence._tokenMeter,
      CONTEXT_SHIFT,
      (index) => this.#draw(index, draw!),
      this.#sequence._takeIntervalCheckpointIfNeededAfterBatch,
    )
    return drawn.at(-1)
  }

  dispose(): void {
    for (const sampler of [this.#sampler, this.#all, this.#likeliest]) sampler?.dispose()
  }

  #newSampler(config?: SamplerConfig): NativeSampler {
    const { _llama, _model } = internals(this.#model)
    const sampler = new _llama._bindings.AddonSampler(_model)
    if (config !== undefined) sampler.applyConfig(config)
    return sampler
  }

  async #draw(index: number, { options, grammar, logprobs }: Draw): Promise<Drawn | undefined> {
    this.#sampler.applyConfig(
      this.#sequence._resolveSamplerConfig({ ...options, ...(grammar && { grammarEvaluationState: grammar }) }),
    )
    const token = await this.#sequence._context._ctx.sampleToken(index, this.#sampler)
    if (token === -1) return undefined
    return logprobs === undefined ? { token } : { token, logprobs: await this.#logprobs(index, token, logprobs) }
  }

  /** Two looks, since telling the highest logits of all would sort the vocabulary: 5 ms of 49,152 tokens, not 1.3. */
  async #logprobs(index: number, token: Token, count: number): Promise<DrawnLogprobs> {
    const context = this.#sequence._context._ctx
    const topCount = Math.max(1, count)
    this.#all ??= this.#newSampler({ ...NO_OPTIONS, temperature: 0 })
    this.#likeliest ??= this.#newSampler()
    this.#likeliest.applyConfig({ ...NO_OPTIONS, temperature: 1, topK: topCount })
    const filter: LogitFilter = [[token], false, false, false, 0]
    const [, , , own, weight] = await context.sampleToken(index, this.#all, false, false, filter, true)
    const topFilter: LogitFilter = [[], false, false, false, topCount]
    const [, , , top] = await context.sampleToken(index, this.#likeliest, false, false, topFilter, false)
    const logOfSum = top[1]! + Math.log(weight!)
    return {
      logprob: own[1]! - logOfSum,
      top: Array.from({ length: Math.min(count, top.length / 2) }, (_, i) => ({
        token: top[2 * i] as Token,
        logprob: top[2 * i + 1]! - logOfSum,
      })),
    }
  }
}
