/** Tasks as a table: what the lanes show, as text. */
import { Table, type Column } from '../ui/index.ts'
import { format, words } from '../words/index.ts'
import type { LiveMesh } from './live.ts'
import { isOpen, type LiveTask } from './model.ts'
import { named, TaskBadge, taskHref, useNow } from './shared.tsx'

interface TaskTableProps {
  /** What they are, for readers of screens; “Tasks” when absent. */
  readonly label?: string
  readonly tasks: readonly LiveTask[]
  readonly live: LiveMesh
}

export function TaskTable({ label, tasks, live }: TaskTableProps) {
  const now = useNow(live, 1000)
  const { mesh } = words.value
  const tookMs = (task: LiveTask): number => (task.endedAtMs ?? now) - task.admittedAtMs
  const columns: readonly Column<LiveTask>[] = [
    { id: 'model', label: mesh.model, cell: (task) => task.model, sortBy: (task) => task.model },
    {
      id: 'state',
      label: mesh.state,
      cell: (task) => <TaskBadge state={task.state} code={task.code} />,
      sortBy: (task) => mesh.taskStates[task.state],
    },
    { id: 'where', label: mesh.where, cell: whereText, sortBy: whereText },
    {
      id: 'tokens',
      label: mesh.tokens,
      isNumeric: true,
      cell: (task) => format.number(task.tokens),
      sortBy: (task) => task.tokens,
    },
    {
      id: 'took',
      label: mesh.took,
      isNumeric: true,
      isWide: true,
      cell: (task) => format.duration(Math.max(0, tookMs(task))),
      sortBy: tookMs,
    },
    {
      id: 'attempts',
      label: mesh.attempts,
      isNumeric: true,
      isWide: true,
      cell: (task) => task.attempts,
      sortBy: (task) => task.attempts,
    },
    {
      id: 'priority',
      label: mesh.priority,
      isWide: true,
      cell: (task) => mesh.priorities[task.priority],
      sortBy: (task) => task.priority,
    },
    {
      id: 'client',
      label: mesh.client,
      isWide: true,
      cell: (task) => (task.tenant === 'local' ? mesh.local : task.tenant),
      sortBy: (task) => task.tenant,
    },
    {
      id: 'age',
      label: mesh.age,
      isNumeric: true,
      cell: (task) => format.relative(Math.min(task.admittedAtMs, now), now),
      sortBy: (task) => task.admittedAtMs,
    },
  ]
  return (
    <Table
      label={label ?? mesh.tasks}
      columns={columns}
      rows={tasks}
      rowKey={(task) => task.taskId}
      rowHref={(task) => taskHref(task.taskId)}
      firstSort={{ column: 'age', isDescending: true }}
    />
  )
}

/** `desk → attic`, when its way is known. */
export function whereText(task: LiveTask): string {
  const names = task.bars.map((bar) => bar.node.name)
  if (names.length > 1) return names.slice(-3).join(' → ')
  return task.node?.name ?? (isOpen(task) ? '…' : '—')
}

/** Why it moved the last time. */
export function moveText(task: LiveTask): string {
  const reason = task.bars.at(-1)?.reason
  return reason === undefined || reason === 'first' ? '' : named(words.value.mesh.moveReasons, reason)
}
