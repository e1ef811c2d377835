/** The prices that a coordinator is started with. */
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { SkeinError } from '../../mesh/protocol/index.ts'
import { PriceBook, withOwnPrices } from '../../coordinator/index.ts'
import type { ServeOptions } from './serve-options.ts'

/** @throws SkeinError CONFIG_INVALID when the file cannot be read, or is no table of prices. */
export async function costsOf({ energyPrice, prices }: ServeOptions): Promise<PriceBook> {
  const perKilowattHour = energyPrice !== undefined && { perKilowattHour: energyPrice }
  if (prices === undefined) return new PriceBook({ ...perKilowattHour })
  const text = await readFile(resolve(prices), 'utf8').catch((cause: Error) => {
    throw new SkeinError('CONFIG_INVALID', `--prices: ${cause.message}`, { cause })
  })
  return new PriceBook({ ...perKilowattHour, table: withOwnPrices(text, prices) })
}
