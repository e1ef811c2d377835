/** What answers took in money that nobody bills: the energy of the owner's devices, and what a cloud would have charged. */
import type { CloudCost, Costs, PricedModel, PricedTokens } from '../dispatch/index.ts'
import { shippedPrices, type PriceEntry, type PriceTable } from './table.ts'

export interface CostsInit {
  /** What a kilowatt-hour costs, in units of the owner's currency. */
  readonly perKilowattHour?: number
  /** What ships when absent. */
  readonly table?: PriceTable
}

const JOULES_PER_KILOWATT_HOUR = 3_600_000
const MICROS = 1_000_000
/** Models whose entry is remembered; a mesh has fewer. */
const KNOWN_MAX = 1024

export class PriceBook implements Costs {
  readonly currency: string
  readonly #perKilowattHour: number | undefined
  readonly #entries: readonly Matcher[]
  readonly #known = new Map<string, PriceEntry | undefined>()

  constructor({ perKilowattHour, table = shippedPrices() }: CostsInit = {}) {
    this.currency = table.currency
    this.#perKilowattHour = perKilowattHour
    this.#entries = table.prices.map(matcherOf)
  }

  energyMicros(joules: number): number | undefined {
    if (this.#perKilowattHour === undefined) return undefined
    return (joules / JOULES_PER_KILOWATT_HOUR) * this.#perKilowattHour * MICROS
  }

  cloud(model: PricedModel, tokens: PricedTokens): CloudCost | undefined {
    const entry = this.#entryOf(model)
    if (entry === undefined) return undefined
    const { input, output, cached = input } = entry
    const cachedTokens = Math.min(tokens.cachedTokens, tokens.promptTokens)
    // a price is for a million tokens, hence one unit of it is one micro-unit a token
    const micros =
      (tokens.promptTokens - cachedTokens) * input + cachedTokens * cached + tokens.completionTokens * output
    return { micros, price: entry.id }
  }

  #entryOf(model: PricedModel): PriceEntry | undefined {
    const key = JSON.stringify([model.kind, model.parameters, model.names])
    if (!this.#known.has(key)) {
      if (this.#known.size >= KNOWN_MAX) this.#known.clear()
      this.#known.set(key, this.#entries.find(({ fits }) => fits(model))?.entry)
    }
    return this.#known.get(key)
  }
}

interface Matcher {
  readonly entry: PriceEntry
  readonly fits: (model: PricedModel) => boolean
}

function matcherOf(entry: PriceEntry): Matcher {
  const { kind = 'answer', parametersMax } = entry
  const patterns = entry.names?.map((name) => {
    const parts = name.split('*').map((part) => part.replaceAll(/[\\^$.|?+()[\]{}]/g, '\\$&'))
    return new RegExp(`^${parts.join('.*')}$`, 'is')
  })
  const fits = (model: PricedModel): boolean => {
    if (model.kind !== kind) return false
    // what is not known to be small is not taken for it
    if (parametersMax !== undefined && !(model.parameters > 0 && model.parameters <= parametersMax)) return false
    return patterns === undefined || model.names.some((name) => patterns.some((pattern) => pattern.test(name)))
  }
  return { entry, fits }
}
