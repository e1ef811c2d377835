/** Answers about devices, as `/openapi.json` tells them. */
import { Type, type TSchema } from 'typebox'
import {
  BridgeCallSchema,
  BridgeCancelSchema,
  BridgeRecordedSchema,
  CALL_OPS,
  CALL_OUTCOMES,
  CapabilitySchema,
  DEVICE_STATES,
  DevicePolicySchema,
  DeviceValueSchema,
} from '../../mesh/protocol/index.ts'
import { listSchema } from './openai-answer-schemas.ts'
import { EVENTS_TYPE, jsonAnswer, type RouteDoc } from './route-doc.ts'

const count = () => Type.Integer({ minimum: 0 })
const amount = () => Type.Number({ minimum: 0 })
const valueAt = () => Type.Object({ value: DeviceValueSchema, atMs: amount() })

export const DeviceSchema = Type.Object(
  {
    id: Type.String(),
    name: Type.Optional(Type.String()),
    class: Type.String(),
    firmware: Type.String(),
    dialect: Type.Enum(['frames', 'lines', 'mqtt']),
    rx: count(),
    sleeps: count(),
    capabilities: Type.Array(CapabilitySchema),
    policy: DevicePolicySchema,
    presence: Type.Object({
      state: Type.Enum([...DEVICE_STATES]),
      sinceMs: amount(),
      bridge: Type.String(),
      bridgeOnline: Type.Boolean(),
    }),
    /** The last value of each capability that has one. */
    values: Type.Record(Type.String(), valueAt()),
    shadow: Type.Object({
      desired: Type.Record(Type.String(), valueAt()),
      reported: Type.Record(Type.String(), valueAt()),
    }),
    counts: Type.Object({ readings: count() }),
    joinedAtMs: amount(),
  },
  { title: 'Device' },
)

export const DeviceReadingSchema = Type.Object(
  { name: Type.String(), value: DeviceValueSchema, atMs: amount() },
  { title: 'DeviceReading' },
)

/** Of calls to a bridge a JSON object. */
const callValue = () => Type.Union([DeviceValueSchema, Type.Object({})])

export const DeviceCallSchema = Type.Object(
  {
    /** Absent of a read that nobody had to be asked for. */
    call: Type.Optional(Type.String()),
    device: Type.String(),
    capability: Type.String(),
    op: Type.Enum([...CALL_OPS]),
    /** `confirm`: it waits for a person. */
    state: Type.Enum(['confirm', 'open', 'ended']),
    /** What it sets. */
    wanted: Type.Optional(callValue()),
    outcome: Type.Optional(Type.Enum([...CALL_OUTCOMES])),
    /** What the device acknowledged, or read. */
    value: Type.Optional(callValue()),
    unit: Type.Optional(Type.String()),
    /** Of a read: whether the device has just answered; else how old the value is. */
    fresh: Type.Optional(Type.Boolean()),
    ageMs: Type.Optional(amount()),
    error: Type.Optional(Type.String()),
    origin: Type.Optional(Type.String()),
    /** Of a call of the origin `rule`: which. */
    rule: Type.Optional(Type.String()),
    /** Of a call of the origin `task`: which. */
    task: Type.Optional(Type.String()),
    key: Type.Optional(Type.String()),
    atMs: Type.Optional(amount()),
    endedAtMs: Type.Optional(amount()),
  },
  { title: 'DeviceCall' },
)

const doc = (summary: string, schema: TSchema, errors: RouteDoc['errors'] = [], description = 'As it is now.') => ({
  tag: 'Devices' as const,
  summary,
  answers: { 200: jsonAnswer(description, schema) },
  errors,
})

const CALL_ERRORS: NonNullable<RouteDoc['errors']> = [
  'NOT_FOUND',
  'FORBIDDEN',
  'RATE_LIMITED',
  'SATURATED',
  'BRIDGE_OFFLINE',
  'LEDGER_UNAVAILABLE',
]

export const DEVICES_DOC: RouteDoc = doc(
  'The devices behind all bridges, and which bridges are connected',
  Type.Object({ object: Type.Literal('list'), data: Type.Array(DeviceSchema), bridges: Type.Array(Type.String()) }),
)
export const DEVICE_DOC: RouteDoc = doc('One device: what it can do, how it is, what it last said', DeviceSchema)
export const HISTORY_DOC: RouteDoc = doc('Readings of a device, oldest first', listSchema(DeviceReadingSchema), [
  'LEDGER_UNAVAILABLE',
])
export const DEVICE_CALLS_DOC: RouteDoc = doc(
  'Calls that changed something, newest first',
  listSchema(DeviceCallSchema),
  ['LEDGER_UNAVAILABLE'],
)
export const DESIRED_DOC: RouteDoc = doc(
  'Say what actuators are to have, also while the device is away',
  DeviceSchema,
  ['LEDGER_UNAVAILABLE'],
)
export const WAITING_DOC: RouteDoc = doc('Calls that wait for a person', listSchema(DeviceCallSchema))
export const CONFIRM_DOC: RouteDoc = doc(
  'Approve a call that waits for a person, or refuse it',
  DeviceCallSchema,
  CALL_ERRORS,
  'How it ended.',
)
export const CALL_DOC: RouteDoc = {
  tag: 'Devices',
  summary: 'Read a sensor, set an actuator, or run a command',
  answers: {
    200: jsonAnswer('How it ended.', DeviceCallSchema),
    202: jsonAnswer('It waits to be confirmed.', DeviceCallSchema),
  },
  errors: CALL_ERRORS,
}
export const REPORT_DOC: RouteDoc = doc(
  'What happened at a bridge; the same report again changes nothing',
  BridgeRecordedSchema,
  ['SATURATED', 'LEDGER_UNAVAILABLE'],
  'It is durable.',
)
export const BRIDGE_CALLS_DOC: RouteDoc = {
  tag: 'Devices',
  summary: 'Calls for the devices of a bridge, as they are made',
  answers: {
    200: {
      description: 'Calls, until the bridge leaves or another stream takes its place.',
      content: { [EVENTS_TYPE]: { schema: Type.String(), items: Type.Union([BridgeCallSchema, BridgeCancelSchema]) } },
    },
  },
  errors: ['SATURATED', 'SHUTTING_DOWN'],
}
