/** The mesh as a picture: the coordinator in the middle, who is around it, and what runs where. */
import { useMemo } from 'preact/hooks'
import { format, words } from '../words/index.ts'
import { layoutOf, type Density, type Layout, type Place, type Thing } from './layout.ts'
import { conditionOf, isOpen, type MeshState } from './model.ts'
import { bestSpeed, CONDITION_TONES, millis, nodeHref, sensedOf, slotsOf, useCalm, useWidth } from './shared.tsx'
import type { BridgedDevice, MeshNode } from './types.ts'
import './topology.css'

interface TopologyProps {
  readonly state: MeshState
  readonly devices: readonly BridgedDevice[]
}

/** Dots on one link; what is more is in the number beside them. */
const DOTS_MAX = 6
const DEVICES_SHOWN_MAX = 10
const NAME_LENGTHS: Readonly<Record<Density, number>> = { card: 18, chip: 13, dot: 12 }

const BRIDGE = 'bridge:'

export function Topology({ state, devices }: TopologyProps) {
  const [ref, width] = useWidth()
  const nodes = [...state.nodes.values()]
  const bridges = useMemo(() => groupedByBridge(devices), [devices])
  const self = nodes.find(({ isSelf }) => isSelf)
  const things = thingsOf(nodes, bridges)
  const key = JSON.stringify(things)
  const layout = useMemo(() => layoutOf(things, Math.max(width, 300)), [key, width])
  const running = runningOf(state)
  const { topologyLabel, nodesCount, runningCount } = words.value.mesh
  const count = [...running.values()].reduce((sum, n) => sum + n, 0)
  return (
    <div ref={ref} class="mesh-topology">
      {width > 0 && (
        <svg
          viewBox={`0 0 ${layout.width} ${layout.height}`}
          width={layout.width}
          height={layout.height}
          role="group"
          aria-label={topologyLabel(nodesCount(nodes.length), runningCount(count))}
        >
          {layout.places.map((place) => (
            <Link
              key={place.id}
              place={place}
              layout={layout}
              node={state.nodes.get(place.id)}
              running={running.get(place.id) ?? 0}
            />
          ))}
          <Center layout={layout} self={self} running={self === undefined ? 0 : (running.get(self.peerId) ?? 0)} />
          {layout.places.map((place) => {
            const node = state.nodes.get(place.id)
            if (node === undefined)
              return (
                <BridgeMark
                  key={place.id}
                  place={place}
                  density={layout.density}
                  devices={bridges.get(place.name) ?? []}
                />
              )
            return (
              <NodeMark
                key={place.id}
                place={place}
                node={node}
                density={layout.density}
                running={running.get(place.id) ?? 0}
              />
            )
          })}
        </svg>
      )}
    </div>
  )
}

function groupedByBridge(devices: readonly BridgedDevice[]): ReadonlyMap<string, readonly BridgedDevice[]> {
  const groups = new Map<string, BridgedDevice[]>()
  for (const device of devices) groups.set(device.bridge, [...(groups.get(device.bridge) ?? []), device])
  return groups
}

function thingsOf(nodes: readonly MeshNode[], bridges: ReadonlyMap<string, unknown>): Thing[] {
  const around = nodes
    .filter(({ isSelf }) => !isSelf)
    .map(({ peerId, name, isCloud }): Thing => ({ id: peerId, name, kind: isCloud ? 'cloud' : 'node' }))
  const below = [...bridges.keys()].map((name): Thing => ({ id: `${BRIDGE}${name}`, name, kind: 'bridge' }))
  return [...around, ...below]
}

/** Tasks that run, by the node that they run on. */
function runningOf(state: MeshState): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const task of state.tasks.values()) {
    if (!isOpen(task) || task.state !== 'running' || task.node === undefined) continue
    counts.set(task.node.peerId, (counts.get(task.node.peerId) ?? 0) + 1)
  }
  return counts
}

interface LinkProps {
  readonly place: Place
  readonly layout: Layout
  readonly node: MeshNode | undefined
  readonly running: number
}

function Link({ place, layout, node, running }: LinkProps) {
  const isCalm = useCalm()
  const { center, density } = layout
  const isAway = node !== undefined && (node.state === 'disconnected' || node.state === 'initializing')
  const path = `M${center.x} ${center.y}L${place.x} ${place.y}`
  // SVG has it, and the types do not
  const along: object = { path }
  // nearer to the node, where links are further apart
  const label = { x: center.x + (place.x - center.x) * 0.56, y: center.y + (place.y - center.y) * 0.56 }
  const roundTrip = node?.roundTripMs
  return (
    <g
      class={`mesh-link mesh-link-${place.kind}${isAway ? ' mesh-link-away' : ''}${running > 0 ? ' mesh-link-busy' : ''}`}
    >
      <path d={path} />
      {running > 0 &&
        !isCalm &&
        Array.from({ length: Math.min(running, DOTS_MAX) }, (_, i) => (
          <circle key={i} r="3.5" class="mesh-dot">
            <animateMotion
              dur="1.8s"
              begin={`-${(i * 1.8) / Math.min(running, DOTS_MAX)}s`}
              repeatCount="indefinite"
              {...along}
            />
          </circle>
        ))}
      {roundTrip !== undefined && density !== 'dot' && !isAway && (
        <text x={label.x} y={label.y - 4} class="mesh-link-label">
          {millis(roundTrip)}
        </text>
      )}
    </g>
  )
}

