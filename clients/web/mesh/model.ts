/**
 * The live picture of the mesh: a pure fold of snapshots (what the API says when it is asked) and of events (what it tells as
 * it happens). A snapshot is on its way while events go on, so that each says from which event on it cannot know
 * (`mark`); what happened since is not taken back by it.
 */
import { amount, readName, text } from './read.ts'
import {
  ENDED_STATES,
  PRIORITIES,
  type Bar,
  type EndedState,
  type ExplainedAttempt,
  type MeshNode,
  type Priority,
  type TaskState,
  type TaskSummary,
} from './types.ts'

/** Tasks that are remembered; those that ended first are forgotten first. */
export const TASKS_MAX = 400
export const HAPPENINGS_MAX = 60
/** Tasks that are asked for at once: as many as the API gives. */
export const TASKS_PAGE = 200

export interface LiveTask extends TaskSummary {
  /** One for each attempt that is known, the first one first. */
  readonly bars: readonly Bar[]
  /** Number of the last event that told of it; 0 where none did. */
  readonly event: number
}

/** Something that was told, for a list of what happened. */
export interface Happening {
  /** Its number among the events. */
  readonly event: number
  readonly type: string
  readonly atMs: number
  readonly taskId?: string
  readonly model?: string
  readonly node?: string
  /** Of a move why, of an end how. */
  readonly reason?: string
}

export interface MeshState {
  readonly nodes: ReadonlyMap<string, MeshNode>
  readonly tasks: ReadonlyMap<string, LiveTask>
  /** The newest first. */
  readonly happenings: readonly Happening[]
  /** Events so far. */
  readonly events: number
  /** Tokens that came since the page looks. */
  readonly generated: number
  /** Tasks that were admitted before are older than the page. */
  readonly sinceMs: number
  /** What an event has changed that it does not tell itself: to be asked for again. */
  readonly stale: { readonly nodes: boolean; readonly models: boolean; readonly tasks: boolean }
}

const FRESH: MeshState['stale'] = { nodes: false, models: false, tasks: false }

export const emptyMesh = (sinceMs: number): MeshState => ({
  nodes: new Map(),
  tasks: new Map(),
  happenings: [],
  events: 0,
  generated: 0,
  sinceMs,
  stale: FRESH,
})

/** An event of `GET /mesh/v1/events`. */
export interface MeshEvent {
  readonly type: string
  readonly atMs: number
  readonly [member: string]: unknown
}

export const isOpen = (task: Pick<TaskSummary, 'state'>): boolean => task.state === 'queued' || task.state === 'running'

export function withEvent(before: MeshState, event: MeshEvent): MeshState {
  const state = { ...before, events: before.events + 1 }
  const family = event.type.slice(0, event.type.indexOf('.'))
  if (event.type === 'events.missed') return { ...state, stale: { nodes: true, models: true, tasks: true } }
  if (family === 'task') return noted(withTaskEvent(state, event), event)
  if (family === 'node') return noted(withNodeEvent(state, event), event)
  if (family === 'replica') return noted({ ...state, stale: { ...state.stale, models: true, nodes: true } }, event)
  return before
}

function noted(state: MeshState, event: MeshEvent): MeshState {
  const { taskId, model, node, name } = event
  // of an end the event does not say where
  const last = state.tasks.get(text(taskId))?.node?.name
  const where = typeof node === 'object' ? readName(node).name : text(name) || (last ?? '')
  const reason = event['reason'] ?? event['outcome']
  const happening: Happening = {
    event: state.events,
    type: event.type,
    atMs: amount(event.atMs),
    ...(taskId !== undefined && { taskId: text(taskId) }),
    ...(model !== undefined && { model: text(model) }),
    ...(where !== '' && { node: where }),
    ...(reason !== undefined && { reason: text(reason) }),
  }
  return { ...state, happenings: [happening, ...state.happenings.slice(0, HAPPENINGS_MAX - 1)] }
}

function withNodeEvent(state: MeshState, event: MeshEvent): MeshState {
  const stale = { ...state.stale, nodes: true, models: true }
  const known = state.nodes.get(text(event['peerId']))
  const isGone = event.type === 'node.lost' || event.type === 'node.left'
  if (known === undefined || !isGone) return { ...state, stale }
  // shown at once; all else of it comes with the next answer
  const nodes = new Map(state.nodes).set(known.peerId, { ...known, state: 'disconnected', isEligible: false })
  return { ...state, nodes, stale }
}

const unknownTask = (event: MeshEvent): LiveTask => ({
  taskId: text(event['taskId']),
  model: text(event['model']),
  priority: 'default',
  tenant: text(event['key']),
  state: 'queued',
  // both are told with what ends the time that they measure
  admittedAtMs: Math.max(0, amount(event.atMs) - (amount(event['tookMs']) || amount(event['waitedMs']))),
  attempts: 0,
  tokens: 0,
  bars: [],
  event: 0,
})

