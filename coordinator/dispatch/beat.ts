/** Something that happens again and again, and is waited for once. */
import type { Clock } from '../../mesh/runtime/index.ts'

export class Beat {
  #next: PromiseWithResolvers<void> | undefined

  /** It happens. */
  strike(): void {
    this.#next?.resolve()
    this.#next = undefined
  }

  /** Resolves when it happens next, or after `boundMs`. Does not reject. */
  async next(clock: Clock, boundMs: number): Promise<void> {
    const next = (this.#next ??= Promise.withResolvers<void>())
    const cancel = clock.timer(boundMs, () => next.resolve())
    await next.promise
    cancel()
  }
}