const shortened = (name: string, density: Density): string =>
  name.length > NAME_LENGTHS[density] ? `${name.slice(0, NAME_LENGTHS[density] - 1)}…` : name

function Center({
  layout,
  self,
  running,
}: {
  readonly layout: Layout
  readonly self: MeshNode | undefined
  readonly running: number
}) {
  const { coordinator } = words.value.mesh
  const { x, y } = layout.center
  const mark = (
    <g class={`mesh-center${running > 0 ? ' mesh-center-busy' : ''}`} transform={`translate(${x} ${y})`}>
      <circle r="46" class="mesh-center-halo" />
      <circle r="36" class="mesh-center-disc" />
      <g class="mesh-center-icon" transform="translate(-12 -13)">
        <path d="M12 3.5a2.2 2.2 0 1 0 0 4.4 2.2 2.2 0 0 0 0-4.4zM5.2 16a2.2 2.2 0 1 0 0 4.4 2.2 2.2 0 0 0 0-4.4zM18.8 16a2.2 2.2 0 1 0 0 4.4 2.2 2.2 0 0 0 0-4.4zM11 7.7l-4.6 8.5M13 7.7l4.6 8.5M7.4 18.2h9.2" />
      </g>
      <text y="62" class="mesh-center-name">
        {self === undefined ? coordinator : shortened(self.name, 'card')}
      </text>
      <text y="78" class="mesh-small">
        {self === undefined ? '' : [coordinator, ...factsOf(self)].join(' · ')}
      </text>
      {running > 0 && <Count x={30} y={-30} count={running} />}
    </g>
  )
  if (self === undefined) return mark
  return (
    <a href={nodeHref(self.peerId)}>
      <title>{describe(self, running)}</title>
      {mark}
    </a>
  )
}

function factsOf(node: MeshNode): string[] {
  const speed = bestSpeed(node)
  const { heat } = sensedOf(node)
  return [
    ...(speed === undefined ? [] : [words.value.mesh.tokensPerSecond(format.compact(Math.round(speed)))]),
    ...(heat === undefined ? [] : [heat]),
  ]
}

function describe(node: MeshNode, running: number): string {
  const { states, runningCount } = words.value.mesh
  const { heat, watts } = sensedOf(node)
  const parts = [states[conditionOf(node)], ...(running > 0 ? [runningCount(running)] : []), heat, watts]
  return `${node.name}: ${parts.filter((part) => part !== undefined).join(', ')}`
}

function Count({ x, y, count }: { readonly x: number; readonly y: number; readonly count: number }) {
  return (
    <g class="mesh-count" transform={`translate(${x} ${y})`}>
      <rect x="-11" y="-9" width="22" height="18" rx="9" />
      <text y="4">{count > 99 ? '99+' : count}</text>
    </g>
  )
}

interface NodeMarkProps {
  readonly place: Place
  readonly node: MeshNode
  readonly density: Density
  readonly running: number
}

function NodeMark({ place, node, density, running }: NodeMarkProps) {
  const condition = conditionOf(node)
  const classes = `mesh-mark mesh-mark-${density} mesh-tone-${CONDITION_TONES[condition]}${node.isCloud ? ' mesh-mark-cloud' : ''}`
  return (
    <a href={nodeHref(node.peerId)} class="mesh-mark-link">
      <title>{describe(node, running)}</title>
      <g class={classes} transform={`translate(${place.x} ${place.y})`}>
        {density === 'card' && <CardMark node={node} />}
        {density === 'chip' && <ChipMark node={node} />}
        {density === 'dot' && <DotMark node={node} />}
        {running > 0 && <Count {...COUNT_AT[density]} count={running} />}
      </g>
    </a>
  )
}

const COUNT_AT: Readonly<Record<Density, { readonly x: number; readonly y: number }>> = {
  card: { x: 80, y: -34 },
  chip: { x: 54, y: -18 },
  dot: { x: 13, y: -12 },
}

