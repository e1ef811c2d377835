/** What happens in the mesh, as it happens: one stream of `GET /mesh/v1/events` for all who listen. */
import { SkeinApiError, serverEvents } from '../../sdk/index.ts'
import type { WebClock, WebRandom } from '../platform/index.ts'

/** As `docs/API.md` has them: a type, a time, and members of the type. */
export interface MeshEventView {
  readonly type: string
  /** Wall clock of the coordinator, ms since 1970. */
  readonly atMs: number
  readonly [member: string]: unknown
}

export interface EventSource {
  /**
   * `types` are types of events (`node.lost`) or families (`task`). Those that happened while the page was away are told
   * later, or `events.missed` is, which everybody is told: read anew what you show.
   *
   * @returns what ends it.
   */
  subscribe(types: readonly string[], onEvent: (event: MeshEventView) => void): () => void
}

export interface EventFeedInit {
  /** The stream. @throws SkeinApiError. */
  readonly ask: (headers: Record<string, string>, signal: AbortSignal) => Promise<Response>
  readonly clock: Pick<WebClock, 'sleep'>
  readonly random: Pick<WebRandom, 'unit'>
}

interface Listener {
  readonly types: readonly string[]
  readonly onEvent: (event: MeshEventView) => void
}

const RETRY_MS = 500
const RETRY_MS_MAX = 15_000
/** A coordinator that does not let this key listen is asked again this much later. */
const REFUSED_MS = 60_000
export const MISSED = 'events.missed'

export class EventFeed implements EventSource {
  readonly #init: EventFeedInit
  readonly #listeners = new Set<Listener>()
  #isAwake = true
  #running: AbortController | undefined
  #resting: AbortController | undefined
  #lastId: string | undefined

  constructor(init: EventFeedInit) {
    this.#init = init
  }

  subscribe(types: readonly string[], onEvent: (event: MeshEventView) => void): () => void {
    const listener: Listener = { types, onEvent }
    this.#listeners.add(listener)
    this.#run()
    return () => {
      this.#listeners.delete(listener)
      if (this.#listeners.size === 0) this.#stop()
    }
  }

  setAwake(isAwake: boolean): void {
    this.#isAwake = isAwake
    if (isAwake) this.#run()
    else this.#stop()
  }

  /** The coordinator is there again: no more waiting. */
  wake(): void {
    this.#resting?.abort()
    this.#run()
  }

  /** Another key sees other events. */
  restart(): void {
    this.#stop()
    this.#lastId = undefined
    this.#run()
  }

  #stop(): void {
    this.#running?.abort()
    this.#running = undefined
  }

  #run(): void {
    if (this.#running !== undefined || !this.#isAwake || this.#listeners.size === 0) return
    const running = new AbortController()
    this.#running = running
    void this.#follow(running.signal)
  }

  async #follow(signal: AbortSignal): Promise<void> {
    for (let tries = 0; !signal.aborted; tries++) {
      let waitMs = this.#init.random.unit() * Math.min(RETRY_MS_MAX, RETRY_MS * 2 ** Math.min(tries, 8))
      try {
        const headers: Record<string, string> = this.#lastId === undefined ? {} : { 'last-event-id': this.#lastId }
        const response = await this.#init.ask(headers, signal)
        tries = 0
        await this.#read(response)
      } catch (thrown) {
        if (thrown instanceof SkeinApiError && (thrown.status === 401 || thrown.status === 403)) waitMs = REFUSED_MS
        // another failure is one of the connection: it is tried again
      }
      await this.#rest(waitMs, signal)
    }
  }

  async #read(response: Response): Promise<void> {
    if (response.body === null) return
    for await (const event of serverEvents(response.body)) {
      if (event.type !== 'event') continue
      if (event.id !== undefined && event.id.length <= 256) this.#lastId = event.id
      this.#tell(event.data)
    }
  }

  #tell(data: string): void {
    const event = eventOf(data)
    if (event === undefined) return
    for (const { types, onEvent } of [...this.#listeners])
      if (event.type === MISSED || types.some((type) => event.type === type || event.type.startsWith(`${type}.`)))
        try {
          onEvent(event)
        } catch (error) {
          // one listener's fault is not the others'
          reportError(error)
        }
  }

  async #rest(ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    const resting = new AbortController()
    this.#resting = resting
    try {
      await this.#init.clock.sleep(ms, AbortSignal.any([signal, resting.signal]))
    } catch {
      // woken, or over
    }
  }
}

/** `undefined` for what is no event. */
function eventOf(data: string): MeshEventView | undefined {
  try {
    const event = JSON.parse(data) as Partial<MeshEventView> | null
    if (typeof event !== 'object' || typeof event?.type !== 'string') return undefined
    return { ...event, type: event.type, atMs: typeof event.atMs === 'number' ? event.atMs : 0 }
  } catch {
    return undefined
  }
}
