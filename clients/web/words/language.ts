/** Which language the page speaks, and numbers and dates as it writes them. */
import { computed, signal } from '@preact/signals'

export const LANGUAGES = ['en', 'fr'] as const
export type Language = (typeof LANGUAGES)[number]

export const isLanguage = (value: unknown): value is Language => LANGUAGES.includes(value as Language)

/** The first of the browser's languages that the page speaks. */
export function preferredLanguage(wanted: readonly string[]): Language {
  for (const tag of wanted) {
    const base = tag.toLowerCase().split('-')[0]
    if (isLanguage(base)) return base
  }
  return 'en'
}

export const language = signal<Language>('en')

/** Of the browser, such as `en-GB`, so that dates are those of the country; the language alone where they differ. */
export const locale = computed((): string => {
  const own = (globalThis.navigator as Partial<Navigator> | undefined)?.languages ?? []
  return own.find((tag) => tag.toLowerCase().split('-')[0] === language.value) ?? language.value
})

type Options = Intl.NumberFormatOptions

const SECOND_MS = 1000
const MINUTE_MS = 60 * SECOND_MS
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
const MICROS = 1e6
const BYTE_UNITS = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'] as const

/** Of all amounts, by its code of ISO 4217; undefined while the coordinator has not said. */
export const currency = signal<string | undefined>(undefined)

const numbers = (options?: Options): Intl.NumberFormat => new Intl.NumberFormat(locale.value, options)
const unit = (value: number, name: string, options?: Options): string =>
  numbers({ style: 'unit', unit: name, unitDisplay: 'short', ...options }).format(value)

/** Nobody reads more digits, and they stand out of their columns. */
const MICROS_LEAST = 100

function moneyText(micros: number, written: (value: number, digits: Options) => string): string {
  const size = Math.abs(micros)
  const digits = micros !== 0 && size < MICROS / 10 ? { maximumSignificantDigits: 2 } : { maximumFractionDigits: 2 }
  if (size >= MICROS_LEAST || size === 0) return written(micros / MICROS, digits)
  return `<\u00a0${written((Math.sign(micros) * MICROS_LEAST) / MICROS, digits)}`
}

/** All of it follows the language: read in a component, it is written anew when that changes. */
export const format = {
  number: (value: number, options?: Options): string => numbers(options).format(value),
  /** 12,345 → `12K`. */
  compact: (value: number): string => numbers({ notation: 'compact', maximumFractionDigits: 1 }).format(value),
  /** Of 1. */
  percent: (share: number): string => numbers({ style: 'percent', maximumFractionDigits: 0 }).format(share),
  /** In units of 1,000. */
  bytes(value: number): string {
    const step = value < 1000 ? 0 : Math.min(BYTE_UNITS.length - 1, Math.floor(Math.log10(value) / 3))
    return unit(value / 1000 ** step, BYTE_UNITS[step]!, { maximumFractionDigits: step < 2 ? 0 : 1 })
  },
  /** In the units of 1,024 in which memory comes. */
  memory(value: number): string {
    const step = value < 1024 ? 0 : Math.min(BYTE_UNITS.length - 1, Math.floor(Math.log2(value) / 10))
    return unit(value / 1024 ** step, BYTE_UNITS[step]!, { maximumFractionDigits: step < 3 ? 0 : 1 })
  },
  /** Of millionths; small amounts with as many digits as say something, and what is below `MICROS_LEAST` as less than that. */
  money(micros: number, currency: string): string {
    return moneyText(micros, (value, digits) => {
      try {
        return numbers({ style: 'currency', currency, ...digits }).format(value)
      } catch {
        return `${numbers(digits).format(value)} ${currency}` // no currency of ISO 4217
      }
    })
  },
  /** Of millionths, in the currency of the mesh once that is known. */
  amount(micros: number): string {
    if (currency.value !== undefined) return format.money(micros, currency.value)
    return moneyText(micros, (value, digits) => numbers({ minimumFractionDigits: 2, ...digits }).format(value))
  },
  /** 870 → `870 ms`, 4,200 → `4.2 sec`, 190,000 → `3 min 10 sec`. */
  duration(ms: number): string {
    if (ms < SECOND_MS) return unit(Math.round(ms), 'millisecond')
    if (ms < MINUTE_MS) return unit(ms / SECOND_MS, 'second', { maximumFractionDigits: ms < 10 * SECOND_MS ? 1 : 0 })
    const [large, small, first, second]: [number, number, string, string] =
      ms < HOUR_MS
        ? [MINUTE_MS, SECOND_MS, 'minute', 'second']
        : ms < DAY_MS
          ? [HOUR_MS, MINUTE_MS, 'hour', 'minute']
          : [DAY_MS, HOUR_MS, 'day', 'hour']
    const rest = Math.floor((ms % large) / small)
    const whole = unit(Math.floor(ms / large), first)
    return rest === 0 ? whole : `${whole} ${unit(rest, second)}`
  },
  /** Of the ms since 1970: the time for today, else the date. */
  dateTime(atMs: number, style: 'short' | 'long' = 'short'): string {
    const options: Intl.DateTimeFormatOptions =
      style === 'long' ? { dateStyle: 'long', timeStyle: 'medium' } : { dateStyle: 'medium', timeStyle: 'short' }
    return new Intl.DateTimeFormat(locale.value, options).format(atMs)
  },
  time: (atMs: number): string => new Intl.DateTimeFormat(locale.value, { timeStyle: 'short' }).format(atMs),
  date: (atMs: number): string => new Intl.DateTimeFormat(locale.value, { dateStyle: 'medium' }).format(atMs),
  /** `3 minutes ago`, `in 2 days`. */
  relative(atMs: number, nowMs: number): string {
    const words = new Intl.RelativeTimeFormat(locale.value, { numeric: 'auto' })
    const distance = atMs - nowMs
    const size = Math.abs(distance)
    if (size < MINUTE_MS) return words.format(Math.round(distance / SECOND_MS), 'second')
    if (size < HOUR_MS) return words.format(Math.round(distance / MINUTE_MS), 'minute')
    if (size < DAY_MS) return words.format(Math.round(distance / HOUR_MS), 'hour')
    return words.format(Math.round(distance / DAY_MS), 'day')
  },
  /** `a, b and c`. */
  list: (items: readonly string[]): string => new Intl.ListFormat(locale.value).format(items),
}
