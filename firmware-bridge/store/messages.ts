/** What the database and its worker say to each other. */
import type { ErrorCode } from '../../mesh/protocol/index.ts'
import type { SchemaPart, SqlRow, Statement } from '../ports/index.ts'

export interface WorkerInit {
  readonly path: string
  readonly parts: readonly SchemaPart[]
  /** The file grows to this many bytes. */
  readonly bytesMax: number
}

export type Request =
  | { readonly id: number; readonly write: readonly Statement[] }
  | { readonly id: number; readonly read: Statement }
  | { readonly id: number; readonly close: true }

/** A SkeinError without its class: the worker loads nothing of the protocol. */
export interface Failure {
  readonly code: Extract<ErrorCode, 'DISK_FULL' | 'DATA_DIR_UNUSABLE' | 'INTERNAL'>
  readonly message: string
}

export interface Answer {
  readonly id: number
  readonly value?: number[] | SqlRow[]
  readonly failure?: Failure
}

export type FromWorker =
  | { readonly type: 'opened' }
  | { readonly type: 'failed'; readonly failure: Failure }
  | { readonly type: 'answers'; readonly answers: readonly Answer[] }
