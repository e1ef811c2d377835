/**
 * Who is here and what they can do: fed by control streams, which are the truth, and by the DHT, which is a hint. Gives
 * the scheduler its snapshot and people their lists, and keeps count of what was sent to each node since its last report.
 */
import {
  asSkeinError,
  LIMITS,
  SkeinError,
  type CapabilityRecord,
  type ControlHeld,
  type LoadReport,
  type ModelAbility,
  type ModelCapability,
  type ModelDigest,
  type SamplingDefaults,
  type PeerId,
  type Thinking,
} from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock, Logger } from '../../mesh/runtime/index.ts'
import type { Member, RoundTrip } from '../../mesh/network/index.ts'
import { lacks, type NodeSnapshot, type Snapshot } from '../scheduler/index.ts'
import type { ExpectedTokens } from './model-state.ts'
import { NodeEntry } from './node-entry.ts'
import { PrefixIndex } from './prefixes.ts'
import type { RateSample } from './rates.ts'

/** How often silence is looked for: the verdict is later than its bound by this much at most. */
const SWEEP_MS = LIMITS.suspectAfterMs / 15
/** A sweep later than this means that *we* stood still: silence in that time says nothing about the nodes. */
const SWEEP_LATE_MS = SWEEP_MS
/** Names that are told of, at most. */
const STOOD_OVER_MAX = 256

export interface DirectoryComponents {
  readonly clock: Clock
  readonly log: Logger
}

export interface DirectoryEvents {
  /** Something changed that may let a waiting task start. */
  capacity(): void
  /** Heartbeats stopped, or the control stream broke: attempts there are lost. */
  lost(peerId: PeerId, session: number): void
  /** A node told which attempts it holds whose streams are gone. */
  held(report: HeldReport): void
  /** `attempts`, which `peerId` holds, are not wanted any more. */
  release(peerId: PeerId, attempts: readonly HeldAttempt[]): void
  /** A node came, went, or takes work no more, or again. */
  changed(change: NodeChange): void
}

export interface NodeChange {
  /** `left`: it said goodbye, or was put out; `lost`: it did not. `draining`: it takes no new work; `serving`: it does again. */
  readonly what: 'joined' | 'left' | 'lost' | 'draining' | 'serving'
  readonly peerId: PeerId
  readonly name: string
}

export type HeldAttempt = ControlHeld['attempts'][number]

export interface HeldReport {
  readonly peerId: PeerId
  readonly attempts: readonly HeldAttempt[]
}

/** One open attempt on a node. */
export interface Reservation {
  /** So many tokens of its answer came, now. */
  progress(tokens: number): void
  /**
   * What it showed of the node's speed, for `NodeEntry.learn`; after `release`, too. `prefilledTokens` are those of its
   * input that the node did not find in its cache; without them the prefill is left out. `acceptMs` is how long the node
   * took to accept it: with a long prompt on a slow link, most of that was the way there.
   */
  sample(prefilledTokens?: number, acceptMs?: number): RateSample
  /** May be called more than once. */
  release(): void
}

export class Directory {
  readonly #clock: Clock
  readonly #log: Logger
  /** Names of which was told that a model of the house is meant by them, and none elsewhere. */
  readonly #stoodOver = new Set<string>()
  readonly #self: PeerId
  readonly #entries = new Map<PeerId, NodeEntry>()
  readonly #prefixes = new PrefixIndex<NodeEntry>()
  readonly #listeners = new Set<Partial<DirectoryEvents>>()
  /** Machines that may come, as nodes whose slots are all taken until they are there. */
  prospects: () => readonly NodeSnapshot[] = () => []
  #cancelSweep: CancelTimer = () => {}
  #lastSweepMs = 0
  /** Of all nodes: one that was forgotten and comes back must not get a number that an older stream of it still holds. */
  #sessions = 0

  constructor(components: DirectoryComponents, self: PeerId) {
    this.#clock = components.clock
    this.#log = components.log.scope('directory')
    this.#self = self
  }

  start(): void {
    this.#lastSweepMs = this.#clock.nowMs()
    this.#scheduleSweep()
  }

