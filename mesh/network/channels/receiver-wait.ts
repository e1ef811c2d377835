/**
 * Where the one receiver of a channel waits. The signal that it waits with is listened to from its first wait on, until it
 * comes with another one or the channel is over: listened to anew for each wait, it costs more than the frame that comes.
 */
export class ReceiverWait {
  readonly #onAbort = (): void => this.wake()
  #signal: AbortSignal | undefined
  #wake: (() => void) | undefined

  /** Something has changed that a receiver may wait for. */
  wake(): void {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }

  /** Resolves at the next `wake`, and when `signal` aborts, which the receiver is to look at itself. */
  changed(signal: AbortSignal | undefined): Promise<void> {
    if (signal !== this.#signal) {
      this.release()
      this.#signal = signal
      signal?.addEventListener('abort', this.#onAbort)
    }
    return new Promise((resolve) => (this.#wake = resolve))
  }

  /** Nothing more will come: the signal, which may live longer than the channel, forgets it. */
  release(): void {
    this.#signal?.removeEventListener('abort', this.#onAbort)
    this.#signal = undefined
  }
}
