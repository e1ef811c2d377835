/** The nodes as cards and as a table. */
import { Badge, Icon, Meter, Table, type Column, type IconName } from '../ui/index.ts'
import { format, words } from '../words/index.ts'
import { conditionOf } from './model.ts'
import { bestSpeed, ConditionBadge, memoryOf, millis, named, nodeHref, sensedOf, slotsOf } from './shared.tsx'
import type { MeshNode, NodeModel } from './types.ts'

/** Models on a card; the page of the node has all. */
const MODELS_SHOWN_MAX = 3

const RESIDENCY_ORDER = ['resident', 'loading', 'disk']

const byResidency = (models: readonly NodeModel[]): NodeModel[] =>
  models.toSorted((a, b) => RESIDENCY_ORDER.indexOf(a.residency) - RESIDENCY_ORDER.indexOf(b.residency))

export function NodeCards({ nodes }: { readonly nodes: readonly MeshNode[] }) {
  return (
    <ul class="mesh-cards" role="list">
      {nodes.map((node) => (
        <li key={node.peerId}>
          <NodeCard node={node} />
        </li>
      ))}
    </ul>
  )
}

function NodeCard({ node }: { readonly node: MeshNode }) {
  const { noModels, residency, tokensPerSecond } = words.value.mesh
  const models = byResidency(node.models)
  const more = models.length - MODELS_SHOWN_MAX
  return (
    <a class={`mesh-card${node.state === 'disconnected' ? ' mesh-card-away' : ''}`} href={nodeHref(node.peerId)}>
      <div class="mesh-card-head">
        <Icon name={node.isCloud ? 'cloud' : 'server'} size={16} />
        <strong>{node.name}</strong>
        <ConditionBadge condition={conditionOf(node)} />
      </div>
      <p class="mesh-card-hardware">{hardwareText(node)}</p>
      <Meters node={node} />
      <ul class="mesh-card-models" role="list">
        {models.slice(0, MODELS_SHOWN_MAX).map((model) => (
          <li key={model.digest}>
            <span class="mesh-card-model">{model.name}</span>
            <span class="mesh-muted">
              {model.speed?.decode[0] === undefined
                ? residency[model.residency]
                : tokensPerSecond(format.number(Math.round(model.speed.decode[0].tokensPerSecond)))}
            </span>
          </li>
        ))}
        {more > 0 && <li class="mesh-muted">+{more}</li>}
        {models.length === 0 && <li class="mesh-muted">{noModels}</li>}
      </ul>
      <Facts node={node} />
    </a>
  )
}

export function hardwareText({ hardware, isCloud }: MeshNode): string {
  if (hardware === undefined) return isCloud ? words.value.mesh.cloud : '—'
  const { gpus, cpu, threads } = hardware
  const gpu = gpus[0]
  if (gpu !== undefined)
    return `${gpu.name} · ${format.memory(gpu.memoryBytes)}${gpus.length > 1 ? ` ×${gpus.length}` : ''}`
  return `${cpu} · ${words.value.mesh.threads(threads)}`
}

export function Meters({ node }: { readonly node: MeshNode }) {
  const { memory: memoryLabel, memoryOf: memoryText, slots: slotsLabel, slotsOf: slotsText } = words.value.mesh
  const memory = memoryOf(node)
  const { used, all } = slotsOf(node)
  return (
    <div class="mesh-meters">
      <Meter
        label={slotsLabel}
        value={used}
        max={Math.max(all, 1)}
        text={slotsText(used, all)}
        tone={used > 0 ? 'accent' : 'neutral'}
      />
      {memory !== undefined && (
        <Meter
          label={memoryLabel}
          value={memory.used}
          max={memory.all}
          text={memoryText(format.memory(memory.used), format.memory(memory.all))}
          tone={memory.used > memory.all * 0.92 ? 'warning' : 'neutral'}
        />
      )}
    </div>
  )
}

