/**
 * The HTTP server with everything that holds for every route: ids, guards, strict bodies, errors in one shape, and answers
 * on the raw socket to what never became a request.
 */
import Fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { STATUS_CODES, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { LIMITS, mintId, PROTOCOL_VERSION, SKEIN_HEADER, SkeinError, traceIdOf } from '../../mesh/protocol/index.ts'
import type { Page } from '../../mesh/page/index.ts'
import type { Random } from '../../mesh/runtime/index.ts'
import type { Access } from '../access/index.ts'
import type { Batches } from '../batches/index.ts'
import { accessRoutes } from './access-routes.ts'
import { budgetRoutes } from './budget-routes.ts'
import { anthropicRoutes } from './anthropic-routes.ts'
import type { OpenLines } from './batch-lines.ts'
import { batchesRoutes } from './batches-routes.ts'
import { boundBodies } from './body-time.ts'
import { cacheRoutes } from './cache-routes.ts'
import { challengeOf, letIn } from './callers.ts'
import { cloudRoutes, type LeaseDesk } from './cloud-routes.ts'
import { untilTaken } from './client-writer.ts'
import { countAnswer, countRefusal } from './counters.ts'
import type { Devices } from '../devices/index.ts'
import type { Mailboxes } from '../mailbox/index.ts'
import { bridgeRoutes } from './device-bridge-routes.ts'
import { deviceRoutes } from './device-routes.ts'
import { deviceTaskRoutes } from './device-task-routes.ts'
import { docsRoutes } from './docs-routes.ts'
import { errorFormOf } from './error-form.ts'
import { filesRoutes } from './files-routes.ts'
import { eventRoutes, type EventComponents } from './event-routes.ts'
import { checkNotUpstream, checkSameSite, isLoopback } from './guards.ts'
import { checkBodyEncoding, parseJsonBody } from './json-body.ts'
import { DISCARD_BYTES_MAX, PATH_SEGMENT_MAX } from './limits.ts'
import { mcpRoutes } from './mcp-routes.ts'
import type { McpSessions } from './mcp-sessions.ts'
import { meshRoutes, taskRoutes } from './mesh-routes.ts'
import { pairingRoutes } from './pairing-routes.ts'
import { metricsRoutes, type GatewayMetrics } from './metrics-routes.ts'
import type { OpenPulls } from './ollama-pulls.ts'
import { ollamaRoutes } from './ollama-routes.ts'
import { errorBody, schemaError } from './openai-errors.ts'
import { OperationTable } from './openapi.ts'
import { responsesRoutes } from './responses-routes.ts'
import { healthRoutes, openAiRoutes } from './routes.ts'
import { syncRoutes } from './sync-routes.ts'
import { traceOf, type RequestTraces } from './traced.ts'
import { sendPage } from './web-routes.ts'
import { workRoutes, type WorkComponents } from './work-routes.ts'

export interface ServerComponents extends WorkComponents, EventComponents {
  readonly random: Random
  readonly access: Access
  readonly leases?: LeaseDesk | undefined
  readonly sessions: McpSessions
  /** Shown at `/metrics`, which there is not without it. */
  readonly metrics?: GatewayMetrics | undefined
  /** Files and batches, which there are not without them. */
  readonly batches?: Batches | undefined
  /** Makes spans; none are made without it. */
  readonly traces?: RequestTraces | undefined
  /** What clients have pulled here, and removed; nothing without it. */
  readonly pulls?: OpenPulls | undefined
  readonly lines: OpenLines
  /** Devices, which there are not without them. */
  readonly devices?: Devices | undefined
  /** By which devices of a user keep in step; there are none without it. */
  readonly mailboxes?: Mailboxes | undefined
  /** For browsers, which get none without it. */
  readonly page?: Page | undefined
}

export interface ServerInit {
  readonly host: string
  /** Whether it speaks TLS; its certificate comes before it listens. */
  readonly isTls: boolean
}

/** Ids of clients that may stand in our headers and logs. */
const CLIENT_REQUEST_ID = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/

export function createServer(components: ServerComponents, init: ServerInit): FastifyInstance {
  const { limits, random, counters } = components
  const http = {
    maxHeaderSize: limits.headerBytesMax,
    headersTimeout: Math.min(limits.headersMs, limits.requestMs),
    // timeouts are noticed this late at most
    connectionsCheckingInterval: Math.min(1000, limits.headersMs / 2),
  }
  const app = Fastify({
    logger: false,
    ...(init.isTls ? { https: http as never } : { http }),
    requestTimeout: Math.max(limits.requestMs, LIMITS.uploadMs),
    keepAliveTimeout: limits.idleConnectionMs,
    bodyLimit: limits.bodyBytesMax,
    return503OnClosing: false,
    routerOptions: { maxParamLength: PATH_SEGMENT_MAX },
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false } },
    genReqId: ({ headers }) => {
      const given = headers['x-request-id']
      if (typeof given === 'string' && CLIENT_REQUEST_ID.test(given)) return given
      return mintId('req', (length) => random.bytes(length))
    },
    clientErrorHandler: (error, socket) => {
      counters.protocolErrors++
      answerUnreadable(error, socket)
    },
    frameworkErrors: (error, request, reply) => void sendError(components, error, request, reply),
  })
  app.server.maxConnections = limits.connectionsMax
  app.server.on('drop', () => counters.connectionsRefused++)
  const routes = collectRoutes(app)
  const table = new OperationTable().watch(app)
  addHooks(app, components, init, routes)
  strictBodies(app)
  app.setErrorHandler<FastifyError>((error, request, reply) => sendError(components, error, request, reply))
  openAiRoutes(app, components)
  responsesRoutes(app, components)
  anthropicRoutes(app, components)
  workRoutes(app, components)
  const { batches } = components
  if (batches) {
    filesRoutes(app, { ...components, batches })
    batchesRoutes(app, { ...components, batches })
  }
  const { devices } = components
  if (devices) {
    deviceRoutes(app, { devices })
    deviceTaskRoutes(app, { ...components, devices })
    bridgeRoutes(app, { ...components, devices })
  }
  ollamaRoutes(app, components)
  meshRoutes(app, components)
  pairingRoutes(app, components)
  taskRoutes(app, components)
  cacheRoutes(app, components)
  accessRoutes(app, components)
  budgetRoutes(app, components)
  cloudRoutes(app, components)
  eventRoutes(app, components)
  if (components.mailboxes) syncRoutes(app, components.mailboxes)
  if (components.metrics) metricsRoutes(app, components.metrics)
  healthRoutes(app, components)
  mcpRoutes(app, components)
  docsRoutes(app, table)
  return app
}

