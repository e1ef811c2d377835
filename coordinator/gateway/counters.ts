import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ErrorCode } from '../../mesh/protocol/index.ts'

/** Answers of one kind. */
export interface AnswerCount {
  readonly method: string
  /** As it is registered; `none` where there is no such address. */
  readonly route: string
  /** `2xx` to `5xx`; `left` when the client was gone before it had begun. */
  readonly status: string
  count: number
}

/** What the gateway counts since its start. Plain numbers: who publishes them reads them. */
export interface GatewayCounters {
  /** Requests of every kind, refused ones included. */
  requests: number
  /** Tasks given to the mesh. */
  tasks: number
  /** Clients that hung up before their answer was whole. */
  clientsClosed: number
  /** Clients that were cut because they did not read. */
  clientsStalled: number
  /** Bytes that are no HTTP, headers over the limit, and requests that took too long to arrive. */
  protocolErrors: number
  /** Connections over `connectionsMax`, closed at once. */
  connectionsRefused: number
  /** Clients that were cut because they did not read the events. */
  eventClientsCut: number
  /** Answers by method, route and status: as many kinds as there are routes. */
  readonly answers: Map<string, AnswerCount>
  /** Errors that were answered with, by code. */
  readonly refusals: Map<ErrorCode, number>
}

export const createCounters = (): GatewayCounters => ({
  requests: 0,
  tasks: 0,
  clientsClosed: 0,
  clientsStalled: 0,
  protocolErrors: 0,
  connectionsRefused: 0,
  eventClientsCut: 0,
  answers: new Map(),
  refusals: new Map(),
})

/** Methods that a client may make up are one. */
const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/** Counts the answer to `request`, at its end. */
export function countAnswer({ answers }: GatewayCounters, request: FastifyRequest, { raw }: FastifyReply): void {
  const method = METHODS.has(request.method) ? request.method : 'other'
  const route = (request.is404 ? undefined : request.routeOptions.url) ?? 'none'
  const status = raw.headersSent ? `${Math.floor(raw.statusCode / 100)}xx` : 'left'
  const kind = `${method} ${route} ${status}`
  const known = answers.get(kind)
  if (known) known.count++
  else answers.set(kind, { method, route, status, count: 1 })
}

export const countRefusal = ({ refusals }: GatewayCounters, code: ErrorCode): void =>
  void refusals.set(code, (refusals.get(code) ?? 0) + 1)
