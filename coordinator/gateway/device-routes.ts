/** `/mesh/v1/devices`: what there is behind the bridges, and calls of it. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Type, type Static } from 'typebox'
import {
  BRIDGE_DEVICE,
  bridgeId,
  CALL_OPS,
  capabilityName,
  DeviceValueSchema,
  LIMITS,
  RULE_NAME,
  SkeinError,
} from '../../mesh/protocol/index.ts'
import type { Devices, DeviceView } from '../devices/index.ts'
import {
  CALL_DOC,
  CONFIRM_DOC,
  DESIRED_DOC,
  DEVICE_CALLS_DOC,
  DEVICE_DOC,
  DEVICES_DOC,
  HISTORY_DOC,
  WAITING_DOC,
} from './device-answer-schemas.ts'
import { checkLevel, deviceLevelOf } from './device-callers.ts'
import { callView, deviceView, readView } from './device-views.ts'
import { listOf } from './mesh-routes.ts'

const HISTORY_DEFAULT = 1000
const CALLS_DEFAULT = 100
const CALLS_MAX = 1000
/** JSON of what a bridge is asked. */
const BRIDGE_VALUE_MAX = 16_384

/** Of a call to a bridge itself. */
const ObjectSchema = Type.Unsafe<Readonly<Record<string, unknown>>>(Type.Object({}))

const CallBodySchema = Type.Object(
  {
    capability: capabilityName(),
    value: Type.Optional(Type.Union([DeviceValueSchema, ObjectSchema])),
    op: Type.Optional(Type.Enum([...CALL_OPS])),
    ttl_ms: Type.Optional(Type.Integer({ minimum: 100, maximum: LIMITS.deviceCallMs })),
    bridge: Type.Optional(bridgeId()),
    /** Which of an owner's rules wants it; for those who look at what was done. */
    rule: Type.Optional(Type.String({ pattern: RULE_NAME })),
  },
  { additionalProperties: false },
)
type CallBody = Static<typeof CallBodySchema>

const ConfirmBodySchema = Type.Object({ approve: Type.Boolean() }, { additionalProperties: false })
type ConfirmBody = Static<typeof ConfirmBodySchema>

