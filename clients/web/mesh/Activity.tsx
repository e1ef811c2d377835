/** What happened lately, in words, the newest first. */
import { format, words } from '../words/index.ts'
import type { LiveMesh } from './live.ts'
import { activityOf, type Happening } from './model.ts'
import { named, taskHref, useNow } from './shared.tsx'

const SHOWN_MAX = 12

export function Activity({ live }: { readonly live: LiveMesh }) {
  const now = useNow(live, 5000)
  const happenings = activityOf(live.state.value)
  if (happenings.length === 0) return <p class="mesh-muted">{words.value.mesh.noActivity}</p>
  return (
    <ol class="mesh-activity" role="list">
      {happenings.slice(0, SHOWN_MAX).map((happening) => (
        <li key={happening.event} class={`mesh-activity-${toneOf(happening.type)}`}>
          <Line happening={happening} />
          <time dateTime={new Date(happening.atMs).toISOString()}>
            {format.relative(Math.min(happening.atMs, now), now)}
          </time>
        </li>
      ))}
    </ol>
  )
}

function Line({ happening }: { readonly happening: Happening }) {
  const { taskId } = happening
  const text = sentence(happening)
  return taskId === undefined ? <span>{text}</span> : <a href={taskHref(taskId)}>{text}</a>
}

function sentence({ type, model = '', node = '', reason = '' }: Happening): string {
  const { happened, moveReasons, taskStates } = words.value.mesh
  const why = type === 'task.ended' ? named(taskStates, reason).toLowerCase() : named(moveReasons, reason)
  const say = (happened as Readonly<Record<string, (what: string, where: string, why: string) => string>>)[
    type.startsWith('replica.') ? 'replica' : type
  ]
  return say === undefined ? type : say(model, node, why)
}

const toneOf = (type: string): string =>
  type === 'node.lost' || type === 'replica.failed'
    ? 'danger'
    : type === 'task.moved' || type === 'node.draining'
      ? 'warning'
      : 'plain'
