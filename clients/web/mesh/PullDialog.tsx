/** Has the coordinator's machine fetch a model, and shows how far it is. */
import { useEffect, useRef, useState } from 'preact/hooks'
import { SkeinApiError } from '../../sdk/index.ts'
import { Button, Copyable, Dialog, Field, Notice, Progress, showToast } from '../ui/index.ts'
import { format, words } from '../words/index.ts'
import type { LiveMesh } from './live.ts'
import type { MeshGateway } from './ports.ts'
import { isPullable, pull, type PullProgress } from './pull.ts'
import { quoted } from './shared.tsx'

interface PullProps {
  readonly gateway: MeshGateway
  readonly live: LiveMesh
  readonly onClose: () => void
}

/** Small enough for a laptop, and good for their size. */
const SUGGESTIONS = [
  'hf:bartowski/Llama-3.2-1B-Instruct-GGUF',
  'hf:bartowski/Qwen2.5-1.5B-Instruct-GGUF',
  'hf:bartowski/Llama-3.2-3B-Instruct-GGUF',
] as const

export function PullDialog({ gateway, live, onClose }: PullProps) {
  const [model, setModel] = useState('')
  const [progress, setProgress] = useState<PullProgress>()
  const [ended, setEnded] = useState<'stopped' | { readonly problem: string }>()
  const running = useRef<AbortController | undefined>(undefined)
  useEffect(() => () => running.current?.abort(), [])
  const { mesh } = words.value
  const name = model.trim()
  const start = async (): Promise<void> => {
    const stop = new AbortController()
    running.current = stop
    setEnded(undefined)
    setProgress({ status: '' })
    try {
      const served = await pull(gateway, name, setProgress, stop.signal)
      live.refresh()
      showToast({ text: mesh.pulled(served), tone: 'good' })
      onClose()
    } catch (thrown) {
      setEnded(stop.signal.aborted ? 'stopped' : { problem: problemText(thrown) })
    } finally {
      setProgress(undefined)
      running.current = undefined
    }
  }
  const isRunning = progress !== undefined
  const isWrong = name !== '' && !isPullable(name)
  const actions = isRunning ? (
    <Button onClick={() => running.current?.abort()}>{mesh.pullStop}</Button>
  ) : (
    <Button kind="primary" icon="download" disabled={name === '' || isWrong} onClick={() => void start()}>
      {mesh.pullStart}
    </Button>
  )
  return (
    <Dialog title={mesh.pull} onClose={onClose} actions={actions}>
      <form
        class="mesh-pull"
        onSubmit={(event) => {
          event.preventDefault()
          if (!isRunning && name !== '' && !isWrong) void start()
        }}
      >
        <p class="mesh-muted">{mesh.pullAbout}</p>
        <Field
          label={mesh.pullLabel}
          hint={mesh.pullHint}
          error={isWrong ? mesh.pullWrong : undefined}
          value={model}
          onInput={setModel}
          placeholder={SUGGESTIONS[0]}
          disabled={isRunning}
          spellcheck={false}
          autofocus
        />
        {!isRunning && <Suggestions onChoose={setModel} />}
        {progress !== undefined && <Going model={name} progress={progress} />}
        {ended === 'stopped' && <Notice tone="info">{mesh.pullStopped}</Notice>}
        {typeof ended === 'object' && (
          <Notice tone="danger" title={mesh.pullFailed}>
            {ended.problem}
          </Notice>
        )}
        {name !== '' && !isWrong && <Copyable text={`skein pull ${quoted(name)}`} isCommand label={mesh.sameCommand} />}
      </form>
    </Dialog>
  )
}

function problemText(thrown: unknown): string {
  const { pullCut, notOwner } = words.value.mesh
  if (!(thrown instanceof SkeinApiError)) return pullCut
  return thrown.code === 'pull_cut' ? pullCut : thrown.status === 403 ? notOwner : thrown.message
}

function Suggestions({ onChoose }: { readonly onChoose: (model: string) => void }) {
  return (
    <div class="mesh-suggestions">
      <span class="mesh-muted">{words.value.mesh.suggestions}</span>
      {SUGGESTIONS.map((model) => (
        <Button key={model} size="s" onClick={() => onChoose(model)}>
          {model.slice(model.indexOf('/') + 1).replace(/-GGUF$/, '')}
        </Button>
      ))}
    </div>
  )
}

/** What a pull is at while nothing is counted, by the statuses of `POST /api/pull`. */
function stageText(status: string): string {
  const { pullStages } = words.value.mesh
  if (status === '' || status === 'pulling manifest') return pullStages.finding
  if (status.startsWith('pulling ')) return pullStages.fetching
  if (status.startsWith('verifying ')) return pullStages.checking
  return status.startsWith('serving ') ? pullStages.starting : status
}

function Going({
  model,
  progress: { status, total, completed = 0 },
}: {
  readonly model: string
  readonly progress: PullProgress
}) {
  const { pulling, pullOf } = words.value.mesh
  const text = total === undefined ? stageText(status) : pullOf(format.bytes(completed), format.bytes(total))
  return (
    <Progress label={pulling(model)} value={total === undefined ? undefined : completed} max={total ?? 1} text={text} />
  )
}
