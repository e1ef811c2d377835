/** `/tasks`: what is asked of the mesh, as lanes over time and as a table, and what waits. */
import { useState } from 'preact/hooks'
import { Button, Copyable, Empty, Page, Section, Select, Skeleton, Switch } from '../ui/index.ts'
import { words } from '../words/index.ts'
import { LanesChart } from './LanesChart.tsx'
import type { LiveMesh } from './live.ts'
import './mesh.css'
import { isOpen, queueOf, type LiveTask } from './model.ts'
import type { MeshPageProps } from './ports.ts'
import { QueueList } from './Queue.tsx'
import { Trouble, useCalm, useLive, useNow } from './shared.tsx'
import { TaskTable } from './TaskTable.tsx'

const FILTERS = ['all', 'open', 'moved', 'ended', 'failed'] as const
type Filter = (typeof FILTERS)[number]
const SPANS = ['60', '300', '900'] as const
type Span = (typeof SPANS)[number]

/** How often the lanes move on; those who want no motion see them move seldom. */
const STEP_MS = 200
const CALM_STEP_MS = 2000

const isShown: Readonly<Record<Filter, (task: LiveTask) => boolean>> = {
  all: () => true,
  open: isOpen,
  moved: ({ attempts }) => attempts > 1,
  ended: (task) => !isOpen(task),
  failed: (task) => !isOpen(task) && task.state !== 'completed',
}

/** The shortest that shows what was last. */
function spanFor(live: LiveMesh): Span {
  const ends = [...live.state.peek().tasks.values()].map((task) => task.endedAtMs ?? live.nowMs())
  const agoMs = live.nowMs() - Math.max(0, ...ends)
  return SPANS.find((span) => agoMs < Number(span) * 1000) ?? SPANS[0]
}

export function TasksPage({ gateway }: MeshPageProps) {
  const live = useLive(gateway)
  const { mesh } = words.value
  return (
    <Page title={mesh.tasks} description={mesh.tasksAbout} width="wide">
      <Trouble live={live} />
      {live.isLoaded.value ? <Tasks live={live} /> : live.problem.value === '' && <Skeleton lines={8} />}
    </Page>
  )
}

function Tasks({ live }: { readonly live: LiveMesh }) {
  const [filter, setFilter] = useState<Filter>('all')
  const [span, setSpan] = useState<Span>(() => spanFor(live))
  const [isTable, setTable] = useState(false)
  const [frozen, setFrozen] = useState<readonly LiveTask[]>()
  const { mesh } = words.value
  const current = [...live.state.value.tasks.values()]
  const tasks = (frozen ?? current).filter(isShown[filter])
  return (
    <>
      <Queue live={live} />
      <div class="mesh-toolbar">
        <Select
          label={mesh.filter}
          isLabelHidden
          value={filter}
          onChange={setFilter}
          options={FILTERS.map((value) => ({ value, label: mesh.filters[value] }))}
        />
        {!isTable && (
          <Select
            label={mesh.span}
            isLabelHidden
            value={span}
            onChange={setSpan}
            options={SPANS.map((value) => ({ value, label: mesh.spans[value] }))}
          />
        )}
        <Button
          icon={frozen === undefined ? 'pause' : 'play'}
          aria-pressed={frozen !== undefined}
          onClick={() => setFrozen(frozen === undefined ? current : undefined)}
        >
          {frozen === undefined ? mesh.pause : mesh.resume}
        </Button>
        <Switch label={mesh.asTable} isFirst isOn={isTable} onChange={setTable} />
      </div>
      <Content
        live={live}
        tasks={tasks}
        hasAny={current.length > 0}
        isTable={isTable}
        isPaused={frozen !== undefined}
        span={span}
      />
    </>
  )
}

interface ContentProps {
  readonly live: LiveMesh
  readonly tasks: readonly LiveTask[]
  readonly hasAny: boolean
  readonly isTable: boolean
  readonly isPaused: boolean
  readonly span: Span
}

function Content({ live, tasks, hasAny, isTable, isPaused, span }: ContentProps) {
  const { mesh } = words.value
  const now = useNow(live, useCalm() ? CALM_STEP_MS : STEP_MS, isPaused || isTable)
  if (!hasAny)
    return (
      <Empty
        icon="tasks"
        title={mesh.noTasksTitle}
        action={<Copyable text="skein chat" isCommand label={mesh.sameCommand} />}
      >
        {mesh.noTasks}
      </Empty>
    )
  if (isTable)
    return tasks.length === 0 ? (
      <Empty icon="tasks" title={mesh.noneOfState} />
    ) : (
      <TaskTable tasks={tasks} live={live} />
    )
  return (
    <Section title={mesh.lanes} description={mesh.lanesAbout}>
      <LanesChart
        nodes={[...live.state.value.nodes.values()]}
        tasks={tasks}
        window={{ fromMs: now - Number(span) * 1000, toMs: now }}
      />
    </Section>
  )
}

function Queue({ live }: { readonly live: LiveMesh }) {
  const now = useNow(live, 1000)
  const { queue } = words.value.mesh
  const classes = queueOf(live.state.value)
  // an empty queue takes no place here: the lanes are what one comes for
  if (classes.every(({ waiting }) => waiting.length === 0)) return null
  return (
    <Section title={queue}>
      <QueueList classes={classes} now={now} />
    </Section>
  )
}