const DesiredBodySchema = Type.Object(
  {
    values: Type.Record(
      Type.String({ pattern: '^[a-z][a-z0-9_]{0,30}$' }),
      Type.Union([DeviceValueSchema, Type.Null()]),
      {
        additionalProperties: false,
        minProperties: 1,
        maxProperties: LIMITS.deviceCapabilitiesMax,
      },
    ),
    confirmed: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
)
type DesiredBody = Static<typeof DesiredBodySchema>

const number = (digits: number) => Type.Optional(Type.String({ pattern: `^[0-9]{1,${digits}}$` }))
const HistoryQuerySchema = Type.Object(
  { name: Type.Optional(capabilityName()), since_ms: number(15), limit: number(5) },
  { additionalProperties: false },
)
type HistoryQuery = Static<typeof HistoryQuerySchema>
const CallsQuerySchema = Type.Object({ limit: number(4) }, { additionalProperties: false })
type CallsQuery = Static<typeof CallsQuerySchema>

interface OneDevice {
  Params: { id: string }
}

export interface DeviceRoutesComponents {
  readonly devices: Devices
}

export function deviceRoutes(app: FastifyInstance, { devices }: DeviceRoutesComponents): void {
  readingRoutes(app, devices)

  app.post<OneDevice & { Body: CallBody }>(
    '/mesh/v1/devices/:id/calls',
    { schema: { body: CallBodySchema }, config: { doc: CALL_DOC } },
    async (request, reply) => {
      const { params, body, caller } = request
      const { capability, op, value, ttl_ms: ttlMs, bridge, rule } = body
      checkBridgeValue(body)
      const asked = {
        ...{ device: params.id, capability },
        ...(rule === undefined ? { origin: 'api' as const } : { origin: 'rule' as const, rule }),
        ...{ tenant: caller.tenant, level: deviceLevelOf(caller), isAdmin: caller.isAdmin },
        ...(op !== undefined && { op }),
        ...(value !== undefined && { value }),
        ...(ttlMs !== undefined && { ttlMs }),
        ...(bridge !== undefined && { bridge }),
      }
      const known = devices.get(params.id)?.descriptor.capabilities.find(({ name }) => name === capability)
      const isRead = op === 'read' || (op === undefined && known?.dir !== 'command' && value === undefined)
      if (params.id !== BRIDGE_DEVICE && isRead) return readView(asked, await devices.read(asked), known?.unit)
      const handle = devices.begin(asked)
      if (handle.waitsForConfirm) return reply.code(202).send(callView(handle.call, 'confirm'))
      return callView(handle.call, 'ended', await handle.ended)
    },
  )

  app.put<OneDevice & { Body: DesiredBody }>(
    '/mesh/v1/devices/:id/desired',
    { schema: { body: DesiredBodySchema }, config: { doc: DESIRED_DOC } },
    async ({ params, body, caller }) => {
      const { values, confirmed: isConfirmed = false } = body
      return deviceView(await devices.desire(params.id, values, { level: deviceLevelOf(caller), isConfirmed }))
    },
  )

  app.get('/mesh/v1/calls', { config: { doc: WAITING_DOC } }, ({ caller }) => {
    const own = devices.waiting().filter(({ tenant }) => caller.isAdmin || tenant === caller.tenant)
    return listOf(own.map((call) => callView(call, 'confirm')))
  })

  app.post<{ Params: { call: string }; Body: ConfirmBody }>(
    '/mesh/v1/calls/:call/confirm',
    { schema: { body: ConfirmBodySchema }, config: { doc: CONFIRM_DOC } },
    async ({ params, body, caller }) => {
      checkLevel(caller, 'act')
      const handle = devices.confirm(params.call, body.approve, caller)
      return callView(handle.call, 'ended', await handle.ended)
    },
  )
}

function readingRoutes(app: FastifyInstance, devices: Devices): void {
  app.get('/mesh/v1/devices', { config: { doc: DEVICES_DOC } }, ({ caller }) => {
    checkLevel(caller, 'read')
    return { ...listOf(devices.list().map(deviceView)), bridges: devices.bridges() }
  })

  app.get<OneDevice>('/mesh/v1/devices/:id', { config: { doc: DEVICE_DOC } }, (request) =>
    deviceView(deviceOf(devices, request)),
  )

  app.get<OneDevice & { Querystring: HistoryQuery }>(
    '/mesh/v1/devices/:id/history',
    { schema: { querystring: HistoryQuerySchema }, config: { doc: HISTORY_DOC } },
    async (request) => {
      const { id: device, policy } = deviceOf(devices, request).descriptor
      if (!policy.read) throw new SkeinError('FORBIDDEN', `the policy of ${device} lets nobody read it`)
      const { name, since_ms: since = '0', limit } = request.query
      const wanted = limitOf(limit, HISTORY_DEFAULT, LIMITS.deviceHistoryMax)
      const query = { device, sinceMs: Number(since), limit: wanted, ...(name !== undefined && { name }) }
      return listOf(
        (await devices.history(query)).map((each) => ({ name: each.name, value: each.value, atMs: each.atMs })),
      )
    },
  )

  app.get<OneDevice & { Querystring: CallsQuery }>(
    '/mesh/v1/devices/:id/calls',
    { schema: { querystring: CallsQuerySchema }, config: { doc: DEVICE_CALLS_DOC } },
    async (request) => {
      const { caller, query } = request
      const { id: device } = deviceOf(devices, request).descriptor
      const calls = await devices.calls({ device, limit: limitOf(query.limit, CALLS_DEFAULT, CALLS_MAX) })
      const own = calls.filter(({ tenant }) => caller.isAdmin || tenant === caller.tenant)
      return listOf(own.map(({ end, ...call }) => callView(call, end ? 'ended' : 'open', end)))
    },
  )
}

/** @throws SkeinError FORBIDDEN, NOT_FOUND. */
function deviceOf(devices: Devices, { caller, params }: FastifyRequest<OneDevice>): DeviceView {
  checkLevel(caller, 'read')
  const device = devices.get(params.id)
  if (device) return device
  throw new SkeinError('NOT_FOUND', `there is no device '${params.id.slice(0, 32)}'`)
}

/** @throws SkeinError INVALID_REQUEST. */
function limitOf(text: string | undefined, usual: number, most: number): number {
  const limit = text === undefined ? usual : Number(text)
  if (limit >= 1 && limit <= most) return limit
  throw new SkeinError('INVALID_REQUEST', `limit must be 1 to ${most}`, { param: 'limit' })
}

/** @throws SkeinError INVALID_REQUEST, BODY_TOO_LARGE. */
function checkBridgeValue({ value }: CallBody): void {
  if (typeof value !== 'object' || JSON.stringify(value).length <= BRIDGE_VALUE_MAX) return
  throw new SkeinError('INVALID_REQUEST', `value is longer than ${BRIDGE_VALUE_MAX} characters`, { param: 'value' })
}
