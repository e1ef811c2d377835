/**
 * A control link to every coordinator: those that are connected, this process itself when it is one, and those that the
 * DHT names. Whoever the DHT names is believed only after its certificate was seen.
 */
import { asSkeinError, SkeinError, type ControlOutcome, type PeerId } from '../../mesh/protocol/index.ts'
import { withDeadline, type CancelTimer } from '../../mesh/runtime/index.ts'
import { discoveryKey, type Discovery, type Member } from '../../mesh/network/index.ts'
import { ControlLink, type ControlLinkComponents, type LinkState } from './control-link.ts'

/** More coordinators than any mesh has use for; hostile provider records must not cost more links. */
const COORDINATORS_MAX = 32
/** Looking into the DHT: often while no coordinator has welcomed us, seldom after. */
const FIND_LONELY_MS = 3000
const FIND_MS = 30_000
/** One look. */
const FIND_BOUND_MS = 8000

export interface CoordinatorLinksComponents extends ControlLinkComponents {
  readonly discovery: Discovery
}

export class CoordinatorLinks {
  readonly #components: CoordinatorLinksComponents
  readonly #links = new Map<PeerId, ControlLink>()
  readonly #stopping = new AbortController()
  #unwatch: () => void = () => {}
  #cancelFind: CancelTimer = () => {}

  constructor(components: CoordinatorLinksComponents) {
    this.#components = components
  }

  start(): void {
    const { transport } = this.#components
    this.#consider(transport.self)
    this.#unwatch = transport.watch({ connected: (member) => this.#consider(member) })
    void this.#find()
  }

  list(): { peerId: PeerId; state: LinkState; roundTripMs?: number; http?: readonly string[] }[] {
    return Array.from(this.#links.values(), ({ peer, state, roundTripMs, http }) => ({
      peerId: peer,
      state,
      ...(roundTripMs !== undefined && { roundTripMs }),
      ...(http.length > 0 && { http }),
    }))
  }

  announce(): void {
    for (const link of this.#links.values()) link.announce()
  }

  report(isUrgent: boolean): void {
    for (const link of this.#links.values()) link.report(isUrgent)
  }

  tellHeld(): void {
    for (const link of this.#links.values()) link.tellHeld()
  }

  /** Tells `coordinator`, if it is still there, what becomes of its order. */
  outcome(coordinator: PeerId, outcome: ControlOutcome): void {
    this.#links.get(coordinator)?.outcome(outcome)
  }

  /** Goodbye on every stream. Bounded, does not throw. */
  async stop(reason: string): Promise<void> {
    this.#stopping.abort(new SkeinError('NODE_DRAINING', reason))
    this.#unwatch()
    this.#cancelFind()
    await Promise.all(Array.from(this.#links.values(), (link) => link.stop(reason)))
  }

  #consider(member: Member): void {
    if (!member.certificate.roles.includes('coordinator')) return
    const link = this.#links.get(member.peerId)
    if (link) link.retryNow()
    else this.#add(member.peerId)
  }

  #add(peer: PeerId): void {
    if (this.#links.has(peer) || this.#stopping.signal.aborted || !this.#hasRoom()) return
    const link = new ControlLink(this.#components, peer)
    this.#links.set(peer, link)
    void link.start().finally(() => {
      if (this.#links.get(peer) === link) this.#links.delete(peer)
    })
  }

  /** Gives up the link to a coordinator that cannot be reached, when there are too many. */
  #hasRoom(): boolean {
    if (this.#links.size < COORDINATORS_MAX) return true
    for (const [peer, link] of this.#links) {
      if (link.state !== 'connecting') continue
      this.#links.delete(peer)
      void link.stop('too many coordinators')
      return true
    }
    return false
  }

  /** Does not throw. */
  async #find(): Promise<void> {
    const { clock, random, discovery, transport, log } = this.#components
    const late = (): SkeinError => new SkeinError('STREAM_TIMEOUT', `the look-up took more than ${FIND_BOUND_MS} ms`)
    try {
      await withDeadline(clock, FIND_BOUND_MS, late, this.#stopping.signal, async (signal) => {
        for await (const peer of discovery.find(discoveryKey.role('coordinator'), signal))
          if (peer !== transport.self.peerId) this.#add(peer)
      })
    } catch (thrown) {
      log.debug({ reason: asSkeinError(thrown).message }, 'the DHT named no coordinator')
    }
    if (this.#stopping.signal.aborted) return
    const isWelcome = [...this.#links.values()].some((link) => link.state === 'welcomed')
    const waitMs = (isWelcome ? FIND_MS : FIND_LONELY_MS) * (0.75 + random.next() / 2)
    this.#cancelFind = clock.timer(waitMs, () => void this.#find())
  }
}
