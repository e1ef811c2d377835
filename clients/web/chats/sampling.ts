/** Fields of sampling as people write them: bounds, and what an empty one means. */

export type SamplingField = 'temperature' | 'topP' | 'maxTokens' | 'seed'

interface Bounds {
  readonly min: number
  readonly max: number
  readonly isWhole: boolean
}

export const BOUNDS: Readonly<Record<SamplingField, Bounds>> = {
  temperature: { min: 0, max: 2, isWhole: false },
  topP: { min: 0, max: 1, isWhole: false },
  maxTokens: { min: 1, max: 1_000_000, isWhole: true },
  seed: { min: 0, max: 2 ** 32 - 1, isWhole: true },
}

export type Parsed = { readonly value: number | undefined } | { readonly problem: 'no-number' | 'out-of-bounds' }

/** Nothing is the default; a comma stands for a point, as half of Europe writes it. */
export function parseField(field: SamplingField, written: string): Parsed {
  const plain = written.trim().replace(',', '.')
  if (plain === '') return { value: undefined }
  const { min, max, isWhole } = BOUNDS[field]
  const value = Number(plain)
  if (!Number.isFinite(value) || (isWhole && !Number.isInteger(value))) return { problem: 'no-number' }
  return value < min || value > max ? { problem: 'out-of-bounds' } : { value }
}
