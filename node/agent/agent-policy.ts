/** What the owner's policy means to an agent: it closes and opens the executor, and shows coordinators why. */
import type { Access, LoadReport, ModelDigest, PeerId, ReplicaConsent } from '../../mesh/protocol/index.ts'
import type { Member } from '../../mesh/network/index.ts'
import type { Executor } from '../executor/index.ts'
import type { ModelHost } from '../models/index.ts'
import type { PolicyStatus, Usage } from '../policy/index.ts'
import type { NodeAgentComponents } from './types.ts'

type Load = Omit<LoadReport, 'sequence'>

/** What it is told of the machine. */
export interface PolicyFacts {
  /** What coordinators may order where there is no policy. */
  readonly withoutPolicy: ReplicaConsent
  /** What this machine takes more while it answers, by rule of thumb. */
  readonly estimatedWatts: () => number
  /** Load reports say something else now. */
  readonly onLoad: () => void
}

export interface AgentPolicy {
  /** The executor is as the policy wants it when it resolves. */
  start(): Promise<void>
  stop(): Promise<void>
  status(): PolicyStatus | undefined
  used(use: Partial<Usage>): void
  /** `host` when others may use its model. */
  permitted(host: ModelHost | undefined): ModelHost | undefined
  /** Whether others may use the model; by its digest alone where it is not here. */
  isPermitted(digest: ModelDigest, host: ModelHost | undefined): boolean
  /** What coordinators may order. */
  consent(): ReplicaConsent
  /** Whom it serves, for the record; absent when everyone. */
  access(): Access | undefined
  /** Why this coordinator may begin nothing here for `tenant`. */
  refusalOf(coordinator: Member, tenant: string | undefined): string | undefined
  /** `load` with what the policy says to `coordinator`. */
  shownTo(coordinator: PeerId, load: Load): Load
}

/** @param onChange others are to be told what holds now. */
export function agentPolicy(
  { policy, transport, onPolicy = () => {} }: NodeAgentComponents,
  executor: Executor,
  { withoutPolicy, estimatedWatts, onLoad }: PolicyFacts,
  onChange: () => void,
): AgentPolicy {
  const apply = (): void => {
    const { reason, handsOver } = policy!.status()
    // Opened first: a policy that lets answers end here, after one that did not, must take back the hand-over.
    executor.uncordon('policy')
    if (reason !== undefined && handsOver) executor.handOver('policy')
    else if (reason !== undefined) executor.cordon('policy')
    onChange()
    onPolicy()
  }
  const memberRefusalOf = ({ peerId, certificate }: Member): string | undefined =>
    policy?.refusalOf({ peerId, name: certificate.name })
  return {
    start: async () => {
      policy?.listen({ changed: apply, isServing: () => executor.running > 0, probing: onLoad, estimatedWatts })
      await policy?.start()
    },
    stop: async () => policy?.stop(),
    status: () => policy?.status(),
    used: (use) => policy?.used(use),
    permitted: (host) =>
      host === undefined || policy === undefined || policy.allows(host.file.digest, host.file.aliases)
        ? host
        : undefined,
    isPermitted: (digest, host) => policy === undefined || policy.allows(digest, host?.file.aliases ?? []),
    consent: () => policy?.replicas ?? withoutPolicy,
    access: () => policy?.access,
    refusalOf: (coordinator, tenant) => memberRefusalOf(coordinator) ?? policy?.tenantRefusalOf(tenant),
    shownTo: (coordinator, shown) => {
      const load = policy?.mayProbe ? { ...shown, mayProbe: true } : shown
      const reason = policy?.status().reason
      if (reason !== undefined) return { ...load, paused: reason }
      const member =
        coordinator === transport.self.peerId
          ? transport.self
          : transport.members().find(({ peerId }) => peerId === coordinator)
      const refusal = member && memberRefusalOf(member)
      return refusal === undefined ? load : { ...load, cordoned: true, draining: true, paused: refusal }
    },
  }
}
