/** How entries of the outbox become parts, each within the bounds of one report. */
import {
  LIMITS,
  type CallResult,
  type DeviceDescriptor,
  type DeviceStateReport,
  type Reading,
  type RuleReport,
} from '../../mesh/protocol/index.ts'
import type { OutboxPart } from '../ports/index.ts'

export type OutboxEntry =
  | { readonly kind: 'device'; readonly payload: DeviceDescriptor }
  | { readonly kind: 'gone'; readonly payload: string }
  | { readonly kind: 'state'; readonly payload: DeviceStateReport }
  | { readonly kind: 'readings'; readonly payload: readonly Reading[] }
  | { readonly kind: 'result'; readonly payload: CallResult }
  | { readonly kind: 'rules'; readonly payload: readonly RuleReport[] }

/** Of the entries in a report; the rest of its bytes is around them. */
const BYTES_MAX = LIMITS.bridgeReportBytesMax - 64 * 1024

/** Counts what a part would have, until it is full. */
export class PartBounds {
  #bytes = 0
  #devices = 0
  #gone = 0
  #states = 0
  #readings = 0
  #results = 0
  #rules = 0

  /** False when `entry`, of `bytes` as JSON, belongs into the next part. */
  take(entry: OutboxEntry, bytes: number): boolean {
    if (this.#bytes > 0 && this.#bytes + bytes > BYTES_MAX) return false
    this.#bytes += bytes
    switch (entry.kind) {
      case 'device':
        return ++this.#devices <= LIMITS.bridgeReportDevicesMax
      case 'gone':
        return ++this.#gone <= LIMITS.bridgeReportDevicesMax
      case 'state':
        return ++this.#states <= LIMITS.bridgeReportReadingsMax
      case 'readings':
        return (this.#readings += entry.payload.length) <= LIMITS.bridgeReportReadingsMax
      case 'result':
        return ++this.#results <= LIMITS.bridgeReportResultsMax
      case 'rules':
        return (this.#rules += entry.payload.length) <= LIMITS.bridgeReportRulesMax
    }
  }
}

/**
 * The part that `entries` make, in their order. A device that is gone and added again stays known, and the other way
 * round: a report says what is gone beside what is described, so the later one of the two is told alone.
 */
export function partOf(seq: number, entries: readonly OutboxEntry[]): OutboxPart {
  const devices = new Map<string, DeviceDescriptor>()
  const gone = new Set<string>()
  const states: DeviceStateReport[] = []
  const readings: Reading[] = []
  const results: CallResult[] = []
  const rules: RuleReport[] = []
  for (const entry of entries) {
    switch (entry.kind) {
      case 'device':
        devices.set(entry.payload.id, entry.payload)
        gone.delete(entry.payload.id)
        break
      case 'gone':
        gone.add(entry.payload)
        devices.delete(entry.payload)
        break
      case 'state':
        states.push(entry.payload)
        break
      case 'readings':
        readings.push(...entry.payload)
        break
      case 'result':
        results.push(entry.payload)
        break
      case 'rules':
        rules.push(...entry.payload)
    }
  }
  const always = { seq, devices: [...devices.values()], gone: [...gone], states, readings, results }
  return { ...always, ...(rules.length > 0 && { rules }) }
}
