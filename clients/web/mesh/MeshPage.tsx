/** `/mesh`: who is there, and what they do. */
import { useState } from 'preact/hooks'
import { Button, Copyable, Empty, Field, Notice, Page, Section, Skeleton, Stat, Switch } from '../ui/index.ts'
import { format, words } from '../words/index.ts'
import { Activity } from './Activity.tsx'
import { Courses } from './Courses.tsx'
import type { LiveMesh } from './live.ts'
import './mesh.css'
import { openTasks, queueOf, runningOn, type MeshState } from './model.ts'
import { NodeCards, NodeTable } from './NodeCards.tsx'
import type { MeshPageProps } from './ports.ts'
import { QueueList } from './Queue.tsx'
import { Trouble, useLive, useNow } from './shared.tsx'
import { Topology } from './Topology.tsx'
import type { MeshNode } from './types.ts'

/** From so many on they are searched. */
const SEARCHED_FROM = 9
/** Cards at first; what comes below them would be out of sight otherwise. */
const CARDS_FIRST = 12

export function MeshPage({ gateway }: MeshPageProps) {
  const live = useLive(gateway)
  const { mesh } = words.value
  return (
    <Page title={mesh.title} description={mesh.about} width="wide">
      <Trouble live={live} />
      {live.isLoaded.value ? <Picture live={live} /> : live.problem.value === '' && <Skeleton lines={8} />}
    </Page>
  )
}

function Picture({ live }: { readonly live: LiveMesh }) {
  const [isTable, setTable] = useState(false)
  const state = live.state.value
  const { mesh } = words.value
  const nodes = [...state.nodes.values()].sort(byName)
  return (
    <>
      <Figures live={live} state={state} />
      <Section
        title={mesh.topology}
        actions={<Switch label={mesh.asTable} isFirst isOn={isTable} onChange={setTable} />}
      >
        {isTable ? (
          <NodeTable nodes={nodes} running={(peerId) => runningOn(state, peerId).length} />
        ) : (
          <Topology state={state} devices={live.extras.value.devices} />
        )}
      </Section>
      <Invitation nodes={nodes} />
      <Nodes nodes={nodes} />
      <QueueSection live={live} state={state} />
      <Courses series={live.series.value} />
      <Section title={mesh.activity}>
        <Activity live={live} />
      </Section>
    </>
  )
}

/** This machine first: it is the one in the middle. */
const byName = (a: MeshNode, b: MeshNode): number =>
  Number(b.isSelf) - Number(a.isSelf) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)

function Figures({ live, state }: { readonly live: LiveMesh; readonly state: MeshState }) {
  const { mesh } = words.value
  const open = openTasks(state)
  const running = open.filter((task) => task.state === 'running').length
  const nodes = [...state.nodes.values()]
  const there = nodes.filter(({ isEligible }) => isEligible).length
  const rate = live.series.value.tokensPerSecond.at(-1) ?? 0
  return (
    <div class="mesh-figures">
      <Stat
        label={mesh.nodes}
        value={format.number(there)}
        {...(there < nodes.length && { detail: mesh.ofAll(format.number(nodes.length)) })}
      />
      <Stat label={mesh.running} value={format.number(running)} />
      <Stat label={mesh.queue} value={format.number(open.length - running)} />
      <Stat label={mesh.chartTokens} value={format.number(Math.round(rate))} />
    </div>
  )
}

function Invitation({ nodes }: { readonly nodes: readonly MeshNode[] }) {
  const { mesh } = words.value
  const hasModels = nodes.some(({ models }) => models.length > 0)
  if (nodes.length > 1 && hasModels) return null
  const isAlone = hasModels
  return (
    <Notice tone={isAlone ? 'info' : 'warning'} title={isAlone ? mesh.aloneTitle : mesh.noNodesTitle}>
      <div class="mesh-invitation">
        <p>{isAlone ? mesh.alone : mesh.noNodes}</p>
        <Copyable text="skein invite" isCommand label={mesh.sameCommand} />
        <p>
          {mesh.aloneThen} <a href="/join">{mesh.pair}</a>
        </p>
      </div>
    </Notice>
  )
}

function Nodes({ nodes }: { readonly nodes: readonly MeshNode[] }) {
  const [query, setQuery] = useState('')
  const [isAll, setAll] = useState(false)
  const { mesh } = words.value
  const wanted = query.trim().toLowerCase()
  const shown = nodes.filter(
    ({ name, models }) =>
      wanted === '' || [name, ...models.map((model) => model.name)].some((text) => text.toLowerCase().includes(wanted)),
  )
  return (
    <Section title={mesh.nodes} description={mesh.nodesCount(nodes.length)}>
      {nodes.length >= SEARCHED_FROM && (
        <Field
          label={mesh.findNode}
          placeholder={mesh.findNode}
          isLabelHidden
          type="search"
          value={query}
          onInput={setQuery}
        />
      )}
      {shown.length === 0 && nodes.length > 0 && <Empty icon="search" title={mesh.noneFound} />}
      <NodeCards nodes={isAll ? shown : shown.slice(0, CARDS_FIRST)} />
      {!isAll && shown.length > CARDS_FIRST && (
        <Button class="mesh-more" onClick={() => setAll(true)}>
          {mesh.showAll(format.number(shown.length))}
        </Button>
      )}
    </Section>
  )
}

function QueueSection({ live, state }: { readonly live: LiveMesh; readonly state: MeshState }) {
  const now = useNow(live, 1000)
  const { mesh } = words.value
  return (
    <Section title={mesh.queue} description={mesh.queueAbout}>
      <QueueList classes={queueOf(state)} now={now} />
    </Section>
  )
}
