/**
 * The way into the ledger for what happens while tasks run. Events of one turn go as one call; nobody on the token path
 * waits for it. What cannot be written is kept and tried again: a full disk delays the record, it does not lose it.
 */
import { asSkeinError, SkeinError } from '../../mesh/protocol/index.ts'
import { sleep, type Clock, type Logger } from '../../mesh/runtime/index.ts'
import type { Ledger, LedgerEvent } from '../ledger/index.ts'
import type { Tell } from './happened.ts'

export type RecordedEvent = Exclude<LedgerEvent, { type: 'task.admitted' }>

/** Back-off between two tries to write, doubled up to the last. */
const RETRY_MS_MIN = 100
const RETRY_MS_MAX = 5000
/**
 * Events that wait for a ledger that cannot be written; above it the oldest about attempts, which explain and no more, and
 * about work, which is let in without a ledger, are dropped.
 */
const EVENTS_MAX = 16_384
/** Events of one call. */
const BATCH_MAX = 1024

const isExpendable = ({ type }: RecordedEvent): boolean => type.startsWith('attempt.') || type === 'work.ended'

interface Entry {
  readonly event: RecordedEvent
  /** On the clock. */
  readonly atMs: number
  readonly settled: (() => void) | undefined
}

export interface RecorderComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly ledger: Ledger
  readonly tell?: Tell
}

export class Recorder {
  readonly #components: RecorderComponents
  readonly #log: Logger
  #entries: Entry[] = []
  #writing: Promise<void> | undefined
  #failure: SkeinError | undefined
  readonly #stopping = new AbortController()

  constructor(components: RecorderComponents) {
    this.#components = components
    this.#log = components.log.scope('recorder')
  }

  /** True while the ledger does not keep up, or cannot be written: what can wait should. */
  get isBehind(): boolean {
    return this.#failure !== undefined || this.#entries.length > BATCH_MAX
  }

  /** Why the ledger cannot be written just now. */
  get failure(): SkeinError | undefined {
    return this.#failure
  }

  /** Events that are not durable yet, and how long the oldest of them has waited, in ms. */
  get lag(): { readonly events: number; readonly ms: number } {
    const [oldest] = this.#entries
    const ms = oldest === undefined ? 0 : this.#components.clock.nowMs() - oldest.atMs
    return { events: this.#entries.length, ms }
  }

  record(event: RecordedEvent): void {
    this.#push(event, undefined)
  }

  /** Resolves when `event` is durable, however long that takes; never, when the process ends before. */
  settled(event: RecordedEvent): Promise<void> {
    return new Promise((resolve) => this.#push(event, resolve))
  }

  /** Writes what waits, once. Does not throw. */
  async stop(): Promise<void> {
    this.#stopping.abort(new SkeinError('SHUTTING_DOWN', 'the coordinator is stopping'))
    await this.#writing
  }

  #push(event: RecordedEvent, settled: Entry['settled']): void {
    if (this.#entries.length >= EVENTS_MAX) {
      const dropped = this.#entries.findIndex((entry) => isExpendable(entry.event))
      if (dropped >= 0) this.#entries.splice(dropped, 1)
    }
    this.#entries.push({ event, atMs: this.#components.clock.nowMs(), settled })
    this.#writing ??= this.#write()
  }

  async #write(): Promise<void> {
    const { clock, ledger, tell } = this.#components
    // what is recorded in the same turn goes along
    await Promise.resolve()
    let retryMs = RETRY_MS_MIN
    while (this.#entries.length > 0) {
      const batch = this.#entries.slice(0, BATCH_MAX)
      const beganMs = clock.nowMs()
      try {
        await ledger.append(batch.map(({ event }) => event))
      } catch (thrown) {
        const error = asSkeinError(thrown)
        tell?.({ type: 'ledger.answered', tookMs: clock.nowMs() - beganMs, code: error.code })
        if (await this.#givesUp(error, retryMs)) break
        retryMs = Math.min(2 * retryMs, RETRY_MS_MAX)
        continue
      }
      tell?.({ type: 'ledger.answered', tookMs: clock.nowMs() - beganMs })
      if (this.#failure) this.#log.info({}, 'the ledger can be written again')
      this.#failure = undefined
      retryMs = RETRY_MS_MIN
      const written = new Set(batch)
      this.#entries = this.#entries.filter((entry) => !written.has(entry))
      for (const { settled } of batch) settled?.()
    }
    this.#writing = undefined
  }

  /** Waits for the next try. True when there is none, because the coordinator stops. */
  async #givesUp(error: SkeinError, retryMs: number): Promise<boolean> {
    if (!this.#failure) this.#log.error({ code: error.code }, error.message)
    this.#failure = error
    if (this.#stopping.signal.aborted) return true
    await sleep(this.#components.clock, retryMs, this.#stopping.signal).catch(() => {})
    return false
  }
}
