/**
 * What was used since midnight, in a file that outlives the process. Written every few seconds while something is used: a
 * process that is killed may give its owner's quota back what it used since then, and no more.
 */
import { Type } from 'typebox'
import { checker } from '../../mesh/protocol/index.ts'
import type { Logger } from '../../mesh/runtime/index.ts'
import { KeptTable } from '../capability/index.ts'
import type { Usage } from './conditions.ts'

export const USAGE_FILE = 'usage.json'

const amount = () => Type.Number({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
const isUsage = checker(Type.Object({ requests: amount(), tokens: amount(), wattHours: amount() }))
const UNUSED: Usage = { requests: 0, tokens: 0, wattHours: 0 }
/** Days that are kept: today, and some that people may want to see. */
const DAYS_MAX = 8

export class DailyUsage {
  readonly #kept: KeptTable<Usage>
  #day = ''
  #today: Usage = UNUSED
  #isDirty = false

  private constructor(kept: KeptTable<Usage>) {
    this.#kept = kept
  }

  /** Does not throw: a damaged file begins anew, and is logged. */
  static async open(path: string, log: Logger): Promise<DailyUsage> {
    return new DailyUsage(await KeptTable.open({ path, isEntry: isUsage, entriesMax: DAYS_MAX }, log))
  }

  /** @param date of today, such as `2026-11-21`. Another day than before begins with what was used on it. */
  on(date: string): Usage {
    if (date !== this.#day) {
      this.save()
      this.#day = date
      this.#today = this.#kept.get(date) ?? UNUSED
    }
    return this.#today
  }

  /** Before the first `on` nothing is counted. */
  add({ requests = 0, tokens = 0, wattHours = 0 }: Partial<Usage>): void {
    const { requests: r, tokens: t, wattHours: w } = this.#today
    this.#today = { requests: r + requests, tokens: t + tokens, wattHours: w + wattHours }
    this.#isDirty = true
  }

  /** Writes what changed; `settled` waits for it. */
  save(): void {
    if (!this.#isDirty || this.#day === '') return
    this.#isDirty = false
    void this.#kept.put(this.#day, this.#today)
  }

  settled(): Promise<void> {
    return this.#kept.settled()
  }
}
