/** A member of the mesh on this machine: identity, membership, transport and discovery put together. */
import { SkeinError, type MeshId, type PeerId, type Signed, type SignatureDomain } from '../protocol/index.ts'
import type { Clock, Logger, Random, Startable } from '../runtime/index.ts'
import type { Identity } from './identity.ts'
import { DISCOVERY_PATHS, type DiscoveryPath } from './libp2p/dialer.ts'
import { Libp2pPeerTransport } from './libp2p/transport.ts'
import { LocalMember, type LocalPeer } from './local/local-member.ts'
import type { InviteInit, IssuedInvite, MeshAuthority } from './membership/authority.ts'
import type { PairingView } from './membership/pairing.ts'
import { openLocalMembership, type Membership } from './membership/open.ts'
import { sign } from './signed.ts'
import type { Discovery, Member, PeerTransport } from './transport.ts'

/** Any free port on every interface, over TCP and WebSockets. */
export const DEFAULT_LISTEN: readonly string[] = ['/ip4/0.0.0.0/tcp/0', '/ip4/0.0.0.0/tcp/0/ws']

export interface PeerHostComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
}

export interface PeerHostInit {
  /** From `openMembership`. */
  readonly membership: Membership
  /** Multiaddrs; `DEFAULT_LISTEN` when absent. */
  readonly listen?: readonly string[]
  /** Multiaddrs that others are told instead of those of the interfaces. */
  readonly announce?: readonly string[]
  readonly mdns: boolean
  /** Multiaddrs that the owner configured. */
  readonly bootstrap: readonly string[]
  /** `serve`: relay other members; coordinators do by default. `use`: be reachable through a relay. Default false. */
  readonly relay?: { readonly serve?: boolean; readonly use?: boolean }
}

/** What one path of discovery has found, for `skein doctor`. */
export interface PathReport {
  readonly path: DiscoveryPath
  readonly isEnabled: boolean
  readonly found: readonly {
    readonly peerId: PeerId | undefined
    readonly addresses: readonly string[]
    readonly isConnected: boolean
    readonly lastError: string | undefined
  }[]
}

export interface NetworkDiagnostics {
  readonly meshId: MeshId
  readonly addresses: readonly string[]
  readonly paths: readonly PathReport[]
  readonly connections: readonly {
    readonly peerId: PeerId
    readonly name: string
    readonly address: string
    readonly direction: 'inbound' | 'outbound'
    readonly isRelayed: boolean
    /** Round trip in ms; absent until measured. */
    readonly roundTripMs: number | undefined
  }[]
  /** Peers in the DHT's routing table. */
  readonly dhtPeers: number
  readonly counters: Record<string, number>
}

export interface PeerHost extends Startable, PeerTransport, Discovery {
  readonly meshId: MeshId
  readonly identity: Identity
  /** Present where the mesh key is. */
  readonly authority: MeshAuthority | undefined
  /** Multiaddrs at which we listen, with our peer id; empty before `start`. */
  addresses(): string[]
  /**
   * Makes an invite to this coordinator. A joiner is pinned to it by its peer id.
   *
   * @throws SkeinError NOT_THE_AUTHORITY, or INVITE_INVALID for options out of range.
   */
  invite(init?: Omit<InviteInit, 'peerId' | 'addresses'>): Promise<IssuedInvite>
  /**
   * Makes a pairing code, by which one machine may join this coordinator for `validMs`; the one before holds no more.
   *
   * @throws SkeinError NOT_THE_AUTHORITY.
   */
  pair(validMs?: number): PairingView
  /** The last pairing code that was made, as it is now; `undefined` when none was, or nobody here can make one. */
  pairing(): PairingView | undefined
  /** Takes an open pairing code back. */
  endPairing(): void
  /**
   * Voids a member's certificates and closes its connections; other members learn of it at their next hello with a member
   * that knows, or from `control.revocations`.
   *
   * @throws SkeinError NOT_THE_AUTHORITY, or FORBIDDEN for ourselves.
   */
  revoke(peer: PeerId): Promise<Signed>
  /** Aborts, with CERTIFICATE_REVOKED, when the mesh has put this member out: nothing more can be done as one. */
  readonly revoked: AbortSignal
  /** The newest signed revocation list that we know. */
  revocations(): Signed | undefined
  /** Takes over a newer list that a member has shown. @throws SkeinError when the mesh did not sign it. */
  applyRevocations(signed: Signed): Promise<void>
  /**
   * One more member in this process, a node, whose files are in `dataDir`; it is wished to be called `name`. Its certificate is
   * issued here, and it is connected to this host alone, through memory.
   *
   * @throws SkeinError NOT_THE_AUTHORITY, DATA_DIR_UNUSABLE, INVITE_INVALID when the mesh is full.
   */
  local(init: { readonly dataDir: string; readonly name: string }): Promise<LocalPeer>
  /** `value` signed with our identity, for control streams and, through `encodeSigned`, for `publish`. */
  sign(domain: SignatureDomain, value: unknown): Promise<Signed>
  counters(): Record<string, number>
  diagnostics(): NetworkDiagnostics
}

