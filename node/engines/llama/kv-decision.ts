/**
 * Whether the KV state of a sequence is worth a file, and a file worth reading: the state of a token costs its bytes at the
 * measured bandwidth of the directory, or its prefill at the measured rate of the model. In other words it pays where
 * `bytes per token × prefill rate < bandwidth`. Pure functions of what was measured.
 */

/** What was measured of this model on this machine; `undefined` until it was. */
export interface KvRates {
  readonly prefillTokensPerMs: number | undefined
  /** By llama.cpp, of a state to a file. */
  readonly writeBytesPerMs: number | undefined
  /** Reading, checking and taking in together. */
  readonly readBytesPerMs: number | undefined
  /** Taking in alone, which is what holds others up. */
  readonly loadBytesPerMs: number | undefined
}

export type KvReason =
  | 'pays'
  /** Too few tokens to be worth a file. */
  | 'few'
  | 'unmeasured'
  /** Prefilling them again is faster. */
  | 'prefill'
  /** It would hold up the answers beside it for too long. */
  | 'stall'
  /** More than all states together may have. */
  | 'budget'
  /** It would pay, and there is no room on the disk. */
  | 'room'

export interface KvDecision {
  readonly reason: KvReason
  readonly tokens: number
  readonly bytes: number
  /** Of those tokens; absent while a rate is unmeasured. */
  readonly prefillMs?: number
  /** Of the file: writing and reading, or reading alone. */
  readonly fileMs?: number
}

interface Question {
  readonly bytes: number
  readonly rates: KvRates
  /** Longest that answers beside it may stand still for one native call, in ms; absent when there are none. */
  readonly stallMsMax?: number
}

/** Tokens below which a file is not worth its handling, whatever the rates. */
export const KV_TOKENS_MIN = 64

/** @param question.tokens that would have to be prefilled again without the file. */
export function decideSave(question: Question & { readonly tokens: number; readonly bytesMax: number }): KvDecision {
  const { tokens, bytes, rates, bytesMax, stallMsMax } = question
  const { prefillTokensPerMs, writeBytesPerMs, readBytesPerMs } = rates
  const about = { tokens, bytes }
  if (tokens < KV_TOKENS_MIN) return { ...about, reason: 'few' }
  if (bytes > bytesMax) return { ...about, reason: 'budget' }
  if (prefillTokensPerMs === undefined || writeBytesPerMs === undefined || readBytesPerMs === undefined)
    return { ...about, reason: 'unmeasured' }
  const writeMs = bytes / writeBytesPerMs
  return judged(
    { ...about, prefillMs: tokens / prefillTokensPerMs, fileMs: writeMs + bytes / readBytesPerMs },
    writeMs,
    stallMsMax,
  )
}

/** @param question.tokens that the file has beyond what a sequence holds already. */
export function decideRestore(question: Question & { readonly tokens: number }): KvDecision {
  const { tokens, bytes, rates, stallMsMax } = question
  const { prefillTokensPerMs, readBytesPerMs, loadBytesPerMs } = rates
  const about = { tokens, bytes }
  if (tokens < KV_TOKENS_MIN) return { ...about, reason: 'few' }
  if (prefillTokensPerMs === undefined || readBytesPerMs === undefined || loadBytesPerMs === undefined)
    return { ...about, reason: 'unmeasured' }
  const fileMs = bytes / readBytesPerMs
  return judged({ ...about, prefillMs: tokens / prefillTokensPerMs, fileMs }, bytes / loadBytesPerMs, stallMsMax)
}

function judged(
  about: Required<Omit<KvDecision, 'reason'>>,
  stallMs: number,
  stallMsMax = Number.POSITIVE_INFINITY,
): KvDecision {
  if (about.fileMs >= about.prefillMs) return { ...about, reason: 'prefill' }
  return { ...about, reason: stallMs > stallMsMax ? 'stall' : 'pays' }
}

/** A rate of what was measured lately: amounts and times, of which the older ones count less and less. */
export class LateRate {
  readonly #amountMax: number
  #amount = 0
  #ms = 0

  /** @param amountMax after which what came before counts half. */
  constructor(amountMax: number) {
    this.#amountMax = amountMax
  }

  /** For each ms; `undefined` when nothing was measured. */
  get perMs(): number | undefined {
    return this.#ms > 0 ? this.#amount / this.#ms : undefined
  }

  add(amount: number, ms: number): void {
    if (amount <= 0 || ms <= 0) return
    this.#amount += amount
    this.#ms += ms
    if (this.#amount <= this.#amountMax) return
    this.#amount /= 2
    this.#ms /= 2
  }
}
