/**
 * Errors as Anthropic's clients expect them: `{type: "error", error: {type, message}, request_id}`. The code of our registry
 * stands where those clients look for a code of their own. The status is that of every other API, also where Anthropic has
 * 529 for an overload: 503 is what proxies know, and what `retry-after` belongs to.
 */
import { Type } from 'typebox'
import type { SkeinError } from '../../mesh/protocol/index.ts'
import type { ErrorForm } from './error-form.ts'
import { errorHeaders, publicMessage } from './openai-errors.ts'
import type { RequestHeaders } from './request-options.ts'
import { sseEvent } from './sse.ts'

const TYPES: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  402: 'billing_error',
  403: 'permission_error',
  404: 'not_found_error',
  408: 'timeout_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  503: 'overloaded_error',
  504: 'timeout_error',
}

/** Anthropic's `type` for an HTTP status. */
export const errorType = (status: number): string =>
  TYPES[status] ?? (status < 500 ? 'invalid_request_error' : 'api_error')

/** By this its clients know that they have to send the whole conversation. */
const NO_THREADS = { error_code: 'thread_unsupported_request', unsupported: ['thread'] }

function detailsOf({ code, param }: SkeinError): object {
  if (code === 'UNSUPPORTED_PARAMETER' && param === 'thread') return NO_THREADS
  return { error_code: code.toLowerCase(), ...(param !== undefined && { param }) }
}

function errorBody(error: SkeinError, requestId: string): object {
  return {
    type: 'error',
    error: { type: errorType(error.row.http), message: publicMessage(error, requestId), details: detailsOf(error) },
    request_id: requestId,
  }
}

/** Where Anthropic's clients look for the id of a request, on every answer. */
export const requestIdHeader = (requestId: string): Record<string, string> => ({ 'request-id': requestId })

export const AnthropicErrorSchema = Type.Object(
  {
    type: Type.Literal('error'),
    error: Type.Object({
      type: Type.String(),
      message: Type.String(),
      details: Type.Object({
        error_code: Type.String(),
        param: Type.Optional(Type.String()),
        unsupported: Type.Optional(Type.Array(Type.String())),
      }),
    }),
    request_id: Type.String(),
  },
  { title: 'AnthropicError' },
)

export const ANTHROPIC_ERRORS: ErrorForm = {
  body: errorBody,
  schema: AnthropicErrorSchema,
  headers: (error, requestId) => ({ ...errorHeaders(error), ...requestIdHeader(requestId) }),
}

/** The end of a stream that broke. */
export const errorEvent = (error: SkeinError, requestId: string): string =>
  sseEvent('error', JSON.stringify(errorBody(error, requestId)))

/** Its clients name a version with every request; which one changes nothing. */
export const speaksAnthropic = (headers: RequestHeaders): boolean => headers['anthropic-version'] !== undefined
