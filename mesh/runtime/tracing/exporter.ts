/**
 * Sends spans to a collector over OTLP/HTTP. Everything that waits is bounded: when the collector is away, slow or full, spans
 * are dropped and counted, and nothing else is touched. It is ours rather than OpenTelemetry's SDK because of its size
 * (`docs/TRACES.md`).
 */
import { LIMITS, SkeinError } from '../../protocol/index.ts'
import { sleep, withDeadline, type Clock } from '../clock.ts'
import type { Startable } from '../lifecycle.ts'
import type { Logger } from '../logger.ts'
import { otlpBody, rejectedBy, type SpanResource } from './otlp.ts'
import type { Span, SpanSink } from './span.ts'

/** How long spans wait for others to go with them. */
const GATHER_MS = 1000
/** Between two tries to reach a collector, doubled up to the last. */
const RETRY_MS_MIN = 1000
const RETRY_MS_MAX = 30_000
/** A message that a collector could not take so often is dropped, so that newer ones have a chance. */
const TRIES_MAX = 5
/** What still waits at the end has so long to go out. */
const FAREWELL_MS = 2000
const ANSWER_BYTES_MAX = 65_536
/** Statuses after which the same message may be sent again, as OTLP has it. */
const RETRYABLE: ReadonlySet<number> = new Set([429, 502, 503, 504])

/** What became of spans since the start. */
export interface SpanCounts {
  readonly sent: number
  /** Dropped, because too many waited or the collector could not be reached. */
  readonly dropped: number
  /** Sent, and not taken by the collector. */
  readonly rejected: number
}

export interface SpanExporterInit {
  /** Where messages go, path and all. */
  readonly url: URL
  /** Beside those of the protocol, such as a key of the collector. */
  readonly headers?: Readonly<Record<string, string>>
  readonly resource: SpanResource
}

export class SpanExporter implements SpanSink, Startable {
  readonly name = 'span exporter'
  readonly #clock: Clock
  readonly #log: Logger
  readonly #init: SpanExporterInit
  readonly #counts = { sent: 0, dropped: 0, rejected: 0 }
  readonly #stopping = new AbortController()
  #waiting: Span[] = []
  #sending: Promise<void> | undefined
  #isFailing = false

  constructor(components: { readonly clock: Clock; readonly log: Logger }, init: SpanExporterInit) {
    this.#clock = components.clock
    this.#log = components.log.scope('spans')
    this.#init = init
  }

  get counts(): SpanCounts {
    return this.#counts
  }

  start(): Promise<void> {
    return Promise.resolve()
  }

  /** Sends what waits, once, within `FAREWELL_MS`. Does not throw. */
  async stop(): Promise<void> {
    const stopping = new SkeinError('SHUTTING_DOWN', 'the process is stopping')
    this.#stopping.abort(stopping)
    await this.#sending
    const over = this.#clock.nowMs() + FAREWELL_MS
    while (this.#waiting.length > 0 && this.#clock.nowMs() < over) {
      const spans = this.#take()
      if (await this.#send(spans, Math.max(1, over - this.#clock.nowMs()))) continue
      this.#counts.dropped += spans.length
      break
    }
    this.#counts.dropped += this.#waiting.splice(0).length
  }

  record(span: Span): void {
    if (this.#waiting.length >= LIMITS.spansWaitingMax) {
      this.#counts.dropped++
      return
    }
    this.#waiting.push(span)
    if (!this.#stopping.signal.aborted) this.#sending ??= this.#sendAll()
  }

  async #sendAll(): Promise<void> {
    const { signal } = this.#stopping
    const pause = (ms: number): Promise<void> => sleep(this.#clock, ms, signal).catch(() => undefined)
    while (this.#waiting.length > 0 && !signal.aborted) {
      if (this.#waiting.length < LIMITS.spansSentMax) await pause(GATHER_MS)
      const spans = this.#take()
      let retryMs = RETRY_MS_MIN
      for (let tries = 1; !(await this.#send(spans, LIMITS.spanExportMs, signal)); tries++) {
        if (tries === TRIES_MAX) {
          this.#counts.dropped += spans.length
          break
        }
        await pause(retryMs)
        if (signal.aborted) {
          this.#waiting.unshift(...spans)
          break
        }
        retryMs = Math.min(2 * retryMs, RETRY_MS_MAX)
      }
    }
    this.#sending = undefined
  }

  #take(): Span[] {
    return this.#waiting.splice(0, LIMITS.spansSentMax)
  }

  /** Resolves with whether the message is settled: false when the same one may be sent again. Does not throw. */
  async #send(spans: readonly Span[], withinMs: number, outer?: AbortSignal): Promise<boolean> {
    const { url, headers, resource } = this.#init
    const late = (): SkeinError => new SkeinError('REQUEST_TIMEOUT', `no answer within ${withinMs} ms`)
    try {
      const body = otlpBody(resource, spans)
      const answer = await withDeadline(this.#clock, withinMs, late, outer, async (signal) => {
        const sent = { ...headers, 'content-type': 'application/json', 'user-agent': `skein/${resource.version}` }
        const response = await fetch(url, { method: 'POST', body, signal, redirect: 'error', headers: sent })
        return { status: response.status, text: await textOf(response) }
      })
      if (RETRYABLE.has(answer.status)) return this.#failed(`status ${answer.status}`)
      this.#settle(spans, answer)
      return true
    } catch (thrown) {
      if (outer?.aborted === true) return false
      const { message, cause } = thrown as Error
      return this.#failed(cause instanceof Error ? cause.message : message)
    }
  }

  #settle(spans: readonly Span[], { status, text }: { readonly status: number; readonly text: string }): void {
    const isTaken = status >= 200 && status < 300
    const rejected = isTaken ? Math.min(rejectedBy(text), spans.length) : spans.length
    this.#counts.rejected += rejected
    this.#counts.sent += spans.length - rejected
    if (!isTaken) return void this.#failed(`status ${status}`)
    if (this.#isFailing) this.#log.info({}, 'the collector takes spans again')
    this.#isFailing = false
  }

  /** Said once, until it is over: a collector may be away for days. */
  #failed(cause: string): false {
    if (!this.#isFailing) this.#log.warn({ cause }, 'spans cannot be sent to the collector')
    this.#isFailing = true
    return false
  }
}

/** As much of an answer as may matter. */
async function textOf({ body }: Response): Promise<string> {
  if (body === null) return ''
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > ANSWER_BYTES_MAX) break
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
