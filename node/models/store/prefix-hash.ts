/**
 * SHA-256 of a file while it grows from several places at once. The hash follows the part that is whole from the
 * beginning, reading back what was just written, which the page cache still has; when the last byte comes, only the last
 * segments are left to hash. (Node cannot keep a hash across processes: a pull that is resumed reads once what it has,
 * while the rest comes.)
 */
import { createHash } from 'node:crypto'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import type { PartHandle } from './disk.ts'

/** About 1 ms of SHA-256 on a slow core with its instructions, 4 ms without; each read is a visit to the thread pool. */
const SLICE_BYTES = 1024 * 1024

export class PrefixHash {
  readonly #handle: PartHandle
  readonly #hash = createHash('sha256')
  readonly #slice = Buffer.alloc(SLICE_BYTES)
  #hashedBytes = 0
  #availableBytes = 0
  #running: Promise<void> | undefined
  #isStopped = false

  constructor(handle: PartHandle) {
    this.#handle = handle
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
    return this.#hash.digest('hex')
  }

  /** Resolves when it no longer reads the file. */
  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#running?.catch(() => {})
  }

  async #follow(): Promise<void> {
    while (this.#hashedBytes < this.#availableBytes && !this.#isStopped) {
      const wanted = Math.min(SLICE_BYTES, this.#availableBytes - this.#hashedBytes)
      const { bytesRead } = await this.#handle.read(this.#slice, 0, wanted, this.#hashedBytes)
      if (bytesRead === 0) throw new SkeinError('DATA_DIR_UNUSABLE', 'a file became shorter while it was pulled')
      this.#hash.update(this.#slice.subarray(0, bytesRead))
      this.#hashedBytes += bytesRead
    }
    this.#running = undefined
  }
}