function withTaskEvent(state: MeshState, event: MeshEvent): MeshState {
  const known = state.tasks.get(text(event['taskId']))
  const task = known ?? unknownTask(event)
  const next = { ...taskAfter(task, event), event: state.events }
  // a priority is told with the first event alone
  const isStranger = known === undefined && event.type !== 'task.queued'
  const stale = isStranger && isOpen(next) ? { ...state.stale, tasks: true } : state.stale
  return withTask({ ...state, stale }, next)
}

/** What is older than what is known changes nothing, so that an event which is told twice does not either. */
function taskAfter(task: LiveTask, event: MeshEvent): LiveTask {
  if (!isOpen(task)) return task
  const atMs = amount(event.atMs)
  switch (event.type) {
    case 'task.queued':
      return { ...task, priority: priorityOf(event['priority'], task.priority) }
    case 'task.started':
    case 'task.moved': {
      const attempt = amount(event['attempt'])
      if (attempt < task.attempts) return task
      const node = readName(event['node'])
      const reason = event.type === 'task.started' ? 'first' : text(event['reason'])
      const bars = withBar(task.bars, { attempt, node, fromMs: atMs, reason })
      return { ...task, state: 'running', attempts: attempt, node, bars }
    }
    case 'task.ended': {
      const tokens = Math.max(task.tokens, amount(event['completionTokens']))
      const state = endedState(event['outcome'])
      const code = event['code'] === undefined ? {} : { code: text(event['code']) }
      return { ...task, state, endedAtMs: atMs, tokens, bars: closed(task.bars, atMs), ...code }
    }
    default:
      return task
  }
}

const priorityOf = (value: unknown, otherwise: Priority): Priority =>
  PRIORITIES.includes(value as Priority) ? (value as Priority) : otherwise

const endedState = (outcome: unknown): EndedState =>
  ENDED_STATES.includes(outcome as EndedState) ? (outcome as EndedState) : 'failed'

const closed = (bars: readonly Bar[], toMs: number): readonly Bar[] =>
  bars.map((bar) => (bar.toMs === undefined ? { ...bar, toMs: Math.max(toMs, bar.fromMs) } : bar))

/** The bars before it end where it begins, as far as nobody said when. */
function withBar(bars: readonly Bar[], bar: Bar): readonly Bar[] {
  if (bars.some(({ attempt }) => attempt >= bar.attempt)) return bars
  return [...closed(bars, bar.fromMs), bar]
}

function withTask(state: MeshState, task: LiveTask): MeshState {
  const before = state.tasks.get(task.taskId)
  const isOlder = before === undefined && task.admittedAtMs < state.sinceMs
  const came = isOlder ? 0 : Math.max(0, task.tokens - (before?.tokens ?? 0))
  const tasks = new Map(state.tasks).set(task.taskId, task)
  return { ...state, tasks: bounded(tasks), generated: state.generated + came }
}

function bounded(tasks: Map<string, LiveTask>): Map<string, LiveTask> {
  if (tasks.size <= TASKS_MAX) return tasks
  const ended = [...tasks.values()].filter((task) => !isOpen(task))
  ended.sort((a, b) => (a.endedAtMs ?? 0) - (b.endedAtMs ?? 0))
  for (const { taskId } of ended.slice(0, tasks.size - TASKS_MAX)) tasks.delete(taskId)
  return tasks
}

/** `mark`: the `events` of the state when it was asked for. */
export function withNodes(state: MeshState, nodes: readonly MeshNode[], mark: number): MeshState {
  const isLate = state.happenings.some(({ event, type }) => event > mark && /^(node|replica)\./.test(type))
  return {
    ...state,
    nodes: new Map(nodes.map((node) => [node.peerId, node])),
    stale: { ...state.stale, nodes: isLate },
  }
}

export interface TaskSnapshot {
  /** All that have not ended. */
  readonly open: readonly TaskSummary[]
  /** The newest, in whatever state; nothing when only the open ones were asked for. */
  readonly recent?: readonly TaskSummary[]
  readonly mark: number
}

export function withTasks(before: MeshState, { open, recent = [], mark }: TaskSnapshot): MeshState {
  let state: MeshState = { ...before, stale: { ...before.stale, tasks: false } }
  // what was asked for first is older: a task may have ended between the two
  for (const summary of [...open, ...recent]) state = withTask(state, merged(state.tasks.get(summary.taskId), summary))
  // a page of them is not all of them
  if (open.length >= TASKS_PAGE) return state
  const listed = new Set(open.map(({ taskId }) => taskId))
  const lost = [...state.tasks.values()].filter(
    (task) => isOpen(task) && !listed.has(task.taskId) && task.event <= mark,
  )
  if (lost.length === 0) return state
  // they have ended, and nobody told how
  const tasks = new Map(state.tasks)
  for (const { taskId } of lost) tasks.delete(taskId)
  return { ...state, tasks, stale: { ...state.stale, tasks: true } }
}

