/** What must not happen in a browser while a test looks elsewhere: each is collected, and fails the test at its end. */
import type { BrowserContext } from 'playwright-core'

/** Networks that are away: Chromium writes each request that meets one into the console. */
const AWAY =
  /net::ERR_(?:INTERNET_DISCONNECTED|CONNECTION_REFUSED|CONNECTION_RESET|NETWORK_CHANGED|EMPTY_RESPONSE|FAILED|ABORTED|INCOMPLETE_CHUNKED_ENCODING)/

export class Problems {
  readonly #origin: string
  readonly #found: string[] = []
  readonly #allowed: RegExp[] = []
  readonly #awaited = new Map<RegExp, () => void>()

  constructor(context: BrowserContext, origin: string) {
    this.#origin = new URL(origin).origin
    context.on('console', (message) => {
      if (message.type() === 'error' || /Content Security Policy/.test(message.text()))
        this.#tell(`console: ${message.text()} (${message.location().url})`)
    })
    context.on('weberror', (error) => this.#tell(`page error: ${error.error().stack ?? String(error.error())}`))
    context.on('request', (request) => {
      const { protocol, origin: asked } = new URL(request.url())
      if (['data:', 'blob:'].includes(protocol) || asked === this.#origin) return
      this.#tell(`a request to elsewhere: ${request.url().slice(0, 200)}`)
    })
  }

  /** From now on, what matches is meant to happen. */
  allow(pattern: RegExp): void {
    this.#allowed.push(pattern)
  }

  /** From now on the network, or the coordinator, is away. */
  allowAway(): void {
    this.allow(AWAY)
  }

  /** Resolves once one comes that matches: they come later than what caused them. */
  next(pattern: RegExp): Promise<void> {
    return new Promise((resolve) => this.#awaited.set(pattern, resolve))
  }

  /** All that was found, which is forgotten. */
  take(): string[] {
    return this.#found.splice(0)
  }

  #tell(problem: string): void {
    if (!this.#allowed.some((pattern) => pattern.test(problem))) this.#found.push(problem)
    for (const [pattern, resolve] of this.#awaited) if (pattern.test(problem)) resolve()
  }
}
