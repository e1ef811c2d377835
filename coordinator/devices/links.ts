/**
 * The ways to bridges: each bridge holds a stream open on which it is sent calls. A call is put on a stream once, ever; one
 * that finds no stream waits for the next as long as it is good, since a bridge that restarts is back within seconds.
 */
import { LIMITS, SkeinError, type BridgeCall } from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock } from '../../mesh/runtime/index.ts'

export type BridgeMessage =
  { readonly type: 'call'; readonly call: BridgeCall } | { readonly type: 'cancel'; readonly call: string }

/** One stream. */
export interface LinkSink {
  readonly session: string
  send(message: BridgeMessage): void
  /** Another stream has taken its place, or there is no more. */
  close(): void
}

interface Link {
  sink: LinkSink | undefined
  /** Not sent yet. */
  readonly held: Map<string, BridgeCall>
  cancelGrace: CancelTimer
  isOnline: boolean
}

export interface LinksInit {
  readonly clock: Clock
  readonly onOnline: (bridge: string, isOnline: boolean) => void
  /** A call that was held is on its way. */
  readonly onSent: (call: string) => void
}

export class BridgeLinks {
  readonly #init: LinksInit
  readonly #links = new Map<string, Link>()
  #isClosed = false

  constructor(init: LinksInit) {
    this.#init = init
  }

  isOnline(bridge: string): boolean {
    return this.#links.get(bridge)?.isOnline ?? false
  }

  online(): string[] {
    return [...this.#links].filter(([, { isOnline }]) => isOnline).map(([bridge]) => bridge)
  }

  /**
   * Takes a stream for the calls of `bridge`. An earlier one is closed. Returns how to say that it has ended.
   *
   * @throws SkeinError SATURATED when there are too many bridges; SHUTTING_DOWN.
   */
  open(bridge: string, sink: LinkSink): () => void {
    if (this.#isClosed) throw new SkeinError('SHUTTING_DOWN', 'the coordinator is stopping', { retryAfterSeconds: 5 })
    let link = this.#links.get(bridge)
    if (link === undefined) {
      if (this.#links.size >= LIMITS.bridgesMax)
        throw new SkeinError('SATURATED', `there are ${LIMITS.bridgesMax} bridges`, { retryAfterSeconds: 60 })
      link = { sink: undefined, held: new Map(), cancelGrace: () => {}, isOnline: false }
      this.#links.set(bridge, link)
    }
    link.sink?.close()
    link.sink = sink
    link.cancelGrace()
    this.#turn(bridge, link, true)
    for (const [id, call] of link.held) {
      link.held.delete(id)
      sink.send({ type: 'call', call })
      this.#init.onSent(id)
    }
    return () => this.#ended(bridge, link, sink)
  }

  /** `held` when there is no stream now. @throws SkeinError SATURATED. */
  send(bridge: string, call: BridgeCall): 'sent' | 'held' {
    const link = this.#links.get(bridge)
    if (link?.sink) {
      link.sink.send({ type: 'call', call })
      return 'sent'
    }
    if (link === undefined || link.held.size >= LIMITS.deviceCallsOpenMax)
      throw new SkeinError('SATURATED', 'too many calls wait for the bridge', { retryAfterSeconds: 5 })
    link.held.set(call.call, call)
    return 'held'
  }

  /** True when it was not sent, and will not be. */
  withdraw(bridge: string, call: string): boolean {
    return this.#links.get(bridge)?.held.delete(call) ?? false
  }

  cancel(bridge: string, call: string): void {
    this.#links.get(bridge)?.sink?.send({ type: 'cancel', call })
  }

  close(): void {
    this.#isClosed = true
    for (const { sink, cancelGrace } of this.#links.values()) {
      cancelGrace()
      sink?.close()
    }
  }

  #ended(bridge: string, link: Link, sink: LinkSink): void {
    if (link.sink !== sink) return
    link.sink = undefined
    link.cancelGrace = this.#init.clock.timer(LIMITS.bridgeGraceMs, () => this.#turn(bridge, link, false))
  }

  #turn(bridge: string, link: Link, isOnline: boolean): void {
    if (link.isOnline === isOnline) return
    link.isOnline = isOnline
    this.#init.onOnline(bridge, isOnline)
  }
}
