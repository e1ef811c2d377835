/**
 * Issues capability records: numbered, dated and signed. The sequence never falls, not across restarts and not when the
 * wall clock is set back: readers take a lower one for a stale record and refuse it.
 */
import { Type } from 'typebox'
import {
  checker,
  LIMITS,
  parseCapabilityRecord,
  type CapabilityRecord,
  type Signed,
} from '../../mesh/protocol/index.ts'
import type { Clock, Logger } from '../../mesh/runtime/index.ts'
import { KeptTable } from './kept-table.ts'

const SEQUENCE_KEY = 'sequence'

/** What the node says of itself; number, dates and signature come from the issuer. */
export type CapabilityContent = Omit<CapabilityRecord, 'sequence' | 'issuedAtMs' | 'expiresAtMs'>

export interface IssuedRecord {
  readonly record: CapabilityRecord
  readonly signed: Signed
}

export interface RecordIssuerComponents {
  readonly clock: Clock
  readonly log: Logger
  /** Signs as this peer, under the domain `capability`. */
  readonly sign: (record: CapabilityRecord) => Promise<Signed>
}

export class RecordIssuer {
  readonly #components: RecordIssuerComponents
  readonly #kept: KeptTable<number>

  private constructor(components: RecordIssuerComponents, kept: KeptTable<number>) {
    this.#components = components
    this.#kept = kept
  }

  /** @param path file that keeps the last sequence. */
  static async open(components: RecordIssuerComponents, path: string): Promise<RecordIssuer> {
    const isEntry = checker(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER - 1 }))
    return new RecordIssuer(components, await KeptTable.open({ path, isEntry, entriesMax: 1 }, components.log))
  }

  /** Resolves when the last sequence is on the disk. */
  settled(): Promise<void> {
    return this.#kept.settled()
  }

  /**
   * The next record. Models that do not fit into `capabilityRecordBytesMax` are left out, the last ones first.
   *
   * @throws SkeinError FRAME_MALFORMED when `content` breaks the schema: every reader would refuse it.
   */
  async issue(content: CapabilityContent): Promise<IssuedRecord> {
    const { clock, log, sign } = this.#components
    const issuedAtMs = clock.wallMs()
    const sequence = Math.max((this.#kept.get(SEQUENCE_KEY) ?? 0) + 1, Math.floor(issuedAtMs))
    // Not awaited: a slow disk must not delay the announcement, and after a crash the wall clock is ahead again.
    void this.#kept.put(SEQUENCE_KEY, sequence)
    const dates = { issuedAtMs: Math.floor(issuedAtMs), expiresAtMs: expiry(issuedAtMs) }
    let models = content.models.slice(0, LIMITS.modelsPerNodeMax)
    for (;;) {
      const record = parseCapabilityRecord({ ...content, models, sequence, ...dates })
      const signed = await sign(record)
      const { length } = signed.payload
      if (length <= LIMITS.capabilityRecordBytesMax || models.length === 0) return { record, signed }
      const kept = Math.floor((models.length * LIMITS.capabilityRecordBytesMax) / length)
      log.warn({ models: models.length, kept }, 'too many models for one capability record; the rest is not announced')
      models = models.slice(0, Math.min(kept, models.length - 1))
    }
  }
}

const expiry = (issuedAtMs: number): number => Math.floor(issuedAtMs) + LIMITS.capabilityValidityMs
