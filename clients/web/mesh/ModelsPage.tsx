/** `/models`: what the mesh can run, where it lies, what is asked of it, and what was ordered. */
import { useState } from 'preact/hooks'
import {
  Badge,
  Button,
  Confirm,
  Empty,
  Field,
  Icon,
  IconButton,
  Page,
  Section,
  showToast,
  Skeleton,
  Table,
  type Column,
} from '../ui/index.ts'
import { format, words } from '../words/index.ts'
import type { LiveMesh } from './live.ts'
import './mesh.css'
import type { MeshGateway, MeshPageProps } from './ports.ts'
import { PullDialog } from './PullDialog.tsx'
import { millis, named, nodeHref, quoted, Trouble, useLive } from './shared.tsx'
import type { MeshModel, MeshNode, ReplicaOrder } from './types.ts'

const SEARCHED_FROM = 9
const ORDERS_SHOWN_MAX = 30

export function ModelsPage({ gateway }: MeshPageProps) {
  const live = useLive(gateway)
  const [isPulling, setPulling] = useState(false)
  const { mesh } = words.value
  const pullButton = (
    <Button kind="primary" icon="download" onClick={() => setPulling(true)}>
      {mesh.pull}
    </Button>
  )
  return (
    <Page title={mesh.models} description={mesh.modelsAbout} width="wide" actions={pullButton}>
      <Trouble live={live} />
      {live.isLoaded.value ? (
        <Models gateway={gateway} live={live} />
      ) : (
        live.problem.value === '' && <Skeleton lines={8} />
      )}
      {isPulling && <PullDialog gateway={gateway} live={live} onClose={() => setPulling(false)} />}
    </Page>
  )
}

function Models({ gateway, live }: { readonly gateway: MeshGateway; readonly live: LiveMesh }) {
  const [query, setQuery] = useState('')
  const { mesh } = words.value
  const { models, orders } = live.extras.value
  const wanted = query.trim().toLowerCase()
  const shown = models
    .filter(({ id, aliases }) => wanted === '' || [id, ...aliases].some((name) => name.toLowerCase().includes(wanted)))
    .toSorted((a, b) => Number(b.isResident) - Number(a.isResident) || (a.id < b.id ? -1 : 1))
  if (models.length === 0)
    return (
      <Empty icon="cube" title={mesh.noModelsTitle}>
        {mesh.noModelsYet}
      </Empty>
    )
  return (
    <>
      {models.length >= SEARCHED_FROM && (
        <Field
          label={mesh.findModel}
          placeholder={mesh.findModel}
          isLabelHidden
          type="search"
          value={query}
          onInput={setQuery}
        />
      )}
      {shown.length === 0 && <Empty icon="search" title={mesh.noneSuch} />}
      <ul class="mesh-models" role="list">
        {shown.map((model) => (
          <li key={model.digest}>
            <ModelCard gateway={gateway} live={live} model={model} />
          </li>
        ))}
      </ul>
      <Section title={mesh.replicaOrders} description={mesh.replicaAbout}>
        {orders.length === 0 ? <p class="mesh-muted">{mesh.noOrders}</p> : <Orders orders={orders} models={models} />}
      </Section>
    </>
  )
}

interface ModelProps {
  readonly gateway: MeshGateway
  readonly live: LiveMesh
  readonly model: MeshModel
}

function ModelCard({ gateway, live, model }: ModelProps) {
  const { mesh } = words.value
  const [isRemoving, setRemoving] = useState(false)
  const nodes = [...live.state.value.nodes.values()]
  const isHere = nodes.some(({ isSelf, models }) => isSelf && models.some(({ digest }) => digest === model.digest))
  const others = model.aliases.filter((alias) => alias !== model.id)
  return (
    <article class="mesh-model" aria-label={model.id}>
      <header class="mesh-model-head">
        <Icon name="cube" size={17} />
        <h2>{model.id}</h2>
        {others.length > 0 && <span class="mesh-muted">{others.join(', ')}</span>}
        <span class="mesh-model-badges">
          {model.features.map((feature) => (
            <Badge key={feature}>{named(mesh.featureNames, feature)}</Badge>
          ))}
        </span>
        {isHere && <IconButton icon="trash" label={`${mesh.remove} ${model.id}`} onClick={() => setRemoving(true)} />}
      </header>
      <p class="mesh-model-facts">{factsOf(model).join(' · ')}</p>
      <Holders model={model} nodes={nodes} />
      <Demand model={model} />
      {isRemoving && <Remove gateway={gateway} live={live} model={model} onClose={() => setRemoving(false)} />}
    </article>
  )
}

