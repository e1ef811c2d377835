/**
 * One model at several members. Each chunk comes from the member that would have it soonest by its measured speed, and is
 * passed on only when its hash is the one that this member itself named before. A member whose bytes differ is dropped
 * and named. Members whose hashes differ from those of the first are set aside: the digest of the whole file decides in
 * the end, and if it was the first that lied, the pull starts again without it. When no member is left, `fallback` goes
 * on, such as the hub that the digest came from.
 */
import { asSkeinError, LIMITS, SkeinError, type PeerId } from '../../../mesh/protocol/index.ts'
import { movingAverage, type Clock } from '../../../mesh/runtime/index.ts'
import { BufferPool } from './buffer-pool.ts'
import type { Hashing } from './hash-thread.ts'
import type { Holder, MemberOffer, Members } from './members.ts'
import type { ByteRange } from './ranges.ts'
import type { RemoteFile } from './source.ts'

const CHUNK = LIMITS.modelChunkBytes
/** Failures in a row after which a member is left alone until others were looked for. */
const FAILURES_MAX = 3
/** Others are looked for at most this often. */
const LOOK_MS = 3000
/** A chunk is given to another member when it takes this many times as long as there, and at least this long. */
const SLOW_FACTOR = 4
const SLOW_MS_MIN = 2000
const LOOK_SLOW_MS = 500
/** Share of the newest chunk in a member's speed. */
const SPEED_WEIGHT = 0.4

/** What a pull is told of its members. */
export type MemberEvent =
  /** It gives nothing more to this pull: it sent other bytes than it should have. */
  | { readonly event: 'dropped'; readonly member: string; readonly peerId: PeerId; readonly reason: string }
  /** Bytes that were taken from each, when all are there. */
  | { readonly event: 'shares'; readonly shares: readonly MemberShare[] }

export interface MemberShare {
  readonly member: string
  readonly peerId: PeerId
  readonly bytes: number
}

export interface MemberFileInit {
  readonly members: Members
  readonly clock: Clock
  readonly hashing: Pick<Hashing, 'digest'>
  /** Those that have it, all with one digest and size. */
  readonly offers: readonly MemberOffer[]
  /** Members that are not asked: they lied before. Those that do are added. */
  readonly liars: Set<PeerId>
  readonly fallback?: RemoteFile
  readonly onEvent: (event: MemberEvent) => void
}

/** A member at work, and what is known of it. */
interface Worker {
  readonly holder: Holder
  readonly hashes: Map<number, Uint8Array>
  running: number
  failures: number
  /** It said to come back then, and why; it is not asked before. */
  restsUntilMs: number
  restReason: string
  /** Bytes per ms of one chunk; unknown before the first. */
  speed: number | undefined
  takenBytes: number
  /** Its hashes are not those of the first. */
  isInDoubt: boolean
}

export class MemberFile {
  readonly #init: MemberFileInit
  readonly #sizeBytes: number
  readonly #workers = new Map<PeerId, Worker>()
  /** One for each chunk on its way. */
  readonly #buffers = new BufferPool(CHUNK, LIMITS.pullConnectionsMax)
  /** Hash of each chunk, as the first member that was asked named it, and who did. */
  readonly #hashes = new Map<number, { readonly hash: Uint8Array; readonly by: Worker }>()
  #lookedAtMs = Number.NEGATIVE_INFINITY

  constructor(init: MemberFileInit) {
    this.#init = init
    this.#sizeBytes = init.offers[0]!.sizeBytes
    this.#add(init.offers)
    this.#lookedAtMs = init.clock.nowMs()
  }

  /** As `RemoteFile.read`. @throws SkeinError MODEL_PULL_FAILED; the signal's reason. */
  async *read(range: ByteRange, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
    const { fallback } = this.#init
    for (let at = range.start; at < range.end;) {
      const chunk = Math.floor(at / CHUNK)
      const buffer = await this.#buffers.take()
      try {
        const bytes = await this.#chunk(chunk, buffer, signal)
        if (bytes === undefined) return yield* fallback!.read({ start: at, end: range.end }, signal)
        const start = chunk * CHUNK
        const wanted = bytes.subarray(at - start, range.end - start)
        at += wanted.length
        yield wanted
      } finally {
        // whoever was given it has written it by now
        this.#buffers.give(buffer)
      }
    }
  }

