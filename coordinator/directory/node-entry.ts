/** What the coordinator knows of one node: who it is, what it can do, what it does now, and what was sent to it since. */
import type {
  CapabilityRecord,
  Certificate,
  LoadReport,
  ModelCapability,
  ModelDigest,
  PeerId,
} from '../../mesh/protocol/index.ts'
import type { RoundTrip } from '../../mesh/network/index.ts'
import type { ModelSnapshot, NodeSnapshot, PromptPrefix } from '../scheduler/index.ts'
import { Breaker } from './breaker.ts'
import { LinkState, type LinkView } from './link-state.ts'
import { ModelState, type ExpectedTokens, type OpenAttempt } from './model-state.ts'
import { PrefixIndex } from './prefixes.ts'
import type { RateSample } from './rates.ts'

/** Failures are forgotten by half in this time. */
const FAILURE_HALF_LIFE_MS = 60_000
/** A time of silence that ended counts as this much of a failure. */
const SUSPECT_FAILURES = 0.5
/** What changes with time alone (work that goes on, failures that are forgotten) is looked at again this often. */
const REFRESH_MS = 100

/** For the first `control.held` of a stream to come. */
const TELLS_HELD_MS = 1000

export type Liveness = 'connected' | 'suspect' | 'disconnected'

/** One open attempt on a node. */
export interface NodeAttempt {
  /** So many tokens of its answer came, now. */
  progress(tokens: number, nowMs: number): void
  /** What it showed of the node's speed; `prefilledTokens` are those of its own that the node's cache had not. */
  sample(prefilledTokens?: number, acceptMs?: number): RateSample
  /** It is over. False when that was said before. */
  end(nowMs: number): boolean
}

export class NodeEntry {
  readonly peerId: PeerId
  readonly isSelf: boolean
  certificate: Certificate | undefined
  record: CapabilityRecord | undefined
  load: LoadReport | undefined
  /** Number of its control stream, never given twice; 0 before the first. */
  session = 0
  lastFrameMs = 0
  /** It has said on this control stream which attempts it holds. */
  hasToldHeld = false
  #sessionSinceMs = 0
  readonly #index: PrefixIndex<NodeEntry>
  readonly #breaker = new Breaker()
  #liveness: Liveness = 'disconnected'
  #models = new Map<ModelDigest, ModelState>()
  readonly #link = new LinkState()
  #failures = 0
  #failuresAtMs = 0
  #snapshot: NodeSnapshot | undefined
  #snapshotUntilMs = 0

  /** @param index of the whole mesh, where it is told what ran here. */
  constructor(peerId: PeerId, isSelf: boolean, index = new PrefixIndex<NodeEntry>()) {
    this.peerId = peerId
    this.isSelf = isSelf
    this.#index = index
  }

  get name(): string {
    return this.record?.name ?? this.certificate?.name ?? this.peerId
  }

  get liveness(): Liveness {
    return this.#liveness
  }

