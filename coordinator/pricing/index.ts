/** What answers are worth in money: energy, and the clouds that were not needed. */
export { PriceBook, type CostsInit } from './costs.ts'
export { shippedPrices, withOwnPrices, type PriceEntry, type PriceTable } from './table.ts'
