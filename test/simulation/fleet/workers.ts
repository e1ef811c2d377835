/** The workers on launched machines: they join by their invite, are heard, and power off when they hear nobody. */
import type { SeenWorker, WorkerLoad } from '../../../coordinator/cloud/index.ts'
import { asPeerId } from '../../../mesh/protocol/index.ts'
import type { MemoryMachine } from '../../fixtures/providers/memory-provider.ts'
import type { World } from '../world.ts'
import type { Load } from './load.ts'

const BEAT_MS = 10_000

interface Worker {
  readonly machine: MemoryMachine
  heardMs: number
  isMember: boolean
  isConnected: boolean
  isDraining: boolean
  cutUntilMs: number
}

export interface WorkersInit {
  /** From the boot until the model is loaded. */
  readonly loadMs: number
  readonly slots: number
  /** Ends a machine from the inside. */
  readonly powerOff: (machine: MemoryMachine) => void
  /** Whether a coordinator can be heard now. */
  readonly isHeard: () => boolean
}

export class Workers {
  readonly #world: World
  readonly #load: Load
  readonly #init: WorkersInit
  readonly #workers = new Map<string, Worker>()
  /** Invites with the time of their end; used ones are gone. */
  readonly #invites = new Map<string, number>()
  readonly #revoked = new Set<string>()
  #count = 0

  constructor(world: World, load: Load, init: WorkersInit) {
    this.#world = world
    this.#load = load
    this.#init = init
  }

  get names(): string[] {
    return [...this.#workers.keys()]
  }

  invite(validMs: number): string {
    const invite = `invite-${++this.#count}`
    this.#invites.set(invite, this.#world.nowMs + validMs)
    return invite
  }

  booted(machine: MemoryMachine): void {
    const { name } = machine.order
    const worker = { machine, heardMs: this.#world.nowMs, isMember: false, isConnected: false, isDraining: false }
    this.#workers.set(name, { ...worker, cutUntilMs: this.#world.nowMs + this.#init.loadMs })
    this.#world.after(BEAT_MS, () => this.#beat(name))
  }

  gone({ order: { name } }: MemoryMachine): void {
    this.#workers.delete(name)
    this.#load.leave(name)
  }

  /** Its network fails for so long. */
  cut(name: string, forMs: number): void {
    const worker = this.#workers.get(name)
    if (worker) worker.cutUntilMs = Math.max(worker.cutUntilMs, this.#world.nowMs + forMs)
  }

  see(name: string): (SeenWorker & WorkerLoad) | undefined {
    const worker = this.#workers.get(name)
    if (worker === undefined || !worker.isConnected) return undefined
    const running = this.#load.running(name)
    const node = { peerId: asPeerId(`peer of ${name}`), name }
    return { node, isServing: !worker.isDraining, running, slots: this.#init.slots, waiting: 0, kvUsed: 0 }
  }

  drain(name: string): void {
    const worker = this.#workers.get(name)
    if (worker) worker.isDraining = true
    this.#load.leave(name)
  }

  revoke(name: string): void {
    this.#revoked.add(name)
    this.#connect(name, false)
  }

  /** The coordinator has gone: all of them notice. */
  disconnect(): void {
    for (const name of this.#workers.keys()) this.#connect(name, false)
  }

  #beat(name: string): void {
    const worker = this.#workers.get(name)
    if (worker === undefined) return
    const nowMs = this.#world.nowMs
    const canHear = this.#init.isHeard() && nowMs >= worker.cutUntilMs && !this.#revoked.has(name)
    if (canHear && !worker.isMember) worker.isMember = this.#join(worker.machine.order.invite)
    const isConnected = canHear && worker.isMember
    if (isConnected) worker.heardMs = nowMs
    this.#connect(name, isConnected)
    if (nowMs - worker.heardMs >= worker.machine.order.aloneMinutes * 60_000) return this.#init.powerOff(worker.machine)
    this.#world.after(BEAT_MS, () => this.#beat(name))
  }

  #connect(name: string, isConnected: boolean): void {
    const worker = this.#workers.get(name)
    if (worker === undefined || worker.isConnected === isConnected) return
    worker.isConnected = isConnected
    if (!isConnected) this.#load.leave(name)
    else if (!worker.isDraining) this.#load.join(name)
  }

  #join(invite: string): boolean {
    const untilMs = this.#invites.get(invite) ?? 0
    this.#invites.delete(invite)
    return untilMs > this.#world.nowMs
  }
}
