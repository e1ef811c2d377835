/** How often tasks and work left for the cloud, by reason, and how often one was kept from it, by who kept it. For the metrics. */
import type { CloudReason } from '../../mesh/protocol/index.ts'

/** Where something was kept from the cloud: before it was let in, when it was planned, when that was committed, or by the node. */
export type LeaveGate = 'admission' | 'plan' | 'commit' | 'node'
/** `redaction`: what is to be taken out of it cannot be, or its answer says it. */
export type KeptFor = 'local-only' | 'policy' | 'redaction'

export interface LeaveStats {
  /** Attempts at cloud nodes, and parts of work that were sent to one. */
  readonly left: Readonly<Partial<Record<CloudReason, number>>>
  readonly kept: readonly { readonly gate: LeaveGate; readonly why: KeptFor; readonly count: number }[]
}

export class LeaveCounts {
  readonly #left = new Map<CloudReason, number>()
  readonly #kept = new Map<`${LeaveGate} ${KeptFor}`, number>()
  readonly #counted = new WeakMap<object, Set<string>>()

  left(reason: CloudReason): void {
    this.#left.set(reason, (this.#left.get(reason) ?? 0) + 1)
  }

  /** @param of what was kept: counted once for each gate and cause, however often it is looked at. */
  kept(gate: LeaveGate, why: KeptFor, of: object): void {
    const key = `${gate} ${why}` as const
    const counted = this.#counted.get(of) ?? new Set()
    if (counted.has(key)) return
    this.#counted.set(of, counted.add(key))
    this.#kept.set(key, (this.#kept.get(key) ?? 0) + 1)
  }

  stats(): LeaveStats {
    const kept = [...this.#kept].map(([key, count]) => {
      const [gate, why] = key.split(' ') as [LeaveGate, KeptFor]
      return { gate, why, count }
    })
    return { left: Object.fromEntries(this.#left), kept }
  }
}
