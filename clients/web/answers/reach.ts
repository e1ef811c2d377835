/** Whether the gateway answers: what a request has seen last, and, while somebody waits for it, what its health says. */
import { signal, type ReadonlySignal } from '@preact/signals'
import type { AnswerPorts } from './ports.ts'

const POLL_MS = 1000
const POLL_MS_MAX = 15_000

export class Reach {
  readonly #ports: Pick<AnswerPorts, 'skein' | 'clock' | 'random'>
  readonly #isReachable = signal<boolean | undefined>(undefined)
  /** Those who wait for the next look. */
  readonly #waiting = new Set<() => void>()

  constructor(ports: Pick<AnswerPorts, 'skein' | 'clock' | 'random'>) {
    this.#ports = ports
  }

  /** Undefined before the first try. */
  get isReachable(): ReadonlySignal<boolean | undefined> {
    return this.#isReachable
  }

  /** A request was answered, or was not. */
  saw(isReachable: boolean): void {
    this.#isReachable.value = isReachable
  }

  /** Looks now, instead of later. */
  poke(): void {
    for (const wake of [...this.#waiting]) wake()
  }

  /** Asks its health once. @throws the reason of the signal. */
  async isReady(signal?: AbortSignal): Promise<boolean> {
    const readiness = await this.#ports.skein().readiness(signal ? { signal } : {})
    this.saw(readiness !== 'away')
    return readiness === 'ready'
  }

  /** Fulfilled once something can serve; asks less and less often. @throws the reason of the signal. */
  async untilReady(signal: AbortSignal): Promise<void> {
    for (let round = 0; !(await this.isReady(signal)); round++) {
      const { random } = this.#ports
      const waitMs = Math.min(POLL_MS_MAX, POLL_MS * 2 ** Math.min(round, 8)) * (0.5 + random() / 2)
      if (await this.#pause(waitMs, signal)) round = -1
    }
    // what one has found the others need not wait for
    this.poke()
  }

  /** @returns whether it was cut short by a poke. */
  #pause(ms: number, signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const end = (settle: () => void): void => {
        cancel()
        signal.removeEventListener('abort', abort)
        this.#waiting.delete(wake)
        settle()
      }
      const abort = (): void => end(() => reject(signal.reason as Error))
      const wake = (): void => end(() => resolve(true))
      const cancel = this.#ports.clock.after(ms, () => end(() => resolve(false)))
      this.#waiting.add(wake)
      if (signal.aborted) abort()
      else signal.addEventListener('abort', abort, { once: true })
    })
  }
}
