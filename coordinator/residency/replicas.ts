/**
 * Replicas on demand: looks every second at what is asked of each model and at who has it, and orders another replica
 * where demand has outgrown the holders, or where a peak is near that was learned from the days before. It decides
 * nothing about tasks: the scheduler sees what nodes announce, as ever. A replica that is not needed any more is left to
 * its node, which unloads what was used longest ago when it needs the room.
 */
import {
  asSkeinError,
  type ControlOrder,
  type ControlOutcome,
  type ModelCapability,
  type ModelDigest,
  type PeerId,
} from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock, Logger } from '../../mesh/runtime/index.ts'
import type { Directory } from '../directory/index.ts'
import type { ModelSnapshot } from '../scheduler/index.ts'
import { choosePlace, type ReplicaChoice, type ReplicaNode } from './choice.ts'
import { deliveredBy, Demand, loadShare, type ExpectedWork } from './demand.ts'
import { isEnded, Orders, type ReplicaCause, type ReplicaOrder } from './orders.ts'
import { Outgrown, predictedWaitMs } from './outgrown.ts'
import { DemandProfile, type Peak } from './profile.ts'

const LOOK_MS = 1000
/** A model is ordered so long before a peak, beside the time that loading takes: for one more node to be asked. */
const PEAK_MARGIN_MS = 60_000
/** How often a load may take longer than it last did. */
const PEAK_LOADS = 1.5
/** Holders that a peak is expected to load more than this get another one before it: above, waits grow steeply. */
const PEAK_SHARE_MAX = 0.7
/** Orders of one life: an epoch has room for as many numbers. */
const ORDERS_OF_AN_EPOCH = 2 ** 20

export interface ReplicasComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly directory: Directory
  /** Of the ledger: grows with each life of the coordinator. */
  readonly epoch: number
  /** Ms until those that wait for a model have a slot. */
  readonly aheadMs: (digest: ModelDigest) => number
  /** @throws SkeinError NODE_LOST. */
  readonly send: (peerId: PeerId, order: ControlOrder) => Promise<void>
  /** Keeps what was learned over restarts; without it the days are learned anew. */
  readonly store?: ProfileStore
}

/** Where what was learned of the days is kept. */
export interface ProfileStore {
  /** What was saved, or `undefined`. Does not throw. */
  load(): Promise<unknown>
  /** Does not throw. */
  save(profile: unknown): Promise<void>
}

export type ReplicaMode = 'auto' | 'off'

/** What is known of one model's replicas, for people. */
export interface ReplicaView {
  /** Nodes that have it in memory, that load it, and that have it on the disk. */
  readonly resident: number
  readonly loading: number
  readonly onDisk: number
  /** Of the last minutes. */
  readonly requestsPerMinute: number
  /** Share of the holders' time that the demand takes; absent where no node has it in memory. */
  readonly loadShare?: number
  /** Ms that a newcomer would wait for a slot. */
  readonly waitMs?: number
  /** The order in flight. */
  readonly order?: ReplicaOrder
  /** Why there is none though one is wanted. */
  readonly hindrance?: string
}

export interface ReplicaStats {
  readonly mode: ReplicaMode
  /** Orders by what came of them, and those sent by their cause. */
  readonly orders: Readonly<Record<string, number>>
}

interface Wish {
  readonly cause: ReplicaCause
  readonly reason: string
  /** Of a peak: when it begins. */
  readonly peakAtMs?: number
  /** Whether a replica that takes so many ms to be there is worth it. */
  readonly isWorth: (readyInMs: number) => boolean
}

interface Holding {
  readonly resident: ModelSnapshot[]
  loading: number
  onDisk: number
  /** As one of them announces it. */
  readonly model: ModelCapability
}

export class Replicas {
  readonly #components: ReplicasComponents
  readonly #log: Logger
  readonly #mode: ReplicaMode
  readonly #demand = new Demand()
  readonly #outgrown = new Map<ModelDigest, Outgrown>()
  readonly #orders: Orders
  /** The last peak of each model that was ordered for, by its beginning. */
  readonly #peaks = new Map<ModelDigest, number>()
  /** Why a wished-for order was not sent. */
  readonly #hindrances = new Map<ModelDigest, string>()
  readonly #listeners = new Set<(order: ReplicaOrder) => void>()
  #profile = new DemandProfile()
  #saving: Promise<void> = Promise.resolve()
  #cancelLook: CancelTimer = () => {}
  #unwatch: () => void = () => {}

  constructor(components: ReplicasComponents, mode: ReplicaMode) {
    this.#components = components
    this.#log = components.log.scope('replicas')
    this.#mode = mode
    this.#orders = new Orders(components.epoch * ORDERS_OF_AN_EPOCH, (order) => this.#changed(order))
  }

