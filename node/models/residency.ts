/**
 * Which models are in memory. At the start as many as fit, small ones first; the others stay on the disk, announced with
 * the time that loading takes, and are loaded when somebody asks: then the model that was used longest ago and is not in
 * use now makes room. What a model will need is predicted before it is loaded, so that the kernel never has to choose.
 */
import { SkeinError, type EngineKind } from '../../mesh/protocol/index.ts'
import { sleep, withDeadline, type CancelTimer, type Clock, type Logger } from '../../mesh/runtime/index.ts'
import type { ModelHost } from './model-host.ts'
import { Waiters } from './waiters.ts'

const MIB = 1024 ** 2
/** Kept free for the rest of the machine. */
const RESERVE_BYTES = 512 * MIB
/** Beside the file, until it was loaded once: the engine's process, its buffers, a modest context. */
const ENGINE_BYTES: Readonly<Record<EngineKind, number>> = {
  llama: 256 * MIB,
  onnx: 128 * MIB,
  upstream: 0,
  echo: 0,
}
/** How often the file is in memory. What a server of its own holds is not ours to count. */
const COPIES: Readonly<Record<EngineKind, number>> = { llama: 1, onnx: 2, upstream: 0, echo: 0 }
/** Engines whose small models load within a second: they wait on the disk until somebody asks, and go back after this. */
const IDLE_MS: Partial<Record<EngineKind, number>> = { onnx: 600_000 }
/** What was used within this time may be used again: an order of a coordinator takes no room from it. */
const UNUSED_MS = 600_000
/** A model that is wanted waits this long for others to have nothing to do. */
const ROOM_MS = 20_000
/** A model that got something to do just as it was to leave is asked again after this. */
const AGAIN_MS = 100

const mib = (bytes: number): string => `${Math.ceil(bytes / MIB)} MiB`

export interface ResidencyComponents {
  readonly clock: Clock
  readonly log: Logger
  /** Memory that this machine could give now, in bytes. */
  readonly memoryFreeBytes: () => number
}

type Resident = Pick<
  ModelHost,
  'file' | 'residency' | 'running' | 'lastUsedMs' | 'memoryBytes' | 'failure' | 'start' | 'rest' | 'refuse'
>

export class Residency {
  readonly #components: ResidencyComponents
  readonly #hosts = new Set<Resident>()
  /** What each was seen to take. */
  readonly #seenBytes = new Map<Resident, number>()
  readonly #idle = new Map<Resident, CancelTimer>()
  readonly #changes = new Waiters()
  readonly #wanted = new Set<Resident>()
  readonly #stopping = new AbortController()
  /** Room is made for one at a time: two would take the same. */
  #turn: Promise<void> = Promise.resolve()

  constructor(components: ResidencyComponents) {
    this.#components = components
  }

