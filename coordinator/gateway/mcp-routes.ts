/**
 * `/mcp`: the Model Context Protocol over HTTP, of both eras at one address. A call of a tool that works is a stream: progress,
 * signs of life, and at its end the result. Whatever is not a message is refused as everywhere; what is one is answered in
 * JSON-RPC.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { pipe } from 'it-pipe'
import { Type } from 'typebox'
import { asRequestId, asSkeinError, parser, SkeinError } from '../../mesh/protocol/index.ts'
import type { Access } from '../access/index.ts'
import type { ActiveRequest } from './active-requests.ts'
import { takeReply, toClient } from './client-writer.ts'
import { answering } from './generation.ts'
import { checkOwnOrigin } from './guards.ts'
import {
  failureBody,
  failureOf,
  isModern,
  LEGACY_VERSIONS,
  MCP_ERRORS,
  MCP_VERSIONS,
  modernFlaw,
  progressTokenOf,
  resultBody,
  RPC,
  RpcAnswerSchema,
  RpcEventSchema,
  RpcMessageSchema,
  SERVER_INFO,
  SERVER_META,
  subscriptionMeta,
  type RpcFailure,
  type RpcId,
  type RpcMessage,
} from './mcp-messages.ts'
import { ToolChanges } from './mcp-changes.ts'
import { deviceMcpTools } from './mcp-device-tools.ts'
import { meshTools } from './mcp-mesh-tools.ts'
import { callKey, type McpSession, type McpSessions } from './mcp-sessions.ts'
import { CallStream } from './mcp-stream.ts'
import {
  callParams,
  errorResult,
  isCancelled,
  resultOf,
  toolBody,
  type McpTool,
  type ToolContext,
  type ToolSource,
} from './mcp-tools.ts'
import { EVENTS_TYPE, JSON_TYPE, type RouteDoc } from './route-doc.ts'
import { sseComment, sseData } from './sse.ts'
import type { WorkComponents } from './work-routes.ts'

export interface McpComponents extends WorkComponents {
  readonly access: Access
  readonly sessions: McpSessions
}

const INSTRUCTIONS =
  "Models that run on the user's own devices. Ask one with ask_model; list_models tells which there are and what each can do."

/** How long a client may go on with a list of tools: models come and go. */
const LIST_TTL_MS = 10_000

const initializeParams = parser(Type.Object({ protocolVersion: Type.String() }), 'params', 'INVALID_REQUEST')
const cancelParams = parser(
  Type.Object({ requestId: Type.Union([Type.String(), Type.Integer()]) }),
  'params',
  'INVALID_REQUEST',
)

const POST_DOC: RouteDoc = {
  tag: 'MCP',
  summary: 'Takes a message of the Model Context Protocol',
  answers: {
    200: {
      description: 'The answer; of a tool that works a stream that ends with it.',
      content: {
        [JSON_TYPE]: { schema: RpcAnswerSchema },
        [EVENTS_TYPE]: { schema: Type.String(), items: RpcEventSchema },
      },
    },
    202: { description: 'A notification was taken.' },
  },
  errors: ['NOT_FOUND', 'SATURATED', 'SHUTTING_DOWN'],
}

const GET_DOC: RouteDoc = {
  tag: 'MCP',
  summary: 'Tells a session when the list of tools has changed',
  answers: {
    200: {
      description: 'Notifications, until the client leaves.',
      content: { [EVENTS_TYPE]: { schema: Type.String(), items: RpcEventSchema } },
    },
  },
  errors: ['NOT_FOUND', 'SATURATED', 'SHUTTING_DOWN'],
}

const DELETE_DOC: RouteDoc = {
  tag: 'MCP',
  summary: 'Ends a session, and the calls that run in it',
  answers: { 204: { description: 'It is over.' } },
  errors: ['NOT_FOUND'],
}

type McpRequest = FastifyRequest<{ Body: RpcMessage }>

