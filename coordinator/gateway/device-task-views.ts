/** Device tasks as clients see them, and as `/openapi.json` tells of them. */
import { Type, type Static } from 'typebox'
import { CALL_OPS, CALL_OUTCOMES, DeviceValueSchema } from '../../mesh/protocol/index.ts'
import { TASK_OUTCOMES, type StoredTask, type StoredTaskCall } from '../devices/index.ts'
import { listSchema } from './openai-answer-schemas.ts'
import { jsonAnswer, type RouteDoc } from './route-doc.ts'

const count = () => Type.Integer({ minimum: 0 })
const timeMs = () => Type.Number({ minimum: 0 })

const DeviceTaskCallSchema = Type.Object(
  {
    /** From 1, over all passes. */
    n: count(),
    pass: count(),
    device: Type.String(),
    /** Its id at the desk. */
    call: Type.String(),
    /** Absent while it is open. */
    outcome: Type.Optional(Type.Enum([...CALL_OUTCOMES])),
    /** What the device read, or acknowledged. */
    value: Type.Optional(DeviceValueSchema),
    error: Type.Optional(Type.String()),
    atMs: timeMs(),
    endedAtMs: Type.Optional(timeMs()),
  },
  { title: 'DeviceTaskCall' },
)

export const DeviceTaskSchema = Type.Object(
  {
    id: Type.String(),
    object: Type.Literal('device_task'),
    op: Type.Enum([...CALL_OPS]),
    capability: Type.String(),
    value: Type.Optional(DeviceValueSchema),
    select: Type.Object({
      device: Type.Optional(Type.String()),
      class: Type.Optional(Type.String()),
      unit: Type.Optional(Type.String()),
      bridge: Type.Optional(Type.String()),
    }),
    count: Type.Union([count(), Type.Literal('all')]),
    /** In s. */
    every: Type.Optional(Type.Number()),
    /** RFC 3339, in UTC. */
    until: Type.Optional(Type.String()),
    ttl_ms: Type.Optional(count()),
    retry: count(),
    confirmed: Type.Boolean(),
    /** `active`, or how it ended. */
    state: Type.Enum(['active', ...TASK_OUTCOMES]),
    error: Type.Optional(Type.String()),
    /** The newest, from 1. */
    pass: count(),
    /** When the next one is due. */
    nextAtMs: Type.Optional(timeMs()),
    /** Of the newest pass that has ended. */
    last: Type.Optional(
      Type.Object({
        pass: count(),
        done: Type.Boolean(),
        error: Type.Optional(Type.String()),
        /** Why not, by device. */
        reasons: Type.Record(Type.String(), Type.String()),
      }),
    ),
    key: Type.String(),
    atMs: timeMs(),
    endedAtMs: Type.Optional(timeMs()),
    /** The newest, oldest first; absent in lists. */
    calls: Type.Optional(Type.Array(DeviceTaskCallSchema)),
  },
  { title: 'DeviceTask' },
)
export type DeviceTaskView = Static<typeof DeviceTaskSchema>
export type DeviceTaskCallView = Static<typeof DeviceTaskCallSchema>

/** @param calls of it, where they are told. */
export function deviceTaskView(stored: StoredTask, calls?: readonly StoredTaskCall[]): DeviceTaskView {
  const { task: id, spec, tenant: key, atMs, pass, nextAtMs, last, end } = stored
  const { op, capability, value, select, everyMs, untilMs, ttlMs, retry, isConfirmed: confirmed } = spec
  return {
    ...{ id, object: 'device_task', op, capability, select, count: spec.count, retry, confirmed },
    ...{ state: end?.outcome ?? 'active', pass, key, atMs },
    ...(value !== undefined && { value }),
    ...(everyMs !== undefined && { every: everyMs / 1000 }),
    ...(untilMs !== undefined && { until: new Date(untilMs).toISOString() }),
    ...(ttlMs !== undefined && { ttl_ms: ttlMs }),
    ...(end?.error !== undefined && { error: end.error }),
    ...(nextAtMs !== undefined && { nextAtMs }),
    ...(last && { last: lastView(last) }),
    ...(end && { endedAtMs: end.endedAtMs }),
    ...(calls && { calls: calls.map(taskCallView) }),
  }
}

const lastView = ({ pass, isDone: done, error, reasons }: NonNullable<StoredTask['last']>) => ({
  ...{ pass, done, reasons: { ...reasons } },
  ...(error !== undefined && { error }),
})

function taskCallView({ n, pass, device, call, atMs, end, isVoid }: StoredTaskCall): DeviceTaskCallView {
  const about = { n, pass, device, call, atMs }
  if (isVoid === true) return { ...about, outcome: 'expired', error: 'the coordinator was restarted meanwhile' }
  if (end === undefined) return about
  const { outcome, value, error, endedAtMs } = end
  return {
    ...{ ...about, outcome, endedAtMs },
    ...(value !== undefined && typeof value !== 'object' && { value }),
    ...(error !== undefined && { error }),
  }
}

const doc = (summary: string, description: string, schema: Parameters<typeof jsonAnswer>[1]): RouteDoc => ({
  tag: 'Devices',
  summary,
  answers: { 200: jsonAnswer(description, schema) },
  errors: ['LEDGER_UNAVAILABLE'],
})

export const MAKE_TASK_DOC: RouteDoc = {
  tag: 'Devices',
  summary: 'Have devices that fit read, set or run, once or again and again',
  answers: { 201: jsonAnswer('The task; it is durable.', DeviceTaskSchema) },
  errors: ['NOT_FOUND', 'FORBIDDEN', 'SATURATED', 'SHUTTING_DOWN', 'LEDGER_UNAVAILABLE'],
}
export const DEVICE_TASKS_DOC = doc('Device tasks, newest first', 'The tasks.', listSchema(DeviceTaskSchema))
export const DEVICE_TASK_DOC = doc('A device task, with its newest calls', 'The task.', DeviceTaskSchema)
export const CANCEL_DEVICE_TASK_DOC = doc(
  'Ends a device task; one that has ended stays as it is',
  'The task.',
  DeviceTaskSchema,
)
