/**
 * The page in the browser's own keeping: it opens without the network, and a new version waits until somebody wants it, so
 * that none changes under a running answer.
 */
import { signal, type ReadonlySignal } from '@preact/signals'
import type { WebClock } from '../platform/index.ts'

/** Between two looks for a new version, of a page that stays open. */
const LOOK_MS = 60 * 60 * 1000
const WORKER = '/sw.js'
/** What the worker understands (`worker/main.ts`). */
const TAKE_OVER = 'take-over'

export class PageUpdate {
  readonly #clock: WebClock
  readonly #container: ServiceWorkerContainer | undefined
  readonly #reload: () => void
  readonly #isReady = signal(false)
  readonly #isKept = signal(false)
  #registration: ServiceWorkerRegistration | undefined
  #isWanted = false

  constructor(clock: WebClock, container: ServiceWorkerContainer | undefined, reload: () => void) {
    this.#clock = clock
    this.#container = container
    this.#reload = reload
  }

  /** A new version waits. */
  get isReady(): ReadonlySignal<boolean> {
    return this.#isReady
  }

  /** The page opens without the network. */
  get isKept(): ReadonlySignal<boolean> {
    return this.#isKept
  }

  async start(): Promise<void> {
    const container = this.#container
    // browsers have it for `https:` and for the machine itself alone
    if (container === undefined) return
    container.addEventListener('controllerchange', () => this.#isWanted && this.#reload())
    try {
      const registration = await container.register(WORKER)
      this.#registration = registration
      this.#watch(registration)
      await container.ready
      this.#isKept.value = true
      this.#clock.every(LOOK_MS, () => void registration.update().catch(() => {}))
    } catch {
      // the browser refuses, as in private windows: the page works as long as its coordinator is there
    }
  }

  /** Uses the version that waits: the page is loaded again. */
  readonly apply = (): void => {
    this.#isWanted = true
    this.#registration?.waiting?.postMessage(TAKE_OVER)
  }

  #watch(registration: ServiceWorkerRegistration): void {
    const look = (): void => {
      // the first one of all takes over by itself
      this.#isReady.value = registration.waiting !== null && this.#container?.controller !== null
    }
    look()
    registration.addEventListener('updatefound', () => registration.installing?.addEventListener('statechange', look))
  }
}
