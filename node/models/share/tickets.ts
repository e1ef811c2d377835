/**
 * Tickets: the right of one member to fetch one model for ten minutes. A ticket is 32 unpredictable bytes that travelled
 * over an encrypted stream to the member that asked; it is void when it expires and when the member is no longer connected,
 * since then nobody vouches for its certificate. What is kept is the hash of each, so that neither a look-up nor a
 * comparison takes longer for a guess that is nearly right.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { LIMITS, SkeinError, type ModelDigest, type PeerId } from '../../../mesh/protocol/index.ts'
import type { Clock, Random } from '../../../mesh/runtime/index.ts'

export interface Ticket {
  readonly peer: PeerId
  readonly digest: ModelDigest
}

interface Kept extends Ticket {
  readonly hash: Buffer
  readonly expiresAtMs: number
}

export const TICKET_BYTES = 32

export class Tickets {
  readonly #clock: Clock
  readonly #random: Random
  /** By the hash in hexadecimal digits, oldest first. */
  readonly #kept = new Map<string, Kept>()

  constructor(components: { readonly clock: Clock; readonly random: Random }) {
    this.#clock = components.clock
    this.#random = components.random
  }

  get size(): number {
    return this.#kept.size
  }

  /** A new ticket. The oldest of the member, or of all, goes when there are too many. */
  issue(peer: PeerId, digest: ModelDigest): Uint8Array {
    this.#sweep()
    const ofPeer = [...this.#kept].filter(([, kept]) => kept.peer === peer)
    if (ofPeer.length >= LIMITS.modelTicketsPerPeerMax) this.#kept.delete(ofPeer[0]![0])
    if (this.#kept.size >= LIMITS.modelTicketsMax) this.#kept.delete(this.#kept.keys().next().value!)
    const secret = this.#random.bytes(TICKET_BYTES)
    const hash = hashOf(secret)
    const expiresAtMs = this.#clock.nowMs() + LIMITS.modelTicketMs
    this.#kept.set(hash.toString('hex'), { peer, digest, hash, expiresAtMs })
    return secret
  }

  /**
   * What `secret` is good for.
   *
   * @throws SkeinError UNAUTHENTICATED for a ticket that was never issued, has expired or is void; FORBIDDEN when it is for
   *   another member or another model than `wanted` names.
   */
  check(secret: Uint8Array, wanted: Partial<Ticket>): Ticket {
    const hash = hashOf(secret)
    const kept = this.#kept.get(hash.toString('hex'))
    if (kept === undefined || !timingSafeEqual(kept.hash, hash) || kept.expiresAtMs <= this.#clock.nowMs())
      throw new SkeinError('UNAUTHENTICATED', 'the ticket is unknown or over; ask for a new one')
    if (wanted.digest !== undefined && wanted.digest !== kept.digest)
      throw new SkeinError('FORBIDDEN', 'the ticket is for another model')
    if (wanted.peer !== undefined && wanted.peer !== kept.peer)
      throw new SkeinError('FORBIDDEN', 'the ticket was given to another member')
    return kept
  }

  /** Voids the tickets of a member that is gone. */
  drop(peer: PeerId): void {
    for (const [key, kept] of this.#kept) if (kept.peer === peer) this.#kept.delete(key)
  }

  #sweep(): void {
    const nowMs = this.#clock.nowMs()
    for (const [key, kept] of this.#kept) if (kept.expiresAtMs <= nowMs) this.#kept.delete(key)
  }
}

const hashOf = (secret: Uint8Array): Buffer => createHash('sha256').update(secret).digest()
