/** The pools of a fleet: their settings, what a machine of each costs now, and how long nothing is ordered for one. */
import type { SkeinError } from '../../mesh/protocol/index.ts'
import type { Clock, Logger, Random } from '../../mesh/runtime/index.ts'
import type { LeaseQuote } from '../ledger/index.ts'
import type { PoolSettings } from './fleet-settings.ts'

/** Prices are asked for again after so long. */
const QUOTE_MS = 600_000
/** After a launch has failed nothing is ordered for the pool, at first and at most; for longer where the owner is to blame. */
const HOLD_OFF_MS = 30_000
const HOLD_OFF_MS_MAX = 1_800_000
const REFUSED_MS = 600_000

export interface Pool {
  readonly settings: PoolSettings
  quote: LeaseQuote | undefined
  /** When its price is to be asked for, on the monotonic clock. */
  quoteDueMs: number
  failures: number
  heldOffUntilMs: number
  /** An order is being recorded. */
  isOrdering: boolean
}

export class Pools {
  readonly #clock: Clock
  readonly #random: Random
  readonly #log: Logger
  #pools = new Map<string, Pool>()

  constructor({ clock, random, log }: { readonly clock: Clock; readonly random: Random; readonly log: Logger }) {
    this.#clock = clock
    this.#random = random
    this.#log = log
  }

  get all(): Pool[] {
    return [...this.#pools.values()]
  }

  get(name: string): Pool | undefined {
    return this.#pools.get(name)
  }

  /** What is known of a pool stays where it launches the same. */
  configure(all: readonly PoolSettings[]): void {
    const before = this.#pools
    this.#pools = new Map(
      all.map((settings) => {
        const known = before.get(settings.name)
        const isSame = known?.settings.provider === settings.provider && known.settings.flavour === settings.flavour
        const blank = { quote: undefined, quoteDueMs: 0, failures: 0, heldOffUntilMs: 0, isOrdering: false }
        return [settings.name, { ...(isSame ? known : blank), settings }]
      }),
    )
  }

  /** Asks for prices that are old by `quoteOf`. */
  refresh(quoteOf: (settings: PoolSettings) => Promise<LeaseQuote>): void {
    const nowMs = this.#clock.nowMs()
    for (const pool of this.#pools.values()) {
      if (nowMs < pool.quoteDueMs) continue
      pool.quoteDueMs = nowMs + QUOTE_MS
      quoteOf(pool.settings).then(
        (quote) => void (pool.quote = quote),
        (thrown: SkeinError) => {
          pool.quoteDueMs = this.#clock.nowMs() + HOLD_OFF_MS
          this.#log.warn({ pool: pool.settings.name, code: thrown.code }, `no price can be had: ${thrown.message}`)
        },
      )
    }
  }

  holdOff(pool: Pool, { code, message }: SkeinError): void {
    const leastMs = code === 'CLOUD_REFUSED' ? REFUSED_MS : HOLD_OFF_MS
    // money and the disk are ours, and asking costs nothing
    const isOurs = code === 'BUDGET_EXCEEDED' || code === 'LEDGER_UNAVAILABLE'
    const pauseMs = isOurs ? leastMs : Math.min(HOLD_OFF_MS_MAX, leastMs * 2 ** Math.min(pool.failures, 10))
    if (!isOurs) pool.failures++
    pool.heldOffUntilMs = this.#clock.nowMs() + pauseMs * (0.5 + this.#random.next() / 2)
    this.#log.warn({ pool: pool.settings.name, code }, `no machine is ordered for a while: ${message}`)
  }

  /** A machine of the pool is ready. */
  works(name: string): void {
    const pool = this.#pools.get(name)
    if (pool) Object.assign(pool, { failures: 0, heldOffUntilMs: 0 })
  }
}
