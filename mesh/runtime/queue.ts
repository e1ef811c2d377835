/** A bounded queue between a producer that pushes and one consumer that iterates. */
import { SkeinError } from '../protocol/index.ts'

export class PushQueue<T> implements AsyncIterable<T> {
  readonly #items: T[] = []
  readonly #itemsMax: number
  #wake: (() => void) | undefined
  #ended = false
  #failure: { readonly error: unknown } | undefined

  /** @param itemsMax items that may wait; `push` throws above it, since the producer broke its own promise. */
  constructor(itemsMax: number) {
    this.#itemsMax = itemsMax
  }

  get length(): number {
    return this.#items.length
  }

  /** @throws SkeinError INTERNAL when the queue is full. */
  push(item: T): void {
    if (this.#ended) return
    if (this.#items.length >= this.#itemsMax)
      throw new SkeinError('INTERNAL', `a queue of ${this.#itemsMax} items is full`)
    this.#items.push(item)
    this.#wake?.()
  }

  /** No more items; what waits is still delivered. */
  end(): void {
    this.#ended = true
    this.#wake?.()
  }

  /** No more items; what waits is delivered, then `error` is thrown. */
  fail(error: unknown): void {
    if (this.#ended) return
    this.#failure = { error }
    this.end()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for (;;) {
      while (this.#items.length > 0) yield this.#items.shift()!
      if (this.#failure !== undefined) throw this.#failure.error
      if (this.#ended) return
      await new Promise<void>((resolve) => (this.#wake = resolve))
      this.#wake = undefined
    }
  }
}
