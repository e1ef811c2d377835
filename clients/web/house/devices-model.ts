/** Devices as the page sees them: what the API tells, what events change of it, and what can be done with a capability. */
import { fieldsOf, listOf, numberOf, oneOf, rowsOf, textOf } from './reading.ts'

export type DeviceValue = string | number | boolean

export const DEVICE_STATES = ['init', 'ready', 'sleeping', 'disconnected', 'lost'] as const
export type DeviceState = (typeof DEVICE_STATES)[number]
const DIRS = ['sensor', 'model', 'actuator', 'command'] as const
const TYPES = ['number', 'integer', 'boolean', 'text', 'choice', 'none'] as const
const ACTS = ['no', 'confirm', 'yes'] as const
export type ActPolicy = (typeof ACTS)[number]
const OPS = ['read', 'write', 'run'] as const
const OUTCOMES = ['done', 'failed', 'expired', 'refused', 'unknown'] as const
export type CallOutcome = (typeof OUTCOMES)[number]
const CALL_STATES = ['confirm', 'open', 'ended'] as const

export interface Capability {
  readonly name: string
  readonly dir: (typeof DIRS)[number]
  readonly type: (typeof TYPES)[number]
  readonly unit: string | undefined
  readonly min: number | undefined
  readonly max: number | undefined
  readonly options: readonly string[]
}

export interface ValueAt {
  readonly value: DeviceValue
  readonly atMs: number
}

export interface DeviceShown {
  readonly id: string
  readonly name: string | undefined
  readonly class: string
  readonly firmware: string
  readonly state: DeviceState
  readonly sinceMs: number
  readonly bridge: string
  readonly isBridgeOnline: boolean
  readonly capabilities: readonly Capability[]
  readonly values: Readonly<Record<string, ValueAt>>
  readonly desired: Readonly<Record<string, ValueAt>>
  readonly reported: Readonly<Record<string, ValueAt>>
  readonly policy: {
    readonly read: boolean
    readonly act: ActPolicy
    readonly ask: boolean
    readonly isLocalOnly: boolean
  }
  readonly readings: number
  readonly joinedAtMs: number
}

export interface CallShown {
  /** Absent of a read. */
  readonly call: string | undefined
  readonly device: string
  readonly capability: string
  readonly op: (typeof OPS)[number]
  readonly state: (typeof CALL_STATES)[number]
  readonly wanted: DeviceValue | undefined
  readonly outcome: CallOutcome | undefined
  readonly value: DeviceValue | undefined
  readonly isFresh: boolean
  readonly ageMs: number | undefined
  readonly error: string | undefined
  readonly origin: string
  readonly key: string | undefined
  readonly atMs: number
}

export interface ReadingShown extends ValueAt {
  readonly name: string
}

const valueOf = (value: unknown): DeviceValue | undefined =>
  typeof value === 'boolean' ? value : (numberOf(value) ?? textOf(value))

function capabilityOf(body: unknown): Capability | undefined {
  const { name, dir, type, unit, min, max, options } = fieldsOf(body)
  const [called, is, holds] = [textOf(name), oneOf(dir, DIRS), oneOf(type, TYPES)]
  if (called === undefined || is === undefined || holds === undefined) return undefined
  return {
    ...{ name: called, dir: is, type: holds, unit: textOf(unit), min: numberOf(min), max: numberOf(max) },
    options: listOf(options).flatMap((option) => textOf(option) ?? []),
  }
}

function valuesOf(body: unknown): Record<string, ValueAt> {
  const read = Object.entries(fieldsOf(body)).flatMap(([name, each]) => {
    const value = valueOf(fieldsOf(each)['value'])
    return value === undefined ? [] : [[name, { value, atMs: numberOf(fieldsOf(each)['atMs']) ?? 0 }] as const]
  })
  return Object.fromEntries(read)
}

/** `undefined` for what is no device. */
export function deviceOf(body: unknown): DeviceShown | undefined {
  const fields = fieldsOf(body)
  const id = textOf(fields['id'])
  if (id === undefined) return undefined
  const presence = fieldsOf(fields['presence'])
  const policy = fieldsOf(fields['policy'])
  const shadow = fieldsOf(fields['shadow'])
  return {
    id,
    name: textOf(fields['name']),
    class: textOf(fields['class']) ?? '',
    firmware: textOf(fields['firmware']) ?? '',
    state: oneOf(presence['state'], DEVICE_STATES) ?? 'lost',
    sinceMs: numberOf(presence['sinceMs']) ?? 0,
    bridge: textOf(presence['bridge']) ?? '',
    isBridgeOnline: presence['bridgeOnline'] === true,
    capabilities: listOf(fields['capabilities']).flatMap((each) => capabilityOf(each) ?? []),
    values: valuesOf(fields['values']),
    desired: valuesOf(shadow['desired']),
    reported: valuesOf(shadow['reported']),
    policy: {
      read: policy['read'] === true,
      act: oneOf(policy['act'], ACTS) ?? 'no',
      ask: policy['ask'] === true,
      isLocalOnly: policy['local_only'] === true,
    },
    readings: numberOf(fieldsOf(fields['counts'])['readings']) ?? 0,
    joinedAtMs: numberOf(fields['joinedAtMs']) ?? 0,
  }
}

export const devicesOf = (answer: unknown): DeviceShown[] => rowsOf(answer, deviceOf)

