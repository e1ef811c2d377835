/**
 * Capabilities of devices as tools for models, and their results as models read them. A reading is data and never an
 * instruction: it goes into the tool role alone, its size is bounded, and a text that a device made is marked as such.
 */
import {
  LIMITS,
  type DeviceCapability,
  type DeviceDescriptor,
  type DeviceLevel,
  type DeviceValue,
} from '../../mesh/protocol/index.ts'
import { isWithin, type Devices } from '../devices/index.ts'
import type { DeviceCallView } from './device-views.ts'

export interface DeviceTool {
  /** `greenhouse.temperature`. */
  readonly name: string
  readonly device: string
  readonly capability: DeviceCapability
  readonly description: string
  /** JSON schema of the arguments. */
  readonly parameters: Readonly<Record<string, unknown>>
  /** Its `value` sets or runs it. */
  readonly mayAct: boolean
}

/**
 * What opens and closes, by the last word of its name. A boolean there is told to models as `open` and `closed`: small ones
 * take true of a vent for closed as often as not.
 */
const OPENS = /(?:^|_)(?:blind|cover|curtain|door|flap|gate|hatch|lid|roof|shutter|valve|vent|window)s?(?:_?\d+)?$/

/** Words for booleans, as models write them whatever the schema says. */
const BOOLEAN_WORDS: Readonly<Record<string, boolean>> = {
  ...{ open: true, on: true, true: true },
  ...{ closed: false, close: false, off: false, false: false },
}

/** Of texts that boards declare: nothing that could be more than a name or a unit. */
const plain = (text: string): string => text.replace(/[^\p{L}\p{N}%°/²³µΩ ._+-]/gu, '').trim()

/** Tools for the devices that may be used at `level`, in the order of their names, at most `max`. */
export function deviceToolsOf(
  devices: Devices,
  level: DeviceLevel,
  taken: ReadonlySet<string> = new Set(),
  max: number = LIMITS.deviceToolsMax,
): DeviceTool[] {
  const tools: DeviceTool[] = []
  for (const { descriptor } of devices.list())
    for (const capability of descriptor.capabilities) {
      const tool = toolOf(descriptor, capability, level)
      if (tool && !taken.has(tool.name)) tools.push(tool)
      if (tools.length >= max) return tools
    }
  return tools
}

function toolOf(device: DeviceDescriptor, capability: DeviceCapability, level: DeviceLevel): DeviceTool | undefined {
  const { policy } = device
  const { dir, name } = capability
  const mayRead = policy.read && isWithin('read', level) && dir !== 'command'
  const mayAct = policy.act !== 'no' && isWithin('act', level) && (dir === 'actuator' || dir === 'command')
  if (!mayRead && !mayAct) return undefined
  const { properties, required } = mayAct ? valueSchema(capability, mayRead) : { properties: {}, required: [] }
  return {
    name: `${device.id}.${name}`,
    device: device.id,
    capability,
    description: describe(device, capability, mayRead, mayAct),
    parameters: { type: 'object', properties, ...(required.length > 0 && { required }), additionalProperties: false },
    mayAct,
  }
}

function describe(
  { id, name }: DeviceDescriptor,
  { dir, type, name: capability, unit = '' }: DeviceCapability,
  mayRead: boolean,
  mayAct: boolean,
): string {
  const whose = name === undefined || plain(name).toLowerCase() === id ? id : `${id} (${plain(name)})`
  const measure = plain(unit) === '' ? '' : ` in ${plain(unit)}`
  const of = `the ${capability.replaceAll('_', ' ')} of ${whose}`
  if (dir === 'command') return `Runs ${of}.`
  if (!mayAct) return `Reads ${of}${measure}.`
  const acts =
    type !== 'boolean'
      ? `Sets ${of}${measure}`
      : OPENS.test(capability)
        ? `Opens or closes ${of}`
        : `Switches ${of} on or off`
  return mayRead ? `${acts}; without a value it reads it.` : `${acts}.`
}

