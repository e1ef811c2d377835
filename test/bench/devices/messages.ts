/** What the benchmark of devices and the process that plays them say to each other, over the channel of `fork`. */
import type { KnownDevice } from '../../fixtures/bridge-devices.ts'

export interface LoadInit {
  readonly port: number
  readonly devices: readonly KnownDevice[]
  /** How many of them ask, too, from the first. */
  readonly asking: number
}

/** Orders to it; each is answered by one report of that name. */
export type LoadOrder =
  | ({ readonly order: 'connect' } & LoadInit)
  /** Every device sends to who answers at the bare broker. */
  | { readonly order: 'bare'; readonly seconds: number }
  /** Every device says hello to the bridge. */
  | { readonly order: 'greet' }
  /** Every device tells a reading each second; each fifth time it sends to the bare broker as well. */
  | { readonly order: 'bridge'; readonly seconds: number }

export interface Figures {
  readonly sent: number
  /** Of those that were answered. */
  readonly ms: readonly number[]
}

export interface LoadReport {
  readonly order: LoadOrder['order']
  readonly bare: Figures
  readonly readings: Figures
  readonly asks: Figures
  /** To `accept`. */
  readonly acceptMs: readonly number[]
  /** Compact errors of questions that failed. */
  readonly failed: readonly number[]
  /** Readings that each device was told are recorded. */
  readonly acknowledged: Readonly<Record<string, number>>
}

/** Who answers there: what comes on `bench/ID/up` goes back on `bench/ID/down`. */
export const BARE_USER = 'bare'
export const BARE_RULES = [
  `pattern write bench/%u/up`,
  `pattern read bench/%u/down`,
  `user ${BARE_USER}`,
  'topic read bench/+/up',
  'topic write bench/+/down',
]
