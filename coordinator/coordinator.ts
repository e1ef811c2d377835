/** The coordinator put together: who is here, who runs what, and the gateway in front of it. */
import type { CapabilityRecord, PeerId, Signed } from '../mesh/protocol/index.ts'
import type { Clock, Logger, Random, Startable } from '../mesh/runtime/index.ts'
import type { Discovery, PeerTransport } from '../mesh/network/index.ts'
import {
  CoordinatorService,
  Observers,
  type DiscoveryReport,
  type Membership,
  type MeshService,
} from './admission/index.ts'
import { AnswerCache, type AnswerCacheInit } from './cache/index.ts'
import type { BudgetTerms, Ledger } from './ledger/index.ts'
import { ControlServer, DhtFeed, Directory } from './directory/index.ts'
import { Budget, Dispatcher, viaMark, type BudgetDesk, type CloudRules, type Costs } from './dispatch/index.ts'
import { createFleet, leaseDesk } from './fleet.ts'
import type { FleetSettings, Orchestrator } from './cloud/index.ts'
import type { LeaseDesk } from './gateway/index.ts'
import { Replicas, type ProfileStore, type ReplicaMode } from './residency/index.ts'

export interface CoordinatorComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly transport: PeerTransport
  readonly discovery: Discovery
  readonly ledger: Ledger
  /** What may be spent in all (`undefined`) and by tenants until the owner sets something; nothing when absent. */
  readonly budgetTerms?: ReadonlyMap<string | undefined, BudgetTerms>
  /** What energy costs, and what clouds would have charged; nothing is priced without it. */
  readonly costs?: Costs
  readonly membership: Membership
  /** What the owner lets leave for nodes in the cloud; as usual when absent. */
  readonly cloudRules?: () => CloudRules
  /** Machines that come and go; only with the coordinator that holds the mesh key. None when absent. */
  readonly fleet?: FleetSettings
  /** A task, or a request of work, has ended, and took so many tokens of its tenant. */
  readonly onUsed?: (tenant: string, tokens: number) => void
  /** The record in `signed`. Throws a SkeinError unless it is `peer`'s own, by content and signature. */
  readonly openRecord: (peer: PeerId, signed: Signed) => Promise<CapabilityRecord>
  /** What each path of discovery has found. */
  readonly discoveryReport: () => readonly DiscoveryReport[]
  /** Origins of the gateway that other machines reach, which nodes are told; none when absent. */
  readonly http?: () => readonly string[]
  /** The newest revocation list. */
  readonly revocations: () => Signed | undefined
  /** Answers that are given to who asks the same again; none when absent. */
  readonly cache?: AnswerCacheInit
  /** Whether replicas are ordered; `auto` when absent. */
  readonly replicas?: ReplicaMode
  /** Where the days of demand are kept; nowhere when absent. */
  readonly profileStore?: ProfileStore
}

export interface Coordinator extends Startable {
  readonly service: MeshService
  readonly directory: Directory
  readonly budget: BudgetDesk
  /** Where it was asked for. */
  readonly fleet?: Orchestrator
  readonly leases?: LeaseDesk
  /** Admits nothing more; what runs may end. */
  close(): void
}

export function createCoordinator(components: CoordinatorComponents): Coordinator {
  const { clock, random, transport } = components
  const observers = new Observers(components)
  const directory = new Directory(components, transport.self.peerId)
  const replicas: Replicas = new Replicas(
    {
      ...{ clock, log: components.log, directory, epoch: components.ledger.epoch },
      aheadMs: (digest) => dispatcher.aheadMs(digest),
      send: (peerId, order) => control.order(peerId, order),
      ...(components.profileStore && { store: components.profileStore }),
    },
    components.replicas ?? 'auto',
  )
  const control = new ControlServer({
    ...components,
    directory,
    onOutcome: (peerId, outcome) => replicas.outcome(peerId, outcome),
  })
  const feed = new DhtFeed({ ...components, directory })
  const budget = new Budget({ clock })
  for (const [tenant, terms] of components.budgetTerms ?? []) budget.setTerms(tenant, terms)
  const onArrival: Replicas['arrived'] = (digest, expected) => replicas.arrived(digest, expected)
  const mark = viaMark(transport.self.peerId, components.ledger.epoch)
  const dispatcher: Dispatcher = new Dispatcher({
    ...{ ...components, directory, budget, mark, onArrival },
    onEvent: (event) => observers.tell(event),
  })
  directory.watch({ changed: (change) => observers.tell({ type: 'node.changed', ...change }) })
  replicas.watch((order) => observers.tell({ type: 'replica.changed', order }))
  const { ledger, discoveryReport } = components
  const membership = forgetful(components.membership, directory, control)
  const fleet =
    components.fleet && createFleet({ ...components, directory, control, dispatcher, membership }, components.fleet)
  const cache = components.cache && new AnswerCache(components, components.cache)
  const service = new CoordinatorService({
    ...{ clock, random, transport, directory, dispatcher, replicas, ledger, observers, discoveryReport, membership },
    ...{ mark, currency: components.costs?.currency, ...(cache && { cache }) },
    direct: (peerId, directive) => control.direct(peerId, directive),
  })
  return {
    name: 'coordinator',
    service,
    directory,
    budget: dispatcher.budget,
    ...(fleet && { fleet, leases: leaseDesk(fleet) }),
    close: () => service.close(),
    start: async () => {
      directory.start()
      await cache?.start()
      await dispatcher.start()
      await replicas.start()
      control.start()
      feed.start()
      await fleet?.start()
    },
    stop: async () => {
      service.close()
      await fleet?.stop()
      await dispatcher.stop()
      await cache?.stop()
      await replicas.stop()
      await Promise.all([feed.stop(), control.stop()])
      directory.stop()
    },
  }
}

/** Who is revoked is forgotten here at once, and every member hears of it. */
function forgetful(membership: Membership, directory: Directory, control: ControlServer): Membership {
  return {
    isAuthority: membership.isAuthority,
    invite: (request) => membership.invite(request),
    pairing: membership.pairing,
    revoke: async (member) => {
      const revoked = await membership.revoke(member)
      directory.forget(revoked.peerId)
      control.pushRevocations()
      return revoked
    },
  }
}
