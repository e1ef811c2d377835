/**
 * What devices and the bridge say to each other: topics, messages, capabilities and compact errors, as values and as bytes.
 * Pure: no I/O, no timers. Everything that reads is total: what cannot be read is refused, and nothing is thrown.
 */
export * from './types.ts'
export * from './compact-errors.ts'
export * from './capability.ts'
export * from './topics.ts'
export * from './size.ts'
export { decodeMessage, encodeMessage, formatOf, kindOf, typeOf } from './codec.ts'
export { KINDS, type FieldRow, type KindRow } from './kinds.ts'
