/**
 * When a model is asked for, by the quarter of an hour: what each quarter brings on an average day, the last days counting
 * most. Pure but for what it remembers: both clocks come in, so that it can be tried over weeks in a moment.
 *
 * Days are not told apart. With weekdays and weekends of their own, a peak would be learned only after two of each, which
 * is more than a week, to save one load on a quiet Saturday. Quarters are those of UTC: when the clocks of a country
 * change, its peaks move by an hour and are learned anew within days.
 */
import { Type } from 'typebox'
import { checker, LIMITS, type ModelDigest } from '../../mesh/protocol/index.ts'
import type { ExpectedWork } from './demand.ts'

const QUARTER_MS = 900_000
const QUARTERS = 96
/** A quarter tells something when so much of it was seen, by the monotonic clock. */
const SEEN_MS_MIN = 600_000
/** Weight of the newest day, once there are a few: what was a week ago counts an eighth. */
const WEIGHT_MIN = 1 / 4
/** Requests in a quarter, on average, that make it a peak: below that, whoever asks first can wait for the load. */
const PEAK_REQUESTS = 3
/** Days on which a quarter must have had requests before it is a peak. */
const PEAK_DAYS = 2
/** A quarter that was not seen for this many days, or that a wrong clock has put into the future, is learned anew. */
const FORGOTTEN_DAYS = 14
const DAYS_MAX = 255

const amounts = () => Type.Array(Type.Number({ minimum: 0, maximum: 1e12 }), { minItems: QUARTERS, maxItems: QUARTERS })
const DaysSchema = Type.Object({
  /** Means of each quarter. */
  requests: amounts(),
  prefillTokens: amounts(),
  decodeTokens: amounts(),
  /** Days on which it was seen, and those with requests. */
  seen: amounts(),
  busy: amounts(),
  /** The last of them, in days since 1970; 0 before the first. */
  last: amounts(),
})
const ProfileSchema = Type.Object({
  models: Type.Array(Type.Object({ digest: Type.String({ pattern: '^sha256:[0-9a-f]{64}$' }), days: DaysSchema }), {
    maxItems: LIMITS.demandModelsMax,
  }),
})
const isProfile = checker(ProfileSchema)

type Days = Record<keyof (typeof DaysSchema)['properties'], number[]>
/** A list of amounts with something for every quarter. */
const none = (): number[] => new Array<number>(QUARTERS).fill(0)
const newDays = (): Days => ({
  requests: none(),
  prefillTokens: none(),
  decodeTokens: none(),
  seen: none(),
  busy: none(),
  last: none(),
})

interface Count extends ExpectedWork {
  readonly requests: number
}
const NOTHING: Count = { requests: 0, prefillTokens: 0, decodeTokens: 0 }
const MEANS = ['requests', 'prefillTokens', 'decodeTokens'] as const

/** A quarter that is expected to be busy. */
export interface Peak {
  /** When it begins, in ms since 1970: it names the peak. */
  readonly atMs: number
  /** Requests expected in the quarter, and tokens per second. */
  readonly requests: number
  readonly prefillTokens: number
  readonly decodeTokens: number
}

export class DemandProfile {
  /** The model asked for longest ago first. */
  readonly #models = new Map<ModelDigest, Days>()
  readonly #counts = new Map<ModelDigest, Count>()
  /** Number of the present quarter since 1970, and since when it is seen on the monotonic clock. */
  #quarter: number | undefined
  #seenSinceMs = 0

  /** What `save` gave; anything else is an empty profile, and `false`. */
  static restore(saved: unknown): { readonly profile: DemandProfile; readonly isRestored: boolean } {
    const profile = new DemandProfile()
    const isRestored = isProfile(saved)
    if (isRestored) for (const { digest, days } of saved.models) profile.#models.set(digest as ModelDigest, days)
    return { profile, isRestored }
  }