/** What has a value alone. */
function Facts({ node }: { readonly node: MeshNode }) {
  const { here, powers } = words.value.mesh
  const facts: (readonly [IconName, string])[] = []
  if (node.isSelf) facts.push(['home', here])
  if (node.roundTripMs !== undefined) facts.push(['link', millis(node.roundTripMs)])
  const { heat, watts } = sensedOf(node)
  if (heat !== undefined) facts.push(['thermometer', heat])
  const taken = [...(node.power === 'battery' ? [powers.battery] : []), ...(watts === undefined ? [] : [watts])]
  if (taken.length > 0) facts.push(['bolt', taken.join(' · ')])
  return (
    <p class="mesh-facts">
      {facts.map(([icon, text]) => (
        <span key={`${icon}${text}`}>
          <Icon name={icon} size={13} /> {text}
        </span>
      ))}
    </p>
  )
}

export interface NodeTableProps {
  readonly nodes: readonly MeshNode[]
  /** Tasks that run there. */
  readonly running: (peerId: string) => number
}

export function NodeTable({ nodes, running }: NodeTableProps) {
  const { mesh } = words.value
  return (
    <Table
      label={mesh.nodes}
      columns={columnsOf(nodes, running)}
      rows={nodes}
      rowKey={(node) => node.peerId}
      rowHref={(node) => nodeHref(node.peerId)}
      firstSort={{ column: 'name', isDescending: false }}
    />
  )
}

function columnsOf(nodes: readonly MeshNode[], running: NodeTableProps['running']): readonly Column<MeshNode>[] {
  const { mesh } = words.value
  return [
    { id: 'name', label: mesh.node, cell: (node) => node.name, sortBy: (node) => node.name },
    {
      id: 'state',
      label: mesh.state,
      cell: (node) => <ConditionBadge condition={conditionOf(node)} />,
      sortBy: (node) => mesh.states[conditionOf(node)],
    },
    {
      id: 'running',
      label: mesh.running,
      isNumeric: true,
      cell: (node) => running(node.peerId),
      sortBy: (node) => running(node.peerId),
    },
    {
      id: 'slots',
      label: mesh.slots,
      isNumeric: true,
      cell: (node) => slotsText(node),
      sortBy: (node) => slotsOf(node).all,
    },
    { id: 'speed', label: mesh.speed, isNumeric: true, cell: speedText, sortBy: (node) => bestSpeed(node) ?? 0 },
    {
      id: 'memory',
      label: mesh.memory,
      isNumeric: true,
      isWide: true,
      cell: memoryText,
      sortBy: (node) => memoryOf(node)?.all ?? 0,
    },
    // no column of dashes where no machine tells
    ...(nodes.some((node) => heatText(node) !== '—') ? [heatColumn()] : []),
    {
      id: 'link',
      label: mesh.link,
      isNumeric: true,
      isWide: true,
      cell: linkText,
      sortBy: (node) => node.roundTripMs ?? 0,
    },
    {
      id: 'models',
      label: mesh.models,
      isWide: true,
      cell: (node) =>
        byResidency(node.models).map((model) => (
          <Badge
            key={model.digest}
            title={named(mesh.residency, model.residency)}
            tone={model.residency === 'resident' ? 'accent' : 'neutral'}
          >
            {model.name}
          </Badge>
        )),
    },
  ]
}

const heatColumn = (): Column<MeshNode> => ({
  id: 'heat',
  label: words.value.mesh.temperature,
  isNumeric: true,
  isWide: true,
  cell: heatText,
  sortBy: (node) => (node.state === 'disconnected' ? 0 : (node.load?.temperatureCelsius ?? 0)),
})

const heatText = (node: MeshNode): string => sensedOf(node).heat ?? '—'

const slotsText = (node: MeshNode): string => {
  const { used, all } = slotsOf(node)
  return words.value.mesh.slotsOf(used, all)
}

const speedText = (node: MeshNode): string => {
  const speed = bestSpeed(node)
  return speed === undefined ? '—' : words.value.mesh.tokensPerSecond(format.number(Math.round(speed)))
}

const memoryText = (node: MeshNode): string => {
  const memory = memoryOf(node)
  return memory === undefined ? '—' : `${format.memory(memory.used)} / ${format.memory(memory.all)}`
}

const linkText = (node: MeshNode): string =>
  node.roundTripMs === undefined ? (node.isSelf ? words.value.mesh.here : '—') : millis(node.roundTripMs)
