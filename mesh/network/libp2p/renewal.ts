/**
 * Renews our certificate when a third of its validity is left: from our own mesh key, or by asking the connected
 * coordinators in turn, since any of them may be the authority. Tries again until it works; the connections that show the
 * old certificate are introduced anew.
 */
import { asSkeinError, INBOUND, LIMITS, SkeinError, type PeerId } from '../../protocol/index.ts'
import { withDeadline, type CancelTimer, type Clock, type Logger, type Random } from '../../runtime/index.ts'
import type { MeshAuthority } from '../membership/authority.ts'
import { askToRenew, type Grant } from '../membership/join-service.ts'
import type { MembershipStore } from '../membership/store.ts'
import type { Member, PeerTransport } from '../transport.ts'

/** Timers hold at most 24.8 days, and a laptop's sleep stretches them: the due time is looked at this often. */
const LOOK_MS = 3_600_000
const RETRY_MS = 60_000

export interface RenewalComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly store: MembershipStore
  readonly authority: MeshAuthority | undefined
  readonly members: () => Member[]
  readonly open: PeerTransport['open']
  /** Our certificate is a new one, and the authority's revocation list came with it. */
  readonly onRenewed: (grant: Grant) => Promise<void>
}

export class Renewal {
  readonly #components: RenewalComponents
  #cancelTimer: CancelTimer | undefined
  #isStopped = false
  #isLooking = false

  constructor(components: RenewalComponents) {
    this.#components = components
  }

  start(): void {
    this.#schedule(this.#dueInMs())
  }

  /** A coordinator has connected: a renewal that is due need not wait for its next try. */
  onCoordinator(): void {
    if (this.#dueInMs() <= 0 && !this.#isLooking) this.#schedule(0)
  }

  stop(): void {
    this.#isStopped = true
    this.#cancelTimer?.()
  }

  #dueInMs(): number {
    const { expiresAtMs, issuedAtMs } = this.#components.store.certificate
    return expiresAtMs - (expiresAtMs - issuedAtMs) / 3 - this.#components.clock.wallMs()
  }

  #schedule(ms: number): void {
    if (this.#isStopped) return
    this.#cancelTimer?.()
    const delayMs = Math.min(Math.max(ms, 0), LOOK_MS)
    this.#cancelTimer = this.#components.clock.timer(delayMs, () => void this.#look())
  }

  async #look(): Promise<void> {
    if (this.#dueInMs() > 0) return this.#schedule(this.#dueInMs())
    const { log, random, store } = this.#components
    this.#isLooking = true
    try {
      const grant = await this.#renewed()
      await store.renew(grant.certificate)
      await this.#components.onRenewed(grant)
      log.info({ expiresAtMs: store.certificate.expiresAtMs }, 'certificate renewed')
      this.#schedule(this.#dueInMs())
    } catch (error) {
      log.warn({ err: error, expiresAtMs: store.certificate.expiresAtMs }, 'the certificate could not be renewed yet')
      this.#schedule(RETRY_MS * (0.5 + random.next()))
    } finally {
      this.#isLooking = false
    }
  }

  async #renewed(): Promise<Grant> {
    const { authority, store } = this.#components
    const { peerId, name, roles } = store.certificate
    if (authority !== undefined)
      return { certificate: await authority.issue({ peerId, name, roles }), revocations: authority.revocations() }
    let last = new SkeinError('COORDINATOR_UNREACHABLE', 'no coordinator is connected')
    for (const member of this.#components.members()) {
      if (!member.certificate.roles.includes('coordinator')) continue
      try {
        return await this.#ask(member.peerId)
      } catch (error) {
        last = asSkeinError(error)
      }
    }
    throw last
  }

  #ask(peer: PeerId): Promise<Grant> {
    const { clock, open, store } = this.#components
    const late = (): Error => new SkeinError('STREAM_TIMEOUT', `${peer} did not answer the renewal`)
    return withDeadline(clock, LIMITS.joinMs, late, undefined, async (signal) => {
      const channel = await open(peer, 'join', INBOUND.joinCaller, { signal })
      return askToRenew(channel, store.signedCertificate, signal)
    })
  }
}