  /** Does not throw. */
  async start(): Promise<void> {
    const { clock, directory, store } = this.#components
    const saved = await store?.load()
    const { profile, isRestored } = DemandProfile.restore(saved)
    if (saved !== undefined && !isRestored) this.#log.warn({}, 'what was learned of the days is damaged; learning anew')
    this.#profile = profile
    profile.look(clock.wallMs(), clock.nowMs())
    this.#unwatch = directory.watch({
      lost: (peerId) => this.#orders.lost(peerId, 'the node is gone', clock.nowMs(), clock.wallMs()),
    })
    this.#schedule()
  }

  /** Orders nothing any more; what nodes have begun goes on. Does not throw. */
  async stop(): Promise<void> {
    this.#cancelLook()
    this.#unwatch()
    await this.#saving
  }

  /** A request was admitted. */
  arrived(digest: ModelDigest, work: ExpectedWork): void {
    const { clock } = this.#components
    this.#look()
    this.#demand.arrived(digest, work, clock.nowMs())
    this.#profile.arrived(digest, work)
  }

  /** What a node says of an order. */
  outcome(peerId: PeerId, outcome: ControlOutcome): void {
    const { clock } = this.#components
    this.#orders.outcome(peerId, outcome, clock.nowMs(), clock.wallMs())
  }

  /** Tells of every order, and of each change of one. Returns how to stop that. */
  watch(listener: (order: ReplicaOrder) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Orders in flight, then those that ended, the newest first. */
  orders(): ReplicaOrder[] {
    return this.#orders.list()
  }

  stats(): ReplicaStats {
    return { mode: this.#mode, orders: this.#orders.counts() }
  }

  /** What is known of models now: the nodes are looked through once, however many models are asked for. */
  views(): (digest: ModelDigest) => ReplicaView {
    const nowMs = this.#components.clock.nowMs()
    const holdings = holdingsOf(this.#nodes(nowMs), () => true)
    return (digest) => this.#view(digest, holdings.get(digest), nowMs)
  }

  #view(digest: ModelDigest, holding: Holding | undefined, nowMs: number): ReplicaView {
    const rates = this.#demand.rates(digest, nowMs)
    const waitMs = holding && this.#waitMs(digest, holding)
    const order = this.#orders.list().find((each) => each.digest === digest && !isEnded(each))
    const hindrance = this.#hindrances.get(digest)
    const share = holding && holding.resident.length > 0 ? loadShare(rates, deliveredBy(holding.resident)) : undefined
    return {
      resident: holding?.resident.length ?? 0,
      loading: holding?.loading ?? 0,
      onDisk: holding?.onDisk ?? 0,
      requestsPerMinute: round(rates.requests * 60),
      ...(share !== undefined && { loadShare: round(share) }),
      ...(waitMs !== undefined && { waitMs: Math.round(waitMs) }),
      ...(order && { order }),
      ...(hindrance !== undefined && { hindrance }),
    }
  }

  #schedule(): void {
    this.#cancelLook = this.#components.clock.timer(LOOK_MS, () => {
      this.#look()
      this.#decide()
      this.#schedule()
    })
  }

  /** A quarter of an hour may be over. */
  #look(): void {
    const { clock, store } = this.#components
    if (!this.#profile.look(clock.wallMs(), clock.nowMs()) || store === undefined) return
    this.#saving = this.#saving.then(() => store.save(this.#profile.save()))
  }

  #decide(): void {
    const { clock } = this.#components
    const nowMs = clock.nowMs()
    this.#orders.expire(nowMs, clock.wallMs())
    if (this.#mode === 'off') return
    const digests = new Set([...this.#demand.models(), ...this.#profile.models()])
    for (const known of [this.#outgrown, this.#peaks, this.#hindrances])
      for (const digest of known.keys()) if (!digests.has(digest)) known.delete(digest)
    if (digests.size === 0) return
    const nodes = this.#nodes(nowMs)
    for (const [digest, holding] of holdingsOf(nodes, (digest) => digests.has(digest))) {
      const wish = this.#wish(digest, holding, nowMs)
      if (wish === undefined) this.#hindrances.delete(digest)
      else this.#fulfil(holding.model, wish, nodes, nowMs)
    }
  }

  #nodes(nowMs: number): ReplicaNode[] {
    return Array.from(this.#components.directory.entries(), (entry) => ({
      node: entry.snapshot(nowMs),
      consent: entry.load?.replicas ?? 'off',
      memoryFreeBytes: entry.load?.memoryFreeBytes ?? 0,
    }))
  }

  #waitMs(digest: ModelDigest, { resident }: Holding): number | undefined {
    return predictedWaitMs(resident, this.#components.aheadMs(digest))
  }

  /** What is wanted for a model now, if anything. One that is loading already is waited for. */
  #wish(digest: ModelDigest, holding: Holding, nowMs: number): Wish | undefined {
    const outgrown = this.#outgrown.get(digest) ?? new Outgrown()
    this.#outgrown.set(digest, outgrown)
    // without a holder the first request loads it where it runs; of one that is silent for a moment nothing is known
    const waitMs = this.#waitMs(digest, holding)
    if (waitMs !== undefined) outgrown.look(waitMs, nowMs)
    if (holding.loading > 0) return undefined
    if (waitMs === undefined) return this.#peakWish(digest, holding)
    const lastedMs = outgrown.lastedMs(nowMs)
    if (lastedMs > 0) {
      const share = loadShare(this.#demand.rates(digest, nowMs), deliveredBy(holding.resident))
      return {
        cause: 'demand',
        reason:
          `requests wait ${seconds(waitMs)} for a slot, and have waited too long for ${seconds(lastedMs)}; ` +
          `the demand of the last minutes is ${Math.round(share * 100)} % of what ${counted(holding.resident.length, 'node')} can do`,
        isWorth: (readyInMs) => outgrown.isWorth(readyInMs, nowMs),
      }
    }
    return this.#peakWish(digest, holding)
  }

  #peakWish(digest: ModelDigest, { resident, model }: Holding): Wish | undefined {
    const wallMs = this.#components.clock.wallMs()
    const leadMs = model.loadMs * PEAK_LOADS + PEAK_MARGIN_MS
    const peak = this.#profile.peak(digest, wallMs, leadMs)
    // once for each peak: what its node has unloaded since, something else there was wanted more
    if (peak === undefined || this.#peaks.get(digest) === peak.atMs) return undefined
    if (resident.length > 0 && loadShare(peak, deliveredBy(resident)) <= PEAK_SHARE_MAX) return undefined
    return { cause: 'peak', reason: peakReason(peak, wallMs), peakAtMs: peak.atMs, isWorth: () => true }
  }

  #fulfil(model: ModelCapability, wish: Wish, nodes: readonly ReplicaNode[], nowMs: number): void {
    const { digest } = model
    if (!this.#orders.mayOrder(digest, nowMs)) return
    const choice = choosePlace(model, nodes, (peerId) => this.#orders.isSpared(peerId, digest, nowMs))
    if (choice.place === undefined) return void this.#hindrances.set(digest, hindranceOf(choice))
    // nobody waits yet: an average of days is no reason to move gigabytes
    if (wish.cause === 'peak' && choice.place.fetch)
      return void this.#hindrances.set(digest, 'no other node has it on the disk')
    this.#hindrances.delete(digest)
    if (!wish.isWorth(choice.place.readyInMs)) return
    this.#order(digest, wish, choice.place, nowMs)
  }

  #order(digest: ModelDigest, wish: Wish, { node, fetch }: NonNullable<ReplicaChoice['place']>, nowMs: number): void {
    const { clock, send } = this.#components
    const wallMs = clock.wallMs()
    const { cause, reason, peakAtMs } = wish
    this.#outgrown.get(digest)?.reset()
    if (peakAtMs !== undefined) this.#peaks.set(digest, peakAtMs)
    const { peerId, name } = node
    const { order } = this.#orders.begin({ digest, node: { peerId, name }, fetch, cause, reason, atMs: wallMs }, nowMs)
    send(peerId, { type: 'control.order', order, digest, fetch }).catch((thrown: unknown) =>
      this.#orders.lost(peerId, asSkeinError(thrown).message, clock.nowMs(), clock.wallMs()),
    )
  }

  #changed(order: ReplicaOrder): void {
    const { digest, node, cause, reason, state, message } = order
    // another node may be asked before the same peak
    if (cause === 'peak' && isEnded(order) && state !== 'done') this.#peaks.delete(digest)
    const fields = { model: digest, node: node.name, state, cause, ...(message !== undefined && { why: message }) }
    if (state === 'refused' || state === 'failed') this.#log.warn(fields, 'an order for a replica was not carried out')
    else this.#log.info(fields, state === 'sent' ? `a replica is ordered: ${reason}` : 'order for a replica')
    for (const listener of this.#listeners) listener(order)
  }
}

