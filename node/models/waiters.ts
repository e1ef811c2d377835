/** Waits for a condition on state that its owner changes: the owner calls `notify`, waiters look again. */
export class Waiters {
  readonly #waiting = new Set<() => void>()

  notify(): void {
    for (const look of [...this.#waiting]) look()
  }

  /**
   * Resolves with the first answer of `look` that is not `undefined`, asked now and after each `notify`.
   *
   * @throws what `look` throws; the signal's reason.
   */
  until<T>(look: () => T | undefined, signal: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      const settle = (act: () => void): void => {
        this.#waiting.delete(attempt)
        signal.removeEventListener('abort', onAbort)
        act()
      }
      const onAbort = (): void => settle(() => reject(signal.reason))
      const attempt = (): void => {
        try {
          const answer = look()
          if (answer !== undefined) settle(() => resolve(answer))
        } catch (thrown) {
          settle(() => reject(thrown))
        }
      }
      if (signal.aborted) return reject(signal.reason)
      signal.addEventListener('abort', onAbort, { once: true })
      this.#waiting.add(attempt)
      attempt()
    })
  }
}