interface Route {
  readonly pattern: RegExp
  readonly methods: Set<string>
}

/** Fastify knows no 405: the routes are noted as they are made, to tell a wrong method from a wrong address. */
function collectRoutes(app: FastifyInstance): ReadonlyMap<string, Route> {
  const routes = new Map<string, Route>()
  app.addHook('onRoute', ({ url, method }) => {
    const source = url.replace(/[.]/g, '\\.').replace(/:\w+/g, '[^/]+').replace(/\*$/, '.+')
    const route = routes.get(url) ?? { pattern: new RegExp(`^${source}$`), methods: new Set<string>() }
    for (const each of [method].flat()) route.methods.add(each)
    routes.set(url, route)
  })
  return routes
}

/** @throws SkeinError METHOD_NOT_ALLOWED (with the `allow` header set) or NOT_FOUND. */
function refuseUnrouted(request: FastifyRequest, reply: FastifyReply, routes: ReadonlyMap<string, Route>): never {
  const path = request.url.replace(/[?#].*$/, '')
  const methods = [...routes.values()]
    .filter(({ pattern }) => pattern.test(path))
    .flatMap((route) => [...route.methods])
  if (methods.length === 0) throw new SkeinError('NOT_FOUND', `there is nothing at ${path.slice(0, 200)}`)
  const allow = methods.toSorted().join(', ')
  reply.header('allow', allow)
  throw new SkeinError('METHOD_NOT_ALLOWED', `${path.slice(0, 200)} takes ${allow}, not ${request.method}`)
}

function addHooks(
  app: FastifyInstance,
  components: ServerComponents,
  init: ServerInit,
  routes: ReadonlyMap<string, Route>,
): void {
  const { clock, limits, counters, log, lines, traces } = components
  const isLocal = isLoopback(init.host)
  boundBodies(app, clock, limits.requestMs)
  app.addHook('onRequest', async (request, reply) => {
    counters.requests++
    const beganAtMs = clock.nowMs()
    reply.header('x-request-id', request.id).header(SKEIN_HEADER, String(PROTOCOL_VERSION))
    const trace = traceOf(traces, request)
    if (trace) {
      request.trace = trace
      reply.header('traceparent', trace.task.traceparent)
    }
    reply.raw.once('close', () => {
      const ms = Math.round(clock.nowMs() - beganAtMs)
      const made = madeBy(reply)
      log.debug({ ...logIdsOf(request, made), method: request.method, status: reply.raw.statusCode, ms }, 'answered')
      countAnswer(counters, request, reply)
      trace?.ended({ ...(reply.raw.headersSent && { status: reply.raw.statusCode }), ...made })
    })
    const line = lines.of(request.headers)
    if (line) request.line = line
    checkNotUpstream(request)
    if (isLocal) checkSameSite(request, init.isTls ? 'https' : 'http')
    if (components.page && (await sendPage(components.page, request, reply))) return reply
    if (request.routeOptions.config?.isOpen !== true) await letIn(components, request, reply)
    if (request.is404) refuseUnrouted(request, reply, routes)
  })
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (!reply.hasHeader('server-timing')) reply.header('server-timing', `total;dur=${reply.elapsedTime.toFixed(1)}`)
    const onStall = (): void => {
      counters.clientsStalled++
      reply.raw.destroy()
    }
    void untilTaken(reply.raw, 'finish', { clock, stallMs: limits.clientStallMs, onStall })
    done(null, payload)
  })
}

/** The task that an answer is of, where it became one. */
function madeBy(reply: FastifyReply): { taskId?: string } {
  const taskId = reply.getHeader('x-skein-task')
  return typeof taskId === 'string' ? { taskId } : {}
}

