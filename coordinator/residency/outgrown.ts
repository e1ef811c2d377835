/**
 * When demand has outgrown a model's holders: a newcomer would wait too long on the best of them, and has had to for a
 * while. A burst that the holders work off in seconds orders nothing.
 */
import type { ModelSnapshot } from '../scheduler/index.ts'

/** What people notice, and what the scheduler's own goal for a first token is (`docs/SCHEDULER.md`). */
export const LONG_WAIT_MS = 2000
/** Below this the wait is over: between the two nothing changes, so that a wait around the bound is one wait. */
export const SHORT_WAIT_MS = 500
/** A wait counts after this long at the earliest: a burst of some short answers is over by then. */
const SUSTAINED_MS = 10_000
/** Looks that are further apart say nothing of the time between them: the process stood still. */
const GAP_MS = 5000
/** Of a full node of which nothing is known: another coordinator's answers run there. */
const UNKNOWN_WAIT_MS = 5000

/**
 * Ms that a newcomer waits for a slot on the best of `holders`, behind those that wait already; nothing when it has none.
 *
 * @param aheadMs until those that wait have a slot.
 */
export function predictedWaitMs(holders: readonly ModelSnapshot[], aheadMs: number): number | undefined {
  if (holders.length === 0) return undefined
  const freeMs = Math.min(...holders.map(slotFreeInMs))
  return freeMs === 0 ? 0 : freeMs + aheadMs
}

function slotFreeInMs({ capability: { slots }, running, slotFreeMs, turnMs }: ModelSnapshot): number {
  if (running < slots) return 0
  const known = slotFreeMs[running - slots] ?? turnMs ?? UNKNOWN_WAIT_MS
  return Math.max(1, Math.min(known, turnMs ?? known))
}

/** Of one model. */
export class Outgrown {
  #sinceMs: number | undefined
  #lookedAtMs = Number.NEGATIVE_INFINITY

  /** @param waitMs that a newcomer is predicted to wait now. */
  look(waitMs: number, nowMs: number): void {
    if (nowMs - this.#lookedAtMs > GAP_MS || waitMs < SHORT_WAIT_MS) this.#sinceMs = undefined
    this.#lookedAtMs = nowMs
    if (waitMs >= LONG_WAIT_MS) this.#sinceMs ??= nowMs
  }

  /** Ms for which newcomers had to wait too long; 0 when they have not. */
  lastedMs(nowMs: number): number {
    return this.#sinceMs === undefined ? 0 : nowMs - this.#sinceMs
  }

  /**
   * Whether a replica that takes `readyInMs` to be there is worth it. One that takes long is ordered later: as long as a
   * wait has lasted is the best guess of how long it goes on, so that twice the least possible is waited at worst.
   */
  isWorth(readyInMs: number, nowMs: number): boolean {
    return this.#sinceMs !== undefined && this.lastedMs(nowMs) >= Math.max(SUSTAINED_MS, readyInMs)
  }

  /** Something was done about it: from now on the wait counts anew. */
  reset(): void {
    this.#sinceMs = undefined
  }
}