  stop(): void {
    this.#cancelSweep()
  }

  watch(listener: Partial<DirectoryEvents>): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  entries(): Iterable<NodeEntry> {
    return this.#entries.values()
  }

  entry(peerId: PeerId): NodeEntry | undefined {
    return this.#entries.get(peerId)
  }

  snapshot(): Snapshot {
    const nowMs = this.#clock.nowMs()
    const nodes = Array.from(this.#entries.values(), (entry) => entry.snapshot(nowMs))
    for (const prospect of this.prospects()) nodes.push(prospect)
    return {
      nodes,
      warmest: (digest, prefix) => {
        const entry = this.#prefixes.find(digest, prefix)
        return entry && this.#entries.get(entry.peerId) === entry ? entry.snapshot(nowMs) : undefined
      },
    }
  }

  /** A node opened its control stream. Returns its session, which the other calls about this stream must present. */
  connected(member: Member): number {
    const entry = this.#obtain(member.peerId)
    // A stream that was not seen to end belonged to an earlier life: what ran there is lost.
    if (entry.liveness !== 'disconnected') {
      this.#emit('lost', member.peerId, entry.session)
      this.#changed('lost', entry)
    }
    entry.certificate = member.certificate
    entry.beginSession(++this.#sessions, this.#clock.nowMs())
    this.#changed('joined', entry)
    return entry.session
  }

  /** The control stream of `session` ended, `inOrder` or not; an older session than the present one changes nothing. */
  disconnected(peerId: PeerId, session: number, inOrder = false): void {
    const entry = this.#entries.get(peerId)
    if (entry === undefined || entry.session !== session || entry.liveness === 'disconnected') return
    entry.setLiveness('disconnected')
    this.#log.info({ peer: peerId, name: entry.name }, 'node disconnected')
    this.#emit('lost', peerId, session)
    this.#changed(inOrder ? 'left' : 'lost', entry)
    this.#emit('capacity')
  }

  /**
   * Takes a record whose signature was verified. An older sequence, another peer's, and an expired one are refused.
   *
   * @throws SkeinError FRAME_MALFORMED saying which.
   */
  announce(peerId: PeerId, record: CapabilityRecord): void {
    if (record.peerId !== peerId) throw new SkeinError('FRAME_MALFORMED', 'a capability record of another peer')
    if (record.expiresAtMs + LIMITS.clockSkewMs < this.#clock.wallMs())
      throw new SkeinError('FRAME_MALFORMED', 'an expired capability record')
    const entry = this.#obtain(peerId)
    if (entry.record !== undefined && record.sequence < entry.record.sequence)
      throw new SkeinError('FRAME_MALFORMED', 'a capability record older than the one known')
    entry.setRecord(record, this.#clock.nowMs())
    this.#emit('capacity')
  }

  report(peerId: PeerId, load: LoadReport): void {
    const entry = this.#entries.get(peerId)
    if (entry === undefined) return
    const before = entry.snapshot(this.#clock.nowMs())
    const wasLeaving = entry.load?.draining
    entry.setLoad(load, this.#clock.nowMs())
    const after = entry.snapshot(this.#clock.nowMs())
    // Reports are many and the line is long: it is walked for what may let a task start or make one move.
    const isFreer = [...after.models].some(
      ([digest, { running }]) => running < (before.models.get(digest)?.running ?? 0),
    )
    const isTurned = after.isDraining !== before.isDraining || load.draining !== wasLeaving
    if (isFreer || isTurned) this.#emit('capacity')
    if (load.draining !== (wasLeaving ?? false)) this.#changed(load.draining ? 'draining' : 'serving', entry)
  }

  /** The node told which attempts it holds. */
  held(report: HeldReport): void {
    const entry = this.#entries.get(report.peerId)
    if (entry) entry.hasToldHeld = true
    this.#emit('held', report)
    this.#emit('capacity')
  }

  /** Tells a node that attempts which it holds are not wanted any more. */
  release(peerId: PeerId, attempts: readonly HeldAttempt[]): void {
    this.#emit('release', peerId, attempts)
  }

  /** Any frame from the node: it lives. */
  heard(peerId: PeerId): void {
    const entry = this.#entries.get(peerId)
    if (entry === undefined) return
    entry.lastFrameMs = this.#clock.nowMs()
    if (entry.liveness === 'suspect') {
      entry.setLiveness('connected')
      this.#emit('capacity')
    }
  }

  /** A heartbeat came back from the node after so long. */
  roundTrip(peerId: PeerId, trip: RoundTrip): void {
    this.#entries.get(peerId)?.addRoundTrip(trip)
  }

  /** Takes a node that is no member any more off the list. */
  forget(peerId: PeerId): void {
    const entry = this.#entries.get(peerId)
    if (entry === undefined) return
    this.disconnected(peerId, entry.session, true)
    this.#entries.delete(peerId)
  }

  /** Counts an attempt of ours on the node until it is released; `expected` without what the node has in its cache. */
  reserve(peerId: PeerId, digest: ModelDigest, expected: ExpectedTokens): Reservation {
    const attempt = this.#obtain(peerId).begin(digest, expected, this.#clock.nowMs())
    return {
      progress: (tokens) => attempt.progress(tokens, this.#clock.nowMs()),
      sample: (prefilledTokens, acceptMs) => attempt.sample(prefilledTokens, acceptMs),
      release: () => {
        if (attempt.end(this.#clock.nowMs())) this.#emit('capacity')
      },
    }
  }

  /**
   * Digests that `model` (an alias or a digest) may mean: first those of the owner's nodes that are here, then those of any that
   * are. An endpoint whose model has the name of one at home does not take its place.
   */
  resolve(model: string): ModelDigest[] {
    const counts = new Map<ModelDigest, number>()
    const atHome = new Set<ModelDigest>()
    for (const entry of this.#entries.values()) {
      for (const each of entry.record?.models ?? []) {
        if (each.digest !== model && !each.aliases.includes(model)) continue
        const weight = entry.liveness === 'disconnected' ? 0 : 1
        counts.set(each.digest, (counts.get(each.digest) ?? 0) + weight)
        if (weight > 0 && entry.record?.tier !== 'cloud') atHome.add(each.digest)
      }
    }
    if (atHome.size > 0 && counts.size > atHome.size) this.#tellStoodOver(model, atHome)
    const rank = (digest: ModelDigest): number => (atHome.has(digest) ? 1 : 0)
    return [...counts].sort(([a, m], [b, n]) => rank(b) - rank(a) || n - m).map(([digest]) => digest)
  }

  /** Says once of a name that nodes in the cloud have it too, of a model that is another one as far as anybody knows. */
  #tellStoodOver(name: string, atHome: ReadonlySet<ModelDigest>): void {
    if (this.#stoodOver.has(name) || this.#stoodOver.size >= STOOD_OVER_MAX) return
    const isOther = ({ digest, aliases }: ModelCapability): boolean => aliases.includes(name) && !atHome.has(digest)
    const elsewhere = [...this.#entries.values()].find(
      ({ record, liveness }) => record?.tier === 'cloud' && liveness !== 'disconnected' && record.models.some(isOther),
    )
    if (elsewhere === undefined) return
    this.#stoodOver.add(name)
    const text =
      'a model of the house has the name of one elsewhere, and is meant by it; "serves" lets that one stand in'
    this.#log.warn({ model: name, elsewhere: elsewhere.name }, text)
  }

  /** Whether a node with the model can do it, or may be able to, as far as it said. */
  mayDo(digest: ModelDigest, ability: ModelAbility): boolean {
    for (const entry of this.#entries.values())
      for (const each of entry.record?.models ?? []) if (each.digest === digest && !lacks(each, ability)) return true
    return false
  }

  /** What the makers of a model recommend, as its nodes say; the file is the same at all of them. */
  samplingDefaults(digest: ModelDigest): SamplingDefaults {
    for (const entry of this.#entries.values())
      for (const each of entry.record?.models ?? []) if (each.digest === digest && each.sampling) return each.sampling
    return {}
  }

  /** A model as one of its nodes describes it. */
  capability(digest: ModelDigest): ModelCapability | undefined {
    for (const entry of this.#entries.values())
      for (const each of entry.record?.models ?? []) if (each.digest === digest) return each
    return undefined
  }

  /** How the answers of a model show its thoughts, as its nodes say. */
  thinking(digest: ModelDigest): Thinking | undefined {
    for (const entry of this.#entries.values())
      for (const each of entry.record?.models ?? []) if (each.digest === digest && each.thinking) return each.thinking
    return undefined
  }

  /**
   * Whether every node that has the model says that an answer is a function of its request alone: an engine of ours makes
   * it, and of a chat (`isChat`) the clock decides nothing. What a server beside a node makes is that server's matter.
   */
  isRepeatable(digest: ModelDigest, isChat: boolean): boolean {
    const all = [...this.#entries.values()].flatMap(({ record }) => record?.models ?? [])
    const alike = all.filter((each) => each.digest === digest)
    return alike.every(({ engine, readsClock }) => engine !== 'upstream' && !(isChat && readsClock !== false))
  }

  /** What decides the last bits of what `peerId` makes with the model; `undefined` when it does not say. */
  numerics(peerId: PeerId, digest: ModelDigest): ModelCapability['numerics'] | undefined {
    const models = this.#entries.get(peerId)?.record?.models ?? []
    return models.find((each) => each.digest === digest)?.numerics
  }

  #obtain(peerId: PeerId): NodeEntry {
    let entry = this.#entries.get(peerId)
    if (entry === undefined) {
      this.#forgetOne()
      entry = new NodeEntry(peerId, peerId === this.#self, this.#prefixes)
      entry.lastFrameMs = this.#clock.nowMs()
      this.#entries.set(peerId, entry)
    }
    return entry
  }

  /** Keeps the directory under its bound by dropping the node that was silent longest and is not here. */
  #forgetOne(): void {
    if (this.#entries.size < LIMITS.membersMax) return
    let oldest: NodeEntry | undefined
    for (const entry of this.#entries.values())
      if (entry.liveness === 'disconnected' && (oldest === undefined || entry.lastFrameMs < oldest.lastFrameMs))
        oldest = entry
    if (oldest === undefined) throw new SkeinError('SATURATED', `the directory holds ${LIMITS.membersMax} nodes`)
    this.#entries.delete(oldest.peerId)
  }

  #scheduleSweep(): void {
    this.#cancelSweep = this.#clock.timer(SWEEP_MS, () => {
      this.#sweep()
      this.#scheduleSweep()
    })
  }

  #sweep(): void {
    const nowMs = this.#clock.nowMs()
    const lateMs = nowMs - this.#lastSweepMs - SWEEP_MS
    this.#lastSweepMs = nowMs
    for (const entry of this.#entries.values()) {
      if (entry.isSelf) continue
      if (entry.liveness === 'disconnected') {
        if (nowMs - entry.lastFrameMs > LIMITS.forgottenAfterMs) this.#entries.delete(entry.peerId)
        continue
      }
      if (lateMs > SWEEP_LATE_MS) entry.lastFrameMs = Math.min(nowMs, entry.lastFrameMs + lateMs)
      const silentMs = nowMs - entry.lastFrameMs
      if (silentMs > LIMITS.lostAfterMs) {
        this.#log.warn({ peer: entry.peerId, name: entry.name, silentMs: Math.round(silentMs) }, 'heartbeats stopped')
        this.disconnected(entry.peerId, entry.session)
      } else if (silentMs > LIMITS.suspectAfterMs) {
        entry.setLiveness('suspect')
      }
    }
  }

  #changed(what: NodeChange['what'], { peerId, name }: NodeEntry): void {
    this.#emit('changed', { what, peerId, name })
  }

  #emit<K extends keyof DirectoryEvents>(event: K, ...args: Parameters<DirectoryEvents[K]>): void {
    for (const listener of this.#listeners) {
      try {
        ;(listener[event] as ((...args: Parameters<DirectoryEvents[K]>) => void) | undefined)?.(...args)
      } catch (thrown) {
        this.#log.error({ event, err: asSkeinError(thrown) }, 'a listener of the directory failed')
      }
    }
  }
}
