import { SkeinApiError } from '../../sdk/index.ts'

export type StoreErrorCode =
  /** The chat or message is not (or no longer) there. */
  | 'not-found'
  /** Other contents are kept under the id. */
  | 'exists'
  /** Not of the form or the size that the store keeps. */
  | 'invalid'
  /** The browser gives no more room. */
  | 'full'
  /** Made by a newer version of the page: reload it. */
  | 'newer'
  /** The browser keeps nothing here, such as in some private windows. */
  | 'unavailable'
  | 'closed'

/** What the store refuses or cannot do. */
export class StoreError extends SkeinApiError {
  override readonly name = 'StoreError'
  declare readonly code: StoreErrorCode

  constructor(code: StoreErrorCode, message: string, cause?: unknown) {
    super(message, { code, cause })
  }
}
