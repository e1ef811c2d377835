/** The stream on which a coordinator tells a bridge what its devices are to do. While it stands, the bridge is online there. */
import { asSkeinError, parseBridgeCall, parseBridgeCancel, SkeinError } from '../../mesh/protocol/index.ts'
import { sleep, type Clock, type Logger, type Random } from '../../mesh/runtime/index.ts'
import type { DeviceCalls, Tally } from '../ports/index.ts'
import { Backoff, type Endpoints } from './endpoints.ts'
import { readEvents, type StreamedEvent } from './event-stream.ts'

export interface CallStreamComponents {
  readonly calls: DeviceCalls
  readonly endpoints: Endpoints
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly tally: Tally
}

export interface CallStreamInit {
  readonly bridge: string
  readonly session: string
  /** It stands, or it no longer does. */
  readonly onChange: (isOnline: boolean) => void
}

/** The coordinator says something every 5 s: two of these may be missed. */
const SILENCE_MS = 12_000
const RETRY_MS = 200
const RETRY_MS_MAX = 10_000

export class CallStream {
  readonly #parts: CallStreamComponents
  readonly #init: CallStreamInit
  readonly #stop = new AbortController()
  #isOnline = false
  #running: Promise<void> | undefined

  constructor(components: CallStreamComponents, init: CallStreamInit) {
    this.#parts = components
    this.#init = init
  }

  get isOnline(): boolean {
    return this.#isOnline
  }

  start(): void {
    this.#running = this.#run()
  }

  async stop(): Promise<void> {
    this.#stop.abort(new SkeinError('SHUTTING_DOWN', 'the bridge stops'))
    await this.#running
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    const { clock, random, log, endpoints } = this.#parts
    const backoff = new Backoff(random, RETRY_MS, RETRY_MS_MAX)
    while (!signal.aborted) {
      const { url } = endpoints
      try {
        await this.#follow(backoff, signal)
      } catch (thrown) {
        if (signal.aborted) break
        const error = asSkeinError(thrown)
        log.debug({ err: error, url }, 'no calls can be had from the coordinator')
      }
      this.#is(false)
      // also where it ended without an error: the coordinator stops
      endpoints.failed(url)
      await sleep(clock, backoff.next(), signal).catch(() => undefined)
    }
    this.#is(false)
  }

  async #follow(backoff: Backoff, signal: AbortSignal): Promise<void> {
    const { bridge, session } = this.#init
    const { endpoints, clock } = this.#parts
    const path = `/mesh/v1/bridge/calls?${new URLSearchParams({ bridge, session })}`
    const headers = { accept: 'text/event-stream' }
    const { response } = await endpoints.ask({ method: 'GET', path, headers }, signal)
    backoff.reset()
    this.#is(true)
    const listener = { event: (event: StreamedEvent) => this.#hear(event), comment: () => undefined }
    await readEvents(response, clock, SILENCE_MS, listener, signal)
  }

  /** An event that cannot be read is counted: it is no reason to hear no others. */
  #hear({ event, data }: StreamedEvent): void {
    const { calls, tally, log } = this.#parts
    try {
      const value: unknown = JSON.parse(data)
      if (event === 'call') calls.call(parseBridgeCall(value))
      else if (event === 'cancel') calls.cancel(parseBridgeCancel(value).call)
      else tally.count('call_unknown')
    } catch (error) {
      tally.count('call_malformed')
      log.warn({ err: error }, 'a call of the coordinator cannot be read')
    }
  }

  #is(isOnline: boolean): void {
    if (isOnline === this.#isOnline) return
    this.#isOnline = isOnline
    this.#init.onChange(isOnline)
  }
}
