/**
 * What the coordinator knows of one model on one node beyond the node's own record: what it sent there, how fast that
 * went, and which prompts left their state behind.
 */
import { LIMITS, type LoadReport, type ModelCapability } from '../../mesh/protocol/index.ts'
import { movingAverage } from '../../mesh/runtime/index.ts'
import { decodeRate, UNMEASURED, type ModelSnapshot, type PromptPrefix } from '../scheduler/index.ts'
import { PrefixCache } from './prefixes.ts'
import { LearnedRates, type RateSample } from './rates.ts'

/** What an attempt is expected to take; prompt tokens less those in the node's cache. */
export interface ExpectedTokens {
  readonly prefillTokens: number
  readonly decodeTokens: number
}

/** An attempt of ours on a node. */
export interface OpenAttempt {
  readonly expected: ExpectedTokens
  readonly beganMs: number
  /** When it began: tokens of others to be prefilled before its own, and whether the model was in memory. */
  readonly tokensAhead: number
  readonly wasResident: boolean
  firstTokenMs: number | undefined
  lastTokenMs: number
  firstTokens: number
  tokens: number
  /** Attempts that ran beside it, itself included, summed over the times that it was looked at. */
  sequences: number
  looks: number
}

/** Shares of what was expected that are assumed to be left when it is used up already: a guess that errs to the late. */
const OVERRUN_SHARE = 1 / 8

/** Weight of the newest time in the moving average of times between slots becoming free. */
const TURN_WEIGHT = 1 / 8

/** A refusal for want of a slot holds this long at most: the report that took it back may have overtaken it. */
const FULL_MS = 2 * LIMITS.loadReportIntervalMs

type ModelLoad = LoadReport['models'][number]

export class ModelState {
  readonly #rates = new LearnedRates()
  readonly #prefixes = new PrefixCache()
  readonly #open = new Set<OpenAttempt>()
  /** Attempts of ours that began, and that ended, since the last load report. */
  #begun = 0
  #ended = 0
  #fullUntilMs = Number.NEGATIVE_INFINITY
  #isFull = false
  /** Since all slots are in use, as far as our own attempts made it so. */
  #fullSinceMs: number | undefined
  #turnMs: number | undefined
  #reported: ModelLoad | undefined
  #reportedAtMs = 0
  #loadingSinceMs: number | undefined
  #capability: ModelCapability
  #snapshot: ModelSnapshot | undefined

  constructor(capability: ModelCapability, nowMs: number) {
    this.#capability = capability
    this.#noteLoading(nowMs)
  }

  /** True when nothing of ours runs there, and nothing was reported that changes by itself. */
  get isQuiet(): boolean {
    return (
      !this.#isFull &&
      this.#open.size === 0 &&
      !this.#reported?.prefillTokensPending &&
      this.#capability.residency !== 'loading'
    )
  }

  setCapability(capability: ModelCapability, nowMs: number): void {
    const { speed } = this.#capability
    // What was learned before the first measurement was held against a guess, and may lie beyond its bounds.
    if (speed && capability.speed && speed.measuredAtMs !== capability.speed.measuredAtMs)
      this.#rates.rebase(speed, capability.speed)
    else if (!speed && capability.speed) this.#rates.forget()
    this.#capability = capability
    this.#noteLoading(nowMs)
    this.#snapshot = undefined
  }

  #noteLoading(nowMs: number): void {
    if (this.#capability.residency === 'loading') this.#loadingSinceMs ??= nowMs
    else this.#loadingSinceMs = undefined
  }

  setLoad(load: ModelLoad | undefined, nowMs: number): void {
    this.#reported = load
    this.#reportedAtMs = nowMs
    this.#begun = this.#ended = 0
    this.#isFull = false
    this.#snapshot = undefined
  }

  /** A new life of the node: it holds nothing of what it held. */
  restart(): void {
    this.#prefixes.clear()
    this.#reported = undefined
    this.#begun = this.#ended = 0
    this.#isFull = false
    this.#snapshot = undefined
  }

  /** The node itself said that it has no free slot: believed until its next load report, which may have come before. */
  markFull(nowMs: number): void {
    this.#isFull = true
    this.#fullUntilMs = nowMs + FULL_MS
    this.#snapshot = undefined
  }

  begin(expected: ExpectedTokens, nowMs: number): OpenAttempt {
    const attempt: OpenAttempt = {
      expected,
      beganMs: nowMs,
      tokensAhead: this.#prefillTokensPending(nowMs),
      wasResident: this.#capability.residency === 'resident',
      firstTokenMs: undefined,
      lastTokenMs: nowMs,
      firstTokens: 0,
      tokens: 0,
      sequences: 0,
      looks: 0,
    }
    this.#open.add(attempt)
    this.#begun++
    if (this.running >= this.#capability.slots) this.#fullSinceMs ??= nowMs
    this.#snapshot = undefined
    this.#look(attempt)
    return attempt
  }

  progress(attempt: OpenAttempt, tokens: number, nowMs: number): void {
    if (attempt.firstTokenMs === undefined) {
      attempt.firstTokenMs = nowMs
      attempt.firstTokens = tokens
    }
    attempt.lastTokenMs = nowMs
    attempt.tokens += tokens
    this.#look(attempt)
  }

  #look(attempt: OpenAttempt): void {
    attempt.sequences += this.running
    attempt.looks++
  }

  end(attempt: OpenAttempt, nowMs: number): void {
    if (this.#fullSinceMs !== undefined) {
      this.#turnMs = movingAverage(this.#turnMs, nowMs - this.#fullSinceMs, TURN_WEIGHT)
      this.#fullSinceMs = undefined
    }
    this.#open.delete(attempt)
    this.#ended++
    this.#snapshot = undefined
  }

