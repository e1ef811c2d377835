/**
 * The events of one call while it runs. Of what is told the newest alone waits: a client that reads slowly is told less often,
 * and nothing grows.
 */
import type { Clock } from '../../mesh/runtime/index.ts'
import type { RpcId } from './mcp-messages.ts'
import type { ToolProgress } from './mcp-tools.ts'
import { sseComment, sseData } from './sse.ts'

/** What progress grows by where nothing of the answer was made: the protocol wants it to grow with every word. */
const STEP = 0.001

export class CallStream {
  readonly #clock: Clock
  readonly #keepaliveMs: number
  readonly #token: RpcId | undefined
  #latest: ToolProgress | undefined
  #progress = 0
  #wake: (() => void) | undefined

  /** @param token under which progress is told; of nothing but signs of life when absent. */
  constructor(clock: Clock, keepaliveMs: number, token: RpcId | undefined) {
    this.#clock = clock
    this.#keepaliveMs = keepaliveMs
    this.#token = token
  }

  readonly tell = (progress: ToolProgress): void => {
    this.#latest = progress
    this.#wake?.()
  }

  /** @param run the last message; `undefined` when there is nobody to send it to. */
  async *events(run: Promise<object | undefined>): AsyncGenerator<string, void, undefined> {
    let end: { readonly message: object | undefined } | undefined
    void run.then((message) => {
      end = { message }
      this.#wake?.()
    })
    for (;;) {
      if (!end && !this.#latest) await this.#turn()
      // progress stops when the answer is there
      if (end) break
      yield this.#take()
    }
    if (end.message) yield sseData(JSON.stringify(end.message))
  }

  #take(): string {
    const told = this.#latest
    this.#latest = undefined
    if (!told || this.#token === undefined) return sseComment(told?.message ?? 'keepalive')
    const { progress, total, message } = told
    this.#progress = Math.max(progress, this.#progress + STEP)
    const params = {
      progressToken: this.#token,
      progress: this.#progress,
      ...(total !== undefined && { total: Math.max(total, this.#progress) }),
      message,
    }
    return sseData(JSON.stringify({ jsonrpc: '2.0', method: 'notifications/progress', params }))
  }

  /** Until something is told, or for as long as silence may last. */
  #turn(): Promise<void> {
    return new Promise((resolve) => {
      const settle = (): void => {
        cancel()
        this.#wake = undefined
        resolve()
      }
      const cancel = this.#clock.timer(this.#keepaliveMs, settle)
      this.#wake = settle
    })
  }
}