export function mcpRoutes(app: FastifyInstance, components: McpComponents): void {
  const { devices } = components
  const server = new McpServer(components, [meshTools(components), ...(devices ? [deviceMcpTools(devices)] : [])])
  const config = { errors: MCP_ERRORS }
  const onRequest = async (request: FastifyRequest): Promise<void> => checkOwnOrigin(request)

  app.post<{ Body: RpcMessage }>(
    '/mcp',
    { schema: { body: RpcMessageSchema }, config: { ...config, doc: POST_DOC }, onRequest },
    (request, reply) => server.receive(request, reply),
  )

  if (devices)
    app.get('/mcp', { config: { ...config, doc: GET_DOC }, onRequest }, (request, reply) =>
      server.listen(request, reply),
    )

  app.delete('/mcp', { config: { ...config, doc: DELETE_DOC }, onRequest }, (request, reply) => {
    server.end(request)
    return reply.code(204).send()
  })
}

class McpServer {
  readonly #components: McpComponents
  readonly #sources: readonly ToolSource[]
  readonly #sessions: McpSessions
  readonly #changes: ToolChanges | undefined

  constructor(components: McpComponents, sources: readonly ToolSource[]) {
    const { devices, clock } = components
    this.#changes = devices && new ToolChanges(devices, clock)
    this.#components = components
    this.#sources = sources
    this.#sessions = components.sessions
  }

  async receive(request: McpRequest, reply: FastifyReply): Promise<FastifyReply> {
    const { body, headers } = request
    try {
      return isModern(body, headers) ? await this.#modern(request, reply) : await this.#legacy(request, reply)
    } catch (error) {
      // what was begun is not answered anew
      if (reply.sent) throw error
      return this.#fail(reply, failureOf(asSkeinError(error), request.id), body.id)
    }
  }

  get #capabilities(): object {
    return { tools: this.#changes ? { listChanged: true } : {} }
  }

  /** The stream of a session's notifications. @throws SkeinError INVALID_REQUEST, NOT_FOUND, SATURATED, SHUTTING_DOWN. */
  async listen(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const { headers, caller } = request
    this.#sessions.of(sessionIdOf(headers['mcp-session-id']), caller.tenant)
    if (request.method === 'HEAD' || this.#changes === undefined) return reply.type(EVENTS_TYPE).send()
    await this.#follow(this.#changes, reply, { opening: sseComment('listening'), params: {} })
    return reply
  }

  /** @throws SkeinError INVALID_REQUEST, NOT_FOUND. */
  end({ headers, caller }: FastifyRequest): void {
    this.#sessions.end(sessionIdOf(headers['mcp-session-id']), caller.tenant)
  }

  #fail(reply: FastifyReply, failure: RpcFailure, id: RpcId | undefined): FastifyReply {
    return reply.code(failure.status).send(failureBody(failure, id))
  }

