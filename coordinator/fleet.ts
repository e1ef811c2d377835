/**
 * Machines that come and go, put together with the mesh: workers are nodes of the directory, work that waits is in the line
 * of dispatch, and a pool that may launch a machine shows up among the nodes, as one whose slots come free when it is ready.
 */
import { asPeerId, type ModelCapability, type PeerId } from '../mesh/protocol/index.ts'
import type { Clock, Logger, Random } from '../mesh/runtime/index.ts'
import type { Membership } from './admission/index.ts'
import {
  Orchestrator,
  type FleetMesh,
  type FleetSettings,
  type LeaseStatus,
  type MachineMoney,
  type PoolDemand,
  type PoolSettings,
  type Prospect,
} from './cloud/index.ts'
import type { ControlServer, Directory, NodeEntry } from './directory/index.ts'
import type { BudgetDesk, Dispatcher } from './dispatch/index.ts'
import type { LeaseDesk, LeaseView } from './gateway/index.ts'
import type { Ledger } from './ledger/index.ts'
import type { NodeSnapshot } from './scheduler/index.ts'

/** Of a pool's machine, before there is one. */
const PROSPECT_SLOTS = 8
/** Pools are looked at so often. */
const PROSPECTS_MS = 1000
/** There and back to somewhere in a cloud. */
const PROSPECT_LINK_MS = 40
/** Models that one name may mean. */
const DIGESTS_MAX = 16

export interface FleetComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly ledger: Ledger
  readonly directory: Directory
  readonly control: Pick<ControlServer, 'direct'>
  readonly dispatcher: Dispatcher
  readonly membership: Membership
}

/** The directory's snapshots have its prospects from now on. */
export function createFleet(components: FleetComponents, settings: FleetSettings): Orchestrator {
  const { clock, random, log, ledger, directory, dispatcher } = components
  const fleet: Orchestrator = new Orchestrator(
    { clock, random, log, store: ledger, money: moneyOf(dispatcher.budget), mesh: meshOf(components) },
    settings,
  )
  let atMs = Number.NEGATIVE_INFINITY
  let nodes: readonly NodeSnapshot[] = []
  directory.prospects = () => {
    const nowMs = clock.nowMs()
    // a snapshot is taken for every plan
    if (nowMs - atMs < PROSPECTS_MS) return nodes
    atMs = nowMs
    return (nodes = fleet.prospects().flatMap((prospect) => prospectNode(directory, prospect)))
  }
  return fleet
}

const moneyOf = (desk: BudgetDesk): MachineMoney => ({
  // one hour at the price of all of it: the desk counts by the hour
  reserve: (leaseId, micros) => desk.reserveLease(leaseId, micros, 1),
  settle: (leaseId, micros) => desk.settleLease(leaseId, micros),
  unsettled: () => desk.leases().map(({ leaseId }) => leaseId),
})

function meshOf(components: FleetComponents): FleetMesh {
  const { control, directory, log, membership } = components
  return {
    demand: (pool) => demandOf(components, pool),
    worker: (name) => {
      const entry = workerNamed(directory, name)
      return entry && { ...loadOf(entry), node: { peerId: entry.peerId, name }, isServing: isServing(entry) }
    },
    drain: (name) => {
      const entry = workerNamed(directory, name)
      if (entry === undefined) return
      control.direct(entry.peerId, 'drain').catch((thrown: unknown) => log.warn({ err: thrown, name }, 'not drained'))
    },
    cutOff: async (name) => void (await membership.revoke(name)),
    invite: async (validMs) => (await membership.invite({ uses: 1, validMs })).invite,
  }
}

/** A node of that name which is no cloud node is another's. */
function workerNamed(directory: Directory, name: string): NodeEntry | undefined {
  for (const entry of directory.entries())
    if (entry.name === name && entry.record?.tier === 'cloud' && entry.liveness !== 'disconnected') return entry
  return undefined
}

