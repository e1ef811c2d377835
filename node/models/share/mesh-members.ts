/** Members as sources of models: asks through an `Asker`, and takes chunks over HTTPS where there is a direct path. */
import { asSkeinError, LIMITS, SkeinError, type PeerId } from '../../../mesh/protocol/index.ts'
import type { Clock } from '../../../mesh/runtime/index.ts'
import type { Holder, MemberOffer, Members } from '../store/index.ts'
import type { Asker, Grant } from './asker.ts'
import { DirectPath } from './direct-path.ts'
import { failureOf } from './mesh-asker.ts'

const HASH_BYTES = 32

export interface MeshMembersComponents {
  readonly clock: Clock
  readonly asker: Asker
}

export class MeshMembers implements Members {
  readonly #components: MeshMembersComponents

  constructor(components: MeshMembersComponents) {
    this.#components = components
  }

  find(text: string, signal: AbortSignal): Promise<readonly MemberOffer[]> {
    return this.#components.asker.find(text, signal)
  }

  holder(offer: MemberOffer): Holder {
    return new MeshHolder(this.#components, offer)
  }

  /** Says goodbye to all members. Does not throw. */
  close(): void {
    this.#components.asker.close()
  }
}

class MeshHolder implements Holder {
  readonly peerId: PeerId
  readonly member: string
  readonly #asker: Asker
  readonly #offer: MemberOffer
  readonly #direct: DirectPath
  #grant: Promise<Grant> | undefined

  constructor({ clock, asker }: MeshMembersComponents, offer: MemberOffer) {
    this.peerId = offer.peerId
    this.member = offer.member
    this.#asker = asker
    this.#offer = offer
    this.#direct = new DirectPath(clock, offer.digest)
  }

  async hashes(from: number, signal: AbortSignal): Promise<readonly Uint8Array[]> {
    // whoever asks for hashes asks for chunks next; what the ticket is refused for is told then
    this.#ticket(signal).catch(() => {})
    const packed = await this.#asker.hashes(this.peerId, this.#offer.digest, from, signal)
    return Array.from({ length: packed.length / HASH_BYTES }, (_, i) =>
      packed.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES),
    )
  }

  async read(chunk: number, into: Uint8Array, signal: AbortSignal): Promise<number> {
    await this.#asker.pace?.(into.length, signal)
    for (let isSecond = false; ; isSecond = true) {
      const grant = await this.#ticket(signal)
      try {
        const start = chunk * LIMITS.modelChunkBytes
        const direct = await this.#direct.read(grant, start, into, signal)
        if (direct !== undefined) return direct
        const bytes = await this.#asker.read(this.peerId, grant.ticket, chunk, signal)
        into.set(bytes.subarray(0, into.length))
        return bytes.length
      } catch (thrown) {
        signal.throwIfAborted()
        if (asSkeinError(thrown).code !== 'UNAUTHENTICATED') throw thrown
        // the ticket is over: a new one, once
        this.#grant = undefined
        if (isSecond)
          throw new SkeinError('MODEL_PULL_FAILED', `${this.member} takes none of its tickets`, { cause: thrown })
      }
    }
  }

  close(): void {
    this.#direct.close()
  }

  async #ticket(signal: AbortSignal): Promise<Grant> {
    this.#grant ??= this.#asker.grant(this.peerId, this.#offer.digest, signal)
    try {
      const grant = await this.#grant
      if (grant.sizeBytes === this.#offer.sizeBytes) return grant
    } catch (thrown) {
      this.#grant = undefined
      signal.throwIfAborted()
      throw failureOf(thrown)
    }
    throw new SkeinError('MODEL_SOURCE_REFUSED', `${this.member} gives another size with the ticket than before`)
  }
}
