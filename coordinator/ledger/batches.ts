/**
 * What can happen to files and batches, in the past tense; `coordinator/batches` makes of it what they are. What is in a file
 * is no event: it is a blob in the data directory, beside the ledger. Times are wall-clock ms since 1970.
 */
import type { KeyGrant } from './access.ts'

export const BATCH_ENDPOINTS = ['/v1/chat/completions', '/v1/completions', '/v1/embeddings', '/v1/responses'] as const
export type BatchEndpoint = (typeof BATCH_ENDPOINTS)[number]

/** `batch`: what a client uploaded · `batch_output`: what a batch made. */
export type FilePurpose = 'batch' | 'batch_output'

/** Something that is wrong with a line of the input, or with all of it. */
export interface BatchProblem {
  readonly code: string
  readonly message: string
  readonly param?: string
  /** From 1; absent of what concerns no line. */
  readonly line?: number
}

export interface BatchCounts {
  readonly total: number
  readonly completed: number
  readonly failed: number
}

/** Tokens of all answers of a batch. */
export interface BatchTokens {
  readonly inputTokens: number
  readonly cachedTokens: number
  readonly outputTokens: number
  readonly thoughtTokens: number
}

export type BatchEvent =
  | {
      readonly type: 'file.added'
      readonly atMs: number
      /** `file-` and 24 base32 characters; also the name of its blob. */
      readonly id: string
      readonly tenant: string
      /** As its client called it. */
      readonly name: string
      readonly purpose: FilePurpose
      readonly bytes: number
      readonly expiresAtMs: number
    }
  | { readonly type: 'file.deleted'; readonly atMs: number; readonly id: string }
  | {
      readonly type: 'batch.created'
      readonly atMs: number
      /** `batch_` and 24 base32 characters. */
      readonly id: string
      readonly tenant: string
      /** What its maker might do then: for a maker that has no key whose present grant could be looked up. */
      readonly grant: KeyGrant
      readonly endpoint: BatchEndpoint
      readonly inputFileId: string
      /** As the client wrote it: `24h`. */
      readonly window: string
      readonly expiresAtMs: number
      readonly metadata?: Readonly<Record<string, string>>
      /** Where its results are written from the start; they become files when it ends. */
      readonly outputFileId: string
      readonly errorFileId: string
      /** How long those files are kept. */
      readonly outputRetentionMs: number
    }
  /** Its input can be read; its lines are asked from now on. */
  | {
      readonly type: 'batch.begun'
      readonly atMs: number
      readonly id: string
      readonly total: number
      /** Of its lines, as far as they were known when it began: for these it waits when no node has them. */
      readonly models: readonly string[]
      /** The one that all lines name. */
      readonly model?: string
    }
  /** Its input cannot be used; nothing was asked. */
  | {
      readonly type: 'batch.failed'
      readonly atMs: number
      readonly id: string
      readonly problems: readonly BatchProblem[]
    }
  /** Its owner wants no more of it. */
  | { readonly type: 'batch.cancelling'; readonly atMs: number; readonly id: string }
  /** Every line has its result; files are being closed. */
  | { readonly type: 'batch.finalizing'; readonly atMs: number; readonly id: string }
  | {
      readonly type: 'batch.ended'
      readonly atMs: number
      readonly id: string
      readonly status: 'completed' | 'expired' | 'cancelled'
      readonly counts: BatchCounts
      readonly tokens: BatchTokens
      /** Which of its two files are there: an empty one is none. */
      readonly hasOutput: boolean
      readonly hasErrors: boolean
    }

export type BatchEventOf<T extends BatchEvent['type']> = Extract<BatchEvent, { type: T }>