function merged(known: LiveTask | undefined, summary: TaskSummary): LiveTask {
  if (known === undefined) return { ...summary, bars: barsOf(summary), event: 0 }
  const tokens = Math.max(known.tokens, summary.tokens)
  const isBehind = isOpen(summary) && (!isOpen(known) || summary.attempts < known.attempts)
  // who it is for, and since when, an event does not tell of a task that began before the page
  const { priority, tenant, admittedAtMs } = summary
  if (isBehind) return { ...known, priority, tenant, admittedAtMs, tokens }
  const bars = known.bars.at(-1)?.attempt === summary.attempts ? known.bars : barsAfter(known.bars, summary)
  return { ...known, ...summary, tokens, bars: isOpen(summary) ? bars : closed(bars, summary.endedAtMs ?? 0) }
}

/** Of a task with one attempt all is known but how long it waited; of others the bars come with the explanation. */
function barsOf({ attempts, node, admittedAtMs, endedAtMs }: TaskSummary): readonly Bar[] {
  if (attempts !== 1 || node === undefined) return []
  return [
    { attempt: 1, node, fromMs: admittedAtMs, reason: 'first', ...(endedAtMs !== undefined && { toMs: endedAtMs }) },
  ]
}

const barsAfter = (bars: readonly Bar[], summary: TaskSummary): readonly Bar[] =>
  bars.length > 0 ? bars : barsOf(summary)

/** Whether its bars lack attempts, which the explanation of the task tells. */
export const lacksBars = ({ attempts, bars }: LiveTask): boolean => bars.length < attempts

export function withAttempts(state: MeshState, taskId: string, attempts: readonly ExplainedAttempt[]): MeshState {
  const task = state.tasks.get(taskId)
  if (task === undefined || attempts.length < task.bars.length) return state
  const bars = attempts.map(({ attempt, node, atMs, endedAtMs, reason }, i): Bar => {
    const toMs = endedAtMs ?? attempts[i + 1]?.atMs ?? task.endedAtMs
    return { attempt, node, fromMs: atMs, reason, ...(toMs !== undefined && { toMs: Math.max(toMs, atMs) }) }
  })
  return { ...state, tasks: new Map(state.tasks).set(taskId, { ...task, bars }) }
}

export function openTasks(state: MeshState): LiveTask[] {
  return [...state.tasks.values()].filter(isOpen).sort((a, b) => a.admittedAtMs - b.admittedAtMs)
}

export function endedTasks(state: MeshState): LiveTask[] {
  return [...state.tasks.values()]
    .filter((task) => !isOpen(task))
    .sort((a, b) => (b.endedAtMs ?? b.admittedAtMs) - (a.endedAtMs ?? a.admittedAtMs))
}

export const runningOn = (state: MeshState, peerId: string): LiveTask[] =>
  openTasks(state).filter((task) => task.state === 'running' && task.node?.peerId === peerId)

/** Of each task the last alone, and its moves: what was asked, begun and answered is one thing to whoever looks. */
export function activityOf({ happenings }: MeshState): Happening[] {
  const told = new Set<string>()
  return happenings.filter(({ taskId, type }) => {
    if (taskId === undefined || type === 'task.moved') return true
    const isNew = !told.has(taskId)
    told.add(taskId)
    return isNew
  })
}

/** What a node is doing, in one word; `paused`: the policy of its owner takes no work now. */
export type NodeCondition =
  'joining' | 'ready' | 'busy' | 'draining' | 'cordoned' | 'paused' | 'suspect' | 'lost' | 'idle'

/** `idle`: it offers no inference, as a coordinator alone. */
export function conditionOf(node: MeshNode): NodeCondition {
  if (node.state === 'disconnected') return 'lost'
  if (node.state === 'suspect') return 'suspect'
  if (node.state === 'initializing') return 'joining'
  if (node.load?.paused !== undefined) return 'paused'
  if (node.load?.isDraining === true) return 'draining'
  if (node.load?.isCordoned === true) return 'cordoned'
  if (!node.roles.includes('node') && node.models.length === 0) return 'idle'
  return node.models.some(({ slotsInUse }) => slotsInUse > 0) ? 'busy' : 'ready'
}

export interface QueueClass {
  readonly priority: Priority
  readonly waiting: readonly LiveTask[]
  /** When the one that waits longest was admitted. */
  readonly oldestAtMs: number | undefined
}

/** What waits, the most urgent class first. */
export function queueOf(state: MeshState): QueueClass[] {
  const waiting = openTasks(state).filter((task) => task.state === 'queued')
  return PRIORITIES.map((priority) => {
    const own = waiting.filter((task) => task.priority === priority)
    return { priority, waiting: own, oldestAtMs: own[0]?.admittedAtMs }
  })
}

export type { TaskState }
