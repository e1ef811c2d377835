/**
 * The wire version and the names of the protocols. A version is one line of history below; the golden-bytes test keeps
 * one file per version, so that a change of the wire without a new line fails.
 */

/** One line per version: what changed on the wire, oldest first. */
export const WIRE_HISTORY: readonly { version: number; date: string; change: string }[] = [
  { version: 1, date: '2026-11-21', change: 'first: join, hello, control and attempt streams; capability record 1' },
  {
    version: 2,
    date: '2026-11-21',
    change:
      'attempts can be attached to, prepared and committed; log probabilities, JSON output; drain, cordon; tiers; work; replicas',
  },
]

/** What this build speaks. A peer that names another in its hello is refused with `VERSION_MISMATCH`. */
export const PROTOCOL_VERSION = 2

/** Header of each HTTP answer of a gateway, `PROTOCOL_VERSION`: by it a node that looks for servers knows a Skein. */
export const SKEIN_HEADER = 'x-skein-version'
/** Header of what a node asks of a server that runs already. A gateway refuses it: a mesh would ask itself in circles. */
export const UPSTREAM_HEADER = 'x-skein-upstream'
/**
 * Header of what a node asks of a server somewhere else, which its owner has named: the meshes that the request has left, the
 * node's own included. A gateway refuses it beyond `hopsMax`, which ends a circle of meshes.
 */
export const HOPS_HEADER = 'x-skein-hops'
/** Header beside it: the marks of those meshes, oldest first, with commas between. A gateway refuses its own. */
export const VIA_HEADER = 'x-skein-via'

const id = (name: string): string => `/skein/${name}/${PROTOCOL_VERSION}.0.0`

/** libp2p protocol ids. `join` is the only one that a non-member may open. */
export const PROTOCOLS = {
  /** An invite is exchanged for a membership certificate; certificates are renewed. */
  join: id('join'),
  /** Two members show each other their certificates; everything else is closed until they did. */
  hello: id('hello'),
  /** Node to coordinator, long-lived: capability, load, heartbeats, goodbye. */
  control: id('control'),
  /** Coordinator to node, one stream for each attempt. */
  attempt: id('attempt'),
  /** Member to node, one stream for each pull: what models it has, tickets for them, hashes and bytes of their chunks. */
  model: id('model'),
  /** Coordinator to node, one stream for each piece of work that has no stream of tokens. */
  work: id('work'),
} as const
export type ProtocolName = keyof typeof PROTOCOLS

/** Prefix of the mesh's own DHT, so that no other mesh's or public peer's records are ever carried. */
export const dhtProtocol = (meshTag: string): string => `/skein/${meshTag}/kad/${PROTOCOL_VERSION}.0.0`