/** Names of the bridges that are connected, of the answer that lists the devices. */
export const bridgesOf = (answer: unknown): string[] =>
  listOf(fieldsOf(answer)['bridges']).flatMap((each) => textOf(each) ?? [])

/** `undefined` for what is no call. */
export function callOf(body: unknown): CallShown | undefined {
  const fields = fieldsOf(body)
  const [device, capability] = [textOf(fields['device']), textOf(fields['capability'])]
  const state = oneOf(fields['state'], CALL_STATES)
  if (device === undefined || capability === undefined || state === undefined) return undefined
  return {
    ...{ device, capability, state, call: textOf(fields['call']), op: oneOf(fields['op'], OPS) ?? 'read' },
    wanted: valueOf(fields['wanted']),
    outcome: oneOf(fields['outcome'], OUTCOMES),
    value: valueOf(fields['value']),
    isFresh: fields['fresh'] !== false,
    ageMs: numberOf(fields['ageMs']),
    error: textOf(fields['error']),
    origin: textOf(fields['origin']) ?? 'api',
    key: textOf(fields['key']),
    atMs: numberOf(fields['atMs']) ?? 0,
  }
}

export const callsOf = (answer: unknown): CallShown[] => rowsOf(answer, callOf)

export function readingOf(body: unknown): ReadingShown | undefined {
  const { name, value, atMs } = fieldsOf(body)
  const [called, read, at] = [textOf(name), valueOf(value), numberOf(atMs)]
  return called === undefined || read === undefined || at === undefined
    ? undefined
    : { name: called, value: read, atMs: at }
}

/** `devices` after `event`; `undefined` where it has to be asked anew what they are. */
export function afterEvent(
  devices: readonly DeviceShown[],
  event: Readonly<Record<string, unknown>>,
): readonly DeviceShown[] | undefined {
  const { type, device, bridge, atMs } = event
  const change = (of: (each: DeviceShown) => boolean, how: (each: DeviceShown) => DeviceShown) =>
    devices.map((each) => (of(each) ? how(each) : each))
  if (type === 'device.bridge')
    return change(
      (each) => each.bridge === bridge,
      (each) => ({ ...each, isBridgeOnline: event['isOnline'] === true }),
    )
  const known = devices.some(({ id }) => id === device)
  if (type === 'device.reading') {
    const reading = readingOf({ name: event['name'], value: event['value'], atMs: event['readAtMs'] })
    if (!known || reading === undefined) return devices
    return change(
      ({ id }) => id === device,
      (each) => ({
        ...each,
        readings: each.readings + 1,
        values: { ...each.values, [reading.name]: { value: reading.value, atMs: reading.atMs } },
      }),
    )
  }
  const state = oneOf(event['state'], DEVICE_STATES)
  if (type === 'device.state' && known && state !== undefined)
    return change(
      ({ id }) => id === device,
      (each) => ({ ...each, state, sinceMs: numberOf(atMs) ?? each.sinceMs }),
    )
  return undefined
}

/** How a capability is set by hand. */
export type Control = 'none' | 'switch' | 'slider' | 'number' | 'choice' | 'text'

/** Steps of a slider at most: more than these no hand tells apart. */
const SLIDER_STEPS_MAX = 1000

export function controlOf({ type, min, max, options }: Capability): Control {
  if (type === 'boolean') return 'switch'
  if (type === 'choice') return options.length > 0 ? 'choice' : 'text'
  if (type === 'text') return 'text'
  if (type === 'none') return 'none'
  if (min === undefined || max === undefined || max <= min) return 'number'
  return type === 'number' || max - min <= SLIDER_STEPS_MAX ? 'slider' : 'number'
}

/** Of a slider: whole numbers, or a hundred steps that are round in decimals. */
export function stepOf({ type, min = 0, max = 1 }: Capability): number {
  if (type === 'integer') return 1
  return 10 ** Math.floor(Math.log10((max - min) / 100) + 1e-9)
}

export type Typed = { readonly value: DeviceValue } | { readonly problem: 'number' | 'whole' | 'range' | 'empty' }

/** What was typed for `capability`, or what is wrong with it. */
export function typedValue({ type, min, max }: Capability, text: string): Typed {
  if (type === 'text' || type === 'choice') return text === '' ? { problem: 'empty' } : { value: text }
  const value = Number(text.trim().replace(',', '.'))
  if (text.trim() === '' || !Number.isFinite(value)) return { problem: 'number' }
  if (type === 'integer' && !Number.isInteger(value)) return { problem: 'whole' }
  if ((min !== undefined && value < min) || (max !== undefined && value > max)) return { problem: 'range' }
  return { value }
}

/** As people write units: `C` is a degree. */
export const unitText = (unit: string): string => (unit === 'C' || unit === 'F' ? `°${unit}` : unit)

/** What may be done with `capability` of `device` by hand: nothing, or at once, or after one more question. */
export function actingOf({ policy }: DeviceShown): ActPolicy {
  return policy.act
}

/** Numbers of one name, oldest first, for a line. */
export const seriesOf = (readings: readonly ReadingShown[], name: string): number[] =>
  readings.flatMap((each) => {
    if (each.name !== name) return []
    return typeof each.value === 'number' ? [each.value] : typeof each.value === 'boolean' ? [Number(each.value)] : []
  })

/** As the command line writes a value. */
export const argumentOf = (value: DeviceValue): string => {
  const text = value === true ? 'on' : value === false ? 'off' : String(value)
  return /^[\w./:+-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`
}
