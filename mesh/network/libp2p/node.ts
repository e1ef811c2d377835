/**
 * The libp2p host as the mesh uses it. Figures and traps behind the settings: `docs/ARCHITECTURE.md`, "Network".
 */
import { createHash } from 'node:crypto'
import { noise } from '@chainsafe/libp2p-noise'
import { circuitRelayServer, circuitRelayTransport } from '@libp2p/circuit-relay-v2'
import { dcutr } from '@libp2p/dcutr'
import { identify, identifyPush, type Identify } from '@libp2p/identify'
import type { PeerInfo } from '@libp2p/interface'
import { kadDHT, passthroughMapper, type KadDHT, type KadDHTComponents } from '@libp2p/kad-dht'
import { mdns } from '@libp2p/mdns'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { webSockets } from '@libp2p/websockets'
import { yamux } from '@libp2p/yamux'
import { createLibp2p, type Libp2p } from 'libp2p'
import { dhtProtocol, LIMITS, type MeshId } from '../../protocol/index.ts'
import type { Identity } from '../identity.ts'
import type { Gate } from './gate.ts'
import type { PairingBeacon } from './pairing-beacon.ts'
import type { RecordRules } from './records.ts'

const MIB = 1024 * 1024
/** A receive window above the read buffer would make the library abort a stream that we paused. */
const STREAM = { maxStreamWindowSize: 2 * MIB, maxReadBufferLength: 4 * MIB }

/** A connection attempt to one address, and to all addresses of a peer, in ms. */
const ADDRESS_DIAL_MS = 3000
const DIAL_MS = 6000

/** Short name of a mesh, for the DHT's protocol and the mDNS service, so that two meshes never meet. */
export const meshTag = (meshId: MeshId): string => createHash('sha256').update(meshId).digest('hex').slice(0, 16)
export const mdnsServiceTag = (meshId: MeshId): string => `_skein-${meshTag(meshId)}._udp.local`

const connections = () => ({
  transports: [tcp(), webSockets()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux({ streamOptions: STREAM })],
})

export interface MeshNodeInit {
  readonly identity: Identity
  readonly meshId: MeshId
  readonly gate: Gate
  readonly recordRules: RecordRules
  readonly listen: readonly string[]
  readonly announce: readonly string[]
  readonly mdns: boolean
  readonly servesRelay: boolean
  readonly usesRelay: boolean
  readonly onMdnsPeer: (peer: PeerInfo) => void
  /** Tells who has a pairing code where we are, while it is on. */
  readonly beacon: PairingBeacon
}

/** A host of the mesh, not started. */
export function createMeshNode(init: MeshNodeInit): Promise<MeshNode> {
  const { gate } = init
  const base = connections()
  return createLibp2p({
    ...base,
    start: false,
    privateKey: init.identity.privateKey,
    transports: [...base.transports, gate.behind(circuitRelayTransport())],
    addresses: {
      listen: [...init.listen, ...(init.usesRelay ? ['/p2p-circuit'] : [])],
      announce: [...init.announce],
    },
    connectionManager: {
      inboundConnectionThreshold: LIMITS.inboundConnectionsPerSecondMax,
      maxConnections: LIMITS.connectionsMax,
      maxIncomingPendingConnections: 100,
      dialTimeout: DIAL_MS,
      addressDialTimeout: ADDRESS_DIAL_MS,
    },
    // it measures round trips; that a peer is lost is decided by heartbeats on the control stream
    connectionMonitor: { pingInterval: 10_000, abortConnectionOnPingFailure: false },
    peerStore: { maxAddressAge: 86_400_000, maxPeerAge: 604_800_000 },
    peerDiscovery: init.mdns ? [watchedMdns(mdnsServiceTag(init.meshId), init), init.beacon.module()] : [],
    services: {
      // run by us once the hello has ended
      identify: gate.behind(identify({ runOnConnectionOpen: false })),
      identifyPush: gate.behind(identifyPush()),
      ping: gate.behind(ping({ maxInboundStreams: 8, maxOutboundStreams: 8 })),
      dcutr: gate.behind(dcutr()),
      dht: gate.behind(meshDht(init)),
      ...(init.servesRelay && { relay: gate.behind(circuitRelayServer(RELAY)) }),
    },
  })
}

/** Room for whole answers through a relay; the library's own limits cut a connection after 128 KiB or two minutes. */
const RELAY = {
  reservations: { maxReservations: 128, defaultDurationLimit: 24 * 3_600_000, defaultDataLimit: 4n << 30n },
}

/** What the factory makes; its declared type hides the routing table and that it tells of new peers. */
type MeshDht = KadDHT & { readonly routingTable: { readonly size: number } & Pick<EventTarget, 'addEventListener'> }
const meshDht = (init: MeshNodeInit) => kadDHT(dhtInit(init)) as unknown as (components: KadDHTComponents) => MeshDht

const dhtInit = (init: MeshNodeInit) => ({
  protocol: dhtProtocol(meshTag(init.meshId)),
  // the defaults are a client without private addresses: on a LAN that finds nobody
  clientMode: false,
  peerInfoMapper: passthroughMapper,
  kBucketSize: 6,
  alpha: 3,
  disjointPaths: 1,
  // a query in an empty mesh ends at once; what it would have told is told again when a peer comes
  allowQueryWithZeroPeers: true,
  reprovide: { validity: LIMITS.providerValidityMs, interval: 15_000, threshold: LIMITS.providerValidityMs / 2 },
  validators: init.recordRules.validators,
  selectors: init.recordRules.selectors,
})

function watchedMdns(serviceTag: string, init: Pick<MeshNodeInit, 'onMdnsPeer'>) {
  const create = mdns({ serviceTag })
  return (components: Parameters<typeof create>[0]) => {
    const discovery = create(components)
    discovery.addEventListener('peer', (event) => init.onMdnsPeer(event.detail))
    return discovery
  }
}

/** What of the host's services the rest of this folder calls. */
export type MeshNode = Libp2p<{ identify: Identify; dht: MeshDht }>

export interface JoinNodeInit {
  readonly identity: Identity
  /** Whom mDNS is asked for. */
  readonly serviceTag: string
  readonly mdns: boolean
  readonly onMdnsPeer: (peer: PeerInfo) => void
}

/** A host that only dials and serves nothing: for a joiner, who has no certificate yet. */
export function createJoinNode(init: JoinNodeInit): Promise<Libp2p> {
  return createLibp2p({
    ...connections(),
    start: false,
    privateKey: init.identity.privateKey,
    addresses: { listen: [] },
    connectionManager: { dialTimeout: DIAL_MS, addressDialTimeout: ADDRESS_DIAL_MS },
    connectionMonitor: { enabled: false },
    peerDiscovery: init.mdns ? [watchedMdns(init.serviceTag, init)] : [],
  })
}
