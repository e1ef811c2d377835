/** Answers of the gateway, read without trusting their shape. */

export type Fields = Readonly<Record<string, unknown>>

const TEXT_MAX = 300

export const record = (value: unknown): Fields => (typeof value === 'object' && value !== null ? (value as Fields) : {})

export const list = (value: unknown, max: number): Fields[] =>
  Array.isArray(value) ? value.slice(0, max).map(record) : []

/** Undefined of what is no text, or an empty one. */
export const text = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value.slice(0, TEXT_MAX) : undefined

export const number = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isFinite(value) ? value : undefined

export const texts = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((each): each is string => typeof each === 'string') : []
