/**
 * The table of prices: what a host of open models would have charged for an answer. What ships is `prices.json`, each entry with
 * the day on which it was read and where; the owner's own file comes before it.
 */
import { Type, type Static } from 'typebox'
import { checker, LIMITS, SkeinError } from '../../mesh/protocol/index.ts'
import shipped from './prices.json' with { type: 'json' }

const amount = () => Type.Number({ minimum: 0, maximum: 1_000_000 })

const PriceEntrySchema = Type.Object(
  {
    /** Names the entry wherever a sum was made by it. */
    id: Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}$' }),
    /** What it is for: answers unless said. */
    kind: Type.Optional(Type.Enum(['answer', 'embed', 'classify'])),
    /** Of models with such a name, `*` for any characters, small and capital letters alike; of all when absent. */
    names: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 128 }), { minItems: 1, maxItems: 64 })),
    /** Of models with at most so many parameters. */
    parametersMax: Type.Optional(Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER })),
    /** For a million tokens of the prompt, of those of them that the host has cached, and of the answer. */
    input: amount(),
    cached: Type.Optional(amount()),
    output: amount(),
    /** When the price was read, and where. */
    date: Type.Optional(Type.String({ pattern: '^\\d{4}-\\d{2}-\\d{2}$' })),
    source: Type.Optional(Type.String({ maxLength: 512 })),
  },
  { additionalProperties: false },
)
export type PriceEntry = Static<typeof PriceEntrySchema>

const TableSchema = Type.Object(
  {
    currency: Type.Optional(Type.String({ pattern: '^[A-Z]{3}$' })),
    /** Of the owner's file: units of the owner's currency for one of the table that ships. */
    rate: Type.Optional(Type.Number({ exclusiveMinimum: 0, maximum: 1_000_000 })),
    note: Type.Optional(Type.String({ maxLength: 1024 })),
    prices: Type.Array(PriceEntrySchema, { maxItems: LIMITS.pricesMax }),
  },
  { additionalProperties: false },
)
type Table = Static<typeof TableSchema>
const isTable = checker(TableSchema)

export interface PriceTable {
  /** Of all amounts. */
  readonly currency: string
  /** The first that fits a model is its price. */
  readonly prices: readonly PriceEntry[]
}

/** @throws SkeinError INTERNAL: the table that ships is wrong. */
export function shippedPrices(): PriceTable {
  if (!isTable(shipped)) throw new SkeinError('INTERNAL', 'the table of prices that ships is none')
  return { currency: shipped.currency ?? 'USD', prices: shipped.prices }
}

/**
 * The owner's own prices before those that ship, all in the owner's currency.
 *
 * @param file that `text` is of, for messages.
 * @throws SkeinError CONFIG_INVALID.
 */
export function withOwnPrices(text: string, file: string): PriceTable {
  const own = parsed(text, file)
  const { currency, prices } = shippedPrices()
  const isOther = own.currency !== undefined && own.currency !== currency
  if (isOther && own.rate === undefined)
    throw invalid(
      file,
      `the prices that ship are in ${currency}: "rate" must say how many ${own.currency} one of it is`,
    )
  const rate = own.rate ?? 1
  const scaled = prices.map(({ input, cached, output, ...entry }) => ({
    ...entry,
    input: input * rate,
    output: output * rate,
    ...(cached !== undefined && { cached: cached * rate }),
  }))
  return { currency: own.currency ?? currency, prices: [...own.prices, ...scaled].slice(0, LIMITS.pricesMax) }
}

function parsed(text: string, file: string): Table {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw invalid(file, (cause as Error).message, cause)
  }
  if (!isTable(value)) throw invalid(file, 'is no table of prices, as docs/USAGE.md describes it')
  return value
}

const invalid = (file: string, why: string, cause?: unknown): SkeinError =>
  new SkeinError('CONFIG_INVALID', `--prices ${file}: ${why}`, { cause })