const isServing = ({ record, load }: NodeEntry): boolean =>
  load?.draining === false && (record?.models.some(({ residency }) => residency === 'resident') ?? false)

function loadOf({ record, load }: NodeEntry): { running: number; slots: number; waiting: number; kvUsed: number } {
  // models of one server under several digests share its slots: the largest counts, not their sum
  const slots = Math.max(0, ...(record?.models ?? []).map((model) => model.slots))
  const models = load?.models ?? []
  return {
    running: models.reduce((sum, { running }) => sum + running, 0),
    slots,
    waiting: Math.max(0, ...models.map(({ waiting = 0 }) => waiting)),
    kvUsed: Math.max(0, ...models.map(({ kvUse = 0 }) => kvUse)),
  }
}

function demandOf({ clock, directory, dispatcher }: FleetComponents, pool: PoolSettings): PoolDemand {
  const [node] = prospectNode(directory, { pool, readyMs: 0 })
  if (node === undefined) return { waiting: 0, oldestMs: 0, isOnlyHope: false }
  const nowMs = clock.nowMs()
  return dispatcher.hoping(
    node,
    Array.from(directory.entries(), (entry) => entry.snapshot(nowMs)),
  )
}

/**
 * The pool as a node: its slots are all taken until a machine is ready. Nothing of a model is known that no node has ever
 * had; then there is no such node.
 */
function prospectNode(directory: Directory, { pool, readyMs }: Prospect): NodeSnapshot[] {
  const models = new Map<ModelCapability['digest'], ReturnType<typeof prospectModel>>()
  for (const name of pool.serves)
    for (const digest of directory.resolve(name).slice(0, DIGESTS_MAX)) {
      const known = directory.capability(digest)
      if (known !== undefined) models.set(digest, prospectModel(known, pool, readyMs))
    }
  if (models.size === 0) return []
  const peerId: PeerId = asPeerId(`pool:${pool.name}`)
  return [
    {
      ...{ peerId, name: `pool ${pool.name}`, isSelf: false, session: 0, isConnected: true, isSuspect: false },
      ...{
        isDraining: false,
        isCloud: true,
        isComing: true,
        isTripped: false,
        onBattery: false,
        linkMs: PROSPECT_LINK_MS,
      },
      ...{ recentFailures: 0, models },
    },
  ]
}

function prospectModel(
  { speed: _measuredElsewhere, ...known }: ModelCapability,
  { contextTokens = known.contextTokens }: PoolSettings,
  readyMs: number,
): NodeSnapshot['models'] extends ReadonlyMap<unknown, infer M> ? M : never {
  return {
    capability: {
      ...known,
      ...{ engine: 'upstream', residency: 'resident', loadMs: 0, slots: PROSPECT_SLOTS, contextTokens },
      continues: 'text',
    },
    running: PROSPECT_SLOTS,
    slotFreeMs: [readyMs],
    ...{ prefillTokensPending: 0, prefillCorrection: 1, decodeCorrection: 1, cachedBytes: () => 0 },
  }
}

/** The fleet as the gateway tells of it: never an invite. */
export function leaseDesk(fleet: Orchestrator): LeaseDesk {
  return {
    leases: () => fleet.leases().map(leaseView),
    end: (id) => {
      const { id: ended } = fleet.end(id)
      return leaseView(fleet.leases().find(({ lease }) => lease.id === ended)!)
    },
  }
}

function leaseView({ lease, phase, load, trouble }: LeaseStatus): LeaseView {
  const { invite: _secret, node, quote, serves: _serves, aloneMinutes: _aloneMinutes, ...told } = lease
  return {
    ...told,
    phase,
    microsPerHour: quote.microsPerHour,
    isSpot: quote.isSpot,
    ...(node && { peerId: node.peerId }),
    ...(load && { running: load.running, slots: load.slots }),
    ...(trouble !== undefined && { trouble }),
  }
}