  setLiveness(liveness: Liveness): void {
    if (liveness === this.#liveness) return
    // It came back: a node that falls silent now and then is worth less than one that does not.
    if (this.#liveness === 'suspect' && liveness === 'connected') this.#addFailures(SUSPECT_FAILURES, this.lastFrameMs)
    this.#liveness = liveness
    this.#snapshot = undefined
  }

  /** Whether it may still tell of attempts that it holds: it does so first of all on a new control stream. */
  mayTellHeld(nowMs: number): boolean {
    return !this.hasToldHeld && nowMs - this.#sessionSinceMs < TELLS_HELD_MS
  }

  /** A new control stream: earlier load and exclusions belong to an earlier life. */
  beginSession(session: number, nowMs: number): void {
    this.session = session
    this.hasToldHeld = false
    this.#sessionSinceMs = nowMs
    this.load = undefined
    for (const model of this.#models.values()) model.restart()
    // its death failed every attempt there: that says nothing of its next life
    this.#breaker.addSuccess()
    this.lastFrameMs = nowMs
    this.#liveness = 'connected'
    this.#snapshot = undefined
  }

  setRecord(record: CapabilityRecord, nowMs: number): void {
    this.record = record
    const models = new Map<ModelDigest, ModelState>()
    for (const capability of record.models) {
      const known = this.#models.get(capability.digest)
      known?.setCapability(capability, nowMs)
      models.set(capability.digest, known ?? this.#newModel(capability, nowMs))
    }
    this.#models = models
    this.#snapshot = undefined
  }

  #newModel(capability: ModelCapability, nowMs: number): ModelState {
    const model = new ModelState(capability, nowMs)
    if (this.load) model.setLoad(loadOf(this.load, capability.digest), nowMs)
    return model
  }

  setLoad(load: LoadReport, nowMs: number): void {
    this.load = load
    // Counted from when it was written, or a little before.
    for (const [digest, model] of this.#models) model.setLoad(loadOf(load, digest), nowMs - this.linkMs)
    this.#snapshot = undefined
  }

  get linkMs(): number {
    return this.isSelf ? 0 : this.#link.ms
  }

  /** What is known of the way there; nothing of our own machine. */
  get link(): LinkView {
    return this.isSelf ? {} : this.#link.view
  }

  /** An attempt, whose first frame had about so many bytes, was accepted after `sampleMs`. */
  addLink(sampleMs: number, bytes = 0): void {
    this.#link.addAccept(sampleMs, bytes, this.lastFrameMs)
    this.#snapshot = undefined
  }

  /** Whether the next heartbeat is to probe the link: it does nothing now, and said that it may be probed. */
  takeProbe(nowMs: number): boolean {
    const isIdle = this.load?.models.every(({ running }) => running === 0) ?? false
    return !this.isSelf && isIdle && this.load?.mayProbe === true && this.#link.takeProbe(nowMs)
  }

  addRoundTrip({ ms, probeBytes }: RoundTrip): void {
    if (probeBytes > 0) {
      this.#link.addProbe(ms, probeBytes)
      this.#snapshot = undefined
      return
    }
    // plans hold for a while: not every heartbeat is worth another view
    if (this.#link.addRoundTrip(ms)) this.#snapshot = undefined
  }

  /** An attempt of ours is sent there. */
  begin(digest: ModelDigest, expected: ExpectedTokens, nowMs: number): NodeAttempt {
    const model = this.#models.get(digest)
    const isProbe = this.#breaker.begin(nowMs)
    const attempt: OpenAttempt | undefined = model?.begin(expected, nowMs)
    let isOpen = true
    this.#snapshot = undefined
    return {
      progress: (tokens, atMs) => attempt && model!.progress(attempt, tokens, atMs),
      sample: (prefilledTokens, acceptMs = 0) =>
        attempt ? model!.sample(attempt, prefilledTokens, Math.max(this.linkMs, acceptMs)) : NOTHING_SEEN,
      end: (atMs) => {
        if (!isOpen) return false
        isOpen = false
        if (isProbe) this.#breaker.probeEnded()
        if (attempt) model!.end(attempt, atMs)
        this.#snapshot = undefined
        return true
      },
    }
  }

  /** Delivered speed corrects claimed speed. */
  learn(digest: ModelDigest, sample: RateSample): void {
    this.#models.get(digest)?.learn(sample)
    this.#snapshot = undefined
  }

  /** A prompt, its answer included where that is known, was decoded there: its state is likely kept. */
  remember(digest: ModelDigest, prefix: PromptPrefix): void {
    const model = this.#models.get(digest)
    if (model === undefined) return
    model.remember(prefix)
    this.#index.remember(digest, prefix, this)
  }

  /** The node itself said that it has no free slot: believed until its next load report. */
  markFull(digest: ModelDigest, nowMs: number): void {
    this.#models.get(digest)?.markFull(nowMs)
    this.#snapshot = undefined
  }

  /** An attempt failed by the node's fault. */
  addFailure(nowMs: number): void {
    this.#addFailures(1, nowMs)
    this.#breaker.addFailure(nowMs)
  }

  /** An attempt ended well: failures in a row are over. */
  addSuccess(): void {
    this.#breaker.addSuccess()
    this.#snapshot = undefined
  }

  #addFailures(count: number, nowMs: number): void {
    this.#failures = this.failuresAt(nowMs) + count
    this.#failuresAtMs = nowMs
    this.#snapshot = undefined
  }

  failuresAt(nowMs: number): number {
    const left = this.#failures * 0.5 ** ((nowMs - this.#failuresAtMs) / FAILURE_HALF_LIFE_MS)
    return left < 0.05 ? 0 : left
  }

  /** Attempts of `digest` that hold a slot, as well as can be known between two load reports. */
  running(digest: ModelDigest): number {
    return this.#models.get(digest)?.running ?? 0
  }

  /** An immutable view, made again after something changed; what time alone changes is up to `REFRESH_MS` old. */
  snapshot(nowMs: number): NodeSnapshot {
    if (this.#snapshot === undefined || nowMs >= this.#snapshotUntilMs) {
      this.#snapshot = this.#view(nowMs)
      this.#snapshotUntilMs = this.#changesByItself ? nowMs + REFRESH_MS : Number.POSITIVE_INFINITY
    }
    return this.#snapshot
  }

  get #changesByItself(): boolean {
    if (this.#failures > 0 || this.#breaker.hasFailures) return true
    for (const model of this.#models.values()) if (!model.isQuiet) return true
    return false
  }

  #view(nowMs: number): NodeSnapshot {
    const { record, load } = this
    const recentFailures = this.failuresAt(nowMs)
    if (recentFailures === 0) this.#failures = 0
    const models = new Map<ModelDigest, ModelSnapshot>()
    for (const [digest, model] of this.#models) models.set(digest, model.snapshot(nowMs))
    return {
      peerId: this.peerId,
      name: this.name,
      isSelf: this.isSelf,
      session: this.session,
      isConnected: this.#liveness !== 'disconnected',
      isSuspect: this.#liveness === 'suspect',
      isDraining: load !== undefined && (load.draining || load.cordoned),
      ...(load?.paused !== undefined && { pausedBecause: load.paused }),
      ...(record?.access && { access: record.access }),
      isCloud: record?.tier === 'cloud',
      ...(record?.price && { price: record.price }),
      isTripped: this.#breaker.isTripped(nowMs),
      onBattery: record?.power === 'battery',
      linkMs: this.linkMs,
      ...(this.link.bytesPerSecond !== undefined && { linkBytesPerSecond: this.link.bytesPerSecond }),
      recentFailures,
      models,
    }
  }
}

const loadOf = (load: LoadReport, digest: ModelDigest): LoadReport['models'][number] | undefined =>
  load.models.find((each) => each.digest === digest)

const NOTHING_SEEN: RateSample = { prefillTokens: 0, prefillMs: 0, decodeTokens: 0, decodeMs: 0, sequences: 1 }