/** A host that is not started: handlers are set first. `start` throws PORT_IN_USE or LISTEN_FAILED. */
export function createPeerHost(components: PeerHostComponents, init: PeerHostInit): PeerHost {
  return new Libp2pPeerHost(components, init)
}

class Libp2pPeerHost implements PeerHost {
  readonly name = 'network'
  readonly identity: Identity
  readonly authority: MeshAuthority | undefined
  readonly meshId: MeshId
  readonly #membership: Membership
  readonly #components: PeerHostComponents
  readonly #transport: Libp2pPeerTransport
  readonly #init: PeerHostInit

  constructor(components: PeerHostComponents, init: PeerHostInit) {
    const { membership } = init
    const { identity, authority, store } = membership
    this.identity = identity
    this.authority = authority
    this.meshId = store.meshId
    this.#membership = membership
    this.#components = components
    this.#init = init
    this.#transport = new Libp2pPeerTransport(
      { ...components, log: components.log.scope('network'), identity, store, authority },
      {
        listen: init.listen ?? DEFAULT_LISTEN,
        announce: init.announce ?? [],
        mdns: init.mdns,
        bootstrap: [
          ...membership.inviteAddresses.map((address) => ({ path: 'invite' as const, address })),
          ...init.bootstrap.map((address) => ({ path: pathOf(address), address })),
        ],
        relay: {
          serve: init.relay?.serve ?? store.certificate.roles.includes('coordinator'),
          use: init.relay?.use ?? false,
        },
      },
    )
  }

  start(): Promise<void> {
    return this.#transport.start()
  }

  stop(): Promise<void> {
    return this.#transport.stop()
  }

  get revoked(): AbortSignal {
    return this.#transport.revoked
  }

  get self(): Member {
    return this.#transport.self
  }

  members: PeerTransport['members'] = () => this.#transport.members()
  watch: PeerTransport['watch'] = (events) => this.#transport.watch(events)
  connect: PeerTransport['connect'] = (peer, signal) => this.#transport.connect(peer, signal)
  open: PeerTransport['open'] = (peer, protocol, inbound, options) =>
    this.#transport.open(peer, protocol, inbound, options)
  handle: PeerTransport['handle'] = (protocol, inbound, handler) => this.#transport.handle(protocol, inbound, handler)
  advertise: Discovery['advertise'] = (keys) => this.#transport.discovery.advertise(keys)
  find: Discovery['find'] = (key, signal) => this.#transport.discovery.find(key, signal)
  publish: Discovery['publish'] = (record, signal) => this.#transport.discovery.publish(record, signal)
  lookup: Discovery['lookup'] = (peer, signal) => this.#transport.discovery.lookup(peer, signal)

  addresses(): string[] {
    if (!this.#transport.isRunning) return []
    return this.#transport.node.getMultiaddrs().map((address) => address.toString())
  }

  async invite(init: Omit<InviteInit, 'peerId' | 'addresses'> = {}): Promise<IssuedInvite> {
    const { peerId } = this.identity
    return this.#authority().createInvite({ ...init, peerId, addresses: inviteAddresses(this.addresses()) })
  }

  pair(validMs?: number): PairingView {
    this.#authority()
    return this.#transport.pairings!.open(validMs)
  }

  pairing(): PairingView | undefined {
    return this.#transport.pairings?.current()
  }

  endPairing(): void {
    this.#transport.pairings?.close()
  }

  async revoke(peer: PeerId): Promise<Signed> {
    const authority = this.#authority()
    if (peer === this.identity.peerId)
      throw new SkeinError('FORBIDDEN', 'the coordinator that holds the mesh key cannot revoke itself')
    const signed = await authority.revoke(peer)
    await this.#transport.applyRevocations(signed)
    return signed
  }

  revocations(): Signed | undefined {
    return this.#membership.store.signedRevocations
  }

  applyRevocations(signed: Signed): Promise<void> {
    return this.#transport.applyRevocations(signed)
  }

  async local({ dataDir, name }: { readonly dataDir: string; readonly name: string }): Promise<LocalPeer> {
    const authority = this.#authority()
    const { clock, random } = this.#components
    const transport = this.#transport
    const subject = { dataDir, name, roles: ['node'] as const }
    const { identity, store } = await openLocalMembership({ clock, random }, subject, authority)
    const log = this.#components.log.scope('network', { local: name })
    const member = new LocalMember({
      ...{ clock, random, log, identity, store, authority },
      host: {
        get self() {
          return transport.self
        },
        serve: (from, protocol, inbound) => transport.serveLocal(from, protocol, inbound),
        left: (each) => transport.locals.left(each),
      },
    })
    transport.locals.add(member)
    return member
  }

  sign(domain: SignatureDomain, value: unknown): Promise<Signed> {
    return sign(this.identity, domain, value)
  }

  counters(): Record<string, number> {
    return this.#transport.counters.snapshot()
  }

  diagnostics(): NetworkDiagnostics {
    const { links, isRunning } = this.#transport
    return {
      meshId: this.meshId,
      addresses: this.addresses(),
      paths: this.#paths(),
      connections: links
        .all()
        .filter((link) => link.state === 'member')
        .map((link) => ({
          peerId: link.peer,
          name: link.certificate?.name ?? '',
          address: link.connection.remoteAddr.toString(),
          direction: link.connection.direction,
          isRelayed: link.isRelayed,
          roundTripMs: link.connection.rtt,
        })),
      dhtPeers: isRunning ? this.#transport.node.services.dht.routingTable.size : 0,
      counters: this.counters(),
    }
  }

  #paths(): PathReport[] {
    const { dialer, links } = this.#transport
    const targets = dialer.targets()
    const isEnabled = (path: DiscoveryPath): boolean => (path === 'mdns' ? this.#init.mdns : true)
    return DISCOVERY_PATHS.map((path) => ({
      path,
      isEnabled: isEnabled(path),
      found: targets
        .filter((target) => target.path === path)
        .map((target) => ({
          peerId: target.peer,
          addresses: target.addresses,
          isConnected: target.peer !== undefined && links.isMember(target.peer),
          lastError: target.lastError,
        })),
    }))
  }

  #authority(): MeshAuthority {
    if (this.authority === undefined)
      throw new SkeinError('NOT_THE_AUTHORITY', 'this member does not hold the mesh key; ask the coordinator that does')
    return this.authority
  }
}

const pathOf = (address: string): DiscoveryPath => (address.includes('/p2p-circuit') ? 'relay' : 'configured')

/** An invite is carried by hand: few addresses, each without the peer id, which the invite names once. */
const INVITE_ADDRESSES_MAX = 6

/** Loopback last: an invite is mostly used on another machine. WebSockets are for whoever cannot speak TCP. */
function inviteAddresses(addresses: readonly string[]): string[] {
  const bare = addresses.map((address) => address.replace(/\/p2p\/[^/]+$/, ''))
  const rank = (address: string): number =>
    (/^\/(ip4\/127\.|ip6\/::1\/)/.test(address) ? 2 : 0) + (/\/wss?$/.test(address) ? 1 : 0)
  const sorted = [...new Set(bare)].sort((a, b) => rank(a) - rank(b))
  return sorted
    .filter((address) => !/\/wss?$/.test(address) || sorted.every((other) => /\/wss?$/.test(other)))
    .slice(0, INVITE_ADDRESSES_MAX)
}