  async #modern(request: McpRequest, reply: FastifyReply): Promise<FastifyReply> {
    const { body, headers } = request
    const { id, method } = body
    const flaw = modernFlaw(body, headers)
    if (flaw) return this.#fail(reply, flaw, id)
    // this era has none that mean anything here
    if (id === undefined) return reply.code(202).send()
    const complete = { resultType: 'complete', _meta: SERVER_META }
    const cached = { ...complete, ttlMs: LIST_TTL_MS, cacheScope: 'private' }
    switch (method) {
      case 'server/discover':
        return reply.send(
          resultBody(id, {
            ...cached,
            supportedVersions: MCP_VERSIONS,
            capabilities: this.#capabilities,
            instructions: INSTRUCTIONS,
          }),
        )
      case 'tools/list':
        return reply.send(resultBody(id, { ...cached, tools: this.#tools(request).map(toolBody) }))
      case 'tools/call':
        return this.#call(request, reply, id, complete)
      case 'subscriptions/listen':
        return this.#listen(request, reply, id)
      default:
        return this.#fail(reply, unknownMethod(method, 404), id)
    }
  }

  async #legacy(request: McpRequest, reply: FastifyReply): Promise<FastifyReply> {
    const { body, headers, caller } = request
    const { id, method, params = {} } = body
    if (method === 'initialize' && id !== undefined) {
      const { protocolVersion } = initializeParams(params)
      const version = LEGACY_VERSIONS.includes(protocolVersion) ? protocolVersion : LEGACY_VERSIONS[0]!
      const session = this.#sessions.open(caller.tenant, version)
      const capabilities = this.#capabilities
      const result = { protocolVersion: version, capabilities, serverInfo: SERVER_INFO, instructions: INSTRUCTIONS }
      return reply.header('mcp-session-id', session.id).send(resultBody(id, result))
    }
    const session = this.#sessions.of(sessionIdOf(headers['mcp-session-id']), caller.tenant)
    if (id === undefined) {
      if (method === 'notifications/cancelled') session.calls.get(callKey(cancelParams(params).requestId))?.()
      return reply.code(202).send()
    }
    switch (method) {
      case 'ping':
        return reply.send(resultBody(id, {}))
      case 'tools/list':
        return reply.send(resultBody(id, { tools: this.#tools(request).map(toolBody) }))
      case 'tools/call':
        return this.#call(request, reply, id, {}, session)
      default:
        return this.#fail(reply, unknownMethod(method, 200), id)
    }
  }

  #tools({ caller, headers }: McpRequest): McpTool[] {
    return this.#sources.flatMap((source) => source.tools(caller, headers))
  }

  async #call(
    request: McpRequest,
    reply: FastifyReply,
    id: RpcId,
    head: object,
    session?: McpSession,
  ): Promise<FastifyReply> {
    const { body, caller } = request
    const { name, arguments: input = {} } = callParams(body.params ?? {})
    const tool = this.#tools(request).find((each) => each.name === name)
    if (!tool) {
      const message = `there is no tool '${name.slice(0, 64)}'`
      return this.#fail(reply, { status: session ? 200 : 400, code: RPC.invalidParams, message }, id)
    }
    await answering(this.#components, request, reply, async (active) => {
      const forget = session && remember(session, id, active)
      try {
        const context: Omit<ToolContext, 'tell'> = {
          requestId: asRequestId(request.id),
          caller,
          signal: active.signal,
          ...(request.trace && { trace: request.trace.task }),
        }
        if (tool.isWork && takesEvents(request))
          return await this.#stream(request, reply, id, head, { tool, input, context, active })
        const result = await this.#result(tool, input, { ...context, tell: () => undefined })
        await reply.send(resultBody(id, { ...head, ...result }))
      } finally {
        forget?.()
      }
    })
    return reply
  }

  /** Never throws: what went wrong is a result too. */
  async #result(tool: McpTool, input: unknown, context: ToolContext): Promise<object> {
    const { access, log } = this.#components
    const { requestId, caller } = context
    try {
      if (tool.isWork) access.admit(caller)
      return resultOf(await tool.call(input, context))
    } catch (thrown) {
      const error = asSkeinError(thrown)
      const fields = { request: requestId, tool: tool.name, code: error.code }
      if (error.code === 'INTERNAL') log.error({ ...fields, err: error.cause ?? error }, 'a tool failed by a defect')
      else log.debug(fields, 'a tool was not run to its end')
      return errorResult(error, requestId)
    }
  }

