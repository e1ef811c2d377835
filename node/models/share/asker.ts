/**
 * Asking members for models, as a port. `MeshAsker` speaks to them itself; `DoorAsker` has the Skein that runs in the data
 * directory do it, which is the one that may use its identity.
 */
import type { ModelDigest, ModelGranted, PeerId } from '../../../mesh/protocol/index.ts'
import type { MemberOffer } from '../store/index.ts'

export type Grant = Omit<ModelGranted, 'type'>

export interface Asker {
  /** As `Members.find`. @throws the signal's reason. */
  find(text: string, signal: AbortSignal): Promise<readonly MemberOffer[]>
  /**
   * A ticket of `peer` for `digest`.
   *
   * @throws SkeinError MODEL_PULL_FAILED when asking again may help, MODEL_SOURCE_REFUSED; the signal's reason.
   */
  grant(peer: PeerId, digest: ModelDigest, signal: AbortSignal): Promise<Grant>
  /** SHA-256 of chunks from `from` on, 32 bytes each. @throws as `grant`. */
  hashes(peer: PeerId, digest: ModelDigest, from: number, signal: AbortSignal): Promise<Uint8Array>
  /** Bytes of a chunk over the streams of the mesh, at most `modelChunkBytes`. @throws as `grant`, UNAUTHENTICATED. */
  read(peer: PeerId, ticket: Uint8Array, chunk: number, signal: AbortSignal): Promise<Uint8Array>
  /**
   * Waits until `bytes` more may be taken: answers of the node on this machine go before. Absent where there is no node of
   * its own.
   *
   * @throws the signal's reason.
   */
  pace?(bytes: number, signal: AbortSignal): Promise<void>
  /** Says goodbye to all. Does not throw. */
  close(): void
}
