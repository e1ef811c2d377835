/** The coordinator that the page is from: whether it is there, with which key it is asked, and what it tells. */
import { signal, type ReadonlySignal } from '@preact/signals'
import { SkeinApiError, Skein, UnreachableError } from '../../sdk/index.ts'
import type { SmallStore, WebClock, WebRandom } from '../platform/index.ts'
import { EventFeed, type EventSource } from './events.ts'

export type ConnectionState = 'unknown' | 'online' | 'offline' | 'key-needed' | 'forbidden'

export interface RequestOptions {
  readonly body?: unknown
  readonly signal?: AbortSignal | undefined
  readonly headers?: Readonly<Record<string, string>>
}

export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE'

export interface Gateway {
  /** The SDK on this page's origin, with the key that the user gave. Another one once the key changes. */
  readonly skein: Skein
  readonly state: ReadonlySignal<ConnectionState>
  /** JSON of our own API. @throws SkeinApiError; the reason of the signal. */
  get<T>(path: string, signal?: AbortSignal): Promise<T>
  send<T>(method: 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown): Promise<T>
  /** For answers that are streams; a success. @throws as `get`. */
  request(method: Method, path: string, options?: RequestOptions): Promise<Response>
  /** One stream of `GET /mesh/v1/events` for the page, whoever listens. */
  readonly events: EventSource
}

export interface ConnectionInit {
  /** Such as `http://127.0.0.1:7337`. */
  readonly origin: string
  readonly clock: WebClock
  readonly random: WebRandom
  readonly kept: SmallStore
  readonly fetch?: typeof fetch
}

const KEY = 'skein.key'
const KEY_LENGTH_MAX = 4096
/** Between two looks while it is there: what breaks between is seen by whoever asks. */
const CALM_MS = 30_000
const RETRY_MS = 1000
const RETRY_MS_MAX = 15_000
/** Of the class `inference`, which every key that can chat has; it is answered from memory. */
const PROBE = '/v1/models'
const PROBE_PATIENCE_MS = 8000

export class Connection implements Gateway {
  readonly origin: string
  readonly events: EventFeed
  readonly #init: ConnectionInit
  readonly #state = signal<ConnectionState>('unknown')
  readonly #key = signal<string | undefined>(undefined)
  #skein: Skein
  #cancelLook = (): void => {}
  #tries = 0
  #isStarted = false

  constructor(init: ConnectionInit) {
    this.#init = init
    this.origin = init.origin
    this.#key.value = init.kept.get(KEY)
    this.#skein = this.#client()
    this.events = new EventFeed({
      ask: (headers, signal) => this.request('GET', '/mesh/v1/events', { headers, signal }),
      clock: init.clock,
      random: init.random,
    })
  }

  get skein(): Skein {
    return this.#skein
  }

  get state(): ReadonlySignal<ConnectionState> {
    return this.#state
  }

  /** Whether a key is kept in this browser. */
  get hasKey(): boolean {
    return this.#key.value !== undefined
  }

  /** Looks whether the coordinator is there, now and again. */
  start(): void {
    this.#isStarted = true
    const { kept } = this.#init
    kept.listen(KEY, (key) => this.#takeKey(key))
    void this.look()
  }

  /** The stream of events rests while nobody sees the page: browsers share six connections among all tabs. */
  setVisible(isVisible: boolean): void {
    this.events.setAwake(isVisible)
    if (isVisible) void this.look()
  }

  /** Asks with `key` from now on, in all tabs; `undefined` forgets it. @returns what the coordinator says to it. */
  async useKey(key: string | undefined): Promise<ConnectionState> {
    this.#init.kept.set(KEY, key)
    this.#takeKey(key)
    return this.look()
  }

  async get<T>(path: string, abort?: AbortSignal): Promise<T> {
    return jsonOf<T>(await this.request('GET', path, { signal: abort }))
  }

  async send<T>(method: 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown): Promise<T> {
    return jsonOf<T>(await this.request(method, path, { body }))
  }

  async request(
    method: Method,
    path: string,
    { body, signal: abort, headers }: RequestOptions = {},
  ): Promise<Response> {
    try {
      const response = await this.#skein.request({
        ...{ method, path, signal: abort },
        ...(headers !== undefined && { headers }),
        ...(body !== undefined && { body: body as object }),
      })
      if (this.#state.peek() !== 'online') this.#become('online')
      return response
    } catch (thrown) {
      this.#judge(thrown)
      throw thrown
    }
  }

  /** Looks now whether the coordinator answers, and whether it takes the key. */
  async look(): Promise<ConnectionState> {
    this.#cancelLook()
    const late = new AbortController()
    const cancelLate = this.#init.clock.after(PROBE_PATIENCE_MS, () => late.abort(new UnreachableError('no answer')))
    try {
      const response = await this.#skein.request({ method: 'GET', path: PROBE, signal: late.signal })
      await response.body?.cancel()
      this.#become('online')
    } catch (thrown) {
      this.#judge(thrown)
      if (thrown instanceof SkeinApiError && thrown.status === 403) this.#become('forbidden')
    } finally {
      cancelLate()
    }
    this.#lookLater()
    return this.#state.peek()
  }

  #lookLater(): void {
    if (!this.#isStarted) return
    const { clock, random } = this.#init
    const isOnline = this.#state.peek() === 'online'
    this.#tries = isOnline ? 0 : this.#tries + 1
    const backoffMs = Math.min(RETRY_MS_MAX, RETRY_MS * 2 ** Math.min(this.#tries - 1, 8))
    const waitMs = isOnline ? CALM_MS : backoffMs * (0.5 + random.unit() / 2)
    this.#cancelLook()
    this.#cancelLook = clock.after(waitMs, () => void this.look())
  }

  /** What a failure says of the coordinator; a refusal of what was asked says that it is there. */
  #judge(thrown: unknown): void {
    if (thrown instanceof UnreachableError) this.#become('offline')
    else if (!(thrown instanceof SkeinApiError) || thrown.status === undefined) return
    else if (thrown.status === 401) this.#become('key-needed')
    else if (this.#state.peek() === 'offline' || this.#state.peek() === 'unknown') this.#become('online')
  }

  #become(state: ConnectionState): void {
    const before = this.#state.peek()
    if (before === state) return
    this.#state.value = state
    if (state === 'online') this.events.wake()
    // another one has found it away: from here on it is looked for
    else if (before === 'online') {
      this.#tries = 0
      this.#lookLater()
    }
  }

  #takeKey(key: string | undefined): void {
    const usable = key !== undefined && key.length <= KEY_LENGTH_MAX && isHeaderText(key) ? key : undefined
    this.#key.value = usable
    this.#skein = this.#client()
    this.events.restart()
  }

  #client(): Skein {
    const key = this.#key.peek()
    const { origin, fetch: ask } = this.#init
    return new Skein({ url: origin, ...(key !== undefined && { apiKey: key }), ...(ask && { fetch: ask }) })
  }
}

/** What a header can carry; anything else would make `fetch` throw. */
export const isHeaderText = (text: string): boolean => /^[\x21-\x7e]+$/.test(text)

async function jsonOf<T>(response: Response): Promise<T> {
  const text = await response.text()
  try {
    return (text === '' ? undefined : JSON.parse(text)) as T
  } catch (cause) {
    throw new SkeinApiError('the coordinator answered with what is no JSON', { code: 'protocol', cause })
  }
}
