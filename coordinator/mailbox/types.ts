/** What a mailbox is to who asks: numbers and sealed bytes. What is sealed in them, and by whom, nobody here can know. */
import type { ErrorCode } from '../../mesh/protocol/index.ts'

export interface MailboxState {
  /** Random, minted when the mailbox was made: another one means that all before is gone. */
  readonly generation: string
  /** Lowest index that is kept; one more than `last` when there is none. */
  readonly first: number
  /** Highest index that was ever given. */
  readonly last: number
  /** Of all entries that are kept, as they were sealed. */
  readonly bytes: number
}

/** What is appended. */
export interface NewEntry {
  readonly device: string
  /** Of that device: each is higher than the one before. */
  readonly seq: number
  readonly data: Uint8Array
}

export interface Entry extends NewEntry {
  readonly index: number
  /** When it came: wall clock in ms since 1970. */
  readonly atMs: number
}

export interface Appended {
  readonly index: number
  readonly last: number
  readonly bytes: number
  /** False where it was there before. */
  readonly isNew: boolean
}

export interface Page extends Omit<MailboxState, 'bytes'> {
  readonly entries: readonly Entry[]
}

/** Right to a mailbox, as the database has it: SHA-256 of the token. */
export interface Right {
  readonly mailbox: string
  readonly tokenHash: Uint8Array
}

export interface MailboxBounds {
  readonly mailboxesMax: number
  readonly mailboxBytesMax: number
  readonly entriesMax: number
  readonly devicesMax: number
  /** Over all mailboxes. */
  readonly bytesMax: number
  /** Of the entries of one answer, unless the first alone has more. */
  readonly pageBytesMax: number
}

/** What the database is asked, and what it answers. */
export interface Operations {
  make: {
    ask: Right & { readonly generation: string; readonly nowMs: number }
    answer: MailboxState & { isNew: boolean }
  }
  append: { ask: Right & { readonly entry: NewEntry; readonly nowMs: number }; answer: Appended }
  read: { ask: Right & { readonly after: number; readonly limit: number; readonly nowMs: number }; answer: Page }
  trim: { ask: Right & { readonly through: number; readonly nowMs: number }; answer: MailboxState }
  remove: { ask: Right; answer: null }
  /** Drops what nobody has used since. */
  sweep: { ask: { readonly unusedSinceMs: number }; answer: number }
  close: { ask: object; answer: null }
}
export type OperationName = keyof Operations
export type RequestOf<N extends OperationName> = { readonly id: number; readonly name: N } & Readonly<
  Operations[N]['ask']
>
export type Request = { [N in OperationName]: RequestOf<N> }[OperationName]

/** Why something could not be done; a SkeinError without its class. */
export interface Failure {
  readonly code: ErrorCode
  readonly message: string
}

export type Answer = { readonly id: number } & ({ readonly value: unknown } | { readonly failure: Failure })
export type FromWorker =
  | { readonly type: 'opened' }
  | { readonly type: 'failed'; readonly failure: Failure }
  | { readonly type: 'answer'; readonly answer: Answer }

export interface WorkerInit {
  readonly path: string
  readonly bounds: MailboxBounds
}