  /** JSON. */
  save(): unknown {
    const rounded = (values: readonly number[]): number[] => values.map((value) => Math.round(value * 100) / 100)
    return {
      models: Array.from(this.#models, ([digest, days]) => ({
        digest,
        days: Object.fromEntries(Object.entries(days).map(([key, values]) => [key, rounded(values)])),
      })),
    }
  }

  models(): Iterable<ModelDigest> {
    return this.#models.keys()
  }

  /** A request came, in the quarter that the last `look` was in. */
  arrived(digest: ModelDigest, { prefillTokens, decodeTokens }: ExpectedWork): void {
    const count = this.#counts.get(digest) ?? NOTHING
    if (count === NOTHING && this.#counts.size >= LIMITS.demandModelsMax) return
    this.#counts.set(digest, {
      requests: count.requests + 1,
      prefillTokens: count.prefillTokens + prefillTokens,
      decodeTokens: count.decodeTokens + decodeTokens,
    })
  }

  /**
   * What time is it? When a quarter is over, and was seen for most of its time, it is learned: returns true. A wall clock
   * that jumps, back or over a whole quarter, teaches nothing.
   */
  look(wallMs: number, nowMs: number): boolean {
    const quarter = Math.floor(wallMs / QUARTER_MS)
    const before = this.#quarter
    if (quarter === before) return false
    const isWhole = before !== undefined && quarter === before + 1 && nowMs - this.#seenSinceMs >= SEEN_MS_MIN
    if (isWhole) this.#learn(before)
    this.#counts.clear()
    this.#quarter = quarter
    this.#seenSinceMs = nowMs
    return isWhole
  }

  /** The first peak that begins within `leadMs` from now, or has begun and is not over. */
  peak(digest: ModelDigest, wallMs: number, leadMs: number): Peak | undefined {
    const days = this.#models.get(digest)
    if (days === undefined) return undefined
    const first = Math.floor(wallMs / QUARTER_MS)
    const last = Math.min(Math.floor((wallMs + leadMs) / QUARTER_MS), first + QUARTERS - 1)
    for (let quarter = first; quarter <= last; quarter++) {
      const { slot, day } = placeOf(quarter)
      const isKnown = day >= days.last[slot]! && day - days.last[slot]! <= FORGOTTEN_DAYS
      if (!isKnown || days.busy[slot]! < PEAK_DAYS || days.requests[slot]! < PEAK_REQUESTS) continue
      const seconds = QUARTER_MS / 1000
      return {
        atMs: quarter * QUARTER_MS,
        requests: days.requests[slot]!,
        prefillTokens: days.prefillTokens[slot]! / seconds,
        decodeTokens: days.decodeTokens[slot]! / seconds,
      }
    }
    return undefined
  }

  #learn(quarter: number): void {
    for (const digest of this.#counts.keys()) {
      const days = this.#models.get(digest) ?? newDays()
      this.#models.delete(digest)
      this.#models.set(digest, days)
    }
    while (this.#models.size > LIMITS.demandModelsMax) this.#models.delete(this.#models.keys().next().value!)
    // a quarter without a request is one of none
    for (const [digest, days] of this.#models) learnQuarter(days, quarter, this.#counts.get(digest) ?? NOTHING)
  }
}

const placeOf = (quarter: number): { slot: number; day: number } => ({
  slot: ((quarter % QUARTERS) + QUARTERS) % QUARTERS,
  day: Math.floor(quarter / QUARTERS),
})

function learnQuarter(days: Days, quarter: number, count: Count): void {
  const { slot, day } = placeOf(quarter)
  const last = days.last[slot]!
  // a clock that was put back shows the same quarter again
  if (day === last) return
  const isNew = last > day || day - last > FORGOTTEN_DAYS
  const seen = isNew ? 0 : days.seen[slot]!
  const weight = Math.max(WEIGHT_MIN, 1 / (seen + 1))
  for (const each of MEANS) {
    const mean = isNew ? 0 : days[each][slot]!
    days[each][slot] = mean + weight * (count[each] - mean)
  }
  days.seen[slot] = Math.min(seen + 1, DAYS_MAX)
  days.busy[slot] = Math.min((isNew ? 0 : days.busy[slot]!) + (count.requests > 0 ? 1 : 0), DAYS_MAX)
  days.last[slot] = day
}