  /** A model was found: it is loaded when it fits beside the others, unless it waits until somebody asks. */
  add(host: Resident): void {
    this.#hosts.add(host)
    if (IDLE_MS[host.file.engine] !== undefined || host.file.restsAtFirst === true) return
    const needBytes = this.#needBytes(host)
    // an engine that has the machine to itself looks for itself, and refuses with its numbers
    if (needBytes === 0 || needBytes <= this.#freeBytes() || this.#others(host).length === 0) return host.start()
    this.#components.log.info(
      { model: host.file.aliases[0], needs: mib(needBytes), free: mib(Math.max(0, this.#freeBytes())) },
      'left on the disk until somebody asks for it',
    )
  }

  remove(host: Resident): void {
    this.#hosts.delete(host)
    this.#seenBytes.delete(host)
    this.#idle.get(host)?.()
    this.#idle.delete(host)
    this.#changes.notify()
  }

  /** A model was loaded, or could not be. */
  changed(): void {
    this.#changes.notify()
  }

  /** Somebody waits for a model that is on the disk. Does not throw. */
  wanted(host: Resident): void {
    if (this.#wanted.has(host)) return
    this.#wanted.add(host)
    this.#turn = this.#turn.then(() => this.#load(host)).finally(() => this.#wanted.delete(host))
  }

  /**
   * A coordinator orders a model that is on the disk: unlike somebody who waits for it, it only gets room that is free, or
   * that models take which were not used for a while. Resolves when it is being loaded.
   *
   * @throws SkeinError NO_FREE_SLOT with the numbers; the reason of a stop.
   */
  ordered(host: Resident): Promise<void> {
    const ordering = this.#turn.then(() => this.#loadOrdered(host))
    this.#turn = ordering.catch(() => {})
    return ordering
  }

  /** A model has nothing to do. */
  idle(host: Resident): void {
    this.#seenBytes.set(host, host.memoryBytes)
    this.#changes.notify()
    const idleMs = IDLE_MS[host.file.engine]
    if (idleMs === undefined) return
    this.#idle.get(host)?.()
    this.#idle.set(
      host,
      this.#components.clock.timer(idleMs, () => void host.rest()),
    )
  }

  stop(): void {
    this.#stopping.abort(new SkeinError('NODE_DRAINING', 'the node is stopping'))
    for (const cancel of this.#idle.values()) cancel()
  }

  async #load(host: Resident): Promise<void> {
    const { signal } = this.#stopping
    if (!this.#hosts.has(host) || host.residency !== 'disk' || signal.aborted) return
    const late = (): SkeinError => this.#tooLarge(host)
    try {
      await withDeadline(this.#components.clock, ROOM_MS, late, signal, async (bounded) => {
        while (!this.#hasRoom(host)) {
          const victim = await this.#changes.until(() => this.#leastRecentlyUsed(host), bounded)
          // who was faster than this turn keeps it
          if (!(await this.#unload(victim))) await sleep(this.#components.clock, AGAIN_MS, bounded)
        }
      })
      host.start()
    } catch (thrown) {
      host.refuse(thrown as SkeinError)
    }
  }

  async #loadOrdered(host: Resident): Promise<void> {
    this.#stopping.signal.throwIfAborted()
    if (!this.#hosts.has(host)) throw new SkeinError('MODEL_NOT_FOUND', `${host.file.aliases[0]} is gone`)
    if (host.residency !== 'disk') return
    const before = this.#components.clock.nowMs() - UNUSED_MS
    const unused = this.#others(host)
      .filter(({ running, residency, lastUsedMs }) => running === 0 && residency === 'resident' && lastUsedMs < before)
      .sort((a, b) => a.lastUsedMs - b.lastUsedMs)
    // first of all whether it would do: nothing is unloaded in vain
    const freedBytes = unused.reduce((sum, each) => sum + this.#needBytes(each), 0)
    if (!this.#hasRoom(host) && this.#needBytes(host) > this.#freeBytes() + freedBytes) throw this.#tooLarge(host)
    for (const victim of unused) {
      if (this.#hasRoom(host)) break
      await this.#unload(victim)
    }
    if (!this.#hasRoom(host)) throw this.#tooLarge(host)
    this.#stopping.signal.throwIfAborted()
    host.start()
  }

  async #unload(host: Resident): Promise<boolean> {
    this.#seenBytes.set(host, host.memoryBytes)
    if (!(await host.rest())) return false
    this.#components.log.info({ model: host.file.aliases[0] }, 'unloaded, to make room')
    return true
  }

  /** Alone, a model is always tried: its engine knows better what fits. */
  #hasRoom(host: Resident): boolean {
    return this.#needBytes(host) <= this.#freeBytes() || this.#others(host).length === 0
  }

  /** Those in memory, or on their way there, whose leaving would make room. */
  #others(host: Resident): Resident[] {
    return [...this.#hosts].filter(
      (each) => each !== host && each.residency !== 'disk' && each.failure === undefined && this.#needBytes(each) > 0,
    )
  }

  #leastRecentlyUsed(host: Resident): Resident | undefined {
    return this.#others(host)
      .filter(({ running, residency }) => running === 0 && residency === 'resident')
      .sort((a, b) => a.lastUsedMs - b.lastUsedMs)[0]
  }

  /**
   * Memory for one more. Pages of a mapped file count as available to the system though they are in use, and what is being
   * loaded has not taken its share yet.
   */
  #freeBytes(): number {
    let bytes = this.#components.memoryFreeBytes() - RESERVE_BYTES
    for (const host of this.#hosts) {
      if (host.residency === 'loading') bytes -= this.#needBytes(host)
      else if (host.residency === 'resident' && host.file.engine === 'llama') bytes -= host.file.sizeBytes
    }
    return bytes
  }

  #needBytes(host: Resident): number {
    const { engine, sizeBytes } = host.file
    const predicted = COPIES[engine] * sizeBytes + ENGINE_BYTES[engine]
    return Math.max(predicted, this.#seenBytes.get(host) ?? 0)
  }

  #tooLarge(host: Resident): SkeinError {
    const others = this.#others(host).map(({ file }) => file.aliases[0])
    return new SkeinError(
      'NO_FREE_SLOT',
      `${host.file.aliases[0]} needs some ${mib(this.#needBytes(host))} of memory, ${mib(Math.max(0, this.#freeBytes()))} are ` +
        `free beside ${others.join(', ')}, which ${others.length === 1 ? 'is' : 'are'} in use`,
    )
  }
}