  /**
   * The whole file has another digest than it should, so one of the hashes that were believed is wrong. Everybody is asked
   * for all hashes; who named one that another contradicts is dropped, or everybody who was believed when nobody does.
   * Says whether somebody is left to ask.
   *
   * @throws the signal's reason.
   */
  async mismatched(signal: AbortSignal): Promise<boolean> {
    const workers = [...this.#workers.values()]
    await Promise.all(workers.map((worker) => this.#learnAll(worker, signal)))
    const believed = new Set([...this.#hashes.values()].map(({ by }) => by))
    const contradicted = new Set<Worker>()
    for (const [chunk, { hash, by }] of this.#hashes)
      if (workers.some(({ hashes }) => !isEqual(hashes.get(chunk) ?? hash, hash))) contradicted.add(by)
    for (const worker of contradicted.size > 0 ? contradicted : believed)
      this.#drop(worker, 'what it said the file is made of has another digest')
    return this.#workers.size > 0 || this.#init.fallback !== undefined
  }

  /** All is there, and right. */
  finished(): void {
    for (const worker of this.#workers.values())
      if (worker.isInDoubt) this.#drop(worker, 'it named other hashes than the file has')
    const shares = [...this.#workers.values()]
      .filter(({ takenBytes }) => takenBytes > 0)
      .map(({ holder: { member, peerId }, takenBytes: bytes }) => ({ member, peerId, bytes }))
    this.#init.onEvent({ event: 'shares', shares })
  }

  close(): void {
    for (const { holder } of this.#workers.values()) holder.close()
  }

  /** A chunk that is what it should be, in `buffer`; `undefined` when only the fallback is left. */
  async #chunk(chunk: number, buffer: Buffer, signal: AbortSignal): Promise<Uint8Array | undefined> {
    let last: unknown
    for (;;) {
      const worker = this.#soonest() ?? (await this.#look(signal))
      if (worker === undefined) {
        if (this.#init.fallback !== undefined) return undefined
        const resting = this.#resting()
        if (resting !== undefined) throw resting
        const why = last === undefined ? 'no member that has it can be reached' : asSkeinError(last).message
        throw new SkeinError('MODEL_PULL_FAILED', why, { cause: last })
      }
      worker.running++
      try {
        const bytes = buffer.subarray(0, Math.min(CHUNK, this.#sizeBytes - chunk * CHUNK))
        if (await this.#take(worker, chunk, bytes, signal)) return bytes
      } catch (thrown) {
        signal.throwIfAborted()
        last = thrown
        const { code, message, retryAfterSeconds } = asSkeinError(thrown)
        if (retryAfterSeconds !== undefined) {
          // it has enough to do, or its owner wants none of it now: no fault of the member's
          worker.restsUntilMs = this.#init.clock.nowMs() + retryAfterSeconds * 1000
          worker.restReason = message
        } else if (code === 'MODEL_SOURCE_REFUSED') worker.failures = FAILURES_MAX
        else worker.failures++
      } finally {
        worker.running--
      }
    }
  }

  /** Puts the chunk from `worker` into `into`; `false` when it is not to be had from it. */
  async #take(worker: Worker, chunk: number, into: Uint8Array, signal: AbortSignal): Promise<boolean> {
    const { clock, hashing } = this.#init
    const hash = await this.#agreed(worker, chunk, signal)
    if (hash === undefined) return false
    const { length } = into
    const beganMs = clock.nowMs()
    const bound = this.#boundOf(worker, length)
    let given: number
    try {
      given = await worker.holder.read(chunk, into, AbortSignal.any([signal, bound.signal]))
    } catch (thrown) {
      worker.speed = length / Math.max(1, 2 * (clock.nowMs() - beganMs))
      throw thrown
    } finally {
      bound.cancel()
    }
    const speed = length / Math.max(1, clock.nowMs() - beganMs)
    if (given !== length || !isEqual(await hashing.digest(into), hash)) {
      this.#drop(worker, `chunk ${chunk} is not what it should be`)
      return false
    }
    worker.speed = movingAverage(worker.speed, speed, SPEED_WEIGHT)
    worker.failures = 0
    worker.takenBytes += length
    return true
  }

  /** The hash of `chunk`, when `worker` names the same as the first that was asked. */
  async #agreed(worker: Worker, chunk: number, signal: AbortSignal): Promise<Uint8Array | undefined> {
    if (!worker.hashes.has(chunk)) await this.#learn(worker, chunk, signal)
    const own = worker.hashes.get(chunk)
    if (own === undefined) throw new SkeinError('MODEL_PULL_FAILED', `${worker.holder.member} tells no hash`)
    return worker.isInDoubt ? undefined : own
  }

  /** What `worker` says of the chunks from `from` on. The first to name a hash is believed until the end. */
  async #learn(worker: Worker, from: number, signal: AbortSignal): Promise<number> {
    const told = await worker.holder.hashes(from, signal)
    for (const [i, hash] of told.entries()) {
      const chunk = from + i
      worker.hashes.set(chunk, hash)
      const first = this.#hashes.get(chunk)
      if (first === undefined && !worker.isInDoubt) this.#hashes.set(chunk, { hash, by: worker })
      else if (first !== undefined && !isEqual(first.hash, hash)) worker.isInDoubt = true
    }
    return told.length
  }

  /** All that `worker` says. One that does not answer says nothing. */
  async #learnAll(worker: Worker, signal: AbortSignal): Promise<void> {
    try {
      for (let chunk = 0; chunk < Math.ceil(this.#sizeBytes / CHUNK);)
        chunk += worker.hashes.has(chunk) ? 1 : Math.max(1, await this.#learn(worker, chunk, signal))
    } catch {
      signal.throwIfAborted()
    }
  }

  #usable(): Worker[] {
    const nowMs = this.#init.clock.nowMs()
    return [...this.#workers.values()].filter(
      ({ isInDoubt, failures, restsUntilMs }) => !isInDoubt && failures < FAILURES_MAX && restsUntilMs <= nowMs,
    )
  }

  /** Why to wait, and how long, when members rest that are good; `undefined` when none does. */
  #resting(): SkeinError | undefined {
    const nowMs = this.#init.clock.nowMs()
    const [first] = [...this.#workers.values()]
      .filter(({ isInDoubt, restsUntilMs }) => !isInDoubt && restsUntilMs > nowMs)
      .sort((a, b) => a.restsUntilMs - b.restsUntilMs)
    if (first === undefined) return undefined
    const retryAfterSeconds = (first.restsUntilMs - nowMs) / 1000
    return new SkeinError('MODEL_PULL_FAILED', first.restReason, { retryAfterSeconds })
  }

  /** The one that would have another chunk first. One that was never tried counts as the fastest. */
  #soonest(): Worker | undefined {
    const usable = this.#usable()
    const best = Math.max(1, ...usable.map(({ speed }) => speed ?? 0))
    const doneMs = ({ running, speed = best }: Worker): number => (running + 1) / speed
    return usable.sort((a, b) => doneMs(a) - doneMs(b))[0]
  }

  /** Aborts when a chunk of `worker` takes far longer than it would elsewhere, which may become known meanwhile. */
  #boundOf(worker: Worker, length: number): { readonly signal: AbortSignal; readonly cancel: () => void } {
    const { clock } = this.#init
    const controller = new AbortController()
    const beganMs = clock.nowMs()
    const look = (): void => {
      const limitMs = this.#slowMs(worker, length)
      if (limitMs === undefined || clock.nowMs() - beganMs < limitMs) cancel = clock.timer(LOOK_SLOW_MS, look)
      else controller.abort(new SkeinError('MODEL_PULL_FAILED', `${worker.holder.member} is far slower than others`))
    }
    let cancel = clock.timer(LOOK_SLOW_MS, look)
    return { signal: controller.signal, cancel: () => cancel() }
  }

  /** How long a chunk of `worker` may take; `undefined` when no other is known to be faster. */
  #slowMs(worker: Worker, length: number): number | undefined {
    const others = this.#usable().filter((each) => each !== worker && each.speed !== undefined)
    if (others.length === 0) return undefined
    const best = Math.max(...others.map(({ speed }) => speed!))
    return Math.max(SLOW_MS_MIN, (SLOW_FACTOR * length * (worker.running + 1)) / best)
  }

  /** Looks for members again, when it is time to. @throws the signal's reason. */
  async #look(signal: AbortSignal): Promise<Worker | undefined> {
    const { clock, members, offers } = this.#init
    if (clock.nowMs() - this.#lookedAtMs < LOOK_MS) return undefined
    this.#lookedAtMs = clock.nowMs()
    const { digest } = offers[0]!
    const found = await members.find(digest, signal)
    this.#add(found.filter((offer) => offer.digest === digest && offer.sizeBytes === this.#sizeBytes))
    return this.#soonest()
  }

  #add(offers: readonly MemberOffer[]): void {
    const { members, liars } = this.#init
    for (const offer of offers) {
      if (liars.has(offer.peerId)) continue
      const known = this.#workers.get(offer.peerId)
      if (known !== undefined) known.failures = 0
      else if (this.#workers.size < LIMITS.modelHoldersMax)
        this.#workers.set(offer.peerId, {
          holder: members.holder(offer),
          hashes: new Map(),
          running: 0,
          failures: 0,
          restsUntilMs: Number.NEGATIVE_INFINITY,
          restReason: '',
          speed: undefined,
          takenBytes: 0,
          isInDoubt: false,
        })
    }
  }

  #drop({ holder }: Worker, reason: string): void {
    const { member, peerId } = holder
    if (!this.#workers.delete(peerId)) return
    this.#init.liars.add(peerId)
    holder.close()
    this.#init.onEvent({ event: 'dropped', member, peerId, reason })
  }
}

const isEqual = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0
