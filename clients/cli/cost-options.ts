/** `--energy-price`, `--prices`: what answers are worth in the owner's currency. */
import { InvalidArgumentError, Option, type Command } from 'commander'

/** Of a kilowatt-hour, in any currency there is. */
const ENERGY_PRICE_MAX = 1_000_000

function energyPrice(text: string): number {
  const price = /^\d+(?:\.\d+)?$/.test(text) ? Number(text) : Number.NaN
  if (!(price <= ENERGY_PRICE_MAX))
    throw new InvalidArgumentError('a price with a point as the decimal sign, such as 0.3')
  return price
}

export const addCostOptions = (command: Command): Command =>
  command
    .addOption(
      new Option('--energy-price <price>', 'what a kilowatt-hour costs the owner, for `skein usage`')
        .env('SKEIN_ENERGY_PRICE')
        .argParser(energyPrice),
    )
    .addOption(
      new Option('--prices <file>', "the owner's own table of what clouds charge, before the one that ships").env(
        'SKEIN_PRICES',
      ),
    )
