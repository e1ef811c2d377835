/**
 * Asks members itself. Who may have a model is found by the mesh's DHT (a record for each digest that a node serves), and
 * by asking the members that are connected now, which also knows of models that lie in a store unserved. Nobody is
 * believed: what they say is verified by the bytes.
 */
import {
  asSkeinError,
  LIMITS,
  SkeinError,
  type ErrorCode,
  type ModelDigest,
  type PeerId,
} from '../../../mesh/protocol/index.ts'
import { withDeadline, type Clock, type Logger } from '../../../mesh/runtime/index.ts'
import { discoveryKey, type Discovery, type PeerTransport } from '../../../mesh/network/index.ts'
import { isDigest, printable, type MemberOffer } from '../store/index.ts'
import type { Asker, Grant } from './asker.ts'
import { ModelLink } from './model-link.ts'

/** The DHT's answer, and then that of the slowest member, are waited for this long. */
const DISCOVERY_MS = 2000
const FIND_MS = 5000
/** Streams to one member: as many chunks come over them at once where there is no direct path. */
const LINKS_PER_PEER = 4

/** A no that will be the same the next time. */
const FINAL: readonly ErrorCode[] = [
  'MODEL_NOT_STORED',
  'MODEL_FILE_INVALID',
  'FORBIDDEN',
  'INVALID_REQUEST',
  'NOT_A_MEMBER',
]

export interface MeshAskerComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly transport: PeerTransport
  readonly discovery: Discovery
}

export class MeshAsker implements Asker {
  readonly #components: MeshAskerComponents
  /** Of each peer; a question takes them in turn. */
  readonly #links = new Map<PeerId, { readonly open: Promise<ModelLink>[]; next: number }>()

  constructor(components: MeshAskerComponents) {
    this.#components = components
  }

  async find(text: string, signal: AbortSignal): Promise<readonly MemberOffer[]> {
    const { clock } = this.#components
    const offers: MemberOffer[] = []
    const asked = new Set<PeerId>([this.#components.transport.self.peerId])
    const asking: Promise<void>[] = []
    const late = (): SkeinError => new SkeinError('STREAM_TIMEOUT', 'a member does not answer')
    const ask = (peer: PeerId): void => {
      if (asked.has(peer) || asked.size > LIMITS.modelHoldersMax) return
      asked.add(peer)
      asking.push(
        withDeadline(clock, FIND_MS, late, signal, (bound) => this.#offersOf(peer, text, bound))
          .then((found) => void offers.push(...found))
          .catch((thrown: unknown) => this.#passedOver(peer, thrown)),
      )
    }
    for (const { peerId, certificate } of this.#components.transport.members())
      if (certificate.roles.includes('node')) ask(peerId)
    await this.#discover(isDigest(text) ? discoveryKey.model(text) : discoveryKey.role('node'), ask, signal)
    await Promise.all(asking)
    // records of who serves it may be too young or too old, and there are none of what lies in a store
    if (offers.length === 0 && isDigest(text)) await this.#discover(discoveryKey.role('node'), ask, signal)
    await Promise.all(asking)
    signal.throwIfAborted()
    return offers
  }

  grant(peer: PeerId, digest: ModelDigest, signal: AbortSignal): Promise<Grant> {
    return this.#with(peer, signal, (link) => link.grant(digest, signal))
  }

  hashes(peer: PeerId, digest: ModelDigest, from: number, signal: AbortSignal): Promise<Uint8Array> {
    return this.#with(peer, signal, (link) => link.hashes(digest, from, signal))
  }

  read(peer: PeerId, ticket: Uint8Array, chunk: number, signal: AbortSignal): Promise<Uint8Array> {
    return this.#with(peer, signal, (link) => link.read(ticket, chunk, signal))
  }

  close(): void {
    for (const { open } of this.#links.values())
      for (const link of open) link.then((each) => each.close()).catch(() => {})
    this.#links.clear()
  }

  async #discover(key: string, ask: (peer: PeerId) => void, outer: AbortSignal): Promise<void> {
    const { clock, discovery } = this.#components
    const late = (): SkeinError => new SkeinError('STREAM_TIMEOUT', 'the DHT took too long')
    try {
      await withDeadline(clock, DISCOVERY_MS, late, outer, async (signal) => {
        for await (const peer of discovery.find(key, signal)) ask(peer)
      })
    } catch {
      // whoever is connected is asked in any case
      outer.throwIfAborted()
    }
  }

  async #offersOf(peer: PeerId, text: string, signal: AbortSignal): Promise<MemberOffer[]> {
    const { transport } = this.#components
    const models = await this.#with(peer, signal, (link) => link.find(text, signal))
    const certificate = transport.members().find((each) => each.peerId === peer)?.certificate
    const member = certificate?.name ?? peer.slice(-8)
    return models.map(({ digest, name, sizeBytes, quantization, manifest }) => ({
      peerId: peer,
      member,
      digest,
      name: printable(name),
      sizeBytes,
      quantization: printable(quantization),
      ...(manifest && { manifest }),
    }))
  }

  #passedOver(peer: PeerId, thrown: unknown): void {
    this.#components.log.debug({ peer, reason: asSkeinError(thrown).message }, 'a member was not asked for models')
  }

  /** Asks on one of the streams to `peer`. @throws as `Asker.grant`. */
  async #with<T>(peer: PeerId, signal: AbortSignal, ask: (link: ModelLink) => Promise<T>): Promise<T> {
    try {
      return await ask(await this.#link(peer, signal))
    } catch (thrown) {
      signal.throwIfAborted()
      throw failureOf(thrown)
    }
  }

  #link(peer: PeerId, signal: AbortSignal): Promise<ModelLink> {
    const links = this.#links.get(peer) ?? { open: [], next: 0 }
    this.#links.set(peer, links)
    const at = links.next++ % LINKS_PER_PEER
    const before = links.open[at]
    const link = (async (): Promise<ModelLink> => {
      const known = await before?.catch(() => undefined)
      return known?.isOpen ? known : ModelLink.open(this.#components, peer, signal)
    })()
    links.open[at] = link
    return link
  }
}

/** A member's failure, as that of a source. */
export function failureOf(thrown: unknown): SkeinError {
  const error = asSkeinError(thrown)
  const { code, message, retryAfterSeconds } = error
  if (code === 'UNAUTHENTICATED') return error
  return new SkeinError(FINAL.includes(code) ? 'MODEL_SOURCE_REFUSED' : 'MODEL_PULL_FAILED', message, {
    cause: thrown,
    ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
  })
}
