/**
 * How warm the machine is and what it takes, for the load report. Looked at on its own time, whatever the owner's policy
 * asks; coordinators hear of it when it is another, and so of no trembling of a meter.
 */
import { CELSIUS_MAX, WATTS_MAX, type LoadReport } from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock } from '../../mesh/runtime/index.ts'
import type { Known, Sense, Senses } from '../policy/index.ts'

/** Between two looks, and so between two reports that this alone is the reason of. */
export const SENSES_MS = 10_000
/** Until the second look: of a counter of energy the first one tells nothing. */
const SECOND_MS = 1000
const WANTED: ReadonlySet<Sense> = new Set(['temperature', 'watts'])
/** Share of its value, at least 1 W, by which a power must be another. */
const WATTS_SHARE = 0.05

export type Sensed = Pick<LoadReport, 'temperatureCelsius' | 'watts'>

export class AgentSenses {
  readonly #clock: Clock
  readonly #senses: Senses
  readonly #onChange: () => void
  #sensed: Sensed = {}
  #hasLooked = false
  #isStopped = false
  #cancel: CancelTimer = () => {}

  /** @param onChange `sensed` is another now. */
  constructor(clock: Clock, senses: Senses, onChange: () => void) {
    this.#clock = clock
    this.#senses = senses
    this.#onChange = onChange
  }

  /** What is not known is absent. */
  get sensed(): Sensed {
    return this.#sensed
  }

  /** Looks now, and again and again. Does not throw. */
  async look(): Promise<void> {
    const { temperature, watts } = await this.#senses.read(WANTED)
    if (this.#isStopped) return
    const { temperatureCelsius: lastCelsius, watts: lastWatts } = this.#sensed
    const celsius = steady(temperature, lastCelsius, 1, CELSIUS_MAX)
    const taken = steady(watts, lastWatts, Math.max(1, (lastWatts ?? 0) * WATTS_SHARE), WATTS_MAX)
    if (celsius !== lastCelsius || taken !== lastWatts) {
      this.#sensed = {
        ...(celsius !== undefined && { temperatureCelsius: celsius }),
        ...(taken !== undefined && { watts: taken }),
      }
      this.#onChange()
    }
    this.#cancel = this.#clock.timer(this.#hasLooked ? SENSES_MS : SECOND_MS, () => void this.look())
    this.#hasLooked = true
  }

  stop(): void {
    this.#isStopped = true
    this.#cancel()
  }
}

/** `value` as a whole number; `last` while it is less than `step` away from that; nothing for what is beyond all bounds. */
function steady(value: Known<number>, last: number | undefined, step: number, max: number): number | undefined {
  if (value === 'unknown' || !(value >= 0 && value <= max)) return undefined
  return last !== undefined && Math.abs(value - last) < step ? last : Math.round(value)
}
