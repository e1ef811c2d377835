/**
 * `PeerTransport` over libp2p: hosts the node, runs hello on every connection, keeps it connected, and opens and serves
 * framed channels. What a stranger can reach is `hello` and `join`; see `links.ts` and `gate.ts`.
 */
import type { Connection, PeerInfo, Stream } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import {
  asPeerId,
  asSkeinError,
  INBOUND,
  LIMITS,
  PROTOCOLS,
  SkeinError,
  type AnyFrame,
  type FrameSet,
  type PeerId,
  type ProtocolName,
  type Signed,
} from '../../protocol/index.ts'
import {
  SystemClock,
  withDeadline,
  type CancelTimer,
  type Clock,
  type Logger,
  type Random,
} from '../../runtime/index.ts'
import { dialFailed } from '../channels/services.ts'
import { Counters } from '../counters.ts'
import type { Identity } from '../identity.ts'
import { LocalMembers } from '../local/local-member.ts'
import type { MeshAuthority } from '../membership/authority.ts'
import { answerJoin } from '../membership/join-service.ts'
import { Pairings } from '../membership/pairing.ts'
import type { MembershipStore } from '../membership/store.ts'
import type {
  ChannelHandler,
  FrameChannel,
  Member,
  MembershipEvents,
  OpenOptions,
  PeerTransport,
} from '../transport.ts'
import { Channels, GATE_STREAMS_MAX, STREAMS_MAX } from './channels.ts'
import { Dialer, type DiscoveryPath } from './dialer.ts'
import { DhtDiscovery } from './discovery.ts'
import { Gate } from './gate.ts'
import { Hello } from './hello.ts'
import { Links, type Link } from './links.ts'
import { createMeshNode, type MeshNode } from './node.ts'
import { PairingBeacon } from './pairing-beacon.ts'
import { createRecordRules } from './records.ts'
import { Renewal } from './renewal.ts'

export interface Libp2pComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly identity: Identity
  readonly store: MembershipStore
  readonly authority: MeshAuthority | undefined
}

export interface Libp2pInit {
  /** Multiaddrs to listen on. */
  readonly listen: readonly string[]
  /** Multiaddrs that others are told beside those found on the interfaces. */
  readonly announce: readonly string[]
  readonly mdns: boolean
  /** Multiaddrs by the path that named them; dialled at once and for ever. */
  readonly bootstrap: readonly { readonly path: DiscoveryPath; readonly address: string }[]
  readonly relay: { readonly serve: boolean; readonly use: boolean }
}

/** Longest that `stop` waits for libp2p, in ms. */
const STOP_MS = 1500
const SAVE_MS = 500
export class Libp2pPeerTransport implements PeerTransport {
  readonly counters = new Counters()
  readonly links: Links
  readonly dialer: Dialer
  readonly discovery: DhtDiscovery
  /** Members in this process beside ourselves. */
  readonly locals = new LocalMembers()
  /** Present where the mesh key is. */
  readonly pairings: Pairings | undefined
  readonly #components: Libp2pComponents
  readonly #init: Libp2pInit
  readonly #hello: Hello
  readonly #renewal: Renewal
  readonly #channels: Channels
  readonly #dialled = new Set<PeerId>()
  #node: MeshNode | undefined
  readonly #revoked = new AbortController()
  #cancelSave: CancelTimer | undefined
  readonly #beacon = new PairingBeacon()
  #isStopping = false