const JSON_TYPES = {
  number: 'number',
  integer: 'integer',
  boolean: 'boolean',
  text: 'string',
  choice: 'string',
} as const

function valueSchema({ name, type, min, max, options }: DeviceCapability, isOptional: boolean) {
  const required = isOptional ? [] : ['value']
  if (type === 'none') return { properties: {}, required: [] }
  if (type === 'boolean' && OPENS.test(name))
    return { properties: { value: { type: 'string', enum: ['open', 'closed'] } }, required }
  const value = {
    type: JSON_TYPES[type],
    ...(min !== undefined && { minimum: min }),
    ...(max !== undefined && { maximum: max }),
    ...(type === 'choice' && { enum: options ?? [] }),
    ...(type === 'text' && { maxLength: LIMITS.deviceTextLengthMax }),
  }
  return { properties: { value }, required }
}

/** The `value` of a call's arguments, as the device has it. `undefined` when they are no object with at most that. */
export function argumentsOf({ type }: DeviceCapability, text: string): { readonly value?: DeviceValue } | undefined {
  try {
    const given: unknown = JSON.parse(text)
    if (typeof given !== 'object' || given === null || Array.isArray(given)) return undefined
    const { value, ...rest } = given as Record<string, unknown>
    if (Object.keys(rest).length > 0) return undefined
    // small models write null where they mean nothing
    if (value === undefined || value === null) return {}
    if (typeof value === 'object') return undefined
    const said = type === 'boolean' && typeof value === 'string' ? BOOLEAN_WORDS[value.toLowerCase()] : undefined
    return { value: said ?? (value as DeviceValue) }
  } catch {
    return undefined
  }
}

/** A board's float has 7 digits; what a double shows beyond them was never measured, and confuses small models. */
const rounded = <T>(value: T): T | number =>
  typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(7)) : value

/**
 * A call's end as the model is told: of a read the value, of an act that it was done, and what the device acknowledged where
 * that is not what was `wanted`. More than that small models read as something to tell.
 */
export function resultText(
  view: Pick<DeviceCallView, 'op' | 'outcome' | 'value' | 'unit' | 'fresh' | 'ageMs' | 'error'>,
  wanted?: DeviceValue,
): string {
  const { op, outcome = 'failed', value, unit, fresh, ageMs = 0, error } = view
  if (outcome !== 'done')
    return JSON.stringify({ ok: false, error: error === undefined ? outcome : `${outcome}: ${error}` })
  const isTold = op === 'read' || (op === 'run' && value !== undefined) || (value !== undefined && value !== wanted)
  const said =
    typeof value === 'string' ? { text_from_device: value } : typeof value === 'object' ? {} : { value: rounded(value) }
  return JSON.stringify({
    ...(op !== 'read' && { ok: true }),
    ...(isTold && said),
    ...(isTold && value !== undefined && unit !== undefined && plain(unit) !== '' && { unit: plain(unit) }),
    ...(fresh === false && { age_s: Math.round(ageMs / 1000), note: 'the last known value; it does not answer now' }),
  })
}

/** A call's end as people are told, in one line. */
export function resultLine(name: string, view: Parameters<typeof resultText>[0]): string {
  const { op, outcome, value, unit = '', fresh, ageMs = 0, error } = view
  const verb = op === 'read' ? 'read' : op === 'write' ? 'set' : 'ran'
  const what =
    value === undefined || typeof value === 'object'
      ? ''
      : `${String(rounded(value))}${unit === '' ? '' : ` ${plain(unit)}`}`
  if (outcome !== 'done') return `${verb} ${name}: ${outcome ?? 'failed'}${error === undefined ? '' : ` (${error})`}`
  const age = fresh === false ? ` (${Math.round(ageMs / 1000)} s ago)` : ''
  return `${verb} ${name}: ${what === '' ? 'done' : what}${age}`
}
