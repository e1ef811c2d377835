/** Flags of the commands that pull models. */
import { InvalidArgumentError, Option } from 'commander'
import type { KeepFree } from '../../node/models/store/index.ts'

const UNITS: Readonly<Record<string, number>> = {
  '': 1, b: 1, kb: 1e3, mb: 1e6, gb: 1e9, tb: 1e12,
  k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4, kib: 1024, mib: 1024 ** 2, gib: 1024 ** 3, tib: 1024 ** 4,
} // prettier-ignore

/** `10%`, `5GiB`, `500MB`, `0`. */
export function keepFree(text: string): KeepFree {
  const [, number, unit = ''] = /^(\d{1,15}(?:\.\d{1,3})?)\s*([A-Za-z]{0,3}|%)$/.exec(text) ?? []
  const factor = UNITS[unit.toLowerCase()]
  if (number !== undefined && unit === '%' && Number(number) <= 100) return { share: Number(number) / 100 }
  if (number === undefined || factor === undefined || unit === '%')
    throw new InvalidArgumentError('a share of the disk or a size, such as 10% or 5GiB')
  return { bytes: Number(number) * factor }
}

/** `512M`; NaN for what is no size. */
function sizeOf(text: string): number {
  const [, number, unit = ''] = /^(\d{1,15}(?:\.\d{1,3})?)\s*([A-Za-z]{0,3})$/.exec(text) ?? []
  return Number(number) * (UNITS[unit.toLowerCase()] ?? Number.NaN)
}

/** `512M`, or `0`. */
export function sizeOrNone(text: string): number {
  const bytes = sizeOf(text)
  if (!(bytes === 0 || (bytes >= SIZE_MIN && bytes <= SIZE_MAX)))
    throw new InvalidArgumentError('0, or a size from 1M to 1T, such as 512M')
  return bytes
}
const SIZE_MIN = 1024 ** 2
const SIZE_MAX = 1024 ** 4

/** `32M`: bytes per second, from 1 MiB on: below, a chunk would take longer than is waited for one. */
export function shareRate(text: string): number {
  const bytes = sizeOf(text)
  if (!(bytes >= RATE_MIN && bytes <= RATE_MAX)) throw new InvalidArgumentError('a size from 1M to 1T, such as 32M')
  return bytes
}
const RATE_MIN = 1024 ** 2
const RATE_MAX = 1024 ** 4

export const keepFreeOption = (): Option =>
  new Option('--keep-free <size>', 'room that a pull leaves on the disk, such as 10% or 5GiB')
    .env('SKEIN_KEEP_FREE')
    .argParser(keepFree)
    .default(undefined, 'the smaller of 10% and 5GiB')
