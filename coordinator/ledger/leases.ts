/**
 * What can happen to a lease, in the past tense: the record of one launch of a machine, made before the launch, so that no
 * machine is ever there that the ledger knows nothing of. A lease is what `coordinator/cloud` makes of its events. Times
 * are wall-clock ms since 1970; amounts are whole millionths of the owner's currency.
 */
import type { NodeName } from './events.ts'

/** What the provider said of the machine's price and time, before it was ordered. */
export interface LeaseQuote {
  readonly microsPerHour: number
  readonly billedStepMs: number
  readonly billedLeastMs: number
  readonly readyMs: number
  readonly isSpot: boolean
}

export type LeaseEvent =
  /** It is about to be launched, and `paidMicros` are set aside for it. */
  | {
      readonly type: 'lease.ordered'
      readonly atMs: number
      /** Of the lease, and the token of the launch. */
      readonly id: string
      readonly pool: string
      readonly provider: string
      readonly flavour: string
      /** Of the machine and of its node. */
      readonly name: string
      readonly serves: readonly string[]
      /** In the user data; kept because a launch that is made again must be the same to the byte. Of use once, and not for long. */
      readonly invite: string
      readonly aloneMinutes: number
      readonly why: string
      readonly quote: LeaseQuote
      readonly paidMicros: number
    }
  | { readonly type: 'lease.launched'; readonly atMs: number; readonly id: string; readonly machineId: string }
  | { readonly type: 'lease.ready'; readonly atMs: number; readonly id: string; readonly node: NodeName }
  /** So much more is set aside for it. */
  | { readonly type: 'lease.extended'; readonly atMs: number; readonly id: string; readonly paidMicros: number }
  /** It is not wanted any more: its machine is drained and ended. */
  | { readonly type: 'lease.released'; readonly atMs: number; readonly id: string; readonly why: string }
  /** There is no machine of it, and never will be. `costMicros` is not above what was set aside. */
  | { readonly type: 'lease.ended'; readonly atMs: number; readonly id: string; readonly costMicros: number }
