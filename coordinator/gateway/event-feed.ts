/**
 * The newest events, for any number of clients that follow them. They are kept once, in a ring; a client has its place in
 * it and no memory of its own, so that one which does not read costs nothing: it is told that it missed some, or cut.
 */
import { LIMITS, mintId } from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock, Random } from '../../mesh/runtime/index.ts'
import type { Access, KeyEvent } from '../access/index.ts'
import type { MeshEvent, MeshService } from '../admission/index.ts'
import type { DeviceEvent, Devices } from '../devices/index.ts'
import { toldOf, type EventType, type EventView } from './event-views.ts'
import { CHUNK_UNITS_MAX } from './limits.ts'
import { sseComment, sseEvent } from './sse.ts'

export interface EventFeedComponents {
  readonly service: Pick<MeshService, 'watch'>
  readonly access: Pick<Access, 'watch'>
  readonly devices?: Pick<Devices, 'watch'>
  readonly clock: Clock
  readonly random: Random
}

interface Kept {
  readonly view: EventView
  readonly tenant: string | undefined
}

export interface FollowInit {
  /** The `Last-Event-ID` of the client; from now on when absent. */
  readonly after?: string
  readonly isWanted: (type: EventType, tenant: string | undefined) => boolean
  readonly signal: AbortSignal
  readonly keepaliveMs: number
  /** Asked every `keepaliveMs`, and whenever a key has changed: false ends it. */
  readonly mayFollow: () => Promise<boolean>
  /** The ring has turned past the client: it is cut. */
  readonly onBehind: () => void
}

/** Characters of the name of one life of the coordinator, in ids. */
const LIFE_LENGTH = 8

export class EventFeed {
  readonly #clock: Clock
  /** Ids of another life of the coordinator mean nothing here. */
  readonly #life: string
  readonly #keptMax: number
  readonly #ring: Kept[] = []
  /** Number of the newest event; the first has 1. */
  #newest = 0
  readonly #wakes = new Set<() => void>()
  readonly #unwatch: readonly (() => void)[]
  #followers = 0
  #keyChanges = 0
  #isClosed = false

  constructor(
    { service, access, devices, clock, random }: EventFeedComponents,
    keptMax: number = LIMITS.eventsKeptMax,
  ) {
    this.#clock = clock
    this.#keptMax = keptMax
    this.#life = mintId('req', (length) => random.bytes(length)).slice(-LIFE_LENGTH)
    const take = (event: MeshEvent | KeyEvent | DeviceEvent): void => this.#take(event)
    this.#unwatch = [service.watch(take), access.watch(take), ...(devices ? [devices.watch(take)] : [])]
  }

  /** Clients that follow. */
  get followers(): number {
    return this.#followers
  }

  /** Ends all that follow it. */
  close(): void {
    this.#isClosed = true
    for (const unwatch of this.#unwatch) unwatch()
    this.#wake()
  }

  /** Server-sent events as text, in pieces of bounded length, each when the one before was taken. */
  async *follow(init: FollowInit): AsyncGenerator<string, void, undefined> {
    const { signal, isWanted, keepaliveMs, mayFollow, onBehind } = init
    let at = this.#placeOf(init.after)
    const wake = (): void => this.#wake()
    signal.addEventListener('abort', wake, { once: true })
    this.#followers++
    let keyChanges = this.#keyChanges
    let checkedAtMs = this.#clock.nowMs()
    try {
      // where a client stands that is cut before its first event
      yield `${this.#missed(init.after) ? this.#missedEvent(at) : `id: ${this.#idOf(at)}\n`}${sseComment('watching')}`
      while (!signal.aborted && !this.#isClosed) {
        if (at < this.#newest - this.#ring.length) return onBehind()
        let piece = ''
        while (at < this.#newest && piece.length < CHUNK_UNITS_MAX) {
          const { view, tenant } = this.#ring[at++ % this.#keptMax]!
          if (isWanted(view.type, tenant)) piece += sseEvent(view.type, JSON.stringify(view), this.#idOf(at))
        }
        const isSilent = piece === '' && at === this.#newest && !(await this.#event(keepaliveMs))
        const nowMs = this.#clock.nowMs()
        if (keyChanges !== this.#keyChanges || nowMs - checkedAtMs >= keepaliveMs) {
          keyChanges = this.#keyChanges
          checkedAtMs = nowMs
          if (!(await mayFollow())) return
        }
        if (isSilent) piece = sseComment('keepalive')
        if (piece !== '') yield piece
      }
    } finally {
      this.#followers--
      signal.removeEventListener('abort', wake)
    }
  }

  #take(event: MeshEvent | KeyEvent | DeviceEvent): void {
    const told = toldOf(event)
    if (told === undefined) return
    if (told.view.type.startsWith('key.')) this.#keyChanges++
    this.#ring[this.#newest++ % this.#keptMax] = {
      view: { ...told.view, atMs: this.#clock.wallMs() },
      tenant: told.tenant,
    }
    this.#wake()
  }

  #idOf(place: number): string {
    return `${this.#life}-${place}`
  }

  /** Number of the last event that the client has. */
  #placeOf(after: string | undefined): number {
    if (after === undefined) return this.#newest
    return Math.max(this.#known(after) ?? 0, this.#newest - this.#ring.length)
  }

  #missed(after: string | undefined): boolean {
    return after !== undefined && (this.#known(after) ?? -1) < this.#newest - this.#ring.length
  }

  /** `undefined` of an id of another life, or of none. */
  #known(after: string): number | undefined {
    const [life, number = ''] = after.split('-')
    if (life !== this.#life || !/^\d{1,15}$/.test(number)) return undefined
    return Number(number) <= this.#newest ? Number(number) : undefined
  }

  #missedEvent(place: number): string {
    const view = { type: 'events.missed', atMs: this.#clock.wallMs() }
    return sseEvent(view.type, JSON.stringify(view), this.#idOf(place))
  }

  #wake(): void {
    for (const wake of this.#wakes) wake()
  }

  /** Resolves with false when none came for `waitMs`. */
  #event(waitMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      let cancel: CancelTimer = () => {}
      const settle = (came: boolean): void => {
        this.#wakes.delete(wake)
        cancel()
        resolve(came)
      }
      const wake = (): void => settle(true)
      this.#wakes.add(wake)
      cancel = this.#clock.timer(waitMs, () => settle(false))
    })
  }
}
