/**
 * Tells a coordinator what the outbox has, part by part in its order. A part is told until it is recorded there, and
 * recorded once however often it is told; memory holds one of them.
 */
import {
  asSkeinError,
  parseBridgeRecorded,
  SkeinError,
  type BridgeReport,
  type ErrorCode,
} from '../../mesh/protocol/index.ts'
import { sleep, type Clock, type Logger, type Random } from '../../mesh/runtime/index.ts'
import type { Outbox, OutboxPart, Tally } from '../ports/index.ts'
import { Backoff, textOf, type Endpoints } from './endpoints.ts'

export interface ReporterComponents {
  readonly outbox: Outbox
  readonly endpoints: Endpoints
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly tally: Tally
}

export interface ReporterInit {
  readonly bridge: string
  readonly session: string
}

/** What comes within this time goes together. */
const GATHER_MS = 100
/** A part with so many readings goes at once. */
const READINGS_FULL = 1000
const RETRY_MS = 100
const RETRY_MS_MAX = 10_000
/** A coordinator that refuses a part would refuse it again: until it was updated, or its owner has mended the key. */
const REFUSED_MS = 30_000
const ANSWER_BYTES_MAX = 4096

/** Errors that pass by themselves, and of which nobody need be told. */
const PASSING: ReadonlySet<ErrorCode> = new Set(['COORDINATOR_UNREACHABLE', 'SHUTTING_DOWN', 'STREAM_TRUNCATED'])

export class Reporter {
  readonly #parts: ReporterComponents
  readonly #init: ReporterInit
  readonly #backoff: Backoff
  readonly #stop = new AbortController()
  #wake: (() => void) | undefined
  #isPending = true
  #running: Promise<void> | undefined
  #cancel: () => void = () => undefined

  constructor(components: ReporterComponents, init: ReporterInit) {
    this.#parts = components
    this.#init = init
    this.#backoff = new Backoff(components.random, RETRY_MS, RETRY_MS_MAX)
  }

  start(): void {
    this.#cancel = this.#parts.outbox.onPending(() => {
      this.#isPending = true
      this.#wake?.()
    })
    this.#running = this.#run()
  }

  /** What is not told yet stays in the outbox. */
  async stop(): Promise<void> {
    this.#cancel()
    this.#stop.abort(new SkeinError('SHUTTING_DOWN', 'the bridge stops'))
    this.#wake?.()
    await this.#running
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      if (!this.#isPending) await new Promise<void>((resolve) => (this.#wake = resolve))
      this.#wake = undefined
      this.#isPending = false
      await this.#drain(signal).catch((thrown: unknown) => this.#failed(thrown))
    }
  }

  async #drain(signal: AbortSignal): Promise<void> {
    const { outbox, clock, tally } = this.#parts
    for (;;) {
      const part = await outbox.next()
      if (part === undefined) return
      const recorded = await this.#tell(part, signal)
      if (recorded > part.seq) {
        // the coordinator has taken it for one of those that it knows
        tally.count('reports_renumbered')
        await outbox.renumber(recorded)
        continue
      }
      await outbox.recorded(part.seq)
      tally.count('reports_recorded')
      this.#backoff.reset()
      if (part.readings.length < READINGS_FULL) await sleep(clock, GATHER_MS, signal)
    }
  }

  /** Gives the number of the newest part that the coordinator has. */
  async #tell(part: OutboxPart, signal: AbortSignal): Promise<number> {
    const { seq, devices, gone, states, readings, results, rules } = part
    const body = {
      ...{ bridge: this.#init.bridge, session: this.#init.session, seq },
      ...{ devices: [...devices], gone: [...gone], states: [...states] },
      ...{ readings: [...readings], results: [...results] },
      ...(rules && { rules: [...rules] }),
    } satisfies BridgeReport
    const request = { method: 'POST', path: '/mesh/v1/bridge/reports', body } as const
    const { response } = await this.#parts.endpoints.ask(request, signal)
    const { recorded } = parseBridgeRecorded(jsonOf(await textOf(response, ANSWER_BYTES_MAX)))
    if (recorded < seq) throw new SkeinError('INTERNAL', `the coordinator has recorded ${recorded} and not ${seq}`)
    return recorded
  }

  async #failed(thrown: unknown): Promise<void> {
    const { signal } = this.#stop
    if (signal.aborted) return
    const { clock, log, tally } = this.#parts
    const error = asSkeinError(thrown, 'COORDINATOR_UNREACHABLE')
    tally.count('reports_failed')
    this.#isPending = true
    const isRefused = !error.row.retryable && !PASSING.has(error.code)
    if (isRefused) log.error({ err: error, code: error.code }, 'the coordinator refuses what the bridge reports')
    const waitMs = isRefused ? REFUSED_MS : Math.max(this.#backoff.next(), (error.retryAfterSeconds ?? 0) * 1000)
    await sleep(clock, waitMs, signal).catch(() => undefined)
  }
}

/** @throws SkeinError INVALID_JSON. */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new SkeinError('INVALID_JSON', 'the coordinator answered something else than JSON', { cause })
  }
}