  constructor(components: Libp2pComponents, init: Libp2pInit) {
    this.#components = components
    this.#init = init
    const { clock, random, log, store, authority } = components
    const self = components.identity.peerId
    this.pairings =
      authority && new Pairings({ clock, random, authority, self, onOpen: (isOpen) => this.#beacon.set(isOpen) })
    const { counters } = this
    this.links = new Links({ clock, log, store, counters })
    this.#channels = new Channels({ clock, log, counters, links: this.links })
    this.#hello = new Hello({
      clock,
      log,
      store,
      links: this.links,
      counters,
      onRevocations: (signed) => this.applyRevocations(signed),
    })
    this.dialer = new Dialer({
      clock,
      random,
      log,
      counters,
      isMember: (peer) => this.links.isMember(peer),
      dial: (peer, addresses) => this.#dial(peer, addresses),
    })
    this.discovery = new DhtDiscovery({
      clock,
      log: log.scope('dht'),
      self: components.identity.peerId,
      node: () => this.node,
      onFound: (peer, addresses) => this.dialer.found('dht', peer, addresses),
    })
    this.#renewal = new Renewal({
      clock,
      random,
      log,
      store,
      authority,
      members: () => this.members(),
      open: (peer, protocol, inbound, options) => this.open(peer, protocol, inbound, options),
      onRenewed: (grant) => this.#onRenewed(grant.revocations),
    })
  }

  /** The running libp2p host. @throws SkeinError SHUTTING_DOWN when there is none. */
  get node(): MeshNode {
    if (this.#node === undefined) throw new SkeinError('SHUTTING_DOWN', 'the network is not running')
    return this.#node
  }

  get isRunning(): boolean {
    return this.#node !== undefined
  }

  get self(): Member {
    const { certificate } = this.#components.store
    return { peerId: this.#components.identity.peerId, certificate, isSelf: true }
  }

  /** @throws SkeinError PORT_IN_USE or LISTEN_FAILED naming the address. */
  async start(): Promise<void> {
    const { identity, store, clock } = this.#components
    const node = await createMeshNode({
      identity,
      meshId: store.meshId,
      gate: new Gate(this.links, this.counters),
      recordRules: createRecordRules({ clock, meshId: store.meshId, counters: this.counters }),
      listen: this.#init.listen,
      announce: this.#init.announce,
      mdns: this.#init.mdns,
      servesRelay: this.#init.relay.serve,
      usesRelay: this.#init.relay.use,
      onMdnsPeer: (peer) => this.#onMdnsPeer(peer),
      beacon: this.#beacon,
    }).catch(listenError)
    this.#node = node
    node.addEventListener('connection:open', (event) => this.#onConnection(event.detail))
    node.addEventListener('connection:close', (event) => this.#onConnectionClosed(event.detail))
    node.services.dht.routingTable.addEventListener('peer:add', () => this.discovery.onPeer())
    await this.#serveProtocols(node)
    try {
      await node.start()
    } catch (error) {
      listenError(error)
    }
    for (const { path, address } of this.#init.bootstrap) this.#nameTarget(path, address)
    for (const { peerId, addresses } of store.remembered)
      if (peerId !== identity.peerId) this.dialer.found('remembered', asPeerId(peerId), addresses)
    this.dialer.start()
    this.discovery.start()
    this.#renewal.start()
  }

  /** Ends within two seconds and does not throw. */
  async stop(): Promise<void> {
    if (this.#isStopping) return
    this.#isStopping = true
    this.#renewal.stop()
    this.discovery.stop()
    this.dialer.stop()
    this.#cancelSave?.()
    this.locals.stop()
    this.pairings?.close()
    const node = this.#node
    if (node === undefined) return
    // the library waits on timers that do not keep the process alive: without this one it may end in the middle
    const { promise: timeout, resolve } = Promise.withResolvers<void>()
    const cancel = new SystemClock(true).timer(STOP_MS, resolve)
    const { log, store } = this.#components
    this.#channels.reset()
    const stopped = Promise.allSettled([node.stop(), store.save()]).then((results) => {
      for (const result of results)
        if (result.status === 'rejected') log.warn({ err: result.reason as unknown }, 'the network stopped uncleanly')
    })
    await Promise.race([stopped, timeout])
    cancel()
    this.links.stop()
    this.#node = undefined
  }

  members(): Member[] {
    return [...this.links.members(), ...this.locals.list()]
  }

  watch(events: Partial<MembershipEvents>): () => void {
    const unwatch = [this.links.watch(events), this.locals.watch(events)]
    return () => unwatch.forEach((end) => end())
  }

  async connect(peer: PeerId, signal?: AbortSignal): Promise<Member> {
    signal?.throwIfAborted()
    if (peer === this.self.peerId) return this.self
    const local = this.locals.get(peer)
    if (local !== undefined) return local.member
    const { connection } = await this.#linkTo(peer, signal)
    return this.links.memberBehind(connection)
  }

  async open<In extends AnyFrame>(
    peer: PeerId,
    protocol: ProtocolName,
    inbound: FrameSet<In>,
    options: OpenOptions = {},
  ): Promise<FrameChannel<In>> {
    const { signal } = options
    signal?.throwIfAborted()
    if (peer === this.self.peerId) return this.#channels.inMemory(this.self, protocol, inbound)
    const local = this.locals.get(peer)
    if (local !== undefined) return local.serve(protocol, inbound)
    const link = await this.#linkTo(peer, signal)
    try {
      const stream = await link.connection.newStream(PROTOCOLS[protocol], {
        ...(signal && { signal }),
        runOnLimitedConnection: true,
        maxOutboundStreams: STREAMS_MAX[protocol],
      })
      return this.#channels.on(peer, protocol, stream, inbound)
    } catch (cause) {
      signal?.throwIfAborted()
      throw dialFailed(peer, cause)
    }
  }

  /** A channel of a member in this process to what we serve. @throws SkeinError DIAL_FAILED. */
  serveLocal<In extends AnyFrame>(from: Member, protocol: ProtocolName, inbound: FrameSet<In>): FrameChannel<In> {
    return this.#channels.inMemory(this.self, protocol, inbound, from)
  }

  handle<In extends AnyFrame>(protocol: ProtocolName, inbound: FrameSet<In>, handler: ChannelHandler<In>): void {
    this.#channels.handle(protocol, inbound, handler as unknown as ChannelHandler<AnyFrame>)
    if (this.#node !== undefined)
      this.#channels.serve(this.#node, protocol).catch((error: unknown) => {
        this.#components.log.error({ err: error, protocol }, 'the protocol cannot be served')
      })
  }

  /** Aborts, with CERTIFICATE_REVOKED, when a signed list says that this member is revoked. */
  get revoked(): AbortSignal {
    return this.#revoked.signal
  }

  /** Takes over a newer revocation list and closes the connections of who is on it. @throws SkeinError when forged. */
  async applyRevocations(signed: Signed): Promise<void> {
    const { store, log } = this.#components
    if (!(await store.offerRevocations(signed))) return
    await this.locals.applyRevocations(signed)
    if (store.isRevoked) {
      log.info({}, 'the owner has revoked this member')
      this.#revoked.abort(new SkeinError('CERTIFICATE_REVOKED', 'the owner has put this machine out of the mesh'))
    }
    this.links.sweep()
  }

  /** A path of discovery named a multiaddr, with or without a peer id. */
  #nameTarget(path: DiscoveryPath, address: string): void {
    const peer = /\/p2p\/([^/]+)$/.exec(address)?.[1]
    if (peer === this.self.peerId) return
    this.dialer.found(path, peer === undefined ? undefined : asPeerId(peer), [address])
  }

  #onMdnsPeer(found: PeerInfo): void {
    const peer = asPeerId(found.id.toString())
    if (peer === this.self.peerId) return
    this.dialer.found(
      'mdns',
      peer,
      found.multiaddrs.map((address) => address.toString()),
    )
  }

  #onConnection(connection: Connection): void {
    const link = this.links.of(connection)
    if (connection.direction === 'outbound' && !this.#isStopping)
      this.#introduce(link).catch((error: unknown) => this.#components.log.debug({ err: error }, 'hello failed'))
  }

  #onConnectionClosed(connection: Connection): void {
    const peer = asPeerId(connection.remotePeer.toString())
    const wasMember = this.links.isMember(peer)
    this.links.onClosed(connection)
    if (!wasMember || this.links.isMember(peer)) return
    this.dialer.lost(peer, this.#dialled.has(peer))
    this.#dialled.delete(peer)
  }

  /** Runs our side of the hello. */
  async #introduce(link: Link): Promise<void> {
    try {
      const stream = await link.connection.newStream(PROTOCOLS.hello, { runOnLimitedConnection: true })
      await this.#hello.call(link, this.#channels.on(link.peer, 'hello', stream, INBOUND.helloCaller))
    } catch (thrown) {
      const error = asSkeinError(thrown, 'DIAL_FAILED')
      this.links.drop(link, error)
      throw error
    }
    if (link.connection.direction === 'outbound') this.#dialled.add(link.peer)
    this.#onMember(link)
  }

  /** The link is a member's now: learn what it serves and where it listens, and remember where it was reached. */
  #onMember(link: Link): void {
    const { log } = this.#components
    if (link.certificate?.roles.includes('coordinator')) this.#renewal.onCoordinator()
    const reached = link.connection.remoteAddr.toString()
    if (link.connection.direction === 'outbound' && !link.isRelayed) this.#remember(link.peer, [reached])
    this.node.services.identify
      .identify(link.connection)
      .then((result) => {
        const heard = result.listenAddrs.map((address) => address.toString())
        if (link.connection.direction === 'inbound') this.#remember(link.peer, heard)
      })
      .catch((error: unknown) => log.debug({ err: error, peer: link.peer }, 'identify failed'))
  }

  #remember(peer: PeerId, addresses: readonly string[]): void {
    const { store, clock, log } = this.#components
    if (addresses.length === 0 || this.#isStopping) return
    store.remember(peer, addresses)
    this.dialer.found('remembered', peer, addresses)
    this.#cancelSave?.()
    this.#cancelSave = clock.timer(SAVE_MS, () => {
      store.save().catch((error: unknown) => log.warn({ err: error }, 'addresses cannot be saved'))
    })
  }

  /** A link to `peer`: one that is there, or a new one. @throws SkeinError DIAL_FAILED, NOT_A_MEMBER, signal's reason. */
  async #linkTo(peer: PeerId, signal: AbortSignal | undefined): Promise<Link> {
    const existing = this.links.linksTo(peer)[0]
    if (existing !== undefined) return existing
    await this.#dial(peer, [], signal)
    const link = this.links.linksTo(peer)[0]
    if (link === undefined) throw dialFailed(peer, new SkeinError('STREAM_TRUNCATED', 'it closed the connection'))
    return link
  }

  async #dial(peer: PeerId | undefined, addresses: readonly string[], signal?: AbortSignal): Promise<PeerId> {
    const { node } = this
    let connection: Connection
    try {
      const multiaddrs = addresses.map((address) => multiaddr(address))
      if (peer === undefined) connection = await node.dial(multiaddrs, { ...(signal && { signal }) })
      else {
        const id = peerIdFromString(peer)
        if (multiaddrs.length > 0) await node.peerStore.merge(id, { multiaddrs })
        connection = await node.dial(id, { ...(signal && { signal }) })
      }
    } catch (cause) {
      signal?.throwIfAborted()
      throw dialFailed(peer ?? addresses.join(', '), cause)
    }
    const link = this.links.of(connection)
    await raced(link.settled, signal)
    return link.peer
  }

  async #serveProtocols(node: MeshNode): Promise<void> {
    const limits = { maxInboundStreams: GATE_STREAMS_MAX, runOnLimitedConnection: true }
    await node.handle(
      PROTOCOLS.hello,
      async (stream, connection) => {
        const link = this.links.of(connection)
        const channel = this.#channels.on(link.peer, 'hello', stream, INBOUND.helloAcceptor)
        await this.#hello.answer(link, channel).then(
          () => this.#onMember(link),
          () => undefined,
        )
      },
      limits,
    )
    await node.handle(PROTOCOLS.join, (stream, connection) => this.#answerJoin(stream, connection), limits)
    for (const protocol of this.#channels.served) await this.#channels.serve(node, protocol)
  }

  async #answerJoin(stream: Stream, connection: Connection): Promise<void> {
    const { clock, authority } = this.#components
    const link = this.links.of(connection)
    this.links.extend(link, LIMITS.joinMs)
    const channel = this.#channels.on(link.peer, 'join', stream, INBOUND.joinAuthority)
    await answerJoin({ clock, counters: this.counters, authority, pairings: this.pairings }, channel)
    // the joiner leaves by itself; one that does not has nothing more to ask
    this.links.extend(link, LIMITS.helloMs)
  }

  /** Shows our new certificate on every link, so that none is cut when the old one ends. */
  async #onRenewed(revocations: Signed): Promise<void> {
    await this.applyRevocations(revocations)
    const { clock, log } = this.#components
    for (const link of this.links.all()) {
      if (link.state !== 'member') continue
      const late = (): Error => new SkeinError('STREAM_TIMEOUT', 'the renewed hello took too long')
      withDeadline(clock, LIMITS.joinMs, late, undefined, (signal) => raced(this.#introduce(link), signal)).catch(
        (error: unknown) => log.warn({ err: error, peer: link.peer }, 'the renewed certificate was not taken'),
      )
    }
  }
}

function listenError(cause: unknown): never {
  const { message } = cause as Error
  const causes = [cause, ...((cause as AggregateError).errors ?? [])] as (NodeJS.ErrnoException & Error)[]
  const isTaken = causes.some((error) => error.code === 'EADDRINUSE' || error.message?.includes('EADDRINUSE'))
  throw new SkeinError(isTaken ? 'PORT_IN_USE' : 'LISTEN_FAILED', message, { cause })
}

function raced<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error)
    if (signal.aborted) onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
