/**
 * Members of the mesh as sources of models, as a port: who has what, and chunks of it. The store knows no network; who
 * composes a pull gives it one of these (`node/models/share`).
 */
import type { ModelDigest, PeerId } from '../../../mesh/protocol/index.ts'

/** A model that a member has. */
export interface MemberOffer {
  readonly peerId: PeerId
  /** The member's name, for messages. */
  readonly member: string
  readonly digest: ModelDigest
  readonly name: string
  readonly sizeBytes: number
  readonly quantization: string
  /** Which files it has, and the size of each, of a model that is not one GGUF file. */
  readonly manifest?: { readonly text: string; readonly sizes: readonly number[] }
}

/** A member that gives chunks of one model. What it gives is verified by whoever asked. */
export interface Holder {
  readonly peerId: PeerId
  readonly member: string
  /**
   * SHA-256 of each chunk from `from` on, as many as it tells at once, and at least one.
   *
   * @throws SkeinError MODEL_PULL_FAILED when asking again may help, MODEL_SOURCE_REFUSED; the signal's reason.
   */
  hashes(from: number, signal: AbortSignal): Promise<readonly Uint8Array[]>
  /**
   * Puts the bytes of one chunk into `into`, which has its length, and tells how many it gave. Nothing is written to `into`
   * once this has settled.
   *
   * @throws as `hashes`.
   */
  read(chunk: number, into: Uint8Array, signal: AbortSignal): Promise<number>
  /** Nothing more is wanted of it. Does not throw. */
  close(): void
}

export interface Members {
  /**
   * Models that members have under a name, a digest or a reference; none when nobody answers.
   *
   * @throws the signal's reason.
   */
  find(text: string, signal: AbortSignal): Promise<readonly MemberOffer[]>
  /** Opens nothing yet: the first question does. */
  holder(offer: MemberOffer): Holder
}
