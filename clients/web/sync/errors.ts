import { SkeinApiError } from '../../sdk/index.ts'

export type SyncErrorCode =
  /** `crypto.subtle` is missing: the page is neither of this machine nor under https. */
  | 'insecure'
  /** The code of the other device was not read or typed as it is. */
  | 'bad-code'
  /** Nobody answered. */
  | 'offline'
  /** The mailbox is full, or the coordinator has no room for another. */
  | 'full'
  /** The mailbox is not there, or the key of the page may not use it. */
  | 'refused'
  /** Another browser speaks with this device's name. */
  | 'conflict'
  /** Another device has left this one out. */
  | 'forgotten'
  /** The coordinator answered what is not in its API, or an entry is not sealed by this account. */
  | 'protocol'

/** Why this device does not agree with the others (yet). */
export class SyncError extends SkeinApiError {
  override readonly name = 'SyncError'
  declare readonly code: SyncErrorCode

  constructor(code: SyncErrorCode, message: string, init: { status?: number; cause?: unknown } = {}) {
    super(message, { code, ...init })
  }
}
