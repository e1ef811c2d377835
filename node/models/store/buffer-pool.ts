/**
 * Buffers of one size that are used again: megabytes that are new each time cost the collector, and the kernel that has to
 * clear them, more than what is done with them. They lie in shared memory, so that the hashing thread reads them in place.
 */
export class BufferPool {
  readonly #bytes: number
  readonly #max: number
  readonly #free: Buffer[] = []
  readonly #waiting: ((buffer: Buffer) => void)[] = []
  #made = 0

  /** At most `max` buffers of `bytes`; who wants one more waits. */
  constructor(bytes: number, max: number) {
    this.#bytes = bytes
    this.#max = max
  }

  /** A buffer, with whatever was in it. To be given back when nothing reads or writes it any more. */
  take(): Promise<Buffer> {
    const free = this.#free.pop()
    if (free !== undefined) return Promise.resolve(free)
    if (this.#made < this.#max) {
      this.#made++
      return Promise.resolve(Buffer.from(new SharedArrayBuffer(this.#bytes)))
    }
    return new Promise((resolve) => void this.#waiting.push(resolve))
  }

  give(buffer: Buffer): void {
    const next = this.#waiting.shift()
    if (next !== undefined) next(buffer)
    else this.#free.push(buffer)
  }

  /** Instead of `give`, for one that something may still use. */
  lose(): void {
    this.#made--
    const next = this.#waiting.shift()
    if (next !== undefined) void this.take().then(next)
  }

  /** Lets go of those that nobody has. */
  clear(): void {
    this.#made -= this.#free.length
    this.#free.splice(0)
  }
}
