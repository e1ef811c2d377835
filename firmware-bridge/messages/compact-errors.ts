/** Errors as one byte, for boards that have no room for words. The number is the place in the list, from 1. */
import type { ErrorCode } from '../../mesh/protocol/index.ts'

export const COMPACT_ERRORS = [
  'malformed',
  'too_large',
  'rate_limited',
  'quota',
  'no_model',
  'busy',
  'deadline',
  'not_permitted',
  'lost',
  'unknown_id',
  'expired',
  'offline',
  'unknown_capability',
  'out_of_range',
  'revoked',
  'say_hello',
  'storage_full',
  'duplicate_in_progress',
  'internal',
  'no_answer',
] as const
export type CompactError = (typeof COMPACT_ERRORS)[number]

export const compactNumber = (error: CompactError): number => COMPACT_ERRORS.indexOf(error) + 1

/** `undefined` for a number that has no error. */
export const compactOfNumber = (number: unknown): CompactError | undefined =>
  typeof number === 'number' ? COMPACT_ERRORS[number - 1] : undefined

/** What a device is told of an error of the mesh. Codes that are not here are `internal` to a board. */
const BY_CODE: Partial<Record<ErrorCode, CompactError>> = {
  INVALID_JSON: 'malformed',
  INVALID_REQUEST: 'malformed',
  UNSUPPORTED_PARAMETER: 'malformed',
  CONTEXT_LENGTH_EXCEEDED: 'too_large',
  BODY_TOO_LARGE: 'too_large',
  UNAUTHENTICATED: 'not_permitted',
  FORBIDDEN: 'not_permitted',
  MODEL_NOT_FOUND: 'no_model',
  IDEMPOTENCY_MISMATCH: 'duplicate_in_progress',
  ANSWER_DIVERGED: 'lost',
  BUDGET_EXCEEDED: 'quota',
  LOCAL_ONLY: 'no_model',
  REQUEST_TIMEOUT: 'deadline',
  CLIENT_STALLED: 'deadline',
  RATE_LIMITED: 'rate_limited',
  QUOTA_EXCEEDED: 'quota',
  NO_ELIGIBLE_NODE: 'busy',
  NO_NODE: 'no_model',
  SATURATED: 'busy',
  ATTEMPTS_EXHAUSTED: 'lost',
  TASK_EXPIRED: 'deadline',
  DEADLINE_UNREACHABLE: 'deadline',
  PREEMPTED: 'busy',
  COORDINATOR_RESTARTED: 'lost',
  LEDGER_UNAVAILABLE: 'storage_full',
  SHUTTING_DOWN: 'offline',
}

export const compactOfCode = (code: ErrorCode): CompactError => BY_CODE[code] ?? 'internal'

/** As which error of the mesh a device's compact error is told to clients. */
const TO_CODE: Record<CompactError, ErrorCode> = {
  malformed: 'INVALID_REQUEST',
  too_large: 'BODY_TOO_LARGE',
  rate_limited: 'RATE_LIMITED',
  quota: 'QUOTA_EXCEEDED',
  no_model: 'MODEL_NOT_FOUND',
  busy: 'SATURATED',
  deadline: 'TASK_EXPIRED',
  not_permitted: 'FORBIDDEN',
  lost: 'ATTEMPTS_EXHAUSTED',
  unknown_id: 'NOT_FOUND',
  expired: 'TASK_EXPIRED',
  offline: 'NO_NODE',
  unknown_capability: 'NOT_FOUND',
  out_of_range: 'INVALID_REQUEST',
  revoked: 'FORBIDDEN',
  say_hello: 'INVALID_REQUEST',
  storage_full: 'LEDGER_UNAVAILABLE',
  duplicate_in_progress: 'IDEMPOTENCY_MISMATCH',
  internal: 'INTERNAL',
  no_answer: 'ENGINE_FAILED',
}

export const codeOfCompact = (error: CompactError): ErrorCode => TO_CODE[error]
