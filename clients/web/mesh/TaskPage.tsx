/** `/tasks/:id`: where a task went, and why; what was expected beside what was observed. */
import { useEffect, useState } from 'preact/hooks'
import { SkeinApiError } from '../../sdk/index.ts'
import { Badge, Button, Card, Confirm, Copyable, Empty, Notice, Page, Pairs, Section, Skeleton } from '../ui/index.ts'
import { format, words } from '../words/index.ts'
import type { LiveMesh } from './live.ts'
import './mesh.css'
import './task.css'
import { isOpen } from './model.ts'
import type { MeshGateway, MeshPageProps } from './ports.ts'
import { readExplanation } from './read.ts'
import { millis, named, shortId, TaskBadge, Trouble, useLive } from './shared.tsx'
import type { ExplainedAttempt, Explanation } from './types.ts'
import { Why } from './Why.tsx'

/** A text is why there is none. */
type Asked = Explanation | string | undefined

export function TaskPage({ gateway, taskId }: MeshPageProps & { readonly taskId: string }) {
  const live = useLive(gateway)
  const asked = useExplanation(gateway, live, taskId)
  const { mesh } = words.value
  const explanation = typeof asked === 'object' ? asked : undefined
  return (
    <Page
      title={explanation?.model || `${mesh.task} ${shortId(taskId)}`}
      back={{ href: '/tasks', label: mesh.tasks }}
      width="wide"
      actions={
        explanation !== undefined && <TaskBadge state={explanation.state} code={explanation.result?.error?.code} />
      }
    >
      <Trouble live={live} />
      {explanation !== undefined ? (
        <Explained gateway={gateway} live={live} explanation={explanation} taskId={taskId} />
      ) : asked === undefined ? (
        <Skeleton lines={8} />
      ) : (
        <Empty icon="tasks" title={String(asked)} />
      )}
    </Page>
  )
}

/** It is asked for again whenever something of the task has changed. */
function useExplanation(gateway: MeshGateway, live: LiveMesh, taskId: string): Asked {
  const [asked, setAsked] = useState<Asked>()
  const task = live.state.value.tasks.get(taskId)
  const version = task === undefined ? '' : `${task.state} ${task.attempts} ${isOpen(task) ? task.tokens : ''}`
  useEffect(() => {
    const left = new AbortController()
    gateway
      .get(`/mesh/v1/tasks/${encodeURIComponent(taskId)}/explain`, left.signal)
      .then((body) => setAsked(readExplanation(body)))
      .catch((thrown: unknown) => {
        if (left.signal.aborted) return
        if (thrown instanceof SkeinApiError && (thrown.status === 404 || thrown.status === 400))
          return setAsked(words.peek().mesh.unknownTask)
        setAsked((known) =>
          typeof known === 'object' ? known : thrown instanceof Error ? thrown.message : String(thrown),
        )
      })
    return () => left.abort()
  }, [gateway, taskId, version])
  return asked
}

interface ExplainedProps {
  readonly gateway: MeshGateway
  readonly live: LiveMesh
  readonly explanation: Explanation
  readonly taskId: string
}

function Explained({ gateway, live, explanation, taskId }: ExplainedProps) {
  const { mesh } = words.value
  const { attempts, result } = explanation
  return (
    <>
      {result?.error !== undefined && (
        <Notice tone="danger" title={result.error.code}>
          {result.error.message}
        </Notice>
      )}
      <Card>
        <Pairs pairs={pairsOf(explanation, taskId)} />
        <div class="mesh-task-foot">
          <Copyable text={`skein explain ${taskId}`} isCommand label={mesh.explainCommand} />
          {isOpen(explanation) && <CancelTask gateway={gateway} live={live} taskId={taskId} />}
        </div>
      </Card>
      {attempts.length === 0 && <p class="mesh-muted">{isOpen(explanation) ? mesh.notPlaced : mesh.kept}</p>}
      {attempts.length > 1 && <Journey attempts={attempts} />}
      {attempts.toReversed().map((attempt) => (
        <Section
          key={attempt.attempt}
          title={attempts.length === 1 ? mesh.why : mesh.attemptAt(attempt.attempt, attempt.node.name)}
          {...(attempt === attempts.at(-1) && { description: mesh.whyAbout })}
        >
          <Why attempt={attempt} />
        </Section>
      ))}
    </>
  )
}

function pairsOf(
  { priority, isLocalOnly, position, result, tokens, state }: Explanation,
  taskId: string,
): (readonly [string, string])[] {
  const { mesh } = words.value
  const wanted = [mesh.priorities[priority], ...(isLocalOnly ? [mesh.localOnly] : [])]
  const pairs: (readonly [string, string])[] = [
    [mesh.task, taskId],
    [mesh.priority, wanted.join(' · ')],
  ]
  if (position !== undefined) pairs.push([mesh.state, mesh.position(position)])
  if (result?.promptTokens !== undefined) {
    const cached = result.cachedTokens ?? 0
    const kept = cached > 0 ? ` · ${mesh.cachedTokens(format.number(cached))}` : ''
    pairs.push([mesh.promptTokens, `${format.number(result.promptTokens)}${kept}`])
  }
  pairs.push([mesh.answerTokens, format.number(result?.completionTokens ?? tokens)])
  if (result?.queuedMs !== undefined) pairs.push([mesh.queued, millis(result.queuedMs)])
  if (result?.firstTokenMs !== undefined) pairs.push([mesh.firstToken, millis(result.firstTokenMs)])
  const { decodeMs = 0, completionTokens = 0 } = result ?? {}
  if (decodeMs > 0 && completionTokens > 1 && state === 'completed')
    pairs.push([mesh.speed, mesh.tokensPerSecond(format.number(Math.round((completionTokens / decodeMs) * 1000)))])
  return pairs
}

/** From node to node, with why. */
function Journey({ attempts }: { readonly attempts: readonly ExplainedAttempt[] }) {
  const { attempts: label, moveReasons, fromToken } = words.value.mesh
  return (
    <Section title={label}>
      <ol class="mesh-journey" role="list">
        {attempts.map(({ attempt, node, reason, from, atMs }) => (
          <li key={attempt}>
            <strong>{node.name}</strong>
            <Badge tone={reason === 'first' ? 'neutral' : 'warning'}>{named(moveReasons, reason)}</Badge>
            {from > 0 && <span class="mesh-muted">{fromToken(format.number(from))}</span>}
            <time class="mesh-muted" dateTime={new Date(atMs).toISOString()}>
              {format.time(atMs)}
            </time>
          </li>
        ))}
      </ol>
    </Section>
  )
}

function CancelTask({ gateway, live, taskId }: Pick<ExplainedProps, 'gateway' | 'live' | 'taskId'>) {
  const [isAsked, setAsked] = useState(false)
  const { mesh } = words.value
  const cancel = async (): Promise<void> => {
    await gateway.send('POST', `/mesh/v1/tasks/${encodeURIComponent(taskId)}/cancel`)
    live.refresh()
  }
  return (
    <>
      <Button kind="danger" icon="stop" onClick={() => setAsked(true)}>
        {mesh.cancel}
      </Button>
      {isAsked && (
        <Confirm
          title={mesh.cancelAsk}
          confirmLabel={mesh.cancel}
          isDanger
          command={`skein cancel ${taskId}`}
          onConfirm={cancel}
          onClose={() => setAsked(false)}
        >
          <p>{mesh.cancelAbout}</p>
        </Confirm>
      )}
    </>
  )
}