function CardMark({ node }: { readonly node: MeshNode }) {
  const { states, slots } = words.value.mesh
  const condition = conditionOf(node)
  const { used, all } = slotsOf(node)
  const speed = bestSpeed(node)
  const { heat } = sensedOf(node)
  return (
    <>
      <rect x="-88" y="-36" width="176" height="72" rx="9" class="mesh-mark-box" />
      <circle cx="-72" cy="-18" r="4" class="mesh-mark-dot" />
      <text x="-62" y="-14" class="mesh-mark-name">
        {shortened(node.name, heat === undefined ? 'card' : 'dot')}
      </text>
      {heat !== undefined && (
        <text x="76" y="-14" class="mesh-mark-line mesh-mark-end">
          {heat}
        </text>
      )}
      <text x="-76" y="6" class="mesh-mark-line">
        {condition === 'ready' || condition === 'busy'
          ? speed === undefined
            ? states[condition]
            : words.value.mesh.tokensPerSecond(format.compact(Math.round(speed)))
          : states[condition]}
      </text>
      {all > 0 && (
        <>
          <text x="76" y="6" class="mesh-mark-line mesh-mark-end">
            {`${slots} ${used}/${all}`}
          </text>
          <rect x="-76" y="17" width="152" height="5" rx="2.5" class="mesh-mark-track" />
          <rect x="-76" y="17" width={(152 * Math.min(used, all)) / all} height="5" rx="2.5" class="mesh-mark-fill" />
        </>
      )}
    </>
  )
}

function ChipMark({ node }: { readonly node: MeshNode }) {
  return (
    <>
      <rect x="-58" y="-20" width="116" height="40" rx="20" class="mesh-mark-box" />
      <circle cx="-42" cy="0" r="4" class="mesh-mark-dot" />
      <text x="-32" y="-1" class="mesh-mark-name">
        {shortened(node.name, 'chip')}
      </text>
      <text x="-32" y="12" class="mesh-mark-line">
        {words.value.mesh.states[conditionOf(node)]}
      </text>
    </>
  )
}

function DotMark({ node }: { readonly node: MeshNode }) {
  return (
    <>
      {/* as large as a finger */}
      <circle r="22" class="mesh-mark-target" />
      <circle r="11" class="mesh-mark-box" />
      <circle r="5" class="mesh-mark-dot" />
      <text y="25" class="mesh-mark-name mesh-mark-middle">
        {shortened(node.name, 'dot')}
      </text>
    </>
  )
}

interface BridgeProps {
  readonly place: Place
  readonly density: Density
  readonly devices: readonly BridgedDevice[]
}

function BridgeMark({ place, density, devices }: BridgeProps) {
  const { bridge, devicesCount, bridgeAway } = words.value.mesh
  const isOnline = devices.some(({ isBridgeOnline }) => isBridgeOnline)
  const text = isOnline ? devicesCount(devices.length) : `${devicesCount(devices.length)}, ${bridgeAway}`
  return (
    <a href="/devices" aria-label={`${bridge} ${place.name}: ${text}`} class="mesh-mark-link">
      <title>{`${bridge} ${place.name}: ${text}`}</title>
      <g
        class={`mesh-mark mesh-mark-${density} mesh-bridge ${isOnline ? 'mesh-tone-good' : 'mesh-tone-danger'}`}
        transform={`translate(${place.x} ${place.y})`}
      >
        {density === 'dot' ? (
          <>
            <circle r="22" class="mesh-mark-target" />
            <rect x="-13" y="-11" width="26" height="22" rx="5" class="mesh-mark-box" />
            <text y="4" class="mesh-mark-middle">
              {devices.length}
            </text>
            <text y="25" class="mesh-mark-name mesh-mark-middle">
              {shortened(place.name, density)}
            </text>
          </>
        ) : (
          <BridgeBox name={place.name} text={text} devices={devices} isOnline={isOnline} />
        )}
      </g>
    </a>
  )
}

interface BoxProps {
  readonly name: string
  readonly text: string
  readonly devices: readonly BridgedDevice[]
  readonly isOnline: boolean
}

function BridgeBox({ name, text, devices, isOnline }: BoxProps) {
  const shown = devices.slice(0, DEVICES_SHOWN_MAX)
  const span = (shown.length - 1) * 10
  return (
    <>
      <rect x="-62" y="-26" width="124" height="52" rx="6" class="mesh-mark-box" />
      <text y="-9" class="mesh-mark-name mesh-mark-middle">
        {shortened(name, 'chip')}
      </text>
      <text y="5" class="mesh-mark-line mesh-mark-middle">
        {text}
      </text>
      {shown.map(({ id, state }, i) => (
        <circle
          key={id}
          cx={i * 10 - span / 2}
          cy="16"
          r="3"
          class={isOnline && state === 'ready' ? 'mesh-device' : 'mesh-device mesh-device-away'}
        />
      ))}
    </>
  )
}
