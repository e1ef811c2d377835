/** What can go wrong with a request, as classes and codes; `docs/ERRORS.md` lists the codes that a coordinator sends. */
import type { ChatAnswer } from './answers.ts'

export interface SkeinApiErrorInit {
  readonly code: string
  readonly status?: number | undefined
  readonly param?: string | undefined
  readonly requestId?: string | undefined
  readonly retryAfterMs?: number | undefined
  readonly cause?: unknown
}

/** A coordinator refused a request, or an answer ended with an error. */
export class SkeinApiError extends Error {
  override readonly name: string = 'SkeinApiError'
  /** Such as `saturated` or `model_not_found`. */
  readonly code: string
  /** Of HTTP; absent when the error came in the middle of a stream, or nobody answered. */
  readonly status: number | undefined
  /** The member of the request that is at fault. */
  readonly param: string | undefined
  readonly requestId: string | undefined
  /** What the coordinator asked to be waited for, in ms. */
  readonly retryAfterMs: number | undefined

  constructor(message: string, { code, status, param, requestId, retryAfterMs, cause }: SkeinApiErrorInit) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.status = status
    this.param = param
    this.requestId = requestId
    this.retryAfterMs = retryAfterMs
  }
}

/** No coordinator could be reached, or none answered in time. */
export class UnreachableError extends SkeinApiError {
  override readonly name = 'UnreachableError'

  constructor(message: string, cause?: unknown) {
    super(message, { code: 'unreachable', cause })
  }
}

/** The answer was cut off by its limit of tokens; `partial` is what there is of it. */
export class TruncatedError extends SkeinApiError {
  override readonly name = 'TruncatedError'
  readonly partial: ChatAnswer

  constructor(partial: ChatAnswer) {
    super('the answer was cut off at its limit of tokens; give it more with maxTokens, or allowTruncated', {
      code: 'truncated',
    })
    this.partial = partial
  }
}

/** What came behind a break does not go on where the answer was: it has to be asked again from its start. */
export class DivergedError extends SkeinApiError {
  override readonly name = 'DivergedError'

  constructor(message: string, cause?: unknown) {
    super(message, { code: 'answer_diverged', cause })
  }
}

/** A coordinator sent what is not in its own API. */
export class ProtocolError extends SkeinApiError {
  override readonly name = 'ProtocolError'

  constructor(message: string, cause?: unknown) {
    super(message, { code: 'protocol', cause })
  }
}