/** Ids by which this line is joined with those of dispatch and of nodes. */
const logIdsOf = ({ id, trace }: FastifyRequest, { taskId: task }: { taskId?: string }): object => ({
  request: id,
  ...(task !== undefined && { task }),
  ...(trace && { trace: traceIdOf(trace.task.traceparent) }),
})

function strictBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    try {
      checkBodyEncoding(request.headers['content-type'], request.headers['content-encoding'])
      done(null, parseJsonBody(body as Buffer))
    } catch (error) {
      done(error as Error)
    }
  })
}

/** Fastify's own errors, by its code. */
const FRAMEWORK_ERRORS: Readonly<Record<string, (error: FastifyError, request: FastifyRequest) => SkeinError>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: (_, { routeOptions }) =>
    new SkeinError('BODY_TOO_LARGE', `the body is larger than ${routeOptions.bodyLimit} bytes`),
  FST_ERR_CTP_INVALID_MEDIA_TYPE: () =>
    new SkeinError('UNSUPPORTED_MEDIA_TYPE', 'the body must be JSON: content-type: application/json'),
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: () => new SkeinError('INVALID_REQUEST', 'the body is not as long as announced'),
  FST_ERR_MAX_PARAM_LENGTH: () =>
    new SkeinError('NOT_FOUND', `nothing has a name of more than ${PATH_SEGMENT_MAX} characters`),
  FST_ERR_BAD_URL: () => new SkeinError('INVALID_REQUEST', 'the address is not a valid URL'),
}

function asRequestError(error: FastifyError, request: FastifyRequest): SkeinError {
  if (error instanceof SkeinError) return error
  if (error.validation) return schemaError(error.validation)
  const known = FRAMEWORK_ERRORS[error.code]
  if (known) return known(error, request)
  // the body ended in its middle: its sender is gone
  if (error.code === 'ECONNRESET') return new SkeinError('CLIENT_CLOSED', 'the client hung up', { cause: error })
  return new SkeinError('INTERNAL', error.message, { cause: error })
}

async function sendError(
  { log, counters }: ServerComponents,
  thrown: FastifyError,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const error = asRequestError(thrown, request)
  countRefusal(counters, error.code)
  request.trace?.failed(error.code)
  const fields = { ...logIdsOf(request, madeBy(reply)), code: error.code, param: error.param }
  // the cause of a refusal may quote the body, and prompts are kept out of logs
  if (error.code === 'INTERNAL') log.error({ ...fields, err: error.cause ?? error }, 'a request failed by a defect')
  else log.debug(fields, 'a request was refused')
  if (error.code === 'BODY_TOO_LARGE') await discardBody(request)
  // fastify closes after every body error; a body that was read to its end harms nobody
  if (request.raw.complete) reply.removeHeader('connection')
  const form = errorFormOf(request)
  return reply
    .code(error.row.http)
    .headers(form.headers(error, request.id))
    .headers(error.code === 'UNAUTHENTICATED' ? { 'www-authenticate': challengeOf(request) } : {})
    .header('x-request-id', request.id)
    .send(form.body(error, request.id))
}

/** Reads the rest of a refused body away: closing on unread bytes would reset the connection under the answer. */
function discardBody({ raw, headers }: FastifyRequest): Promise<void> {
  if (raw.complete || raw.destroyed || Number(headers['content-length'] ?? 0) > DISCARD_BYTES_MAX)
    return Promise.resolve()
  return new Promise((resolve) => {
    let bytes = 0
    const settle = (): void => {
      raw.off('data', onData).off('end', settle).off('close', settle).off('error', settle)
      resolve()
    }
    const onData = (chunk: Buffer): void => {
      bytes += chunk.length
      if (bytes > DISCARD_BYTES_MAX) settle()
    }
    raw.on('data', onData).once('end', settle).once('close', settle).once('error', settle)
    raw.resume()
  })
}

/** Answers what the HTTP parser gave up on. With an answer already under way nothing can be added to it. */
function answerUnreadable(error: NodeJS.ErrnoException, socket: Socket): void {
  // what Node's own handler looks at, to know whether an answer is under way
  const isBusy = (socket as { _httpMessage?: ServerResponse | null })._httpMessage?.headersSent === true
  if (error.code === 'ECONNRESET' || !socket.writable || isBusy) return void socket.destroy()
  const [status, failure] = unreadable(error.code)
  const body = JSON.stringify(errorBody(failure, ''))
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nconnection: close\r\ncontent-type: application/json; charset=utf-8\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    // what it still sends is not read; without this a half-closed socket would stay
    () => socket.destroy(),
  )
}

function unreadable(code: string | undefined): [number, SkeinError] {
  if (code === 'HPE_HEADER_OVERFLOW') return [431, new SkeinError('INVALID_REQUEST', 'the headers are too large')]
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return [408, new SkeinError('REQUEST_TIMEOUT', 'the request did not arrive in time')]
  return [400, new SkeinError('INVALID_REQUEST', 'this is not HTTP as we know it')]
}
