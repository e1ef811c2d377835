/** Writes what grows to the disk: at most every half second, one write at a time, and the last one for certain. */
import type { AnswerPorts } from './ports.ts'

const KEEP_MS = 500

export class Keeper {
  readonly #clock: AnswerPorts['clock']
  readonly #write: () => Promise<unknown>
  #cancel: (() => void) | undefined
  #writing: Promise<unknown> = Promise.resolve()
  #isWriting = false
  #isDirty = false
  #isOver = false

  constructor(clock: AnswerPorts['clock'], write: () => Promise<unknown>) {
    this.#clock = clock
    this.#write = write
  }

  changed(): void {
    this.#isDirty = true
    if (this.#isOver || this.#isWriting) return
    this.#cancel ??= this.#clock.after(KEEP_MS, () => this.#keep())
  }

  /** Writes now what is not written yet. */
  now(): Promise<unknown> {
    if (this.#isDirty && !this.#isWriting) this.#keep()
    return this.#writing
  }

  /** No write begins after this; fulfilled when the last one is through. */
  async end(): Promise<void> {
    this.#isOver = true
    this.#cancel?.()
    this.#cancel = undefined
    await this.#writing
  }

  #keep(): void {
    this.#cancel?.()
    this.#cancel = undefined
    this.#isDirty = false
    this.#isWriting = true
    // a write that fails is tried again with the next change: the end says so if it fails as well
    this.#writing = this.#write()
      .catch(() => undefined)
      .finally(() => {
        this.#isWriting = false
        if (this.#isDirty) this.changed()
      })
  }
}
