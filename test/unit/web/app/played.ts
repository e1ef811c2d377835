/** A clock that stands still until it is moved, a small store in memory, and a coordinator that answers as it is told. */
import type { SmallStore, WebClock } from '../../../../clients/web/platform/index.ts'

export class PlayedClock implements WebClock {
  ms = 0
  #waiting: { readonly atMs: number; readonly run: () => void }[] = []

  nowMs = (): number => this.ms
  monotonicMs = (): number => this.ms
  frame = (run: () => void): (() => void) => this.after(0, run)

  after = (ms: number, run: () => void): (() => void) => {
    const entry = { atMs: this.ms + ms, run }
    this.#waiting.push(entry)
    return () => void (this.#waiting = this.#waiting.filter((other) => other !== entry))
  }

  every = (ms: number, run: () => void): (() => void) => {
    const tick = (): void => {
      cancel = this.after(ms, tick)
      run()
    }
    let cancel = this.after(ms, tick)
    return () => cancel()
  }

  sleep = (ms: number, signal?: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      const cancel = this.after(ms, resolve)
      signal?.addEventListener('abort', () => {
        cancel()
        reject(signal.reason as Error)
      })
    })

  /** How many wait for a time to come. */
  get waiting(): number {
    return this.#waiting.length
  }

  /** Moves on, and has run what was waited for; then lets promises settle. */
  async move(ms: number): Promise<void> {
    await settle()
    const untilMs = this.ms + ms
    for (;;) {
      const next = this.#waiting.toSorted((a, b) => a.atMs - b.atMs)[0]
      if (next === undefined || next.atMs > untilMs) break
      this.ms = next.atMs
      this.#waiting = this.#waiting.filter((other) => other !== next)
      next.run()
      await settle()
    }
    this.ms = untilMs
    await settle()
  }
}

/** Turns of the loop, in which all that only waits for promises has come to rest. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
}

export class PlayedStore implements SmallStore {
  readonly values = new Map<string, string>()
  readonly #listeners = new Map<string, (value: string | undefined) => void>()

  get = (key: string): string | undefined => this.values.get(key)

  set = (key: string, value: string | undefined): boolean => {
    if (value === undefined) this.values.delete(key)
    else this.values.set(key, value)
    return true
  }

  listen = (key: string, onChange: (value: string | undefined) => void): (() => void) => {
    this.#listeners.set(key, onChange)
    return () => void this.#listeners.delete(key)
  }

  /** As another tab would. */
  changeElsewhere(key: string, value: string | undefined): void {
    this.set(key, value)
    this.#listeners.get(key)?.(value)
  }
}
