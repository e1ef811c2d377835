/** `/mesh/v1/bridge`: reports of a bridge, and the stream on which it is sent calls for its devices. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { pipe } from 'it-pipe'
import { Type, type Static } from 'typebox'
import { bridgeId, BridgeReportSchema, LIMITS, SkeinError, type BridgeReport } from '../../mesh/protocol/index.ts'
import type { Clock, Logger } from '../../mesh/runtime/index.ts'
import type { Access } from '../access/index.ts'
import type { BridgeMessage, Devices } from '../devices/index.ts'
import type { ActiveRequests } from './active-requests.ts'
import { takeReply, toClient } from './client-writer.ts'
import { BRIDGE_CALLS_DOC, REPORT_DOC } from './device-answer-schemas.ts'
import { shownKey } from './guards.ts'
import type { GatewayLimits } from './limits.ts'
import { sseComment, sseEvent } from './sse.ts'

const CallsQuerySchema = Type.Object(
  {
    bridge: bridgeId(),
    session: Type.String({ pattern: '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' }),
  },
  { additionalProperties: false },
)
type CallsQuery = Static<typeof CallsQuerySchema>

export interface BridgeRoutesComponents {
  readonly devices: Devices
  readonly access: Access
  readonly active: ActiveRequests
  readonly clock: Clock
  readonly log: Logger
  readonly limits: GatewayLimits
}

export function bridgeRoutes(app: FastifyInstance, components: BridgeRoutesComponents): void {
  const { devices, active } = components

  app.post<{ Body: BridgeReport }>(
    '/mesh/v1/bridge/reports',
    { schema: { body: BridgeReportSchema }, bodyLimit: LIMITS.bridgeReportBytesMax, config: { doc: REPORT_DOC } },
    async ({ body }) => ({ recorded: await devices.report(body) }),
  )

  app.get<{ Querystring: CallsQuery }>(
    '/mesh/v1/bridge/calls',
    { schema: { querystring: CallsQuerySchema }, config: { doc: BRIDGE_CALLS_DOC } },
    async (request, reply) => {
      reply.headers({
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-cache',
        // nginx would collect calls before it passes any of them on
        'x-accel-buffering': 'no',
      })
      // a body that has no end has no beginning for who wants none
      if (request.method === 'HEAD') return reply.send()
      if (active.isRefusing)
        throw new SkeinError('SHUTTING_DOWN', 'the coordinator is stopping', { retryAfterSeconds: 5 })
      await stream(components, request, reply)
      return reply
    },
  )
}

async function stream(
  { access, clock, devices, limits, log }: BridgeRoutesComponents,
  request: FastifyRequest<{ Querystring: CallsQuery }>,
  reply: FastifyReply,
): Promise<void> {
  const { bridge, session } = request.query
  const { tenant } = request.caller
  const mayStay = async (): Promise<boolean> => {
    try {
      return (await access.callerOf(shownKey(request.headers))).tenant === tenant
    } catch {
      return false
    }
  }
  const cut = (): void => {
    log.warn({ bridge }, 'a bridge does not read its calls; it is cut')
    reply.raw.destroy()
  }
  const calls = new CallStream(clock, cut)
  const onClose = (): void => calls.close()
  const ended = devices.link(bridge, { session, send: (message) => calls.push(message), close: onClose })
  reply.raw.once('close', onClose)
  try {
    if (!takeReply(reply)) return
    await pipe(calls.pieces(mayStay), toClient(reply.raw, { clock, stallMs: limits.clientStallMs, onStall: cut }))
  } finally {
    ended()
  }
}

/** What is to be sent, bounded, with a sign of life where nothing is. */
class CallStream {
  readonly #clock: Clock
  readonly #onOverflow: () => void
  #waiting: BridgeMessage[] = []
  #isClosed = false
  #wake: (() => void) | undefined

  constructor(clock: Clock, onOverflow: () => void) {
    this.#clock = clock
    this.#onOverflow = onOverflow
  }

  push(message: BridgeMessage): void {
    if (this.#waiting.length >= LIMITS.bridgeMessagesWaitingMax) return this.#onOverflow()
    this.#waiting.push(message)
    this.#wake?.()
  }

  close(): void {
    this.#isClosed = true
    this.#wake?.()
  }

  async *pieces(mayStay: () => Promise<boolean>): AsyncGenerator<string, void, undefined> {
    yield sseComment('watching')
    while (!this.#isClosed) {
      const waiting = this.#waiting
      this.#waiting = []
      if (waiting.length > 0) yield waiting.map(eventOf).join('')
      else if (!(await this.#turn())) {
        if (!(await mayStay())) return
        yield sseComment('keepalive')
      }
    }
  }

  /** False when nothing came for as long as silence may last. */
  #turn(): Promise<boolean> {
    return new Promise((resolve) => {
      const settle = (came: boolean): void => {
        cancel()
        this.#wake = undefined
        resolve(came)
      }
      const cancel = this.#clock.timer(LIMITS.bridgeHeartbeatMs, () => settle(false))
      this.#wake = () => settle(true)
    })
  }
}

const eventOf = (message: BridgeMessage): string =>
  sseEvent(message.type, JSON.stringify(message.type === 'call' ? message.call : { call: message.call }))
