/**
 * What a vLLM server does now, for whomever: its `/metrics`, looked at again and again. Others may ask it too, and what it has no
 * memory for waits there unseen; a node that reports its own attempts alone would be sent more than the server can begin.
 */
import { asSkeinError } from '../../../mesh/protocol/index.ts'
import type { CancelTimer, Clock, Logger } from '../../../mesh/runtime/index.ts'
import type { UpstreamClient } from './http.ts'

/** Between looks; where nothing was to be seen, after a longer while. */
const LOOK_MS = 1000
const BLIND_MS = 30_000
const LOOK_BOUND_MS = 2000
/** Text of all metrics of a server with a few models: some 100 KB. */
const METRICS_LENGTH_MAX = 4 * 1024 * 1024
/** From here on, new answers push others out of the memory. */
const KV_FULL = 0.95
/** Changes below are not told. */
const KV_STEP = 0.05

export interface ServerLoad {
  /** Requests that it generates for. */
  readonly running: number
  /** Requests that wait there. */
  readonly waiting: number
  /** Share of its KV memory in use, 0 to 1; absent when it does not tell. */
  readonly kvUse?: number
}

/** As an engine tells it. */
export interface ServerStats {
  /** Requests of others that run or wait there. */
  readonly others: number
  /** It takes nothing more without letting it wait. */
  readonly isFull: boolean
  readonly waiting: number
  readonly kvUse?: number
}

/** A line of Prometheus' text form: name, labels, value. What stands in quotes may hold any character. */
const LINE = /^([a-z_:][a-z0-9_:]*)(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\})? +([0-9.eE+-]+|\+Inf|NaN)/i
const MODEL = /(?:^|,)\s*model_name="((?:[^"\\]|\\.)*)"/

/**
 * What the metrics say of a model; all engines of one server together.
 *
 * @param model as it was asked. A server with one model may tell of it under another of its names.
 * @returns `undefined` when they do not tell what runs.
 */
export function loadIn(metrics: string, model: string): ServerLoad | undefined {
  const names = new Map<string, { running?: number; waiting: number; kvUse?: number }>()
  for (const line of metrics.slice(0, METRICS_LENGTH_MAX).split('\n')) {
    if (!line.startsWith('vllm:')) continue
    const [, name, labels = '', text] = LINE.exec(line) ?? []
    const value = Number(text)
    if (name === undefined || !(value >= 0 && value < Number.MAX_SAFE_INTEGER)) continue
    const of = MODEL.exec(labels)?.[1] ?? ''
    const known = names.get(of) ?? { waiting: 0 }
    names.set(of, known)
    if (name === 'vllm:num_requests_running') known.running = (known.running ?? 0) + Math.round(value)
    else if (name === 'vllm:num_requests_waiting') known.waiting += Math.round(value)
    // the name that versions before 0.11 have for it
    else if (name === 'vllm:kv_cache_usage_perc' || name === 'vllm:gpu_cache_usage_perc')
      known.kvUse = Math.max(known.kvUse ?? 0, Math.min(1, value))
  }
  const telling = [...names].filter(([, { running }]) => running !== undefined)
  const found = names.get(model) ?? (telling.length === 1 ? telling[0]![1] : undefined)
  if (found?.running === undefined) return undefined
  const { running, waiting, kvUse } = found
  return { running, waiting, ...(kvUse !== undefined && { kvUse }) }
}

export interface LoadWatchComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly client: Pick<UpstreamClient, 'text' | 'url'>
  /** Attempts of this node that the server has now. */
  readonly own: () => number
  /** What it says has changed. */
  readonly onChange: () => void
}

/** Looks from `start` to `stop`. */
export class LoadWatch {
  readonly #components: LoadWatchComponents
  readonly #model: string
  readonly #stopping = new AbortController()
  #cancel: CancelTimer = () => {}
  #stats: ServerStats | undefined
  #wasTold = false

  constructor(components: LoadWatchComponents, model: string) {
    this.#components = components
    this.#model = model
  }

  /** As of the last look; `undefined` while there is nothing to be seen. */
  get stats(): ServerStats | undefined {
    return this.#stats
  }

  start(): void {
    this.#cancel = this.#components.clock.timer(LOOK_MS, () => void this.#look())
  }

  stop(): void {
    this.#stopping.abort()
    this.#cancel()
  }

  /** Does not throw. */
  async #look(): Promise<void> {
    const { clock, client, own } = this.#components
    const { signal } = this.#stopping
    let load: ServerLoad | undefined
    try {
      const metrics = await client.text('/metrics', { withinMs: LOOK_BOUND_MS, signal })
      load = metrics === undefined ? undefined : loadIn(metrics, this.#model)
      if (load === undefined) this.#tell('they say nothing of the model')
    } catch (thrown) {
      if (!signal.aborted) this.#tell(asSkeinError(thrown).message)
    }
    if (signal.aborted) return
    this.#take(load && statsOf(load, own()))
    this.#cancel = clock.timer(load === undefined ? BLIND_MS : LOOK_MS, () => void this.#look())
  }

  #take(stats: ServerStats | undefined): void {
    const before = this.#stats
    const kvMoved = Math.abs((before?.kvUse ?? 0) - (stats?.kvUse ?? 0)) >= KV_STEP
    const isSame =
      before?.others === stats?.others && before?.isFull === stats?.isFull && before?.waiting === stats?.waiting
    if (isSame && !kvMoved) return
    this.#stats = stats
    this.#components.onChange()
  }

  /** Once: a server may well show none. */
  #tell(why: string): void {
    if (this.#wasTold) return
    this.#wasTold = true
    const { log, client } = this.#components
    log.info({ reason: why }, `${client.url} shows no metrics: its load is taken to be what this node asks of it`)
  }
}

function statsOf({ running, waiting, kvUse }: ServerLoad, own: number): ServerStats {
  return {
    others: Math.max(0, running + waiting - own),
    isFull: waiting > 0 || (kvUse ?? 0) >= KV_FULL,
    waiting,
    ...(kvUse !== undefined && { kvUse }),
  }
}
