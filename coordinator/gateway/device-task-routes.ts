/** `/mesh/v1/device-tasks`: what is to be done at devices that fit, once or again and again. */
import type { FastifyInstance } from 'fastify'
import { Type, type Static } from 'typebox'
import {
  bridgeId,
  CALL_OPS,
  capabilityName,
  deviceId,
  DeviceValueSchema,
  LIMITS,
  SkeinError,
} from '../../mesh/protocol/index.ts'
import type { Clock } from '../../mesh/runtime/index.ts'
import type { Devices, TaskSpec } from '../devices/index.ts'
import { checkLevel, deviceLevelOf } from './device-callers.ts'
import {
  CANCEL_DEVICE_TASK_DOC,
  DEVICE_TASK_DOC,
  DEVICE_TASKS_DOC,
  deviceTaskView,
  MAKE_TASK_DOC,
} from './device-task-views.ts'
import { listOf } from './mesh-routes.ts'

const TASKS_DEFAULT = 100

/** Either one device, or what all of them have that are meant. */
const SelectSchema = Type.Union([
  Type.Object({ device: deviceId() }, { additionalProperties: false }),
  Type.Object(
    {
      class: Type.Optional(Type.String({ minLength: 1, maxLength: 12 })),
      /** Of the capability. */
      unit: Type.Optional(Type.String({ minLength: 1, maxLength: 16 })),
      bridge: Type.Optional(bridgeId()),
    },
    { additionalProperties: false },
  ),
])

const TaskBodySchema = Type.Object(
  {
    op: Type.Enum([...CALL_OPS]),
    capability: capabilityName(),
    value: Type.Optional(DeviceValueSchema),
    select: SelectSchema,
    count: Type.Optional(
      Type.Union([Type.Integer({ minimum: 1, maximum: LIMITS.deviceTaskDevicesMax }), Type.Literal('all')]),
    ),
    /** In s. */
    every: Type.Optional(
      Type.Integer({
        minimum: LIMITS.deviceTaskEveryMs / 1000,
        maximum: LIMITS.deviceTaskLongestEveryMs / 1000,
      }),
    ),
    /** RFC 3339, with its offset from UTC. */
    until: Type.Optional(
      Type.String({
        maxLength: 32,
        pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}(:\\d{2}(\\.\\d{1,3})?)?(Z|[+-]\\d{2}:\\d{2})$',
      }),
    ),
    ttl_ms: Type.Optional(Type.Integer({ minimum: 100, maximum: LIMITS.deviceCallMs })),
    retry: Type.Optional(Type.Integer({ minimum: 0, maximum: LIMITS.deviceTaskRetriesMax })),
    confirmed: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
)
type TaskBody = Static<typeof TaskBodySchema>

const TasksQuerySchema = Type.Object(
  { limit: Type.Optional(Type.String({ pattern: '^[0-9]{1,4}$' })) },
  { additionalProperties: false },
)
type TasksQuery = Static<typeof TasksQuerySchema>

interface OneTask {
  Params: { id: string }
}

export interface DeviceTaskRoutesComponents {
  readonly devices: Devices
  readonly clock: Clock
}

export function deviceTaskRoutes(
  app: FastifyInstance,
  { devices: { tasks }, clock }: DeviceTaskRoutesComponents,
): void {
  app.post<{ Body: TaskBody }>(
    '/mesh/v1/device-tasks',
    { schema: { body: TaskBodySchema }, config: { doc: MAKE_TASK_DOC } },
    async ({ body, caller }, reply) => {
      const spec = specOf(body, clock.wallMs())
      const { task, calls } = await tasks.make({ spec, tenant: caller.tenant, level: deviceLevelOf(caller) })
      return reply.code(201).send(deviceTaskView(task, calls))
    },
  )

  app.get<{ Querystring: TasksQuery }>(
    '/mesh/v1/device-tasks',
    { schema: { querystring: TasksQuerySchema }, config: { doc: DEVICE_TASKS_DOC } },
    async ({ caller, query: { limit = String(TASKS_DEFAULT) } }) => {
      checkLevel(caller, 'read')
      if (Number(limit) < 1 || Number(limit) > LIMITS.deviceTasksKeptMax)
        throw new SkeinError('INVALID_REQUEST', `limit must be 1 to ${LIMITS.deviceTasksKeptMax}`, { param: 'limit' })
      const own = caller.isAdmin ? {} : { tenant: caller.tenant }
      return listOf((await tasks.list({ ...own, limit: Number(limit) })).map((task) => deviceTaskView(task)))
    },
  )

  app.get<OneTask>('/mesh/v1/device-tasks/:id', { config: { doc: DEVICE_TASK_DOC } }, async ({ caller, params }) => {
    checkLevel(caller, 'read')
    const { task, calls } = await tasks.get(params.id, caller)
    return deviceTaskView(task, calls)
  })

  app.delete<OneTask>(
    '/mesh/v1/device-tasks/:id',
    { config: { doc: CANCEL_DEVICE_TASK_DOC } },
    async ({ caller, params }) => {
      checkLevel(caller, 'read')
      const { task, calls } = await tasks.cancel(params.id, caller)
      return deviceTaskView(task, calls)
    },
  )
}

/** @throws SkeinError INVALID_REQUEST naming `until`. */
function specOf({ op, capability, value, select, count = 1, retry = 0, ...body }: TaskBody, nowMs: number): TaskSpec {
  const { every, until, ttl_ms: ttlMs, confirmed: isConfirmed = false } = body
  const untilMs = until === undefined ? undefined : Date.parse(until)
  if (untilMs !== undefined && !(untilMs > nowMs && untilMs <= nowMs + LIMITS.deviceTaskUntilMs))
    throw new SkeinError('INVALID_REQUEST', 'until must be a time to come, within 366 days', { param: 'until' })
  return {
    ...{ op, capability, select, count, retry, isConfirmed },
    ...(value !== undefined && { value }),
    ...(every !== undefined && { everyMs: every * 1000 }),
    ...(untilMs !== undefined && { untilMs }),
    ...(ttlMs !== undefined && { ttlMs }),
  }
}
