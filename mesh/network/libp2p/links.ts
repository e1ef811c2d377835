/**
 * Who is a member, by connection. A link is a connection and what its hello has shown:
 *
 *   new ──our certificate sent, theirs verified──▶ verified ──both accepted──▶ member ──closed──▶ gone
 *
 * Noise lets anyone in; a link is what keeps strangers out. Streams are served from `verified` on (the peer has proved
 * its membership, and may open a stream before its last hello frame is read); `connected` is told at `member`. Events are
 * per member, not per connection: two peers that dial each other at once keep both connections.
 */
import type { Connection } from '@libp2p/interface'
import {
  asPeerId,
  asSkeinError,
  LIMITS,
  SkeinError,
  type Certificate,
  type PeerId,
  type Signed,
} from '../../protocol/index.ts'
import type { CancelTimer, Clock, Logger } from '../../runtime/index.ts'
import type { Counters } from '../counters.ts'
import { assertCurrent, verifyCertificate } from '../membership/certificates.ts'
import type { MembershipStore } from '../membership/store.ts'
import type { Member, MembershipEvents } from '../transport.ts'

export interface LinksComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly store: MembershipStore
  readonly counters: Counters
}

export interface Link {
  readonly connection: Connection
  readonly peer: PeerId
  readonly isRelayed: boolean
  state: 'new' | 'verified' | 'member' | 'closed'
  certificate: Certificate | undefined
  /** Settles when the hello has: resolves to nothing, or rejects with the SkeinError that ended it. */
  readonly settled: Promise<void>
}

interface Entry extends Link {
  readonly settle: (error?: SkeinError) => void
  cancelTimer: CancelTimer
}

/** Certificates of connected members are looked at again at least this often. */
const SWEEP_MS = 3_600_000

export class Links {
  readonly #components: LinksComponents
  readonly #entries = new Map<string, Entry>()
  readonly #members = new Map<PeerId, Member>()
  readonly #watchers = new Set<Partial<MembershipEvents>>()
  #cancelSweep: CancelTimer | undefined

  constructor(components: LinksComponents) {
    this.#components = components
  }

  /** The link of a connection, made when it is new. A connection without a finished hello or join is closed in time. */
  of(connection: Connection): Link {
    const known = this.#entries.get(connection.id)
    if (known !== undefined) return known
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    promise.catch(() => undefined)
    const entry: Entry = {
      connection,
      peer: asPeerId(connection.remotePeer.toString()),
      isRelayed: connection.limits !== undefined,
      state: 'new',
      certificate: undefined,
      settled: promise,
      settle: (error) => (error === undefined ? resolve() : reject(error)),
      cancelTimer: () => undefined,
    }
    if (connection.status !== 'open') {
      entry.state = 'closed'
      entry.settle(new SkeinError('DIAL_FAILED', `the connection to ${entry.peer} is closed`))
      return entry
    }
    this.#entries.set(connection.id, entry)
    this.extend(entry, LIMITS.helloMs)
    return entry
  }

