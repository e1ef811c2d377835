/**
 * Messages of the Model Context Protocol: JSON-RPC 2.0 in bodies of their own, whose head is repeated in HTTP headers. Two
 * eras of it are spoken. The one that holds since 2026-07-28 has no sessions, and every request says its version; before it,
 * a client began with `initialize`.
 */
import { Type, type Static } from 'typebox'
import { PROTOCOL_VERSION, type ErrorCode, type SkeinError } from '../../mesh/protocol/index.ts'
import type { ErrorForm } from './error-form.ts'
import { errorHeaders, publicMessage } from './openai-errors.ts'
import type { RequestHeaders } from './request-options.ts'

export const MODERN_VERSION = '2026-07-28'
/** The newest first: it is offered to whoever asks for one that is not here. */
export const LEGACY_VERSIONS: readonly string[] = ['2025-11-25', '2025-06-18']
export const MCP_VERSIONS: readonly string[] = [MODERN_VERSION, ...LEGACY_VERSIONS]

const META = 'io.modelcontextprotocol/'

const IdSchema = Type.Union([Type.String({ maxLength: 256 }), Type.Integer()])
export type RpcId = Static<typeof IdSchema>

/** A request, or without `id` a notification. */
export const RpcMessageSchema = Type.Object(
  {
    jsonrpc: Type.Literal('2.0'),
    id: Type.Optional(IdSchema),
    method: Type.String({ minLength: 1, maxLength: 128 }),
    params: Type.Optional(Type.Object({ _meta: Type.Optional(Type.Object({})) })),
  },
  { title: 'McpMessage' },
)
export type RpcMessage = Static<typeof RpcMessageSchema>

/** Codes of JSON-RPC, and those that the protocol adds. */
export const RPC = {
  parse: -32700,
  invalidRequest: -32600,
  methodNotFound: -32601,
  invalidParams: -32602,
  internal: -32603,
  headerMismatch: -32020,
  unsupportedVersion: -32022,
} as const

/** Why a message is not answered with a result. */
export interface RpcFailure {
  readonly status: number
  readonly code: number
  readonly message: string
  readonly data?: object
}

export const RpcErrorSchema = Type.Object(
  {
    jsonrpc: Type.Literal('2.0'),
    id: Type.Optional(IdSchema),
    error: Type.Object({ code: Type.Integer(), message: Type.String(), data: Type.Optional(Type.Unknown()) }),
  },
  { title: 'McpError' },
)

export const RpcAnswerSchema = Type.Union(
  [Type.Object({ jsonrpc: Type.Literal('2.0'), id: IdSchema, result: Type.Object({}) }), RpcErrorSchema],
  { title: 'McpAnswer' },
)

/** What a stream holds: progress, and at its end the answer. */
export const RpcEventSchema = Type.Union(
  [
    Type.Object({
      jsonrpc: Type.Literal('2.0'),
      method: Type.String(),
      params: Type.Optional(Type.Object({})),
    }),
    RpcAnswerSchema,
  ],
  { title: 'McpEvent' },
)

export const resultBody = (id: RpcId, result: object): object => ({ jsonrpc: '2.0', id, result })

export const failureBody = ({ code, message, data }: RpcFailure, id?: RpcId): object => ({
  jsonrpc: '2.0',
  ...(id !== undefined && { id }),
  error: { code, message, ...(data && { data }) },
})

/** An error of ours in the words of JSON-RPC; what it has no code for bears the HTTP status, which is none of its own. */
export function failureOf(error: SkeinError, requestId: string, isParsed = true): RpcFailure {
  const { http } = error.row
  const codes: Readonly<Partial<Record<ErrorCode, number>>> = {
    INVALID_JSON: RPC.parse,
    INVALID_REQUEST: isParsed ? RPC.invalidParams : RPC.invalidRequest,
    INTERNAL: RPC.internal,
  }
  const data = { code: error.code.toLowerCase(), ...(error.param !== undefined && { param: error.param }) }
  return { status: http, code: codes[error.code] ?? http, message: publicMessage(error, requestId), data }
}

/** For what is refused before its message is read. */
export const MCP_ERRORS: ErrorForm = {
  body: (error, requestId) => failureBody(failureOf(error, requestId, false)),
  headers: errorHeaders,
  schema: RpcErrorSchema,
}

/** Says who answers, in the `_meta` of every result. */
export const SERVER_INFO = { name: 'skein', title: 'Skein', version: String(PROTOCOL_VERSION) }
export const SERVER_META = { [`${META}serverInfo`]: SERVER_INFO }

/** The id of the request that a stream of notifications belongs to. */
export const subscriptionMeta = (id: RpcId): object => ({ [`${META}subscriptionId`]: id })

const metaOf = ({ params }: RpcMessage): Readonly<Record<string, unknown>> => ({ ...params?._meta })

/** Of whom progress is told; `undefined` when nobody asked for it. */
export function progressTokenOf(message: RpcMessage): RpcId | undefined {
  const { progressToken: token } = metaOf(message)
  return typeof token === 'string' || Number.isSafeInteger(token) ? (token as RpcId) : undefined
}

const header = (headers: RequestHeaders, name: string): string | undefined => {
  const value = headers[name]
  return typeof value === 'string' ? value : undefined
}

/** Whether a message says its version itself, or names one that could only do so. */
export function isModern(message: RpcMessage, headers: RequestHeaders): boolean {
  if (message.method === 'initialize') return false
  const said = metaOf(message)[`${META}protocolVersion`] ?? header(headers, 'mcp-protocol-version')
  return said !== undefined && !LEGACY_VERSIONS.includes(said as string)
}

const mismatch = (message: string): RpcFailure => ({ status: 400, code: RPC.headerMismatch, message })

/** Why a request of the modern era is not one; `undefined` when it is. */
export function modernFlaw(message: RpcMessage, headers: RequestHeaders): RpcFailure | undefined {
  const meta = metaOf(message)
  const requested = meta[`${META}protocolVersion`]
  if (typeof requested !== 'string')
    return { status: 400, code: RPC.invalidParams, message: `params._meta["${META}protocolVersion"] is required` }
  if (header(headers, 'mcp-protocol-version') !== requested)
    return mismatch('the header MCP-Protocol-Version does not match the version in params._meta')
  if (requested !== MODERN_VERSION) {
    const data = { supported: MCP_VERSIONS, requested: requested.slice(0, 64) }
    return { status: 400, code: RPC.unsupportedVersion, message: 'unsupported protocol version', data }
  }
  const capabilities = meta[`${META}clientCapabilities`]
  if (typeof capabilities !== 'object' || capabilities === null || Array.isArray(capabilities))
    return { status: 400, code: RPC.invalidParams, message: `params._meta["${META}clientCapabilities"] is required` }
  // a notification has no headers of its own
  if (message.id === undefined) return undefined
  if (header(headers, 'mcp-method') !== message.method)
    return mismatch('the header Mcp-Method does not match the method of the request')
  if (message.method !== 'tools/call') return undefined
  const { name } = message.params as { readonly name?: unknown }
  if (decoded(header(headers, 'mcp-name')) !== name)
    return mismatch('the header Mcp-Name does not match the name of the tool')
  return undefined
}

/** A header's value, which may be base64 in a wrapping of its own. */
function decoded(value: string | undefined): string | undefined {
  const inner = /^=\?base64\?([A-Za-z0-9+/]*={0,2})\?=$/.exec(value ?? '')?.[1]
  return inner === undefined ? value : Buffer.from(inner, 'base64').toString('utf8')
}
