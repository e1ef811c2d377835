/**
 * SHA-256 of a file while it grows from several places at once. The hash follows the part that is whole from the
 * beginning, reading back what was just written, which the page cache still has; when the last byte comes, only the last
 * segments are left to hash. (Node cannot keep a hash across processes: a pull that is resumed reads once what it has,
 * while the rest comes.)
 */
import { SkeinError } from '../../../mesh/protocol/index.ts'
import type { PartHandle } from './disk.ts'
import type { Hashing, RunningHash } from './hash-thread.ts'

/** Each slice is a visit to the thread pool and one to the hashing thread. */
const SLICE_BYTES = 1024 * 1024

export class PrefixHash {
  readonly #handle: PartHandle
  readonly #hash: RunningHash
  /** One is read while the other is hashed. */
  readonly #slices = [0, 1].map(() => Buffer.from(new SharedArrayBuffer(SLICE_BYTES)))
  #hashedBytes = 0
  #availableBytes = 0
  #running: Promise<void> | undefined
  #isStopped = false

  constructor(handle: PartHandle, hashing: Hashing) {
    this.#handle = handle
    this.#hash = hashing.running()
  }

  /** The first `bytes` of the file are there. */
  advance(bytes: number): void {
    this.#availableBytes = Math.max(this.#availableBytes, bytes)
    if (this.#running !== undefined || this.#isStopped || this.#hashedBytes >= this.#availableBytes) return
    this.#running = this.#follow()
    // `finish` throws what it threw; until then nobody waits for it
    this.#running.catch(() => {})
  }

  /** The digest of a file of `sizeBytes` that is whole, in hexadecimal digits. @throws what reading it throws. */
  async finish(sizeBytes: number): Promise<string> {
    this.advance(sizeBytes)
    while (this.#running !== undefined) await this.#running
    return Buffer.from(await this.#hash.digest()).toString('hex')
  }

  /** Resolves when it no longer reads the file. */
  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#running?.catch(() => {})
    this.#hash.drop()
  }

  async #follow(): Promise<void> {
    let hashing: Promise<void> = Promise.resolve()
    for (let turn = 0; !this.#isStopped; turn ^= 1) {
      // more may have come while the last slice was hashed
      if (this.#hashedBytes >= this.#availableBytes) await hashing
      if (this.#hashedBytes >= this.#availableBytes) break
      const slice = this.#slices[turn]!
      const wanted = Math.min(SLICE_BYTES, this.#availableBytes - this.#hashedBytes)
      const { bytesRead } = await this.#handle.read(slice, 0, wanted, this.#hashedBytes)
      if (bytesRead === 0) throw new SkeinError('DATA_DIR_UNUSABLE', 'a file became shorter while it was pulled')
      await hashing
      hashing = this.#hash.update(slice.subarray(0, bytesRead))
      // awaited before the next one, or behind the loop
      hashing.catch(() => {})
      this.#hashedBytes += bytesRead
    }
    await hashing
    this.#running = undefined
  }
}
