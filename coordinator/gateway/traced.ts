/**
 * Traces of requests that make something (https://www.w3.org/TR/trace-context/). A client's `traceparent` is gone on with,
 * whether spans are sent anywhere or not; who sends them is behind a port.
 */
import type { FastifyRequest } from 'fastify'
import { readTraceparent, type ErrorCode, type RequestId, type TraceContext } from '../../mesh/protocol/index.ts'
import type { TaskTrace } from '../admission/index.ts'
import { countsAsRequest, routeClassOf } from './callers.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Of one that makes something and belongs to a trace. */
    trace?: RequestTrace
  }
}

export interface RequestTrace {
  /** For what is made of the request, and for its client. */
  readonly task: TaskTrace
  /** It was answered with an error. */
  failed(code: ErrorCode): void
  /** Its client has the answer, or is gone; `status` of an answer that had begun. */
  ended(answer: { readonly status?: number; readonly taskId?: string }): void
}

export interface TracedRequest {
  readonly requestId: RequestId
  readonly method: string
  /** As it is registered. */
  readonly route: string
  /** The client's span. */
  readonly parent?: TraceContext
  /** Of no interest when nothing comes of it. */
  readonly isQuiet: boolean
}

/** Makes spans of requests. */
export interface RequestTraces {
  begin(request: TracedRequest): RequestTrace
}

/** The trace of `request`; `undefined` where there is none. */
export function traceOf(traces: RequestTraces | undefined, request: FastifyRequest): RequestTrace | undefined {
  const { method, is404, headers } = request
  const { url: route = '' } = request.routeOptions
  const isMcp = method === 'POST' && route === '/mcp'
  if (is404 || (!isMcp && !countsAsRequest(method, route, routeClassOf(method, route)))) return undefined
  const { traceparent } = headers
  const parent = typeof traceparent === 'string' ? readTraceparent(traceparent) : undefined
  if (traces) {
    const requestId = request.id as RequestId
    return traces.begin({ requestId, method, route, ...(parent && { parent }), isQuiet: isMcp })
  }
  return parent && forwarded(traceparent as string)
}

/** The client's context as it came: nodes and servers behind them are told of it, and nothing is sent to a collector. */
function forwarded(context: string): RequestTrace {
  // of a later version, only what version 00 has is passed on
  const traceparent = `00-${context.slice(3, 53)}${Number.parseInt(context.slice(53, 55), 16) & 1 ? '01' : '00'}`
  return { task: { traceparent, isOwn: false }, failed: () => undefined, ended: () => undefined }
}
