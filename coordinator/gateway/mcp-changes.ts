/** Tells clients that listen when the list of tools has changed: a device came, went, or can do something else. */
import { LIMITS, SkeinError } from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock } from '../../mesh/runtime/index.ts'
import type { Devices } from '../devices/index.ts'
import { sseComment, sseData } from './sse.ts'

const METHOD = 'notifications/tools/list_changed'

/** Changes that come together are told once. */
const TOGETHER_MS = 100

export interface ListenInit {
  readonly signal: AbortSignal
  readonly keepaliveMs: number
  /** Of the notification. */
  readonly params: object
}

export class ToolChanges {
  readonly #devices: Devices
  readonly #clock: Clock
  #listeners = 0

  constructor(devices: Devices, clock: Clock) {
    this.#devices = devices
    this.#clock = clock
  }

  /** @throws SkeinError SATURATED. */
  check(): void {
    if (this.#listeners >= LIMITS.eventClientsMax)
      throw new SkeinError('SATURATED', `${LIMITS.eventClientsMax} clients listen already`, { retryAfterSeconds: 10 })
  }

  /** Server-sent events as text, until the signal aborts. */
  async *listen({ signal, keepaliveMs, params }: ListenInit): AsyncGenerator<string, void, undefined> {
    this.#listeners++
    let told = this.#devices.version
    try {
      while (!signal.aborted) {
        const isChanged = await this.#turn(told, keepaliveMs, signal)
        if (signal.aborted) return
        told = this.#devices.version
        yield isChanged ? sseData(JSON.stringify({ jsonrpc: '2.0', method: METHOD, params })) : sseComment('keepalive')
      }
    } finally {
      this.#listeners--
    }
  }

  /** Resolves with false when nothing changed for `waitMs`. */
  #turn(told: number, waitMs: number, signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      let cancel: CancelTimer = () => {}
      const settle = (isChanged: boolean): void => {
        cancel()
        unwatch()
        signal.removeEventListener('abort', onAbort)
        resolve(isChanged)
      }
      const onAbort = (): void => settle(false)
      let isGathering = false
      const look = (): void => {
        if (isGathering || this.#devices.version === told) return
        isGathering = true
        cancel()
        cancel = this.#clock.timer(TOGETHER_MS, () => settle(true))
      }
      const unwatch = this.#devices.watch(look)
      signal.addEventListener('abort', onAbort, { once: true })
      cancel = this.#clock.timer(waitMs, () => settle(false))
      look()
    })
  }
}
