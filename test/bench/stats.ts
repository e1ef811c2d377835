/** Figures of a benchmark: percentiles, rates, and the line about the machine that every figure needs. */
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os'

/** Nearest-rank percentile, `share` from 0 to 1. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))] ?? Number.NaN
}

export const median = (values: readonly number[]): number => percentile(values, 0.5)

export const ms = (value: number): string => `${value.toFixed(value < 10 ? 2 : 1)} ms`

/** p50, p99 and how many. */
export const spread = (values: readonly number[]): string =>
  `p50 ${ms(median(values))}, p99 ${ms(percentile(values, 0.99))} (n ${values.length})`

export function machine(): string {
  const load = loadavg()
    .map((each) => each.toFixed(1))
    .join(' ')
  return `${availableParallelism()} threads of ${cpus()[0]?.model ?? 'unknown'}, ${Math.round(totalmem() / 1024 ** 3)} GiB, Node ${process.version}, load ${load}`
}

export const print = (line: string): void => void process.stdout.write(`${line}\n`)