/** Who has the models that are wanted, of the nodes that are here; by what nodes that could serve have in memory. */
function holdingsOf(
  nodes: readonly ReplicaNode[],
  isWanted: (digest: ModelDigest) => boolean,
): ReadonlyMap<ModelDigest, Holding> {
  const holdings = new Map<ModelDigest, Holding>()
  for (const { node } of nodes) {
    if (!node.isConnected) continue
    const mayServe = !node.isDraining && !node.isSuspect
    for (const [digest, known] of node.models) {
      if (!isWanted(digest)) continue
      const model = known.capability
      const holding = holdings.get(digest) ?? { resident: [], loading: 0, onDisk: 0, model }
      holdings.set(digest, holding)
      if (!mayServe) continue
      if (model.residency === 'resident') holding.resident.push(known)
      else if (model.residency === 'loading') holding.loading++
      else holding.onDisk++
    }
  }
  return holdings
}

/** The first reasons, for people. */
function hindranceOf({ rejected }: ReplicaChoice): string {
  const others = rejected.filter(({ why }) => why !== 'has it already')
  if (others.length === 0) return 'every node has it already'
  return others
    .slice(0, 3)
    .map(({ node, why }) => `${node.name}: ${why}`)
    .join(', ')
}

const peakReason = ({ requests, atMs }: Peak, wallMs: number): string => {
  const inMs = atMs - wallMs
  const when = inMs > 0 ? `in ${Math.ceil(inMs / 60_000)} min` : 'now'
  return `some ${Math.round(requests)} requests are expected in the quarter of an hour that begins ${when}`
}
const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`
const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`
const round = (value: number): number => Math.round(value * 100) / 100
