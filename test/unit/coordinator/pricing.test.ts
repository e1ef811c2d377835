/** Prices: what fits a model, the owner's before those that ship, and what energy costs. */
import { describe, expect, it } from 'vitest'
import { PriceBook, shippedPrices, withOwnPrices } from '../../../coordinator/pricing/index.ts'

const TOKENS = { promptTokens: 1000, cachedTokens: 400, completionTokens: 500 }
const model = (name: string, parameters: number, kind: 'answer' | 'embed' | 'classify' = 'answer') => ({
  names: [name],
  parameters,
  kind,
})
const own = (value: object): PriceBook => new PriceBook({ table: withOwnPrices(JSON.stringify(value), 'own.json') })

describe('the table that ships', () => {
  it('has for each price a day and a source, and no entry that another one hides', () => {
    const { currency, prices } = shippedPrices()
    expect(currency).toBe('USD')
    for (const { date, source, id } of prices) {
      expect(date, id).toMatch(/^20\d\d-\d\d-\d\d$/)
      expect(source, id).toMatch(/^https:\/\//)
    }
    expect(new Set(prices.map(({ id }) => id)).size).toBe(prices.length)
    // the smaller class stands before the larger one
    for (const kind of ['answer', 'embed']) {
      const bounds = prices.flatMap((entry) =>
        (entry.kind ?? 'answer') === kind && !entry.names ? [entry.parametersMax!] : [],
      )
      expect(bounds).toEqual([...bounds].sort((a, b) => a - b))
    }
  })

  it.each([
    ['qwen2.5-0.5b', 494e6, 'fireworks:up-to-4b', 600 * 0.1 + 400 * 0.1 + 500 * 0.1],
    ['llama-3.1-8b', 8e9, 'fireworks:4b-to-16b', 1500 * 0.2],
    ['llama-3.3-70b', 70e9, 'fireworks:above-16b', 1500 * 0.9],
    ['Mixtral-8x7B-Instruct', 46.7e9, 'fireworks:moe-up-to-56b', 1500 * 0.5],
    ['openai/gpt-oss-20b', 21e9, 'fireworks:gpt-oss-20b', 600 * 0.07 + 400 * 0.035 + 500 * 0.3],
  ])('has a price for %s', (name, parameters, price, micros) => {
    const cloud = new PriceBook().cloud(model(name, parameters), TOKENS)
    expect(cloud?.price).toBe(price)
    expect(cloud?.micros).toBeCloseTo(micros, 6)
  })

  it('has one for embeddings, and none for what is not known', () => {
    const book = new PriceBook()
    const tokens = { promptTokens: 1000, cachedTokens: 0, completionTokens: 0 }
    expect(book.cloud(model('minilm', 23e6, 'embed'), tokens)?.micros).toBeCloseTo(8, 9)
    expect(book.cloud(model('minilm', 23e6, 'classify'), tokens)).toBeUndefined()
    expect(book.cloud(model('parrot', 0), TOKENS)).toBeUndefined()
  })
})

describe("the owner's table", () => {
  it('comes first, and in its own currency the others are brought to it', () => {
    const prices = [{ id: 'mine', names: ['house-*'], input: 1, output: 2 }]
    const book = own({ currency: 'EUR', rate: 0.5, prices })
    expect(book.currency).toBe('EUR')
    expect(book.cloud(model('House-8B', 0), TOKENS)).toEqual({ micros: 1000 + 2 * 500, price: 'mine' })
    expect(book.cloud(model('other', 8e9), TOKENS)?.micros).toBeCloseTo(1500 * 0.1, 6)
  })

  it('takes a star for any characters, and everything else for itself', () => {
    const book = own({ prices: [{ id: 'dot', names: ['a.b*(c)'], input: 1, output: 1 }] })
    expect(book.cloud(model('a.b-xyz(c)', 0), TOKENS)?.price).toBe('dot')
    expect(book.cloud(model('axb(c)', 0), TOKENS)).toBeUndefined()
  })

  it.each([
    ['{', /own\.json/],
    ['[]', /no table of prices/],
    [JSON.stringify({ prices: [{ id: 'x', input: -1, output: 0 }] }), /no table of prices/],
    [JSON.stringify({ prices: [{ id: 'x', input: 1, output: 0, ouput: 2 }] }), /no table of prices/],
    [JSON.stringify({ currency: 'EUR', prices: [] }), /rate/],
  ])('is refused when it is wrong: %s', (text, message) => {
    expect(() => withOwnPrices(text, 'own.json')).toThrow(message)
    expect(() => withOwnPrices(text, 'own.json')).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
  })
})

describe('energy', () => {
  it('costs what a kilowatt-hour does, where that is said', () => {
    expect(new PriceBook().energyMicros(3_600_000)).toBeUndefined()
    expect(new PriceBook({ perKilowattHour: 0.3 }).energyMicros(3_600_000)).toBeCloseTo(300_000, 6)
    expect(new PriceBook({ perKilowattHour: 0 }).energyMicros(3600)).toBe(0)
  })
})
