/**
 * Start and stop of parts in order. What started is stopped in reverse; when one fails to start, what had started is
 * stopped again, so that a failed start leaves no timer, socket or child behind.
 */
import { SkeinError } from '../protocol/index.ts'
import type { Logger } from './logger.ts'

export interface Startable {
  /** For logs and errors. */
  readonly name: string
  start(): Promise<void>
  /** Ends within its own bounds and does not throw; may be called twice, and when `start` failed or never was. */
  stop(): Promise<void>
}

export class Lifecycle {
  readonly #log: Logger
  readonly #started: Startable[] = []
  #stopping: Promise<void> | undefined

  constructor(log: Logger) {
    this.#log = log
  }

  /**
   * Starts `part` after all before it.
   *
   * @throws what `part.start` throws, after everything was stopped; SkeinError SHUTTING_DOWN when `stop` was called
   *   before or meanwhile, so that a stop during the start leaves nothing behind either.
   */
  async start<T extends Startable>(part: T): Promise<T> {
    this.#refuseWhenStopping(part)
    this.#started.push(part)
    try {
      await part.start()
    } catch (error) {
      await this.stop()
      throw error
    }
    if (this.#stopping !== undefined) {
      // it may have been told to stop before it had started what is to be stopped
      await this.#stopPart(part)
      this.#refuseWhenStopping(part)
    }
    return part
  }

  #refuseWhenStopping(part: Startable): void {
    if (this.#stopping !== undefined) throw new SkeinError('SHUTTING_DOWN', `stopped while ${part.name} was to start`)
  }

  /** Stops everything in reverse order, once. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stopAll()
    return this.#stopping
  }

  async #stopAll(): Promise<void> {
    for (const part of this.#started.reverse()) await this.#stopPart(part)
  }

  async #stopPart(part: Startable): Promise<void> {
    try {
      await part.stop()
    } catch (error) {
      this.#log.error({ part: part.name, err: error }, 'a part did not stop cleanly')
    }
  }
}