function factsOf({ quantization, sizeBytes, parameters, contextTokens, engine }: MeshModel): string[] {
  const { mesh } = words.value
  return [
    // as models say that have no numbers of their own
    quantization === 'none' ? '' : quantization,
    ...(sizeBytes > 0 ? [format.bytes(sizeBytes)] : []),
    ...(parameters > 0 ? [mesh.parameters(format.compact(parameters))] : []),
    // a model that reads no text has none to speak of
    ...(contextTokens > 1 ? [`${mesh.context} ${mesh.contextTokens(format.number(contextTokens))}`] : []),
    engine,
  ].filter((fact) => fact !== '')
}

/** Who has it, each with where it lies there. */
function Holders({ model, nodes }: { readonly model: MeshModel; readonly nodes: readonly MeshNode[] }) {
  const { residency } = words.value.mesh
  const holders = model.nodes.map((name) => {
    const own = nodes.find(({ peerId }) => peerId === name.peerId)?.models.find(({ digest }) => digest === model.digest)
    return { ...name, residency: own?.residency ?? ('disk' as const) }
  })
  return (
    <ul class="mesh-holders" role="list">
      {holders.map((holder) => (
        <li key={holder.peerId}>
          <a href={nodeHref(holder.peerId)} class={`mesh-holder mesh-holder-${holder.residency}`}>
            <Icon name="server" size={13} /> {holder.name} <span class="mesh-muted">{residency[holder.residency]}</span>
          </a>
        </li>
      ))}
    </ul>
  )
}

function Demand({ model: { replicas } }: { readonly model: MeshModel }) {
  const { mesh } = words.value
  const facts = [
    ...(replicas.requestsPerMinute > 0
      ? [mesh.perMinute(format.number(replicas.requestsPerMinute, { maximumFractionDigits: 1 }))]
      : []),
    ...(replicas.loadShare !== undefined && replicas.loadShare > 0
      ? [mesh.loadShare(format.percent(replicas.loadShare))]
      : []),
    ...(replicas.waitMs !== undefined && replicas.waitMs > 0
      ? [`${mesh.parts.waitMs} ${millis(replicas.waitMs)}`]
      : []),
    ...(replicas.hindrance !== undefined ? [`${mesh.hindrance}: ${replicas.hindrance}`] : []),
  ]
  if (facts.length === 0) return null
  return (
    <p class="mesh-model-facts">
      {mesh.demand}: {facts.join(' · ')}
    </p>
  )
}

function Remove({ gateway, live, model, onClose }: ModelProps & { readonly onClose: () => void }) {
  const { mesh } = words.value
  const remove = async (): Promise<void> => {
    await gateway.send('DELETE', '/api/delete', { model: model.id })
    showToast({ text: mesh.removed(model.id), tone: 'good' })
    live.refresh()
  }
  return (
    <Confirm
      title={mesh.removeAsk(model.id)}
      confirmLabel={mesh.remove}
      isDanger
      command={`skein rm ${quoted(model.id)}`}
      onConfirm={remove}
      onClose={onClose}
    >
      <p>{mesh.removeAbout(format.bytes(model.sizeBytes))}</p>
    </Confirm>
  )
}

const ORDER_TONES = {
  sent: 'info',
  accepted: 'info',
  done: 'good',
  refused: 'warning',
  failed: 'danger',
  lost: 'danger',
} as const

function Orders({
  orders,
  models,
}: {
  readonly orders: readonly ReplicaOrder[]
  readonly models: readonly MeshModel[]
}) {
  const { mesh } = words.value
  const nameOf = ({ digest }: ReplicaOrder): string =>
    models.find((model) => model.digest === digest)?.id ?? digest.slice(0, 19)
  const columns: readonly Column<ReplicaOrder>[] = [
    { id: 'model', label: mesh.model, cell: nameOf, sortBy: nameOf },
    { id: 'node', label: mesh.node, cell: (order) => order.node.name, sortBy: (order) => order.node.name },
    {
      id: 'state',
      label: mesh.state,
      cell: (order) => (
        <Badge tone={ORDER_TONES[order.state]} hasDot>
          {mesh.orderStates[order.state]}
        </Badge>
      ),
    },
    {
      id: 'reason',
      label: mesh.reason,
      isWide: true,
      cell: (order) => [order.reason, order.message].filter(Boolean).join(': '),
    },
    {
      id: 'at',
      label: mesh.at,
      isNumeric: true,
      cell: (order) => format.time(order.atMs),
      sortBy: (order) => order.atMs,
    },
  ]
  return (
    <Table
      label={mesh.replicaOrders}
      columns={columns}
      rows={orders.slice(0, ORDERS_SHOWN_MAX)}
      rowKey={(order) => order.order}
    />
  )
}