  /** Gives a link that is no member's this long, in ms, from now. */
  extend(link: Link, ms: number): void {
    const entry = this.#entries.get(link.connection.id)
    if (entry === undefined || entry.state === 'member') return
    entry.cancelTimer()
    entry.cancelTimer = this.#components.clock.timer(ms, () => {
      this.#components.counters.add('hello_timeout')
      this.drop(entry, new SkeinError('NOT_A_MEMBER', `${entry.peer} has shown no certificate in time`))
    })
  }

  /** May this connection's streams be served? */
  admits(connection: Connection): boolean {
    const state = this.#entries.get(connection.id)?.state
    return state === 'verified' || state === 'member'
  }

  /** The member behind a connection that `admits` lets in. @throws SkeinError NOT_A_MEMBER. */
  memberBehind(connection: Connection): Member {
    const entry = this.#entries.get(connection.id)
    if (entry?.certificate === undefined || !this.admits(connection))
      throw new SkeinError('NOT_A_MEMBER', `${connection.remotePeer.toString()} has shown no certificate`)
    return { peerId: entry.peer, certificate: entry.certificate, isSelf: false }
  }

  /** The peer showed `signed` on this link. @throws SkeinError that says why it is no member. */
  async verify(link: Link, signed: Signed): Promise<void> {
    const { store, clock } = this.#components
    const rules = { meshId: store.meshId, nowMs: clock.wallMs(), revocations: store.revocations }
    const certificate = await verifyCertificate(signed, link.peer, rules)
    if (link.state === 'closed') throw new SkeinError('STREAM_TRUNCATED', `the connection to ${link.peer} closed`)
    link.certificate = certificate
    if (link.state === 'new') link.state = 'verified'
  }

  /** Both sides have accepted each other. A link that is a member's already takes its newer certificate over. */
  accept(link: Link): void {
    const entry = this.#entries.get(link.connection.id)
    if (entry?.certificate === undefined || entry.state === 'closed') return
    const isNew = entry.state !== 'member'
    entry.state = 'member'
    entry.cancelTimer()
    entry.settle()
    const member: Member = { peerId: entry.peer, certificate: entry.certificate, isSelf: false }
    const wasConnected = this.#members.has(entry.peer)
    this.#members.set(entry.peer, member)
    this.#scheduleSweep()
    if (isNew && !wasConnected) this.#tell('connected', member)
  }

  /** Closes a link at once, telling `error` to who waits for its hello. */
  drop(link: Link, error: SkeinError): void {
    const entry = this.#entries.get(link.connection.id)
    entry?.settle(error)
    this.#forget(link)
    link.connection.abort(error)
  }

  /** The connection has closed. */
  onClosed(connection: Connection): void {
    const entry = this.#entries.get(connection.id)
    if (entry === undefined) return
    entry.settle(new SkeinError('DIAL_FAILED', `the connection to ${entry.peer} closed before its hello ended`))
    this.#forget(entry)
  }

  #forget(link: Link): void {
    const entry = this.#entries.get(link.connection.id)
    if (entry === undefined) return
    const wasMember = entry.state === 'member'
    entry.state = 'closed'
    entry.cancelTimer()
    this.#entries.delete(entry.connection.id)
    if (!wasMember || this.linksTo(entry.peer).length > 0) return
    const member = this.#members.get(entry.peer)
    this.#members.delete(entry.peer)
    if (member !== undefined) this.#tell('disconnected', member)
  }

  members(): Member[] {
    return [...this.#members.values()]
  }

  isMember(peer: PeerId): boolean {
    return this.#members.has(peer)
  }

  /** Open links to a member: direct ones first, then the older. */
  linksTo(peer: PeerId): Link[] {
    return [...this.#entries.values()]
      .filter((entry) => entry.peer === peer && entry.state === 'member' && entry.connection.status === 'open')
      .sort((a, b) => Number(a.isRelayed) - Number(b.isRelayed))
  }

  all(): readonly Link[] {
    return [...this.#entries.values()]
  }

  watch(events: Partial<MembershipEvents>): () => void {
    this.#watchers.add(events)
    for (const member of this.members()) this.#call(events, 'connected', member)
    return () => this.#watchers.delete(events)
  }

  /** Looks at every member's certificate again: after a new revocation list, and when one expires. */
  sweep(): void {
    const { store, clock, counters } = this.#components
    for (const entry of [...this.#entries.values()]) {
      if (entry.certificate === undefined) continue
      try {
        assertCurrent(entry.certificate, { nowMs: clock.wallMs(), revocations: store.revocations })
      } catch (thrown) {
        const error = asSkeinError(thrown)
        counters.add(error.code === 'CERTIFICATE_REVOKED' ? 'member_revoked' : 'member_expired')
        this.drop(entry, error)
      }
    }
    this.#scheduleSweep()
  }

  stop(): void {
    this.#cancelSweep?.()
    for (const entry of this.#entries.values()) entry.cancelTimer()
  }

  #scheduleSweep(): void {
    this.#cancelSweep?.()
    const nowMs = this.#components.clock.wallMs()
    const ends = this.members().map((member) => member.certificate.expiresAtMs + LIMITS.clockSkewMs - nowMs)
    const dueMs = Math.max(1, Math.min(SWEEP_MS, ...ends))
    this.#cancelSweep = this.#components.clock.timer(dueMs, () => this.sweep())
  }

  #tell(event: keyof MembershipEvents, member: Member): void {
    for (const watcher of [...this.#watchers]) this.#call(watcher, event, member)
  }

  /** A watcher that throws must not keep the others from hearing. */
  #call(watcher: Partial<MembershipEvents>, event: keyof MembershipEvents, member: Member): void {
    try {
      watcher[event]?.(member)
    } catch (error) {
      this.#components.log.error({ err: error, peer: member.peerId, event }, 'a watcher of members failed')
    }
  }
}
