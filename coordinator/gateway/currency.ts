/** Amounts of money, and what an answer of the cloud says of itself. */
import type { Receipt } from '../admission/index.ts'

/** Micro-units as a decimal number of units: `0.000012`. */
export const currencyOf = (micros: number): string => (micros / 1e6).toFixed(6)

/** The member `skein` of an answer that left the owner's nodes; nothing of any other. */
export const skeinBody = (receipt: Receipt | undefined): { readonly skein?: object } =>
  receipt ? { skein: { route: 'cloud', reason: receipt.reason, cost: receipt.costMicros / 1e6 } } : {}
