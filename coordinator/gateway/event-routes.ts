/** `GET /mesh/v1/events`: what happens in the mesh, as it happens, for as long as a client reads it. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { pipe } from 'it-pipe'
import { Type, type Static } from 'typebox'
import { LIMITS, SkeinError } from '../../mesh/protocol/index.ts'
import { isWithin } from '../devices/index.ts'
import { deviceLevelOf } from './device-callers.ts'
import { shownKey } from './guards.ts'
import { takeReply, toClient } from './client-writer.ts'
import type { EventFeed } from './event-feed.ts'
import { EVENT_TYPES, type EventType } from './event-views.ts'
import type { GenerationComponents } from './exchange.ts'
import { EVENTS_DOC } from './mesh-answer-schemas.ts'
import type { Access } from '../access/index.ts'

const EventsQuerySchema = Type.Object(
  { types: Type.Optional(Type.String({ minLength: 1, maxLength: 1024 })) },
  { additionalProperties: false },
)
type EventsQuery = Static<typeof EventsQuerySchema>

export interface EventComponents extends GenerationComponents {
  readonly access: Access
  readonly events: EventFeed
}

export function eventRoutes(app: FastifyInstance, components: EventComponents): void {
  app.get<{ Querystring: EventsQuery }>(
    '/mesh/v1/events',
    { schema: { querystring: EventsQuerySchema }, config: { doc: EVENTS_DOC } },
    async (request, reply) => {
      const wanted = typesOf(request.query.types)
      reply.headers({
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-cache',
        // nginx would collect events before it passes any of them on
        'x-accel-buffering': 'no',
      })
      // a body that has no end has no beginning for who wants none
      if (request.method === 'HEAD') return reply.send()
      if (components.active.isRefusing)
        throw new SkeinError('SHUTTING_DOWN', 'the coordinator is stopping', { retryAfterSeconds: 5 })
      if (components.events.followers >= LIMITS.eventClientsMax)
        throw new SkeinError('SATURATED', `${LIMITS.eventClientsMax} clients follow the events already`, {
          retryAfterSeconds: 10,
        })
      await follow(components, request, reply, wanted)
      return reply
    },
  )
}

const OWN_OF_DEVICES: ReadonlySet<EventType> = new Set(['device.claim', 'device.call', 'device.task'])

/** Told to whoever may read devices: not who asks to be let in, nor what others call, or have done. */
const isOfDevice = (type: EventType): boolean => type.startsWith('device.') && !OWN_OF_DEVICES.has(type)

/** Told to whoever may read what the mesh is and does. */
const isOfMesh = (type: EventType): boolean => type.startsWith('node.') || type.startsWith('replica.')

/** `task,node.lost`: whole families, and single types. @throws SkeinError INVALID_REQUEST. */
function typesOf(text: string | undefined): ReadonlySet<EventType> {
  if (text === undefined) return new Set(EVENT_TYPES)
  const wanted = new Set<EventType>()
  for (const name of text.split(',')) {
    const meant = EVENT_TYPES.filter((type) => type === name || type.startsWith(`${name}.`))
    if (meant.length === 0)
      throw new SkeinError(
        'INVALID_REQUEST',
        `types has '${name.slice(0, 64)}'; there are: ${EVENT_TYPES.join(', ')}`,
        {
          param: 'types',
        },
      )
    for (const type of meant) wanted.add(type)
  }
  return wanted
}

async function follow(
  { access, clock, counters, events, limits, log }: EventComponents,
  request: FastifyRequest,
  reply: FastifyReply,
  wanted: ReadonlySet<EventType>,
): Promise<void> {
  const { tenant, isAdmin, grant } = request.caller
  const mayReadMesh = grant.routes.includes('mesh')
  const mayReadDevices = isWithin('read', deviceLevelOf(request.caller))
  const left = new AbortController()
  reply.raw.once('close', () => left.abort())
  const cut = (): void => {
    counters.eventClientsCut++
    log.warn({ request: request.id }, 'a client does not read the events; it is cut')
    reply.raw.destroy()
  }
  const mayFollow = async (): Promise<boolean> => {
    try {
      return (await access.callerOf(shownKey(request.headers))).tenant === tenant
    } catch {
      // revoked, rotated or over: the client hears why when it comes back
      return false
    }
  }
  const { 'last-event-id': after } = request.headers
  const pieces = events.follow({
    ...(typeof after === 'string' && { after }),
    isWanted: (type, owner) =>
      wanted.has(type) &&
      (isAdmin || owner === tenant || (mayReadMesh && isOfMesh(type)) || (mayReadDevices && isOfDevice(type))),
    signal: left.signal,
    keepaliveMs: limits.keepaliveMs,
    mayFollow,
    onBehind: cut,
  })
  if (!takeReply(reply)) return
  await pipe(pieces, toClient(reply.raw, { clock, stallMs: limits.clientStallMs, onStall: cut }))
}
