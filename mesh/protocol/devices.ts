/**
 * Devices as the bridge and the coordinator tell each other of them, and as clients see them. A device is a board behind a
 * bridge: it has capabilities (sensors that are read, actuators that are set, commands that are run, models that it runs
 * itself), and its owner's policy says what others may do with them. Times are wall-clock ms since 1970.
 */
import { Type, type Static } from 'typebox'
import { LIMITS } from './limits.ts'
import { count, list, parser, text } from './schema.ts'

export const DEVICE_ID = '^[a-z0-9][a-z0-9-]{0,22}$'
/** Of an owner's rule. */
export const RULE_NAME = '^[a-z0-9][a-z0-9-]{0,31}$'
export const CAPABILITY_NAME = '^[a-z][a-z0-9_]{0,30}$'
/** Calls to this device are for the bridge itself: `add`, `approve`, `revoke`, `claims`, `policy`. */
export const BRIDGE_DEVICE = '$bridge'

export const deviceId = () => Type.String({ pattern: DEVICE_ID })
/** A device, or the bridge itself. */
const calledId = () => Type.String({ pattern: `^\\$bridge$|${DEVICE_ID}` })
export const capabilityName = () => Type.String({ pattern: CAPABILITY_NAME })
export const bridgeId = () => Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' })
const uuid = () => Type.String({ pattern: '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' })

/** What a capability is, by the letter that capability strings have for it. */
export const CAPABILITY_DIRS = { r: 'sensor', w: 'actuator', x: 'command', m: 'model' } as const
export type CapabilityDir = (typeof CAPABILITY_DIRS)[keyof typeof CAPABILITY_DIRS]

/** Of what type its value is, by the letter that capability strings have for it. */
export const CAPABILITY_TYPES = {
  f: 'number',
  i: 'integer',
  b: 'boolean',
  s: 'text',
  e: 'choice',
  n: 'none',
} as const
export type CapabilityType = (typeof CAPABILITY_TYPES)[keyof typeof CAPABILITY_TYPES]

/** A value of a capability; a choice is the text of its option. */
export const DeviceValueSchema = Type.Union([
  Type.Boolean(),
  Type.Number({ minimum: -Number.MAX_VALUE, maximum: Number.MAX_VALUE }),
  text(LIMITS.deviceTextLengthMax),
])
export type DeviceValue = Static<typeof DeviceValueSchema>

export const CapabilitySchema = Type.Object(
  {
    name: capabilityName(),
    dir: Type.Enum(Object.values(CAPABILITY_DIRS)),
    type: Type.Enum(Object.values(CAPABILITY_TYPES)),
    /** `C`, `%`. */
    unit: Type.Optional(text(16, 1)),
    /** Smallest and largest value of a number. */
    min: Type.Optional(Type.Number()),
    max: Type.Optional(Type.Number()),
    /** Of a choice. */
    options: Type.Optional(list(text(32, 1), 32, 1)),
  },
  { title: 'DeviceCapability' },
)
export type DeviceCapability = Static<typeof CapabilitySchema>

/** What a caller may do with devices: nothing, read them, or set and run them too. */
export const DEVICE_LEVELS = ['none', 'read', 'act'] as const
export type DeviceLevel = (typeof DEVICE_LEVELS)[number]

/** What the owner lets others do with a device. */
export const DevicePolicySchema = Type.Object(
  {
    /** Its sensors may be read, and its values be seen. */
    read: Type.Boolean(),
    /** Its actuators may be set and its commands run: not at all, when a person confirms each call, or at once. */
    act: Type.Enum(['no', 'confirm', 'yes']),
    /** It may ask models. */
    ask: Type.Boolean(),
    /** What it asks stays on the owner's machines. */
    local_only: Type.Boolean(),
    /** Questions that it may ask in a minute; as its bridge has it, when absent. */
    asks_per_minute: Type.Optional(Type.Integer({ minimum: 1, maximum: LIMITS.deviceAsksPerMinuteMax })),
    /** Tokens that its questions and their answers may take in a day (UTC); as its bridge has it, when absent. */
    tokens_per_day: Type.Optional(Type.Integer({ minimum: 1, maximum: LIMITS.deviceTokensPerDayMax })),
  },
  { title: 'DevicePolicy' },
)
export type DevicePolicy = Static<typeof DevicePolicySchema>

export const DeviceDescriptorSchema = Type.Object(
  {
    id: deviceId(),
    /** What its owner calls it. */
    name: Type.Optional(text(64, 1)),
    /** `uno`, `esp32`. */
    class: text(12),
    firmware: text(16),
    dialect: Type.Enum(['frames', 'lines', 'mqtt']),
    /** Largest message body that it takes, in bytes. */
    rx: count(1 << 20),
    /** Longest sleep in s; 0 of one that never sleeps. */
    sleeps: count(2 ** 31),
    capabilities: list(CapabilitySchema, LIMITS.deviceCapabilitiesMax),
    policy: DevicePolicySchema,
  },
  { title: 'DeviceDescriptor' },
)
export type DeviceDescriptor = Static<typeof DeviceDescriptorSchema>

export const DEVICE_STATES = ['init', 'ready', 'sleeping', 'disconnected', 'lost'] as const
export type DeviceState = (typeof DEVICE_STATES)[number]

const atMs = () => count()

export const DeviceStateReportSchema = Type.Object({
  device: deviceId(),
  state: Type.Enum([...DEVICE_STATES]),
  atMs: atMs(),
})
export type DeviceStateReport = Static<typeof DeviceStateReportSchema>

