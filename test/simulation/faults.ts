/** What goes wrong, done to the machines and undone after its time. */
import { SkeinError } from '../../mesh/protocol/index.ts'
import type { MemoryNetwork } from '../../mesh/network/index.ts'
import type { CoordinatorMachine } from './coordinator-process.ts'
import type { NodeMachine } from './node-process.ts'
import type { Observation } from './record.ts'
import type { Fault, PlannedFault, Who } from './scenario.ts'
import type { Choices, World } from './world.ts'

type LinkFaultKind = 'reset' | 'one-way' | 'partition' | 'cut' | 'slow link' | 'overtaking'

/** Frames that are late while streams overtake each other, and by how much. */
const LATE_SHARE = 0.1
const LATE_MS_MAX = 6000
/** A node's link comes back within half of it. */
const UNCORDON_TIMES = 20

export interface FaultComponents {
  readonly world: World
  readonly network: MemoryNetwork
  readonly coordinator: CoordinatorMachine
  readonly nodes: readonly NodeMachine[]
  readonly choices: Choices
  readonly observe: (observation: Observation) => void
  /** ms that a frame takes on a healthy link. */
  readonly delayMs: () => number
}

export class Faults {
  readonly #components: FaultComponents
  readonly #undo = new Set<() => void>()
  injected = 0

  constructor(components: FaultComponents) {
    this.#components = components
  }

  schedule({ atMs, forMs, fault }: PlannedFault): void {
    const { world } = this.#components
    world.after(atMs - world.nowMs, () => {
      const undo = this.#inject(fault)
      if (undo === undefined) return
      this.injected++
      this.#components.observe({ type: 'fault', what: `${JSON.stringify(fault)} for ${forMs} ms` })
      const once = (): void => {
        if (this.#undo.delete(once)) undo()
      }
      this.#undo.add(once)
      world.after(forMs, once)
    })
  }

  /** Mends all at once. */
  heal(): void {
    const { coordinator, nodes, network } = this.#components
    for (const undo of [...this.#undo]) undo()
    coordinator.start()
    for (const node of nodes) {
      node.start()
      this.#direct(node, 'uncordon', UNCORDON_TIMES)
      if (node.transport) network.connect(coordinator.transport.self.peerId, node.transport.self.peerId)
    }
  }

  /** Does it, if it can be done now. Returns how it is undone. */
  #inject(fault: Fault): (() => void) | undefined {
    const { coordinator } = this.#components
    switch (fault.kind) {
      case 'freeze':
        return this.#freeze(fault.who)
      case 'crash':
        return this.#crash(fault.who, fault.isSilent)
      case 'stop':
        return this.#stop(fault.who)
      case 'clock jump': {
        const { clock } = this.#machine(fault.who)
        if (clock === undefined) return undefined
        clock.wallOffsetMs += fault.byMs
        return () => (clock.wallOffsetMs = 0)
      }
      case 'disk full':
        coordinator.diskFull(true)
        return () => coordinator.diskFull(false)
      case 'slow disk':
        coordinator.slowDisk(fault.commitMs)
        return () => coordinator.slowDisk()
      case 'drain':
      case 'cordon': {
        const node = this.#node(fault.node)
        this.#direct(node, fault.kind)
        return () => this.#direct(node, 'uncordon')
      }
      case 'engine crash':
        this.#node(fault.node).crashEngine()
        return () => {}
      default:
        return this.#link(fault)
    }
  }

  #link(fault: Extract<Fault, { kind: LinkFaultKind }>): (() => void) | undefined {
    const { network, coordinator, delayMs, choices } = this.#components
    const { transport } = this.#node(fault.node)
    if (transport === undefined) return undefined
    const here = coordinator.transport.self.peerId
    const there = transport.self.peerId
    const [up, down] = [network.path(there, here), network.path(here, there)]
    const dialAgain = (): void => network.connect(here, there)
    switch (fault.kind) {
      case 'reset':
        network.reset(here, there)
        this.#components.world.after(choices.whole(0, 1000), dialAgain)
        return () => {}
      case 'cut':
        network.cut(coordinator.transport, transport)
        return () => network.heal(coordinator.transport, transport)
      case 'overtaking':
        up.delayMs = down.delayMs = () => (choices.chance(LATE_SHARE) ? choices.whole(0, LATE_MS_MAX) : delayMs())
        return () => (up.delayMs = down.delayMs = delayMs)
      case 'slow link':
        up.delayMs = down.delayMs = () => fault.delayMs
        return () => (up.delayMs = down.delayMs = delayMs)
      default: {
        const paths = fault.kind === 'partition' ? [up, down] : [fault.isUp ? up : down]
        for (const path of paths) path.stall()
        return () => {
          if (fault.breaks) network.reset(here, there)
          for (const path of paths) path.resume()
          dialAgain()
        }
      }
    }
  }

  #freeze(who: Who): (() => void) | undefined {
    const { clock } = this.#machine(who)
    if (clock === undefined || clock.isDead || clock.isFrozen) return undefined
    clock.freeze()
    this.#components.observe({ type: 'life', who: this.#nameOf(who), what: 'freezes' })
    return () => {
      clock.thaw()
      this.#components.observe({ type: 'life', who: this.#nameOf(who), what: 'thaws' })
    }
  }

  #crash(who: Who, isSilent: boolean): (() => void) | undefined {
    const machine = this.#machine(who)
    if (machine.clock === undefined || machine.clock.isDead) return undefined
    machine.crash(isSilent)
    return () => machine.start()
  }

  #stop(who: Who): (() => void) | undefined {
    const machine = this.#machine(who)
    if (machine.clock === undefined || machine.clock.isDead) return undefined
    const { clock } = machine
    machine.stop()
    // a process that has not ended by then is killed, as an init system does
    return () => {
      if (machine.clock === clock) machine.crash(false)
      machine.start()
    }
  }

  /** Tells a node what its owner wants. Nobody is told whether it heard: said so often, two seconds apart. */
  #direct(node: NodeMachine, directive: 'drain' | 'cordon' | 'uncordon', times = 1): void {
    const { coordinator, world } = this.#components
    coordinator.serving?.service.direct(node.plan.name, directive).catch(() => {
      // a node that is away is not told
    })
    if (times > 1) world.after(2000, () => this.#direct(node, directive, times - 1))
  }

  #nameOf(who: Who): string {
    return who === 'coordinator' ? who : this.#node(who).plan.name
  }

  #machine(who: Who): CoordinatorMachine | NodeMachine {
    return who === 'coordinator' ? this.#components.coordinator : this.#node(who)
  }

  #node(index: number): NodeMachine {
    const node = this.#components.nodes[index]
    if (node === undefined) throw new SkeinError('INTERNAL', `there is no node ${index}`)
    return node
  }
}