  /** What `attempt` showed; `prefilledTokens` are those of its own that were not cached, where that is known. */
  sample(attempt: OpenAttempt, prefilledTokens: number | undefined, linkMs: number): RateSample {
    const { firstTokenMs, lastTokenMs, beganMs, tokensAhead, wasResident, tokens, firstTokens } = attempt
    const isSeen = prefilledTokens !== undefined && firstTokenMs !== undefined && wasResident
    return {
      prefillTokens: isSeen ? prefilledTokens + tokensAhead : 0,
      prefillMs: isSeen ? Math.max(firstTokenMs - beganMs - linkMs, 1) : 0,
      decodeTokens: tokens - firstTokens,
      decodeMs: firstTokenMs === undefined ? 0 : lastTokenMs - firstTokenMs,
      sequences: attempt.sequences / attempt.looks,
    }
  }

  learn(sample: RateSample): void {
    this.#rates.learn(this.#capability.speed ?? UNMEASURED, sample)
    this.#snapshot = undefined
  }

  remember(prefix: PromptPrefix): void {
    this.#prefixes.remember(prefix, this.#capability.slots)
  }

  /** Attempts that hold a slot, as well as can be known between two load reports. */
  get running(): number {
    if (this.#isFull) return this.#capability.slots
    const reported = this.#reported?.running ?? 0
    // Ours are known exactly; those of other coordinators only by report. Neither may be undercounted.
    return Math.max(this.#open.size, reported + this.#begun - this.#ended, 0)
  }

  /** Made again after something changed, and each time while something changes by itself. */
  snapshot(nowMs: number): ModelSnapshot {
    if (this.#isFull && nowMs >= this.#fullUntilMs) {
      this.#isFull = false
      this.#snapshot = undefined
    }
    if (this.#snapshot === undefined || !this.isQuiet) this.#snapshot = this.#view(nowMs)
    return this.#snapshot
  }

  #view(nowMs: number): ModelSnapshot {
    const capability = this.#capability
    const { running } = this
    const sequences = Math.min(running + 1, capability.slots)
    const loadMs = this.#loadLeftMs(nowMs)
    const heldSlots = Math.max(capability.slots - running, 0)
    return {
      capability: loadMs === capability.loadMs ? capability : { ...capability, loadMs },
      running,
      prefillTokensPending: this.#prefillTokensPending(nowMs),
      prefillCorrection: this.#rates.prefillCorrection(sequences),
      decodeCorrection: this.#rates.decodeCorrection(sequences),
      slotFreeMs: this.#slotFreeMs(nowMs),
      ...(this.#turnMs !== undefined && { turnMs: this.#turnMs }),
      // A slot in use goes on with its own prompt. With all in use, the next one that is free is as likely the warm one.
      cachedBytes: (prefix) => this.#prefixes.cachedBytes(prefix, heldSlots || capability.slots),
    }
  }

  get #prefillTokensPerMs(): number {
    const claimed = (this.#capability.speed ?? UNMEASURED).prefillTokensPerSecond
    return Math.max((claimed * this.#rates.prefillCorrection(this.running)) / 1000, 1e-6)
  }

  /** Reported, less what was worked off since, and with what was sent after the report was written. */
  #prefillTokensPending(nowMs: number): number {
    const reported = this.#reported?.prefillTokensPending ?? 0
    if (reported === 0 && this.#open.size === 0) return 0
    const perMs = this.#prefillTokensPerMs
    let pending = Math.max(reported - (nowMs - this.#reportedAtMs) * perMs, 0)
    for (const { firstTokenMs, beganMs, expected } of this.#open) {
      if (firstTokenMs !== undefined || (this.#reported && beganMs < this.#reportedAtMs)) continue
      pending += Math.max(expected.prefillTokens - (nowMs - beganMs) * perMs, 0)
    }
    return Math.round(pending)
  }

  #slotFreeMs(nowMs: number): number[] {
    if (this.#open.size === 0) return []
    const speed = this.#capability.speed ?? UNMEASURED
    const tokensPerMs =
      (decodeRate(speed, Math.max(this.running, 1)) * this.#rates.decodeCorrection(this.running)) / 1000
    // Of those without a first token: what is pending, split as it was expected, and worked off in equal shares.
    const waiting = [...this.#open].filter((attempt) => attempt.firstTokenMs === undefined)
    const expected = waiting.reduce((sum, attempt) => sum + attempt.expected.prefillTokens, 0)
    const share = expected > 0 ? this.#prefillTokensPending(nowMs) / expected : 0
    const firstMs = ({ expected: { prefillTokens } }: OpenAttempt): number =>
      waiting.reduce((sum, each) => sum + Math.min(each.expected.prefillTokens, prefillTokens) * share, 0) /
      this.#prefillTokensPerMs
    const left = (attempt: OpenAttempt): number => {
      const { decodeTokens } = attempt.expected
      const tokens = Math.max(decodeTokens - attempt.tokens, decodeTokens * OVERRUN_SHARE)
      return (attempt.firstTokenMs === undefined ? firstMs(attempt) : 0) + tokens / tokensPerMs
    }
    return Array.from(this.#open, left).sort((a, b) => a - b)
  }

  /** Of a model that is being loaded, for its owner or for a task of ours, a part of the time is over. */
  #loadLeftMs(nowMs: number): number {
    const { residency, loadMs } = this.#capability
    if (residency === 'resident') return loadMs
    let sinceMs = this.#loadingSinceMs
    for (const { beganMs } of this.#open) if (sinceMs === undefined || beganMs < sinceMs) sinceMs = beganMs
    return sinceMs === undefined ? loadMs : Math.max(loadMs - (nowMs - sinceMs), loadMs * OVERRUN_SHARE)
  }
}
