/** Members of an answer, looked at one by one: boards name devices, and whoever answers may be of another version. */
export type Fields = Readonly<Record<string, unknown>>

/** Longer texts are cut: no board writes a page full. */
const TEXT_MAX = 512

export const fieldsOf = (value: unknown): Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {}

export const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])

export const textOf = (value: unknown): string | undefined =>
  typeof value === 'string' ? value.slice(0, TEXT_MAX) : undefined

export const numberOf = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isFinite(value) ? value : undefined

export function oneOf<T extends string>(value: unknown, options: readonly T[]): T | undefined {
  return options.find((option) => option === value)
}

/** The `data` of a list, each as `read` has it; what it gives nothing for is left out. */
export function rowsOf<T>(answer: unknown, read: (row: unknown) => T | undefined): T[] {
  return listOf(fieldsOf(answer)['data']).flatMap((row) => {
    const value = read(row)
    return value === undefined ? [] : [value]
  })
}

/** `members` without those that are `undefined`. */
export function present<T extends object>(members: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as never
}
