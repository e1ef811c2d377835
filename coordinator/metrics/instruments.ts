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
export function copiedCounter(...copied: Copied): void {
  new Counter(copying<Counter>(copied, (metric, labels, value) => metric.inc(labels, value)))
}

/** What is so just now. */
export function gauge(...copied: Copied): void {
  new Gauge(copying<Gauge>(copied, (metric, labels, value) => metric.set(labels, value)))
}

type Copied = readonly [
  registry: Registry,
  name: string,
  help: string,
  labelNames: readonly string[],
  read: () => Series,
]

/** A metric whose values are read, and `put`, each time that somebody looks. */
const copying = <M extends Counter | Gauge>(
  [registry, name, help, labelNames, read]: Copied,
  put: (metric: M, labels: Record<string, string>, value: number) => void,
) => ({
  ...{ name, help, labelNames: [...labelNames], registers: [registry] },
  collect(this: M) {
    this.reset()
    for (const [labels, value] of read()) put(this, { ...labels }, value)
  },
})

/** A record of counts as series with one label. */
export const seriesOf = (label: string, counts: Readonly<Record<string, number>>): Series =>
  Object.entries(counts).map(([value, count]) => [{ [label]: value }, count])

export const single = (value: number): Series => [[{}, value]]
