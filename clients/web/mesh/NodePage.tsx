/** `/mesh/nodes/:peerId`: one node, what it has and does, and what its owner may tell it. */
import { Badge, Card, Empty, Notice, Page, Pairs, Section, Skeleton, Table, type Column } from '../ui/index.ts'
import { format, words } from '../words/index.ts'
import type { LiveMesh } from './live.ts'
import './mesh.css'
import { conditionOf, endedTasks, openTasks, runningOn, type LiveTask, type MeshState } from './model.ts'
import { hardwareText, Meters } from './NodeCards.tsx'
import { NodeActions } from './NodeActions.tsx'
import type { MeshGateway, MeshPageProps } from './ports.ts'
import { ConditionBadge, millis, named, sensedOf, Trouble, useLive } from './shared.tsx'
import { TaskTable } from './TaskTable.tsx'
import type { MeshNode, NodeModel } from './types.ts'

const RECENT_MAX = 20

export function NodePage({ gateway, peerId }: MeshPageProps & { readonly peerId: string }) {
  const live = useLive(gateway)
  const { mesh } = words.value
  const node = live.state.value.nodes.get(peerId)
  return (
    <Page
      title={node?.name ?? mesh.node}
      back={{ href: '/mesh', label: mesh.title }}
      width="wide"
      actions={node !== undefined && <ConditionBadge condition={conditionOf(node)} />}
    >
      <Trouble live={live} />
      {node !== undefined ? (
        <NodeParts gateway={gateway} live={live} node={node} />
      ) : live.isLoaded.value ? (
        <Empty icon="server" title={mesh.unknownNode} />
      ) : (
        <Skeleton lines={8} />
      )}
    </Page>
  )
}

interface PartsProps {
  readonly gateway: MeshGateway
  readonly live: LiveMesh
  readonly node: MeshNode
}

function NodeParts({ gateway, live, node }: PartsProps) {
  const { mesh } = words.value
  const state = live.state.value
  return (
    <>
      <Reasons node={node} />
      <div class="mesh-columns">
        <Card>
          <div class="mesh-stacked">
            <Meters node={node} />
            <Pairs pairs={pairsOf(node)} />
          </div>
        </Card>
        {!node.isCloud && (
          <Card>
            <h2 class="mesh-card-title">{mesh.actions}</h2>
            <NodeActions gateway={gateway} live={live} node={node} />
          </Card>
        )}
      </div>
      <Section title={mesh.models}>
        {node.models.length === 0 ? <p class="mesh-muted">{mesh.noModels}</p> : <NodeModels models={node.models} />}
      </Section>
      <Section title={mesh.running}>
        <Attempts label={mesh.running} tasks={runningOn(state, node.peerId)} live={live} empty={mesh.nothingRuns} />
      </Section>
      <Section title={mesh.recent}>
        <Attempts label={mesh.recent} tasks={recentOn(state, node.peerId)} live={live} empty={mesh.nothingRecent} />
      </Section>
    </>
  )
}

interface AttemptsProps {
  readonly label: string
  readonly tasks: readonly LiveTask[]
  readonly live: LiveMesh
  readonly empty: string
}

function Attempts({ label, tasks, live, empty }: AttemptsProps) {
  return tasks.length === 0 ? <p class="mesh-muted">{empty}</p> : <TaskTable label={label} tasks={tasks} live={live} />
}

/** Also those that were here for a while and ended, or run, elsewhere. */
function recentOn(state: MeshState, peerId: string): LiveTask[] {
  const wasHere = ({ node, bars }: LiveTask): boolean =>
    node?.peerId === peerId || bars.some((bar) => bar.node.peerId === peerId)
  const elsewhere = openTasks(state).filter((task) => wasHere(task) && task.node?.peerId !== peerId)
  return [...elsewhere, ...endedTasks(state).filter(wasHere)].slice(0, RECENT_MAX)
}

function Reasons({ node }: { readonly node: MeshNode }) {
  const { whyNoWork, reasons, pausedBecause } = words.value.mesh
  if (node.reasons.length === 0) return null
  const told = node.reasons.map((reason) =>
    reason.startsWith('paused: ') ? pausedBecause(reason.slice('paused: '.length)) : named(reasons, reason),
  )
  return (
    <Notice tone="warning" title={whyNoWork}>
      {told.join(' ')}
    </Notice>
  )
}