export const ReadingSchema = Type.Object({
  device: deviceId(),
  name: capabilityName(),
  value: DeviceValueSchema,
  /** When it was read, as far as the bridge knows. */
  atMs: atMs(),
  /** Of the device's start, and number of its `tele` message. */
  boot: count(2 ** 32 - 1),
  n: count(2 ** 32 - 1),
})
export type Reading = Static<typeof ReadingSchema>

/** How a call ended: `unknown` when it may have been carried out and nobody knows. */
export const CALL_OUTCOMES = ['done', 'failed', 'expired', 'refused', 'unknown'] as const
export type CallOutcome = (typeof CALL_OUTCOMES)[number]

/** JSON objects are what calls to the bridge itself are given and answered with. */
const callValue = () =>
  Type.Union([DeviceValueSchema, Type.Record(Type.String({ maxLength: 64 }), Type.Unknown(), { maxProperties: 256 })])

export const CallResultSchema = Type.Object({
  call: uuid(),
  outcome: Type.Enum([...CALL_OUTCOMES]),
  /** After the write, or as it was read. */
  value: Type.Optional(callValue()),
  /** For people, and compact codes. */
  error: Type.Optional(text(256)),
  atMs: atMs(),
})
export type CallResult = Static<typeof CallResultSchema>

/**
 * What came of an owner's rule whose condition was met, where that is no call: it was held back (`cooldown`, `per_hour`, `busy`,
 * `not_permitted`: the device may not be read), its model said no (`declined`) or nothing (`not_asked`), a call of it was refused
 * (`forbidden`) or could not be made (`not_acted`), or it could not be written down (`not_recorded`).
 */
export const RULE_OUTCOMES = [
  ...(['cooldown', 'per_hour', 'busy', 'not_permitted', 'declined'] as const),
  ...(['not_asked', 'forbidden', 'not_acted', 'not_recorded'] as const),
] as const
export type RuleOutcome = (typeof RULE_OUTCOMES)[number]

export const RuleReportSchema = Type.Object({
  rule: Type.String({ pattern: RULE_NAME }),
  /** Whose reading met it. */
  device: deviceId(),
  outcome: Type.Enum([...RULE_OUTCOMES]),
  /** Since it was told last. */
  times: count(2 ** 32 - 1, 1),
  /** Of the last of them. */
  atMs: atMs(),
})
export type RuleReport = Static<typeof RuleReportSchema>

/** `POST /mesh/v1/bridge/reports`: what happened at a bridge since its last report. Later entries are newer. */
export const BridgeReportSchema = Type.Object(
  {
    bridge: bridgeId(),
    /** Of this start of the bridge. */
    session: uuid(),
    /** Grows with each report of a bridge, over its starts too. One that is recorded is answered and not applied again. */
    seq: count(Number.MAX_SAFE_INTEGER, 1),
    /** New and changed ones. */
    devices: list(DeviceDescriptorSchema, LIMITS.bridgeReportDevicesMax),
    /** Those that were revoked. */
    gone: list(deviceId(), LIMITS.bridgeReportDevicesMax),
    states: list(DeviceStateReportSchema, LIMITS.bridgeReportReadingsMax),
    readings: list(ReadingSchema, LIMITS.bridgeReportReadingsMax),
    results: list(CallResultSchema, LIMITS.bridgeReportResultsMax),
    rules: Type.Optional(list(RuleReportSchema, LIMITS.bridgeReportRulesMax)),
    /** Boards that ask to be let in, by the codes that they show; for those who watch events. */
    claims: Type.Optional(
      list(Type.Object({ code: text(32, 1), class: Type.Optional(text(12)) }), LIMITS.bridgeReportDevicesMax),
    ),
  },
  { title: 'BridgeReport' },
)
export type BridgeReport = Static<typeof BridgeReportSchema>
export const parseBridgeReport = parser(BridgeReportSchema, 'report of a bridge', 'INVALID_REQUEST')

export const BridgeRecordedSchema = Type.Object(
  {
    /** Of the newest report that is recorded; everything up to it is. */
    recorded: count(),
  },
  { title: 'BridgeRecorded' },
)
export type BridgeRecorded = Static<typeof BridgeRecordedSchema>
export const parseBridgeRecorded = parser(BridgeRecordedSchema, "answer to a bridge's report", 'INVALID_REQUEST')

export const CALL_OPS = ['read', 'write', 'run'] as const
export type CallOp = (typeof CALL_OPS)[number]

/** Data of `event: call` of `GET /mesh/v1/bridge/calls`: carry this out, once. */
export const BridgeCallSchema = Type.Object(
  {
    call: uuid(),
    device: calledId(),
    capability: capabilityName(),
    op: Type.Enum([...CALL_OPS]),
    value: Type.Optional(callValue()),
    expiresAtMs: atMs(),
  },
  { title: 'BridgeCall' },
)
export type BridgeCall = Static<typeof BridgeCallSchema>
export const parseBridgeCall = parser(BridgeCallSchema, 'call for a bridge', 'INVALID_REQUEST')

/** Data of `event: cancel`: nobody waits for it any more; it need not be carried out. */
export const BridgeCancelSchema = Type.Object({ call: uuid() }, { title: 'BridgeCancel' })
export type BridgeCancel = Static<typeof BridgeCancelSchema>
export const parseBridgeCancel = parser(BridgeCancelSchema, 'cancelling for a bridge', 'INVALID_REQUEST')
