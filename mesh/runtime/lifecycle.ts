/**
 * Start and stop of parts in order. What started is stopped in reverse; when one fails to start, what had started is
 * stopped again, so that a failed start leaves no timer, socket or child behind.
 */
import type { Logger } from './logger.ts'

export interface Startable {
  /** For logs and errors. */
  readonly name: string
  start(): Promise<void>
  /** Ends within its own bounds and does not throw; may be called when `start` failed or was never called. */
  stop(): Promise<void>
}

export class Lifecycle {
  readonly #log: Logger
  readonly #started: Startable[] = []
  #stopping: Promise<void> | undefined

  constructor(log: Logger) {
    this.#log = log
  }

  /** Starts `part` after all before it. @throws what `part.start` throws, after everything was stopped. */
  async start<T extends Startable>(part: T): Promise<T> {
    this.#started.push(part)
    try {
      await part.start()
      return part
    } catch (error) {
      await this.stop()
      throw error
    }
  }

  /** Stops everything in reverse order, once. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stopAll()
    return this.#stopping
  }

  async #stopAll(): Promise<void> {
    for (const part of this.#started.reverse()) {
      try {
        await part.stop()
      } catch (error) {
        this.#log.error({ part: part.name, err: error }, 'a part did not stop cleanly')
      }
    }
  }
}