function pairsOf(node: MeshNode): (readonly [string, string])[] {
  const { mesh } = words.value
  const { hardware, load, tenants } = node
  const { heat, watts } = sensedOf(node)
  const pairs: (readonly [string, string])[] = [
    [hardware?.gpus.length ? mesh.gpu : mesh.cpu, hardwareText(node)],
    [mesh.link, linkText(node)],
    ...(heat === undefined ? [] : [[mesh.temperature, heat] as const]),
    [mesh.power, powerText(node, watts)],
    [mesh.serves, tenants === undefined ? mesh.everyone : format.list(tenants)],
  ]
  if (hardware?.gpus.length) pairs.splice(1, 0, [mesh.cpu, `${hardware.cpu} · ${mesh.threads(hardware.threads)}`])
  if (hardware !== undefined) pairs.push([mesh.platform, hardware.platform])
  if (load !== undefined) pairs.push([mesh.orders, named(mesh.replicaConsents, load.replicas ?? 'off')])
  const labels = Object.entries(node.labels)
  if (labels.length > 0) pairs.push([mesh.labels, labels.map(([name, label]) => `${name}=${label}`).join(', ')])
  if (node.certificateExpiresAtMs > 0)
    pairs.push([mesh.certificate, mesh.until(format.date(node.certificateExpiresAtMs))])
  return [...pairs, [mesh.peerId, node.peerId]]
}

/** `mains · 38 W`: what is known of it. */
function powerText({ power }: MeshNode, watts: string | undefined): string {
  const { powers } = words.value.mesh
  if (watts === undefined) return powers[power]
  return power === 'unknown' ? watts : `${powers[power]} · ${watts}`
}

function linkText({ isSelf, roundTripMs, bytesPerSecond }: MeshNode): string {
  const { here, roundTrip, bandwidth } = words.value.mesh
  if (isSelf) return here
  const parts = [
    ...(roundTripMs === undefined ? [] : [roundTrip(millis(roundTripMs))]),
    ...(bytesPerSecond === undefined ? [] : [bandwidth(format.bytes(bytesPerSecond))]),
  ]
  return parts.length === 0 ? '—' : parts.join(' · ')
}

function NodeModels({ models }: { readonly models: readonly NodeModel[] }) {
  const { mesh } = words.value
  const columns: readonly Column<NodeModel>[] = [
    { id: 'name', label: mesh.model, cell: (model) => model.name, sortBy: (model) => model.name },
    {
      id: 'residency',
      label: mesh.where,
      cell: ({ residency }) => (
        <Badge tone={residency === 'resident' ? 'accent' : 'neutral'}>{mesh.residency[residency]}</Badge>
      ),
      sortBy: (model) => model.residency,
    },
    { id: 'slots', label: mesh.slots, isNumeric: true, cell: (model) => mesh.slotsOf(model.slotsInUse, model.slots) },
    {
      id: 'prefill',
      label: mesh.prefill,
      isNumeric: true,
      cell: ({ speed }) =>
        speed === undefined ? '—' : mesh.tokensPerSecond(format.number(Math.round(speed.prefillTokensPerSecond))),
    },
    { id: 'decode', label: mesh.decode, cell: ({ speed }) => <Speeds speed={speed} /> },
    {
      id: 'context',
      label: mesh.context,
      isNumeric: true,
      isWide: true,
      cell: (model) => (model.contextTokens > 1 ? format.number(model.contextTokens) : '—'),
    },
  ]
  return (
    <Table
      label={mesh.models}
      columns={columns}
      rows={models}
      rowKey={(model) => model.digest}
      firstSort={{ column: 'name', isDescending: false }}
    />
  )
}

function Speeds({ speed }: { readonly speed: NodeModel['speed'] }) {
  const { unmeasured, tokensPerSecond, decodeWith } = words.value.mesh
  if (speed === undefined) return <span class="mesh-muted">{unmeasured}</span>
  const text = speed.decode.map(
    ({ sequences, tokensPerSecond: rate }) =>
      `${tokensPerSecond(format.number(Math.round(rate)))} (${decodeWith(sequences)})`,
  )
  return <>{text.join(', ')}</>
}
