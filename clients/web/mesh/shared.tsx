/** What several pages of the mesh are made of. */
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks'
import { isVisible, onVisibility, systemClock } from '../platform/index.ts'
import { Badge, Notice, type Tone } from '../ui/index.ts'
import { format, words } from '../words/index.ts'
import { liveMeshOf, type LiveMesh } from './live.ts'
import type { NodeCondition } from './model.ts'
import type { MeshGateway } from './ports.ts'
import type { MeshNode, TaskState } from './types.ts'

/** The live picture, for as long as the component is there. */
export function useLive(gateway: MeshGateway): LiveMesh {
  const live = useMemo(
    () => liveMeshOf({ gateway, clock: systemClock, visibility: { isVisible, onVisibility } }),
    [gateway],
  )
  useEffect(() => live.watch(), [live])
  return live
}

/** The coordinator's wall clock, read every `everyMs`; it stands still while `isPaused` and while nobody can see it. */
export function useNow(live: LiveMesh, everyMs: number, isPaused = false): number {
  const [now, setNow] = useState(() => live.nowMs())
  useEffect(() => {
    if (isPaused) return
    setNow(live.nowMs())
    return systemClock.every(everyMs, () => isVisible() && setNow(live.nowMs()))
  }, [live, everyMs, isPaused])
  return now
}

/** The width of an element in CSS pixels, as it is and as it becomes. */
export function useWidth(): readonly [ref: { current: HTMLDivElement | null }, width: number] {
  const ref = useRef<HTMLDivElement>(null)
  const [width, setWidth] = useState(0)
  useLayoutEffect(() => {
    const element = ref.current
    if (element === null) return
    const measure = (): void => setWidth(Math.floor(element.clientWidth))
    measure()
    const observer = new ResizeObserver(measure)
    observer.observe(element)
    return () => observer.disconnect()
  }, [])
  return [ref, width]
}

/** Whether the system asks for no motion that is not needed. */
export function useCalm(): boolean {
  const query = useMemo(() => matchMedia('(prefers-reduced-motion: reduce)'), [])
  const [isCalm, setCalm] = useState(query.matches)
  useEffect(() => {
    const change = (): void => setCalm(query.matches)
    query.addEventListener('change', change)
    return () => query.removeEventListener('change', change)
  }, [query])
  return isCalm
}

/** The word for a key of the API; the key itself, where it came later than the words. */
export const named = (names: Readonly<Record<string, string>>, key: string): string =>
  Object.hasOwn(names, key) ? names[key]! : key

export const CONDITION_TONES: Readonly<Record<NodeCondition, Tone>> = {
  joining: 'info',
  ready: 'good',
  busy: 'accent',
  draining: 'warning',
  cordoned: 'warning',
  paused: 'warning',
  suspect: 'warning',
  lost: 'danger',
  idle: 'neutral',
}

export function ConditionBadge({ condition }: { readonly condition: NodeCondition }) {
  const { states, stateHints } = words.value.mesh
  return (
    <Badge tone={CONDITION_TONES[condition]} hasDot title={stateHints[condition]}>
      {states[condition]}
    </Badge>
  )
}

export const TASK_TONES: Readonly<Record<TaskState, Tone>> = {
  queued: 'info',
  running: 'accent',
  completed: 'good',
  failed: 'danger',
  cancelled: 'neutral',
  expired: 'warning',
  rejected: 'danger',
}

export function TaskBadge({ state, code }: { readonly state: TaskState; readonly code?: string | undefined }) {
  return (
    <Badge tone={TASK_TONES[state]} hasDot {...(code !== undefined && { title: code })}>
      {words.value.mesh.taskStates[state]}
    </Badge>
  )
}

/** Why the picture is not what is; nothing while it is. */
export function Trouble({ live }: { readonly live: LiveMesh }) {
  const problem = live.problem.value
  if (problem === '') return null
  const { problems, retry } = words.value.mesh
  return (
    <Notice
      tone={problem === 'offline' ? 'warning' : 'danger'}
      title={problems[problem]}
      action={{ label: retry, onClick: () => live.refresh() }}
    />
  )
}

/** Ms as people read them: with one digit behind the point below 10. */
export const millis = (ms: number): string =>
  ms < 1000 ? `${format.number(ms, { maximumFractionDigits: ms < 10 ? 1 : 0 })} ms` : format.duration(ms)

/** The best of all models: tokens a second that it writes for one answer. */
export function bestSpeed(node: MeshNode): number | undefined {
  const speeds = node.models.flatMap(({ speed }) => (speed?.decode[0] ? [speed.decode[0].tokensPerSecond] : []))
  return speeds.length === 0 ? undefined : Math.max(...speeds)
}

/** Of the models that are in memory, which are those that can answer now. */
export function slotsOf({ models }: MeshNode): { readonly used: number; readonly all: number } {
  const resident = models.filter(({ residency }) => residency === 'resident')
  return {
    used: resident.reduce((sum, { slotsInUse }) => sum + slotsInUse, 0),
    all: resident.reduce((sum, { slots }) => sum + slots, 0),
  }
}

export function memoryOf({ hardware, load }: MeshNode): { readonly used: number; readonly all: number } | undefined {
  if (hardware === undefined || load === undefined || hardware.memoryBytes === 0) return undefined
  return { used: Math.max(0, hardware.memoryBytes - load.memoryFreeBytes), all: hardware.memoryBytes }
}

export interface Sensed {
  /** `61 °C`. */
  readonly heat?: string
  /** `38 W`. */
  readonly watts?: string
}

/** What the machine tells of itself; of one that is away nobody knows it. */
export function sensedOf({ state, load }: MeshNode): Sensed {
  if (state === 'disconnected' || load === undefined) return {}
  const { celsius, watts } = words.value.mesh
  const whole = (value: number): string => format.number(Math.round(value))
  return {
    ...(load.temperatureCelsius !== undefined && { heat: celsius(whole(load.temperatureCelsius)) }),
    ...(load.watts !== undefined && { watts: watts(whole(load.watts)) }),
  }
}

export const nodeHref = (peerId: string): string => `/mesh/nodes/${encodeURIComponent(peerId)}`
export const taskHref = (taskId: string): string => `/tasks/${encodeURIComponent(taskId)}`

/** The same task is never two things, and nobody reads all of its id. */
export const shortId = (taskId: string): string => taskId.replace(/^task_/, '').slice(0, 8)

/** `''`: a name as a shell takes it. */
export const quoted = (name: string): string =>
  /^[\w@%+=:,./-]+$/.test(name) ? name : `'${name.replaceAll("'", `'\\''`)}'`
