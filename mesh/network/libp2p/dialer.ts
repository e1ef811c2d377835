/**
 * Keeps us connected: dials every address that a discovery path brought, and dials again, with growing jittered pauses,
 * until the peer is connected. It never gives up on what the owner, an invite or experience has named; peers that only
 * mDNS or another member named are forgotten after some failures, since they will be named again.
 *
 * Why not the library's reconnect queue: it gives up after five tries.
 */
import { asSkeinError, type PeerId } from '../../protocol/index.ts'
import type { CancelTimer, Clock, Logger, Random } from '../../runtime/index.ts'
import type { Counters } from '../counters.ts'

/** In the order in which they are tried, as `skein doctor` shows them. */
export const DISCOVERY_PATHS = ['mdns', 'remembered', 'invite', 'configured', 'relay', 'dht'] as const
export type DiscoveryPath = (typeof DISCOVERY_PATHS)[number]

const FIRST_PAUSE_MS = 250
const PAUSE_MS_MAX = 15_000
/** A peer that refused us will do so again until something changes. */
const REFUSED_PAUSE_MS = 15_000
/** Failures in a row after which a peer that nobody insists on is forgotten. */
const FAILURES_MAX = 5
const TARGETS_MAX = 512

export interface DialerComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly counters: Counters
  readonly isMember: (peer: PeerId) => boolean
  /** Connects and says hello. Rejects with the SkeinError that tells why not. */
  readonly dial: (peer: PeerId | undefined, addresses: readonly string[]) => Promise<PeerId>
}

export interface Target {
  /** Unknown for an address without a peer id, until it was reached. */
  peer: PeerId | undefined
  readonly addresses: readonly string[]
  readonly path: DiscoveryPath
  readonly isKept: boolean
  failures: number
  lastError: string | undefined
}

interface Entry extends Target {
  addresses: readonly string[]
  path: DiscoveryPath
  isKept: boolean
  isDialling: boolean
  cancelTimer: CancelTimer | undefined
}

const ADDRESSES_MAX = 16
const KEPT: ReadonlySet<DiscoveryPath> = new Set(['remembered', 'invite', 'configured', 'relay'])

export class Dialer {
  readonly #components: DialerComponents
  /** By peer id, or by address where the peer is not known. */
  readonly #entries = new Map<string, Entry>()
  #isRunning = false

  constructor(components: DialerComponents) {
    this.#components = components
  }

  start(): void {
    this.#isRunning = true
    for (const entry of this.#entries.values()) this.#dial(entry)
  }

  stop(): void {
    this.#isRunning = false
    for (const entry of this.#entries.values()) entry.cancelTimer?.()
  }

  /** `path` has found a peer at `addresses`; it is dialled now unless it is connected. */
  found(path: DiscoveryPath, peer: PeerId | undefined, addresses: readonly string[]): void {
    const key = peer ?? addresses[0]
    if (key === undefined) return
    let entry = this.#entries.get(key)
    if (entry === undefined) {
      if (this.#entries.size >= TARGETS_MAX) return
      entry = {
        peer,
        addresses: [],
        path,
        isKept: false,
        failures: 0,
        lastError: undefined,
        isDialling: false,
        cancelTimer: undefined,
      }
      this.#entries.set(key, entry)
    }
    entry.addresses = [...new Set([...addresses, ...entry.addresses])].slice(0, ADDRESSES_MAX)
    entry.isKept ||= KEPT.has(path)
    if (this.#isRunning) this.#dial(entry)
  }

  /** The last connection to `peer` closed: it is dialled again, when we know where. `wasOurs`: we had dialled it. */
  lost(peer: PeerId, wasOurs: boolean): void {
    for (const entry of this.#entries.values()) {
      if (entry.peer !== peer) continue
      entry.failures = 0
      // who had dialled dials first, else both would at once
      this.#schedule(entry, wasOurs ? FIRST_PAUSE_MS / 5 : FIRST_PAUSE_MS * 4)
    }
  }

  targets(): readonly Target[] {
    return [...this.#entries.values()]
  }

  #dial(entry: Entry): void {
    if (entry.isDialling || !this.#isRunning) return
    if (entry.peer !== undefined && this.#components.isMember(entry.peer)) return
    entry.cancelTimer?.()
    entry.isDialling = true
    void this.#components
      .dial(entry.peer, entry.addresses)
      .then(
        (peer) => {
          entry.peer = peer
          entry.failures = 0
          entry.lastError = undefined
        },
        (error: unknown) => this.#onFailure(entry, error),
      )
      .finally(() => (entry.isDialling = false))
  }

  #onFailure(entry: Entry, thrown: unknown): void {
    const error = asSkeinError(thrown, 'DIAL_FAILED')
    entry.failures++
    entry.lastError = error.message
    this.#components.counters.add('dial_failed')
    this.#components.log.debug({ peer: entry.peer, addresses: entry.addresses, err: error }, 'dial failed')
    if (!entry.isKept && entry.failures >= FAILURES_MAX) {
      for (const [key, other] of this.#entries) if (other === entry) this.#entries.delete(key)
      return
    }
    const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** (entry.failures - 1), PAUSE_MS_MAX)
    this.#schedule(entry, error.code === 'DIAL_FAILED' ? pauseMs : REFUSED_PAUSE_MS)
  }

  #schedule(entry: Entry, pauseMs: number): void {
    if (!this.#isRunning) return
    entry.cancelTimer?.()
    const jittered = pauseMs * (0.5 + this.#components.random.next())
    entry.cancelTimer = this.#components.clock.timer(jittered, () => this.#dial(entry))
  }
}
