/**
 * Errors as OpenAI's clients expect them: `{error: {message, type, param, code}}`, the code of our registry in lower
 * case, and the headers that tell a client whether to try again. Nothing else in this folder decides about a status.
 */
import { Type, type Static } from 'typebox'
import { SkeinError } from '../../mesh/protocol/index.ts'

export const ErrorBodySchema = Type.Object(
  {
    error: Type.Object({
      message: Type.String(),
      type: Type.String(),
      param: Type.Union([Type.String(), Type.Null()]),
      code: Type.String(),
    }),
  },
  { title: 'Error' },
)
export type ErrorBody = Static<typeof ErrorBodySchema>

/** OpenAI's `type` for an HTTP status. */
export function errorType(status: number): string {
  if (status === 401) return 'authentication_error'
  if (status === 403) return 'permission_error'
  if (status === 429) return 'rate_limit_error'
  return status < 500 ? 'invalid_request_error' : 'server_error'
}

/** A defect's message may quote what no client should see: it goes to the log, the client gets the request id. */
export function publicMessage(error: SkeinError, requestId: string): string {
  return error.code === 'INTERNAL' ? `an internal error; the log has its cause under ${requestId}` : error.message
}

export function errorBody(error: SkeinError, requestId: string): ErrorBody {
  return {
    error: {
      message: publicMessage(error, requestId),
      type: errorType(error.row.http),
      param: error.param ?? null,
      code: error.code.toLowerCase(),
    },
  }
}

/** `retry-after` in whole seconds (1 for a retryable 503 that names none), and what OpenAI's clients obey before it. */
export function errorHeaders(error: SkeinError): Record<string, string> {
  const { http, retryable } = error.row
  const headers: Record<string, string> = { 'x-should-retry': String(retryable) }
  const seconds = error.retryAfterSeconds ?? (retryable && http === 503 ? 1 : undefined)
  if (seconds !== undefined) headers['retry-after'] = String(Math.max(1, Math.ceil(seconds)))
  if (http === 401) headers['www-authenticate'] = 'Bearer'
  return headers
}

/** What a validator of JSON Schema reports about one place. */
interface SchemaFinding {
  readonly keyword: string
  readonly instancePath: string
  readonly params: Readonly<Record<string, unknown>>
  readonly message?: string
}

/** `/messages/0/content` as `messages[0].content`. */
function paramOf(pointer: string): string {
  return pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .map((part, index) => (/^\d+$/.test(part) ? `[${part}]` : index === 0 ? part : `.${part}`))
    .join('')
}

/** The finding that says most: a union reports all its branches, and the branch that was meant got deepest. */
function deepest(findings: readonly SchemaFinding[]): SchemaFinding | undefined {
  const depth = (finding: SchemaFinding): number => finding.instancePath.split('/').length
  const plain = findings.filter((finding) => finding.keyword !== 'anyOf')
  return plain.reduce<SchemaFinding | undefined>(
    (best, finding) => (best && depth(best) >= depth(finding) ? best : finding),
    undefined,
  )
}

/** INVALID_REQUEST for a body that does not fit its schema. */
export function schemaError(findings: readonly SchemaFinding[]): SkeinError {
  const finding = deepest(findings)
  if (!finding) return new SkeinError('INVALID_REQUEST', 'the request does not fit its schema')
  const { keyword, params, instancePath, message = 'is wrong' } = finding
  const missing = keyword === 'required' ? String(params['missingProperty']) : undefined
  const param = paramOf(missing === undefined ? instancePath : `${instancePath}/${missing}`)
  if (missing !== undefined) return new SkeinError('INVALID_REQUEST', `${param} is required`, { param })
  const allowed = Array.isArray(params['allowedValues']) ? `: ${params['allowedValues'].join(', ')}` : ''
  if (param === '') return new SkeinError('INVALID_REQUEST', `the body ${message}`)
  return new SkeinError('INVALID_REQUEST', `${param} ${message}${allowed}`, { param })
}
