/** What the coordinator knows of one node: who it is, what it can do, what it does now, and what was sent to it since. */
import type { CapabilityRecord, Certificate, LoadReport, ModelDigest, PeerId } from '../../mesh/protocol/index.ts'
import type { ModelSnapshot, NodeSnapshot } from '../scheduler/index.ts'

/** Failures are forgotten by half in this time. */
const FAILURE_HALF_LIFE_MS = 60_000
/** Weight of the newest sample in the moving average of link times (RFC 6298 uses 1/8). */
const LINK_WEIGHT = 1 / 8

interface Dispatched {
  /** Attempts of ours that hold a slot there. */
  open: number
  /** Attempts of ours that began, and that ended, since the last load report. */
  begun: number
  ended: number
}

export type Liveness = 'connected' | 'suspect' | 'disconnected'

export class NodeEntry {
  readonly peerId: PeerId
  readonly isSelf: boolean
  certificate: Certificate | undefined
  record: CapabilityRecord | undefined
  load: LoadReport | undefined
  /** Number of its control stream, never given twice; 0 before the first. */
  session = 0
  lastFrameMs = 0
  #liveness: Liveness = 'disconnected'
  #dispatched = new Map<ModelDigest, Dispatched>()
  #full = new Set<ModelDigest>()
  #linkMs = 0
  #failures = 0
  #failuresAtMs = 0
  #snapshot: NodeSnapshot | undefined

  constructor(peerId: PeerId, isSelf: boolean) {
    this.peerId = peerId
    this.isSelf = isSelf
  }

  get name(): string {
    return this.record?.name ?? this.certificate?.name ?? this.peerId
  }

  get liveness(): Liveness {
    return this.#liveness
  }

  setLiveness(liveness: Liveness): void {
    if (liveness === this.#liveness) return
    this.#liveness = liveness
    this.#snapshot = undefined
  }

  /** A new control stream: earlier load and exclusions belong to an earlier life. */
  beginSession(session: number, nowMs: number): void {
    this.session = session
    this.load = undefined
    this.#full.clear()
    this.lastFrameMs = nowMs
    this.setLiveness('connected')
    this.#snapshot = undefined
  }

  setRecord(record: CapabilityRecord): void {
    this.record = record
    this.#snapshot = undefined
  }

  setLoad(load: LoadReport): void {
    this.load = load
    this.#full.clear()
    for (const count of this.#dispatched.values()) count.begun = count.ended = 0
    this.#snapshot = undefined
  }

  begin(digest: ModelDigest): void {
    const count = this.#dispatched.get(digest) ?? { open: 0, begun: 0, ended: 0 }
    this.#dispatched.set(digest, count)
    count.open++
    count.begun++
    this.#snapshot = undefined
  }

  end(digest: ModelDigest): void {
    const count = this.#dispatched.get(digest)
    if (count === undefined) return
    count.open--
    count.ended++
    if (count.open === 0 && this.load === undefined) this.#dispatched.delete(digest)
    this.#snapshot = undefined
  }

  /** The node itself said that it has no free slot: believed until its next load report. */
  markFull(digest: ModelDigest): void {
    this.#full.add(digest)
    this.#snapshot = undefined
  }

  addLink(sampleMs: number): void {
    this.#linkMs = this.#linkMs === 0 ? sampleMs : this.#linkMs + LINK_WEIGHT * (sampleMs - this.#linkMs)
    this.#snapshot = undefined
  }

  addFailure(nowMs: number): void {
    this.#failures = this.failuresAt(nowMs) + 1
    this.#failuresAtMs = nowMs
    this.#snapshot = undefined
  }

  failuresAt(nowMs: number): number {
    const left = this.#failures * 0.5 ** ((nowMs - this.#failuresAtMs) / FAILURE_HALF_LIFE_MS)
    return left < 0.05 ? 0 : left
  }

  /** Attempts of `digest` that hold a slot, as well as can be known between two load reports. */
  running(digest: ModelDigest): number {
    const model = this.record?.models.find((each) => each.digest === digest)
    if (this.#full.has(digest)) return model?.slots ?? 0
    const reported = this.load?.models.find((each) => each.digest === digest)?.running ?? 0
    const count = this.#dispatched.get(digest)
    if (count === undefined) return reported
    // Ours are known exactly; those of other coordinators only by report. Neither may be undercounted.
    return Math.max(count.open, reported + count.begun - count.ended, 0)
  }

  /** An immutable view, made again only after something changed. */
  snapshot(nowMs: number): NodeSnapshot {
    this.#snapshot ??= {
      peerId: this.peerId,
      name: this.name,
      isSelf: this.isSelf,
      session: this.session,
      isConnected: this.#liveness !== 'disconnected',
      isSuspect: this.#liveness === 'suspect',
      isDraining: this.load?.draining ?? false,
      onBattery: this.record?.power === 'battery',
      linkMs: this.isSelf ? 0 : this.#linkMs,
      recentFailures: this.failuresAt(nowMs),
      models: this.#models(),
    }
    return this.#snapshot
  }

  #models(): ReadonlyMap<ModelDigest, ModelSnapshot> {
    const models = new Map<ModelDigest, ModelSnapshot>()
    for (const capability of this.record?.models ?? []) {
      const reported = this.load?.models.find((each) => each.digest === capability.digest)
      models.set(capability.digest, {
        capability,
        running: this.running(capability.digest),
        prefillTokensPending: reported?.prefillTokensPending ?? 0,
      })
    }
    return models
  }
}
