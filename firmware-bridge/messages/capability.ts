/**
 * Capability strings: `<dir><type>:<name>[:<unit>[:<min>:<max> | :<a|b|c>]]`, such as `rf:temperature:C`, `wi:fan:%:0:100`
 * or `we:mode::off|low|high`.
 */
import {
  CAPABILITY_DIRS,
  CAPABILITY_NAME,
  CAPABILITY_TYPES,
  LIMITS,
  type DeviceCapability,
} from '../../mesh/protocol/index.ts'
import { utf8Length } from './fields.ts'
import { refuse, type Decoded, type Value } from './types.ts'

const UNIT_LENGTH_MAX = 16
const OPTION_LENGTH_MAX = 32
const OPTIONS_MAX = 32
const name = new RegExp(CAPABILITY_NAME)
const number = /^-?\d{1,15}(\.\d{1,15})?$/
/** Shown to people and to models: what a terminal or a prompt could take for more than a word is refused. */
const shown = /^[^\p{C}\p{Zl}\p{Zp}]+$/u

/** Which types can go with which directions: a command has no value or one, a model always answers. */
const TYPES_OF: Record<string, string> = { r: 'fibse', w: 'fibse', x: 'nfibse', m: 'fibse' }

export function parseCapability(text: string): Decoded<DeviceCapability> {
  if (utf8Length(text) > LIMITS.deviceCapabilityBytesMax) return refuse('a capability too long', 'too_large')
  const [head = '', called = '', unit = '', ...range] = text.split(':')
  const [dir = '', type = ''] = head
  if (head.length !== 2 || !TYPES_OF[dir]?.includes(type)) return refuse(`capability ${head}: no direction and type`)
  if (!name.test(called)) return refuse('a capability without a name')
  if (unit !== '' && (unit.length > UNIT_LENGTH_MAX || !shown.test(unit)))
    return refuse(`capability ${called}: its unit`)
  const described = {
    name: called,
    dir: CAPABILITY_DIRS[dir as keyof typeof CAPABILITY_DIRS],
    type: CAPABILITY_TYPES[type as keyof typeof CAPABILITY_TYPES],
    ...(unit !== '' && { unit }),
  }
  if (type === 'e') return withOptions(described, range)
  return withRange(described, range)
}

function withOptions(described: DeviceCapability, range: readonly string[]): Decoded<DeviceCapability> {
  const options = range.length === 1 ? range[0]!.split('|') : []
  const isList = options.length > 0 && options.length <= OPTIONS_MAX && new Set(options).size === options.length
  if (!isList || options.some((option) => option.length > OPTION_LENGTH_MAX || !shown.test(option)))
    return refuse(`capability ${described.name}: its choices`)
  return { ok: true, value: { ...described, options } }
}

function withRange(described: DeviceCapability, range: readonly string[]): Decoded<DeviceCapability> {
  if (range.length === 0) return { ok: true, value: described }
  const isNumber = described.type === 'number' || described.type === 'integer'
  // `-0` is 0
  const [min, max] = range.map((bound) => Number(bound) + 0)
  if (!isNumber || range.length !== 2 || !range.every((bound) => number.test(bound)) || min! > max!)
    return refuse(`capability ${described.name}: its range`)
  return { ok: true, value: { ...described, min: min!, max: max! } }
}

const letterOf = (table: Readonly<Record<string, string>>, word: string): string =>
  Object.keys(table).find((letter) => table[letter] === word) ?? ''

/** The string of a capability that `parseCapability` gave. */
export function formatCapability(capability: DeviceCapability): string {
  const { dir, type, unit = '', min, max, options } = capability
  const parts = [`${letterOf(CAPABILITY_DIRS, dir)}${letterOf(CAPABILITY_TYPES, type)}`, capability.name, unit]
  if (options !== undefined) parts.push(options.join('|'))
  else if (min !== undefined && max !== undefined) parts.push(decimal(min), decimal(max))
  else if (unit === '') parts.pop()
  return parts.join(':')
}

/** Without exponent, which small parsers do not know. */
const decimal = (value: number): string =>
  value.toString().includes('e') ? value.toFixed(15).replace(/\.?0+$/, '') : value.toString()

/**
 * `value` as `capability` has it, or why it cannot be one of its values. A boolean may be told as 0 or 1, a choice by its
 * place, as boards do; a number within its bounds, an integer whole.
 */
export function checkValue(capability: DeviceCapability, value: Value): Decoded<Value> {
  const wrong = (why: string): ReturnType<typeof refuse> => refuse(`${capability.name}: ${why}`, 'out_of_range')
  switch (capability.type) {
    case 'boolean':
      if (typeof value === 'boolean') return { ok: true, value }
      return value === 0 || value === 1 ? { ok: true, value: value === 1 } : wrong('neither on nor off')
    case 'text':
      return typeof value === 'string' ? { ok: true, value } : wrong('no text')
    case 'choice': {
      const options = capability.options ?? []
      const chosen = typeof value === 'number' ? options[value] : options.find((option) => option === value)
      return chosen === undefined ? wrong('none of its choices') : { ok: true, value: chosen }
    }
    case 'none':
      return wrong('it takes no value')
    default:
      return checkNumber(capability, value, wrong)
  }
}

function checkNumber(
  { type, min = -Infinity, max = Infinity }: DeviceCapability,
  value: Value,
  wrong: (why: string) => ReturnType<typeof refuse>,
): Decoded<Value> {
  if (typeof value !== 'number' || !Number.isFinite(value)) return wrong('no number')
  if (type === 'integer' && !Number.isInteger(value)) return wrong('not whole')
  return value >= min && value <= max ? { ok: true, value } : wrong(`not from ${min} to ${max}`)
}
