/** Devices and their calls as clients see them. */
import type {
  CallOp,
  CallOutcome,
  DeviceCapability,
  DevicePolicy,
  DeviceState,
  DeviceValue,
} from '../../mesh/protocol/index.ts'
import type { CallEnd, CallResultView, CallValue, DeviceView as Device, StoredCall } from '../devices/index.ts'

/** One reading of a history. */
export interface DeviceReadingView {
  readonly name: string
  readonly value: DeviceValue
  readonly atMs: number
}

export interface ValueView {
  readonly value: DeviceValue
  readonly atMs: number
}

export interface DeviceView {
  readonly id: string
  readonly name?: string
  readonly class: string
  readonly firmware: string
  readonly dialect: 'frames' | 'lines' | 'mqtt'
  readonly rx: number
  readonly sleeps: number
  readonly capabilities: readonly DeviceCapability[]
  readonly policy: DevicePolicy
  readonly presence: {
    readonly state: DeviceState
    readonly sinceMs: number
    readonly bridge: string
    readonly bridgeOnline: boolean
  }
  readonly values: Readonly<Record<string, ValueView>>
  readonly shadow: {
    readonly desired: Readonly<Record<string, ValueView>>
    readonly reported: Readonly<Record<string, ValueView>>
  }
  readonly counts: { readonly readings: number }
  readonly joinedAtMs: number
}

export interface DeviceCallView {
  readonly call?: string
  readonly device: string
  readonly capability: string
  readonly op: CallOp
  readonly state: 'confirm' | 'open' | 'ended'
  readonly wanted?: CallValue
  readonly outcome?: CallOutcome
  readonly value?: CallValue
  readonly unit?: string
  readonly fresh?: boolean
  readonly ageMs?: number
  readonly error?: string
  readonly origin?: string
  readonly rule?: string
  readonly task?: string
  readonly key?: string
  readonly atMs?: number
  readonly endedAtMs?: number
}

type Named = ValueView & { readonly name: string }

const valuesOf = (all: readonly Named[]): Record<string, ValueView> =>
  Object.fromEntries(all.map(({ name, value, atMs }) => [name, { value, atMs }]))

/** What its policy lets nobody read is not told. */
export function deviceView({ descriptor, bridge, isBridgeOnline, last, desired, ...device }: Device): DeviceView {
  const { state, stateAtMs: sinceMs, readings, joinedAtMs } = device
  const actuators = new Set(descriptor.capabilities.flatMap(({ dir, name }) => (dir === 'actuator' ? [name] : [])))
  const told = descriptor.policy.read ? last : []
  return {
    ...descriptor,
    presence: { state, sinceMs, bridge, bridgeOnline: isBridgeOnline },
    values: valuesOf(told),
    shadow: { desired: valuesOf(desired), reported: valuesOf(told.filter(({ name }) => actuators.has(name))) },
    counts: { readings },
    joinedAtMs,
  }
}

/** A call as it is kept, or as it stands. */
export function callView(call: StoredCall, state: 'confirm' | 'open' | 'ended', end?: CallEnd): DeviceCallView {
  const { call: id, device, capability, op, value, origin, tenant: key, atMs } = call
  return {
    ...{ call: id, device, capability, op, state, origin, key, atMs },
    ...(call.rule !== undefined && { rule: call.rule }),
    ...(call.task !== undefined && { task: call.task }),
    ...(value !== undefined && { wanted: value }),
    ...end,
  }
}

/** @param wanted what was asked for. */
export function readView(
  { device, capability }: { readonly device: string; readonly capability: string },
  { call, isFresh, endedAtMs, ...result }: CallResultView,
  unit: string | undefined,
): DeviceCallView {
  return {
    ...(call && { call: call.call, atMs: call.atMs }),
    ...{ device, capability, op: 'read', state: 'ended', endedAtMs },
    ...result,
    ...(unit !== undefined && { unit }),
    ...(isFresh !== undefined && { fresh: isFresh }),
  }
}
