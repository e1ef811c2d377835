/** What a batch is, as a fold over its events. Pure. */
import type { BatchCounts, BatchEndpoint, BatchEvent, BatchProblem, BatchTokens, KeyGrant } from '../ledger/index.ts'

export type BatchStatus =
  'validating' | 'failed' | 'in_progress' | 'finalizing' | 'completed' | 'expired' | 'cancelling' | 'cancelled'

export interface Batch {
  readonly id: string
  readonly tenant: string
  readonly grant: KeyGrant
  readonly endpoint: BatchEndpoint
  readonly inputFileId: string
  readonly window: string
  readonly metadata?: Readonly<Record<string, string>>
  readonly outputFileId: string
  readonly errorFileId: string
  readonly outputRetentionMs: number
  readonly status: BatchStatus
  readonly createdAtMs: number
  readonly expiresAtMs: number
  readonly begunAtMs?: number
  readonly cancellingAtMs?: number
  readonly finalizingAtMs?: number
  /** Of its end, whatever that is. */
  readonly endedAtMs?: number
  readonly problems: readonly BatchProblem[]
  /** Models that were known when it began. */
  readonly models: readonly string[]
  readonly model?: string
  readonly counts: BatchCounts
  readonly tokens: BatchTokens
  /** Which of its files there are, once it has ended. */
  readonly hasOutput: boolean
  readonly hasErrors: boolean
}

export const NO_TOKENS: BatchTokens = { inputTokens: 0, cachedTokens: 0, outputTokens: 0, thoughtTokens: 0 }

const ENDED: ReadonlySet<BatchStatus> = new Set(['failed', 'completed', 'expired', 'cancelled'])

export const isEnded = ({ status }: Batch): boolean => ENDED.has(status)

/** The state after `event`; `undefined` before the first. An event that does not fit changes nothing. */
export function applyBatch(batch: Batch | undefined, event: BatchEvent): Batch | undefined {
  if (event.type === 'batch.created') {
    const { type: _type, atMs, ...made } = event
    const begin = { status: 'validating', createdAtMs: atMs, problems: [], models: [] } as const
    const counts = { total: 0, completed: 0, failed: 0 }
    return batch ?? { ...made, ...begin, counts, tokens: NO_TOKENS, hasOutput: false, hasErrors: false }
  }
  if (batch === undefined || isEnded(batch)) return batch
  const { atMs } = event
  switch (event.type) {
    case 'batch.begun': {
      const { models, model, total } = event
      const status = batch.status === 'validating' ? 'in_progress' : batch.status
      const counts = { ...batch.counts, total }
      return { ...batch, status, begunAtMs: atMs, models, counts, ...(model !== undefined && { model }) }
    }
    case 'batch.failed':
      return { ...batch, status: 'failed', endedAtMs: atMs, problems: event.problems }
    case 'batch.cancelling':
      return batch.status === 'finalizing' ? batch : { ...batch, status: 'cancelling', cancellingAtMs: atMs }
    case 'batch.finalizing':
      return batch.status === 'in_progress' ? { ...batch, status: 'finalizing', finalizingAtMs: atMs } : batch
    case 'batch.ended': {
      const { status, counts, tokens, hasOutput, hasErrors } = event
      return { ...batch, status, endedAtMs: atMs, counts, tokens, hasOutput, hasErrors }
    }
    default:
      return batch
  }
}
