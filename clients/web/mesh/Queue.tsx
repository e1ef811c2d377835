/** What waits for a slot, by class, with its age. */
import { Meter } from '../ui/index.ts'
import { format, words } from '../words/index.ts'
import type { QueueClass } from './model.ts'
import { shortId, taskHref } from './shared.tsx'

/** Of one class; the number beside it says how many more there are. */
const SHOWN_MAX = 5

interface QueueProps {
  readonly classes: readonly QueueClass[]
  readonly now: number
}

export function QueueList({ classes, now }: QueueProps) {
  const { queueEmpty, priorities, waiting, oldest } = words.value.mesh
  const longest = Math.max(1, ...classes.map((own) => own.waiting.length))
  const busy = classes.filter((own) => own.waiting.length > 0)
  if (busy.length === 0) return <p class="mesh-muted">{queueEmpty}</p>
  return (
    <ul class="mesh-queue" role="list">
      {busy.map(({ priority, waiting: own, oldestAtMs }) => (
        <li key={priority}>
          <Meter
            label={priorities[priority]}
            value={own.length}
            max={longest}
            text={`${waiting(own.length)} · ${oldest(format.duration(Math.max(0, now - (oldestAtMs ?? now))))}`}
            tone={priority === 'interactive' || priority === 'system' ? 'warning' : 'info'}
          />
          <p class="mesh-queue-tasks">
            {own.slice(0, SHOWN_MAX).map((task) => (
              <a key={task.taskId} href={taskHref(task.taskId)}>
                {task.model} <code>{shortId(task.taskId)}</code>
              </a>
            ))}
            {own.length > SHOWN_MAX && <span class="mesh-muted">+{own.length - SHOWN_MAX}</span>}
          </p>
        </li>
      ))}
    </ul>
  )
}
