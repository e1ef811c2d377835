/**
 * The cache of exact answers: those in memory before those on the disk. It keeps what it is told to and knows neither who
 * asks nor how an answer is made; what may be kept is decided by admission (`docs/CACHE.md`).
 */
import { LIMITS } from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock, Logger, Startable } from '../../mesh/runtime/index.ts'
import { DiskTier } from './disk-tier.ts'
import type { AnswerKey } from './key.ts'
import { bytesOf, type KeptAnswer } from './kept-answer.ts'
import { MemoryTier } from './memory-tier.ts'

/** What is too old is deleted this often; it is given to nobody before. */
const SWEEP_MS = 600_000

export interface AnswerCacheComponents {
  readonly clock: Clock
  readonly log: Logger
}

export interface AnswerCacheInit {
  /** In memory. */
  readonly bytesMax: number
  /** Nothing on the disk when absent. */
  readonly disk?: { readonly dir: string; readonly bytesMax: number }
}

/** Plain numbers; those that count do so since the start. */
export interface CacheStats {
  /** Requests that were answered from memory, from the disk, and by the answer to an equal request that ran. */
  readonly hits: { readonly memory: number; readonly disk: number; readonly shared: number }
  /** Requests that could have been, and were not. */
  readonly misses: number
  /** Requests whose answers could differ, or whose clients wanted none that was kept. */
  readonly bypassed: number
  /** Answers that were kept. */
  readonly kept: number
  readonly memory: { readonly entries: number; readonly bytes: number; readonly bytesMax: number }
  readonly disk?: { readonly entries: number; readonly bytes: number; readonly bytesMax: number }
  /** Answers that made place for others, and that were too old. */
  readonly evicted: number
  readonly expired: number
  /** Files that were damaged, and answers that could not be written. */
  readonly corrupted: number
  readonly unwritten: number
}

export class AnswerCache implements Startable {
  readonly name = 'answer cache'
  readonly #clock: Clock
  readonly #init: AnswerCacheInit
  readonly #memory: MemoryTier
  readonly #disk: DiskTier | undefined
  readonly #hits = { memory: 0, disk: 0, shared: 0 }
  #misses = 0
  #bypassed = 0
  #kept = 0
  #expired = 0
  #cancelSweep: CancelTimer = () => {}

  constructor({ clock, log }: AnswerCacheComponents, init: AnswerCacheInit) {
    this.#clock = clock
    this.#init = init
    this.#memory = new MemoryTier(init.bytesMax)
    this.#disk = init.disk && new DiskTier({ clock, log: log.scope('cache') }, init.disk)
  }

  start(): Promise<void> {
    this.#disk?.start()
    this.#sweep()
    return Promise.resolve()
  }

  async stop(): Promise<void> {
    this.#cancelSweep()
    await this.#disk?.close()
  }

  /**
   * The answer that is kept under `key`. Does not throw.
   *
   * @param ageMsMax an older one is not wanted.
   */
  async find(key: AnswerKey, ageMsMax = Number.POSITIVE_INFINITY): Promise<KeptAnswer | undefined> {
    const near = this.#fresh(this.#memory.get(key), ageMsMax)
    if (near) this.#hits.memory++
    if (near || this.#disk === undefined) return near
    const far = this.#fresh(await this.#disk.get(key), ageMsMax)
    if (far === undefined) return undefined
    this.#hits.disk++
    this.#memory.put(key, far)
    return far
  }

  /** One that is larger than `LIMITS.cachedAnswerBytesMax` is not kept. */
  keep(key: AnswerKey, answer: KeptAnswer): void {
    if (bytesOf(answer) > LIMITS.cachedAnswerBytesMax) return
    this.#kept++
    this.#memory.put(key, answer)
    this.#disk?.put(key, answer)
  }

  forget(key: AnswerKey): void {
    this.#memory.delete(key)
    this.#disk?.delete(key)
  }

  /** Deletes all of it. Does not throw. */
  async clear(): Promise<void> {
    this.#memory.clear()
    await this.#disk?.clear()
  }

  /** Counts what became of a request that `find` gave nothing, or that did not ask it. */
  count(outcome: 'miss' | 'shared' | 'bypass'): void {
    if (outcome === 'shared') this.#hits.shared++
    else if (outcome === 'miss') this.#misses++
    else this.#bypassed++
  }

  stats(): CacheStats {
    const tier = ({ entries, bytes }: MemoryTier | DiskTier, bytesMax: number) => ({ entries, bytes, bytesMax })
    const { evicted = 0, corrupted = 0, unwritten = 0 } = this.#disk?.counters ?? {}
    return {
      hits: { ...this.#hits },
      misses: this.#misses,
      bypassed: this.#bypassed,
      kept: this.#kept,
      memory: tier(this.#memory, this.#init.bytesMax),
      ...(this.#disk && { disk: tier(this.#disk, this.#init.disk!.bytesMax) }),
      evicted: this.#memory.evicted + evicted,
      expired: this.#expired,
      corrupted,
      unwritten,
    }
  }

  /** Resolves when all that was kept is on the disk, as far as it goes there. */
  async settled(): Promise<void> {
    await this.#disk?.settled()
  }

  /** Not one from the future either: the clock was set back, and how old it is cannot be told. */
  #fresh(answer: KeptAnswer | undefined, ageMsMax: number): KeptAnswer | undefined {
    if (answer === undefined) return undefined
    const ageMs = this.#clock.wallMs() - answer.madeAtMs
    return ageMs >= 0 && ageMs <= Math.min(ageMsMax, LIMITS.cachedAnswerMs) ? answer : undefined
  }

  #sweep(): void {
    const oldestMs = this.#clock.wallMs() - LIMITS.cachedAnswerMs
    this.#expired += this.#memory.expire(oldestMs) + (this.#disk?.expire(oldestMs) ?? 0)
    this.#cancelSweep = this.#clock.timer(SWEEP_MS, () => this.#sweep())
  }
}