  async #stream(
    request: McpRequest,
    reply: FastifyReply,
    id: RpcId,
    head: object,
    { tool, input, context, active }: Running,
  ): Promise<void> {
    const { clock, counters, limits } = this.#components
    if (!openStream(reply)) return
    const onStall = (): void => {
      counters.clientsStalled++
      active.abort(new SkeinError('CLIENT_STALLED', 'the client does not read its answer'))
      reply.raw.destroy()
    }
    const stream = new CallStream(clock, limits.keepaliveMs, progressTokenOf(request.body))
    const run = this.#result(tool, input, { ...context, tell: stream.tell }).then((result) =>
      // who has cancelled is sent nothing more
      isCancelled(active.signal) ? undefined : resultBody(id, { ...head, ...result }),
    )
    await pipe(stream.events(run), toClient(reply.raw, { clock, stallMs: limits.clientStallMs, onStall }))
  }

  /** @throws SkeinError SATURATED, SHUTTING_DOWN. */
  async #follow(changes: ToolChanges, reply: FastifyReply, { opening, params }: Following): Promise<void> {
    const { active, clock, counters, limits } = this.#components
    if (active.isRefusing)
      throw new SkeinError('SHUTTING_DOWN', 'the coordinator is stopping', { retryAfterSeconds: 5 })
    changes.check()
    const left = new AbortController()
    reply.raw.once('close', () => left.abort())
    if (!openStream(reply)) return
    const onStall = (): void => {
      counters.clientsStalled++
      reply.raw.destroy()
    }
    const pieces = async function* (): AsyncGenerator<string, void, undefined> {
      yield opening
      yield* changes.listen({ signal: left.signal, keepaliveMs: limits.keepaliveMs, params })
    }
    await pipe(pieces(), toClient(reply.raw, { clock, stallMs: limits.clientStallMs, onStall }))
  }

  /** Where nothing changes that the client wants to be told of, the stream says so, and ends. */
  async #listen(request: McpRequest, reply: FastifyReply, id: RpcId): Promise<FastifyReply> {
    const meta = subscriptionMeta(id)
    const { notifications: wanted } = (request.body.params ?? {}) as { notifications?: { toolsListChanged?: unknown } }
    const toolsListChanged = wanted?.toolsListChanged
    const notifications = this.#changes && toolsListChanged === true ? { toolsListChanged } : {}
    const method = 'notifications/subscriptions/acknowledged'
    const told = { jsonrpc: '2.0', method, params: { _meta: meta, notifications } }
    if (this.#changes && toolsListChanged === true) {
      const opening = sseData(JSON.stringify(told))
      await this.#follow(this.#changes, reply, { opening, params: { _meta: meta } })
      return reply
    }
    const end = resultBody(id, { resultType: 'complete', _meta: { ...SERVER_META, ...meta } })
    return reply.type(EVENTS_TYPE).send(sseData(JSON.stringify(told)) + sseData(JSON.stringify(end)))
  }
}

interface Following {
  /** First of the stream. */
  readonly opening: string
  /** Of each notification. */
  readonly params: object
}

interface Running {
  readonly tool: McpTool
  readonly input: unknown
  readonly context: Omit<ToolContext, 'tell'>
  readonly active: ActiveRequest
}

const unknownMethod = (method: string, status: number): RpcFailure => ({
  status,
  code: RPC.methodNotFound,
  message: `there is no method '${method.slice(0, 64)}'`,
})

/** @throws SkeinError INVALID_REQUEST. */
function sessionIdOf(header: string | string[] | undefined): string {
  if (typeof header === 'string') return header
  throw new SkeinError('INVALID_REQUEST', 'the header Mcp-Session-Id is required; begin with initialize', {
    param: 'mcp-session-id',
  })
}

/** Lets another request of the session end this one. Returns how to forget it. */
function remember({ calls }: McpSession, id: RpcId, active: ActiveRequest): () => void {
  const key = callKey(id)
  const cancel = (): void => active.abort(new SkeinError('CLIENT_CLOSED', 'the client cancelled the call'))
  calls.set(key, cancel)
  return () => {
    if (calls.get(key) === cancel) calls.delete(key)
  }
}

/** Whoever says nothing takes everything. */
const takesEvents = ({ headers: { accept = '*/*' } }: FastifyRequest): boolean =>
  accept.includes(EVENTS_TYPE) || accept.includes('*/*')

function openStream(reply: FastifyReply): boolean {
  reply.headers({
    'content-type': `${EVENTS_TYPE}; charset=utf-8`,
    'cache-control': 'no-cache',
    // nginx would collect the answer before it passes any of it on
    'x-accel-buffering': 'no',
  })
  if (!takeReply(reply)) return false
  reply.raw.flushHeaders()
  return true
}
