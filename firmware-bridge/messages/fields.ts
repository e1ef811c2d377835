/**
 * Fields of messages: how each is read from a value of the wire, and written to one. Reading is total: whatever the value,
 * a field is what its type says, or `undefined`.
 */
import { LIMITS, type DeviceValue } from '../../mesh/protocol/index.ts'
import { COMPACT_ERRORS, compactNumber, compactOfNumber, type CompactError } from './compact-errors.ts'
import type { CapabilityRef, Format, Value } from './types.ts'

export interface Field<T> {
  readonly read: (wire: unknown, format: Format) => T | undefined
  readonly write: (value: T, format: Format) => unknown
}

const same = <T>(value: T): T => value

export const UINT32_MAX = 2 ** 32 - 1
export const UINT16_MAX = 2 ** 16 - 1

export const uint = (maximum: number = UINT32_MAX, minimum = 0): Field<number> => ({
  read: (wire) =>
    typeof wire === 'number' && Number.isInteger(wire) && wire >= minimum && wire <= maximum ? wire + 0 : undefined,
  write: same,
})

/** Times in s since 1970 outlive 32 bits. */
export const MAX_SECONDS = 2 ** 40

/** Finite, from 0 to 1. */
export const share: Field<number> = {
  read: (wire) => (typeof wire === 'number' && wire >= 0 && wire <= 1 ? wire : undefined),
  write: same,
}

const encoder = new TextEncoder()
export const utf8Length = (text: string): number => encoder.encode(text).length

/** Text of at most `bytesMax` bytes in UTF-8. */
export const text = (bytesMax: number, pattern?: RegExp): Field<string> => ({
  read: (wire) =>
    typeof wire === 'string' &&
    wire.length <= bytesMax &&
    utf8Length(wire) <= bytesMax &&
    (pattern === undefined || pattern.test(wire))
      ? wire
      : undefined,
  // half of a pair of surrogates is no character, and has no bytes
  write: (value) => value.toWellFormed(),
})

/** 1 or 0 on the wire. */
export const flag: Field<boolean> = {
  read: (wire) => (wire === 1 || wire === true ? true : wire === 0 || wire === false ? false : undefined),
  write: (value) => (value ? 1 : 0),
}

/** A word in JSON, its place in CBOR; a place is read in JSON too. */
export const word = <const W extends string>(words: readonly W[]): Field<W> => ({
  read: (wire, format) => {
    if (typeof wire === 'number') return words[wire]
    return format === 'json' ? words.find((known) => known === wire) : undefined
  },
  write: (value, format) => (format === 'json' ? value : words.indexOf(value)),
})

/** A place in both formats, to be short; a word is read in JSON too. */
export const place = <const W extends string>(words: readonly W[]): Field<W> => ({
  read: word(words).read,
  write: (value) => words.indexOf(value),
})

export const compactError: Field<CompactError> = {
  read: (wire, format) =>
    format === 'json' && typeof wire === 'string'
      ? COMPACT_ERRORS.find((known) => known === wire)
      : compactOfNumber(wire),
  write: compactNumber,
}

export const list = <T>(item: Field<T>, itemsMax: number): Field<readonly T[]> => ({
  read: (wire, format) => {
    if (!Array.isArray(wire) || wire.length > itemsMax) return undefined
    const items: T[] = []
    for (const raw of wire as unknown[]) {
      const value = item.read(raw, format)
      if (value === undefined) return undefined
      items.push(value)
    }
    return items
  },
  write: (value, format) => value.map((each) => item.write(each, format)),
})

const valueText = text(LIMITS.deviceTextLengthMax)

export const value: Field<Value> = {
  read: (wire, format) => {
    if (typeof wire === 'boolean') return wire
    if (typeof wire === 'number') return Number.isFinite(wire) ? wire + 0 : undefined
    return valueText.read(wire, format)
  },
  write: (each: DeviceValue) => (typeof each === 'string' ? each.toWellFormed() : each),
}

const capabilityIndex = uint(LIMITS.deviceCapabilitiesMax - 1)
export const capabilityName = text(31, /^[a-z][a-z0-9_]{0,30}$/)

export const capabilityRef: Field<CapabilityRef> = {
  read: (wire, format) =>
    typeof wire === 'number' ? capabilityIndex.read(wire, format) : capabilityName.read(wire, format),
  write: same,
}

/** An object of names in JSON; in CBOR a flat list of index and value, index and value. */
export const readings: Field<readonly (readonly [CapabilityRef, Value])[]> = {
  read: (wire, format) => {
    const flat = format === 'json' ? flattened(wire) : wire
    if (!Array.isArray(flat) || flat.length % 2 !== 0 || flat.length > 2 * LIMITS.deviceCapabilitiesMax)
      return undefined
    const pairs: (readonly [CapabilityRef, Value])[] = []
    for (let at = 0; at < flat.length; at += 2) {
      const name = capabilityRef.read(flat[at], format)
      const read = value.read(flat[at + 1], format)
      if (name === undefined || read === undefined) return undefined
      pairs.push([name, read])
    }
    return pairs
  },
  write: (pairs, format) =>
    format === 'json'
      ? Object.fromEntries(pairs.map(([name, each]) => [name, value.write(each, format)]))
      : pairs.flatMap(([name, each]) => [name, value.write(each, format)]),
}

const flattened = (wire: unknown): unknown =>
  typeof wire === 'object' && wire !== null && !Array.isArray(wire) ? Object.entries(wire).flat() : undefined

/** An object of JSON, as it is; its size is bounded by that of the message. */
export const jsonObject: Field<Readonly<Record<string, unknown>>> = {
  read: (wire, format) =>
    format === 'json' && typeof wire === 'object' && wire !== null && !Array.isArray(wire)
      ? (wire as Record<string, unknown>)
      : undefined,
  write: same,
}
