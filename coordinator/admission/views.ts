/** The directory as people see it: models over all nodes, and nodes with the reasons why one may not take work. */
import type { ModelCapability, ModelDigest, ModelEnergy } from '../../mesh/protocol/index.ts'
import type { PeerTransport } from '../../mesh/network/index.ts'
import type { Directory, NodeEntry } from '../directory/index.ts'
import type { ReplicaView } from '../residency/index.ts'
import type { ModelView, NodeView } from './service.ts'

export function modelViews(directory: Directory, replicasOf: (digest: ModelDigest) => ReplicaView): ModelView[] {
  const byDigest = new Map<ModelDigest, ModelView>()
  for (const entry of directory.entries()) {
    if (entry.liveness === 'disconnected') continue
    for (const model of entry.record?.models ?? []) {
      const known = byDigest.get(model.digest)
      byDigest.set(model.digest, {
        digest: model.digest,
        aliases: [...new Set([...(known?.aliases ?? []), ...model.aliases])],
        engine: model.engine,
        quantization: model.quantization,
        parameters: model.parameters,
        sizeBytes: model.sizeBytes,
        contextTokens: Math.max(known?.contextTokens ?? 0, model.contextTokens),
        features: [
          ...new Set([...(known?.features ?? []), ...model.features, ...(model.thinking ? ['thinking' as const] : [])]),
        ],
        nodes: [...(known?.nodes ?? []), { peerId: entry.peerId, name: entry.name, ...energyOf(model) }],
        resident: (known?.resident ?? false) || model.residency === 'resident',
        replicas: known?.replicas ?? replicasOf(model.digest),
      })
    }
  }
  return [...byDigest.values()]
}

const energyOf = ({ speed }: ModelCapability): { readonly energy?: ModelEnergy } =>
  speed?.energy ? { energy: speed.energy } : {}

export function nodeViews(directory: Directory, transport: PeerTransport, nowMs: number): NodeView[] {
  const views = Array.from(directory.entries(), (entry) => nodeView(entry, nowMs))
  const listed = new Set(views.map((view) => view.peerId))
  for (const { peerId, certificate } of [transport.self, ...transport.members()]) {
    // Members that offer no inference, and nodes that have not announced themselves yet.
    if (listed.has(peerId)) continue
    const isNode = certificate.roles.includes('node')
    views.push({
      peerId,
      name: certificate.name,
      roles: certificate.roles,
      state: isNode ? 'initializing' : 'ready',
      eligible: false,
      reasons: [isNode ? 'has not announced itself yet' : 'offers no inference'],
      isSelf: peerId === transport.self.peerId,
      certificateExpiresAtMs: certificate.expiresAtMs,
      labels: {},
      models: [],
    })
  }
  return views
}

function nodeView(entry: NodeEntry, nowMs: number): NodeView {
  const { record, certificate, load } = entry
  const reasons = reasonsAgainst(entry)
  const models = [...entry.snapshot(nowMs).models.values()].map(({ capability, running }) => ({
    digest: capability.digest,
    name: capability.aliases[0]!,
    residency: capability.residency,
    contextTokens: capability.contextTokens,
    slots: capability.slots,
    slotsInUse: running,
    ...(capability.speed && { speed: capability.speed }),
  }))
  return {
    peerId: entry.peerId,
    name: entry.name,
    roles: certificate?.roles ?? ['node'],
    state: entry.liveness === 'connected' ? 'ready' : entry.liveness,
    eligible: reasons.length === 0,
    reasons,
    isSelf: entry.isSelf,
    certificateExpiresAtMs: certificate?.expiresAtMs ?? 0,
    ...(record && { hardware: record.hardware, power: record.power, tier: record.tier }),
    ...(record?.access && { access: record.access }),
    link: entry.link,
    labels: record?.labels ?? {},
    models,
    ...(load && { load }),
  }
}

function reasonsAgainst(entry: NodeEntry): string[] {
  const reasons: string[] = []
  if (entry.liveness === 'disconnected') reasons.push('not connected')
  if (entry.liveness === 'suspect') reasons.push('heartbeats are late')
  if (entry.load?.paused !== undefined) reasons.push(`paused: ${entry.load.paused}`)
  else if (entry.load?.draining) reasons.push('draining')
  else if (entry.load?.cordoned) reasons.push('cordoned')
  if ((entry.record?.models.length ?? 0) === 0) reasons.push('has no model')
  return reasons
}
