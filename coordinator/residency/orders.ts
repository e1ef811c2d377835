/**
 * Orders for replicas, from their beginning to their end. One at a time for each model and for each node, some at a time
 * in all; each has a deadline, so that nothing hangs on a node that says nothing. A node that refused or failed is spared
 * for a while, twice as long each time.
 */
import { LIMITS, type ControlOutcome, type ModelDigest, type PeerId } from '../../mesh/protocol/index.ts'

/** After a refusal or a failure a node is not asked for the same model for so long, doubled each time. */
const SPARED_MS_MIN = 60_000
const SPARED_MS_MAX = 3_600_000
/** The next order for a model comes this long after one that was carried out: what that changed is to be seen first. */
const SETTLE_MS = 30_000
/** And this long after one that was not: another node may be asked soon. */
const AGAIN_MS = 5000

export type ReplicaState = 'sent' | 'accepted' | 'done' | 'refused' | 'failed' | 'lost'
const ENDED: ReadonlySet<ReplicaState> = new Set(['done', 'refused', 'failed', 'lost'])

/** For people, and for who counts. */
export interface ReplicaOrder {
  readonly order: number
  readonly digest: ModelDigest
  readonly node: { readonly peerId: PeerId; readonly name: string }
  readonly fetch: boolean
  /** `demand` outgrew its holders, or a `peak` is expected. */
  readonly cause: ReplicaCause
  /** In words. */
  readonly reason: string
  readonly state: ReplicaState
  /** Why it was refused or has failed. */
  readonly message?: string
  /** Wall clock in ms. */
  readonly atMs: number
  readonly endedAtMs?: number
}
export type ReplicaCause = 'demand' | 'peak'

interface InFlight {
  order: ReplicaOrder
  deadlineMs: number
}
interface Spared {
  readonly untilMs: number
  readonly times: number
}

export class Orders {
  readonly #inFlight = new Map<number, InFlight>()
  /** The oldest first. */
  readonly #ended: ReplicaOrder[] = []
  readonly #spared = new Map<string, Spared>()
  readonly #notBeforeMs = new Map<ModelDigest, number>()
  readonly #counts = new Map<string, number>()
  readonly #onChange: (order: ReplicaOrder) => void
  #next: number

  /** @param first number of the first order: above all of earlier lives, so that no late outcome is taken for a new one's. */
  constructor(first: number, onChange: (order: ReplicaOrder) => void) {
    this.#next = first
    this.#onChange = onChange
  }

  /** Those in flight, then those that ended, the newest first. */
  list(): ReplicaOrder[] {
    return [...Array.from(this.#inFlight.values(), ({ order }) => order), ...[...this.#ended].reverse()]
  }

  /** How many were sent by cause, and how many ended in each way. */
  counts(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts)
  }

  /** Whether one for `digest` may be sent now. */
  mayOrder(digest: ModelDigest, nowMs: number): boolean {
    if (this.#inFlight.size >= LIMITS.replicaOrdersMax) return false
    for (const { order } of this.#inFlight.values()) if (order.digest === digest) return false
    return nowMs >= (this.#notBeforeMs.get(digest) ?? Number.NEGATIVE_INFINITY)
  }

  /** Whether `peerId` is not to be asked for `digest` now. */
  isSpared(peerId: PeerId, digest: ModelDigest, nowMs: number): boolean {
    for (const { order } of this.#inFlight.values()) if (order.node.peerId === peerId) return true
    return nowMs < (this.#spared.get(keyOf(peerId, digest))?.untilMs ?? Number.NEGATIVE_INFINITY)
  }

  begin(init: Omit<ReplicaOrder, 'order' | 'state'>, nowMs: number): ReplicaOrder {
    const order: ReplicaOrder = { ...init, order: this.#next++, state: 'sent' }
    this.#inFlight.set(order.order, { order, deadlineMs: nowMs + LIMITS.replicaAnswerMs })
    this.#count(`sent ${order.cause}`)
    this.#onChange(order)
    return order
  }

  /** What a node said. Of an order that is not in flight at that node it is nothing. */
  outcome(
    peerId: PeerId,
    { order: number, state, code, message }: ControlOutcome,
    nowMs: number,
    wallMs: number,
  ): void {
    const flight = this.#inFlight.get(number)
    if (flight?.order.node.peerId !== peerId) return
    if (state !== 'accepted') {
      const why = [code, message].filter((each) => each !== undefined).join(': ')
      return this.#end(flight, state, why, nowMs, wallMs)
    }
    if (flight.order.state !== 'sent') return
    flight.deadlineMs = nowMs + (flight.order.fetch ? LIMITS.replicaFetchMs : LIMITS.replicaLoadMs)
    flight.order = { ...flight.order, state }
    this.#onChange(flight.order)
  }

  /** A node is gone, or was never reached: nothing is known of its orders any more. */
  lost(peerId: PeerId, message: string, nowMs: number, wallMs: number): void {
    for (const flight of this.#inFlight.values())
      if (flight.order.node.peerId === peerId) this.#end(flight, 'lost', message, nowMs, wallMs)
  }

  /** Ends what nobody has answered in time, and forgets what is over. */
  expire(nowMs: number, wallMs: number): void {
    for (const flight of this.#inFlight.values()) {
      if (nowMs < flight.deadlineMs) continue
      const what = flight.order.state === 'sent' ? 'the node did not answer' : 'the model was not there'
      this.#end(flight, 'failed', `${what} in time`, nowMs, wallMs)
    }
    for (const [key, { untilMs }] of this.#spared) if (nowMs >= untilMs + SPARED_MS_MAX) this.#spared.delete(key)
    for (const [digest, atMs] of this.#notBeforeMs) if (nowMs >= atMs) this.#notBeforeMs.delete(digest)
  }

  #end(flight: InFlight, state: ReplicaState, message: string, nowMs: number, wallMs: number): void {
    const { order } = flight
    const ended: ReplicaOrder = { ...order, state, endedAtMs: wallMs, ...(message !== '' && { message }) }
    this.#inFlight.delete(order.order)
    this.#ended.push(ended)
    if (this.#ended.length > LIMITS.replicaOrdersKeptMax) this.#ended.shift()
    this.#notBeforeMs.set(order.digest, nowMs + (state === 'done' ? SETTLE_MS : AGAIN_MS))
    const key = keyOf(order.node.peerId, order.digest)
    if (state === 'done') this.#spared.delete(key)
    else this.#spare(key, nowMs)
    this.#count(state)
    this.#onChange(ended)
  }

  #spare(key: string, nowMs: number): void {
    const times = (this.#spared.get(key)?.times ?? 0) + 1
    const forMs = Math.min(SPARED_MS_MIN * 2 ** (times - 1), SPARED_MS_MAX)
    this.#spared.set(key, { untilMs: nowMs + forMs, times })
  }

  #count(what: string): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1)
  }
}

export const isEnded = ({ state }: ReplicaOrder): boolean => ENDED.has(state)

const keyOf = (peerId: PeerId, digest: ModelDigest): string => `${peerId} ${digest}`
