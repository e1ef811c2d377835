/** What came of rules that did not act, gathered so that a rule which is held back at each reading costs a write a second. */
import { LIMITS, type RuleOutcome, type RuleReport } from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock } from '../../mesh/runtime/index.ts'
import type { Tally } from '../ports/index.ts'

export interface OutcomesComponents {
  readonly clock: Clock
  readonly tally: Tally
  /** Resolves when they are durable. */
  readonly tell: (reports: readonly RuleReport[]) => Promise<void>
}

const GATHER_MS = 1000

export class RuleOutcomes {
  readonly #parts: OutcomesComponents
  readonly #gathered = new Map<string, RuleReport>()
  #cancel: CancelTimer | undefined

  constructor(components: OutcomesComponents) {
    this.#parts = components
  }

  count(rule: string, device: string, outcome: RuleOutcome): void {
    const { clock, tally } = this.#parts
    tally.count(`rule_${outcome}`)
    const key = `${rule} ${device} ${outcome}`
    const times = (this.#gathered.get(key)?.times ?? 0) + 1
    if (times === 1 && this.#gathered.size >= LIMITS.bridgeReportRulesMax) return tally.count('rule_not_told')
    this.#gathered.set(key, { rule, device, outcome, times, atMs: clock.wallMs() })
    this.#cancel ??= clock.timer(GATHER_MS, () => void this.flush())
  }

  /** Tells what was gathered. Does not throw. */
  async flush(): Promise<void> {
    this.#cancel?.()
    this.#cancel = undefined
    if (this.#gathered.size === 0) return
    const reports = [...this.#gathered.values()]
    this.#gathered.clear()
    await this.#parts.tell(reports).catch(() => this.#parts.tally.count('rule_not_told', reports.length))
  }
}
