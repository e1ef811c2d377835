/**
 * The generation requests that run: so that a client which hangs up cancels its work, `drain` knows when all are done, and
 * `stop` can end the rest. Requests that a client pipelines on one connection take turns: HTTP wants their answers in
 * order, and an answer that waits behind another would only fill memory.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { SkeinError } from '../../mesh/protocol/index.ts'

export interface ActiveRequest {
  /** Aborts with a SkeinError: CLIENT_CLOSED, CLIENT_STALLED or SHUTTING_DOWN. */
  readonly signal: AbortSignal
  /** Resolves when the earlier requests of this connection were answered. */
  readonly turn: Promise<void>
  abort(reason: SkeinError): void
}

interface Entry {
  abort(reason: SkeinError): void
}

export interface ActiveRequestsInit {
  /** Called for each request whose client left before its answer was whole. */
  readonly onClientClosed: () => void
}

export class ActiveRequests {
  readonly #init: ActiveRequestsInit
  readonly #entries = new Set<Entry>()
  /** Settles with the answer to the newest request of a connection. */
  readonly #newest = new WeakMap<Socket, Promise<void>>()
  #idle: PromiseWithResolvers<void> | undefined
  #isRefusing = false

  constructor(init: ActiveRequestsInit) {
    this.#init = init
  }

  get size(): number {
    return this.#entries.size
  }

  /** True from `refuse` on. */
  get isRefusing(): boolean {
    return this.#isRefusing
  }

  /** From now on `open` throws. */
  refuse(): void {
    this.#isRefusing = true
  }

  /** Resolves when no request runs. */
  idle(): Promise<void> {
    if (this.#entries.size === 0) return Promise.resolve()
    this.#idle ??= Promise.withResolvers<void>()
    return this.#idle.promise
  }

  abortAll(reason: SkeinError): void {
    for (const entry of this.#entries) entry.abort(reason)
  }

  /** @throws SkeinError SHUTTING_DOWN after `refuse`. */
  open(request: IncomingMessage, response: ServerResponse): ActiveRequest {
    if (this.#isRefusing) throw new SkeinError('SHUTTING_DOWN', 'the coordinator is stopping', { retryAfterSeconds: 5 })
    const turn = this.#newest.get(request.socket) ?? Promise.resolve()
    const controller = new AbortController()
    const answered = Promise.withResolvers<void>()
    this.#newest.set(request.socket, answered.promise)
    const entry: Entry = { abort: (reason) => controller.abort(reason) }
    const finish = (isWhole: boolean): void => {
      if (!this.#entries.delete(entry)) return
      if (!isWhole && !controller.signal.aborted) {
        this.#init.onClientClosed()
        controller.abort(new SkeinError('CLIENT_CLOSED', 'the client hung up'))
      }
      answered.resolve()
      if (this.#entries.size === 0) this.#idle?.resolve()
      if (this.#entries.size === 0) this.#idle = undefined
    }
    this.#entries.add(entry)
    response.once('finish', () => finish(true))
    // when a connection ends, also the responses that wait for their turn on it are closed
    response.once('close', () => finish(response.writableFinished))
    if (response.destroyed) finish(false)
    return { signal: controller.signal, turn, abort: entry.abort }
  }
}
