/** The kinds of metrics that we use, over prom-client's. Each registry is its own: the library's default one stays empty. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'

export type Labels = Readonly<Record<string, string>>
export type Series = readonly (readonly [labels: Labels, value: number])[]

/** What is counted where it happens. */
export const counter = <T extends string>(
  registry: Registry,
  name: string,
  help: string,
  labelNames: readonly T[] = [],
): Counter<T> => new Counter({ name, help, labelNames: [...labelNames], registers: [registry] })

export const histogram = <T extends string>(
  registry: Registry,
  name: string,
  help: string,
  buckets: readonly number[],
  labelNames: readonly T[] = [],
): Histogram<T> =>
  new Histogram({ name, help, labelNames: [...labelNames], buckets: [...buckets], registers: [registry] })

/** What is counted elsewhere, and copied when somebody looks: a sum since the start. */
export function copiedCounter(
  registry: Registry,
  name: string,
  help: string,
  labelNames: readonly string[],
  read: () => Series,
): void {
  new Counter({
    name,
    help,
    labelNames: [...labelNames],
    registers: [registry],
    collect() {
      this.reset()
      for (const [labels, value] of read()) this.inc({ ...labels }, value)
    },
  })
}

/** What is so just now. */
export function gauge(
  registry: Registry,
  name: string,
  help: string,
  labelNames: readonly string[],
  read: () => Series,
): void {
  new Gauge({
    name,
    help,
    labelNames: [...labelNames],
    registers: [registry],
    collect() {
      this.reset()
      for (const [labels, value] of read()) this.set({ ...labels }, value)
    },
  })
}

/** A record of counts as series with one label. */
export const seriesOf = (label: string, counts: Readonly<Record<string, number>>): Series =>
  Object.entries(counts).map(([value, count]) => [{ [label]: value }, count])

export const single = (value: number): Series => [[{}, value]]
