/**
 * How sure a model was of its answer, by the log probabilities of the tokens that it drew, before temperature and the like
 * bent them. Two figures, in nats: their mean, which is the length-normalised log-likelihood (Malinin and Gales, "Uncertainty
 * Estimation in Autoregressive Structured Prediction", ICLR 2021), and the lowest of them, since a mean over many easy tokens
 * hides the one that mattered (Gupta et al., "Language Model Cascades: Token-Level Uncertainty and Beyond", ICLR 2024).
 */
import type { TokenLogprob } from '../../mesh/protocol/index.ts'
import type { JudgedConfidence } from '../ledger/index.ts'

/** What the owner asks of an answer that is given as it is. */
export interface CascadeRule {
  /** Of the mean, in nats; at most 0. */
  readonly meanLogprobMin: number
  /** Of each token; any will do when absent. */
  readonly tokenLogprobMin?: number
  /** So many tokens are held back and judged; the whole answer when absent. */
  readonly tokens?: number
}

export class ConfidenceMeter {
  readonly #rule: CascadeRule
  #tokens = 0
  #sum = 0
  #min = 0

  constructor(rule: CascadeRule) {
    this.#rule = rule
  }

  /** Of each token in turn. A probability is at most 1, whatever rounding makes of it. */
  push(logprobs: readonly TokenLogprob[]): void {
    for (const { logprob } of logprobs) {
      if (this.#rule.tokens !== undefined && this.#tokens >= this.#rule.tokens) return
      const bounded = Math.min(0, logprob)
      this.#tokens++
      this.#sum += bounded
      this.#min = Math.min(this.#min, bounded)
    }
  }

  /**
   * The verdict, once as many tokens are measured as the owner wants judged; `undefined` before, and of an answer of which not
   * all was measured.
   *
   * @param tokens of the answer so far.
   * @param isWhole it has ended: what there is is judged.
   */
  verdict(tokens: number, isWhole: boolean): JudgedConfidence | undefined {
    const { tokens: wanted = Number.POSITIVE_INFINITY, meanLogprobMin, tokenLogprobMin } = this.#rule
    const due = Math.min(tokens, wanted)
    if (due === 0 || this.#tokens !== due || (due < wanted && !isWhole) || !Number.isFinite(this.#sum)) return undefined
    const meanLogprob = this.#sum / due
    const isLow = meanLogprob < meanLogprobMin || this.#min < (tokenLogprobMin ?? Number.NEGATIVE_INFINITY)
    return { tokens: due, meanLogprob, minLogprob: this.#min, isLow }
  }
}
