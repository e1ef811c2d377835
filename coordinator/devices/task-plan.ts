/**
 * What a device task does next, as a function of what is known: no clock, no store, no desk. Devices that are ready come
 * before those that sleep, then those that failed least, then those that answer soonest. A device is called once in a pass;
 * another one, or the same again, only when the first certainly did not act, or was only read.
 */
import { LIMITS, SkeinError, type CallOp, type DeviceLevel } from '../../mesh/protocol/index.ts'
import { checkAllowed, checkedValue } from './checks.ts'
import type { StoredDevice } from './store.ts'
import type {
  PassEnd,
  StoredTask,
  StoredTaskCall,
  TaskCallEnd,
  TaskOutcome,
  TaskSelect,
  TaskSpec,
} from './task-types.ts'

/** A device that a task means. */
export interface Candidate {
  readonly id: string
  readonly isReady: boolean
  /** Why it is not called. What passes is waited for. */
  readonly flaw?: { readonly why: string; readonly isPassing: boolean }
  /** Another call of a task runs there. */
  readonly isLeased: boolean
  /** Of its last calls. */
  readonly failures: number
  /** From a call to its end, on average; absent before the first. */
  readonly tookMs?: number
}

/** What the planner is told of a device beside what is recorded. */
export interface DeviceFacts {
  readonly isBridgeOnline: boolean
  readonly isLeased: boolean
  readonly failures: number
  readonly tookMs?: number
}

export interface PassInput {
  readonly spec: TaskSpec
  readonly candidates: readonly Candidate[]
  /** Of this pass. */
  readonly calls: readonly StoredTaskCall[]
  readonly pass: number
  readonly passAtMs: number
  readonly nowMs: number
  /** Calls that may be begun now. */
  readonly room: number
}

export interface PassPlan {
  /** Devices to be called now. */
  readonly begin: readonly string[]
  /** It needs a device and has none: to be asked again when devices, leases or room change. */
  readonly isWaiting: boolean
  /** When to ask again whatever happens. */
  readonly lookAtMs?: number
  readonly end?: PassEnd
}

export interface StepInput {
  readonly task: StoredTask
  /** Of its newest pass. */
  readonly calls: readonly StoredTaskCall[]
  readonly candidates: () => readonly Candidate[]
  readonly nowMs: number
  readonly room: number
}

export interface Step extends PassPlan {
  /** As it is from now on; the one that was given when nothing has changed. */
  readonly task: StoredTask
}

/** Before the same device is tried again; doubles with each try. */
const AGAIN_MS = 1000
const AGAIN_MS_MAX = 60_000
const REASON_LENGTH_MAX = 200

/** Whether a device is what `select` means, whatever may be done with it. */
export function isMeant({ descriptor, bridge }: StoredDevice, select: TaskSelect, capability: string): boolean {
  if (select.device !== undefined) return descriptor.id === select.device
  const found = descriptor.capabilities.find(({ name }) => name === capability)
  const isOf = (wanted: string | undefined, has: string | undefined): boolean => wanted === undefined || wanted === has
  return (
    found !== undefined &&
    isOf(select.class, descriptor.class) &&
    isOf(select.bridge, bridge) &&
    isOf(select.unit, found.unit)
  )
}

/** Why a device may not be called for `spec`, however it is now. */
export function refusalOf({ descriptor }: StoredDevice, spec: TaskSpec, level: DeviceLevel): SkeinError | undefined {
  const { id, policy, capabilities } = descriptor
  const { op, value, isConfirmed } = spec
  try {
    const capability = capabilities.find(({ name }) => name === spec.capability)
    if (capability === undefined)
      return new SkeinError('INVALID_REQUEST', `${id} has no '${spec.capability}'`, { param: 'capability' })
    checkedValue(capability, op, value)
    checkAllowed(id, policy, op, level)
  } catch (error) {
    if (error instanceof SkeinError) return error
    throw error
  }
  if (op === 'read' || policy.act !== 'confirm' || isConfirmed) return undefined
  return new SkeinError('FORBIDDEN', `${id} wants what is done with it confirmed by a person: send confirmed: true`, {
    param: 'confirmed',
  })
}

export function candidateOf(device: StoredDevice, facts: DeviceFacts, spec: TaskSpec, level: DeviceLevel): Candidate {
  const { state, descriptor } = device
  const { isBridgeOnline, ...known } = facts
  const refusal = refusalOf(device, spec, level)
  const away = !isBridgeOnline ? 'its bridge is away' : `it is ${state}`
  const isThere = isBridgeOnline && (state === 'ready' || state === 'sleeping')
  const flaw = refusal
    ? { why: refusal.message, isPassing: false }
    : isThere
      ? undefined
      : { why: away, isPassing: true }
  return { ...known, id: descriptor.id, isReady: state === 'ready', ...(flaw && { flaw }) }
}

/** Whether a call that ended so leaves the right to try again: it certainly did nothing, or nothing that matters. */
export const mayTryAgain = (op: CallOp, { outcome, isSent }: TaskCallEnd): boolean =>
  outcome !== 'done' && (op === 'read' || !isSent || outcome === 'expired' || outcome === 'refused')

interface Tally {
  /** Devices by how their newest call stands. */
  readonly done: ReadonlySet<string>
  readonly open: ReadonlySet<string>
  /** Those that may have acted, or said that they could not: their place is given to no other. */
  readonly spent: ReadonlySet<string>
  readonly again: ReadonlyMap<string, { readonly tries: number; readonly atMs: number }>
  readonly tries: number
}

function tallyOf(op: CallOp, calls: readonly StoredTaskCall[]): Tally {
  const [done, open, spent] = [new Set<string>(), new Set<string>(), new Set<string>()]
  const again = new Map<string, { tries: number; atMs: number }>()
  let tries = 0
  for (const { device, end, isVoid } of calls) {
    if (isVoid === true) continue
    tries++
    if (end === undefined) open.add(device)
    else if (end.outcome === 'done') done.add(device)
    else if (!mayTryAgain(op, end)) spent.add(device)
    else again.set(device, { tries: (again.get(device)?.tries ?? 0) + 1, atMs: end.endedAtMs })
  }
  return { done, open, spent, again, tries }
}

/** What a running pass does now. */
export function planPass(input: PassInput): PassPlan {
  const { spec, candidates, calls, pass } = input
  const tally = tallyOf(spec.op, calls)
  const { done, open, spent, again, tries } = tally
  const allowed = candidates.filter(({ flaw }) => flaw === undefined || flaw.isPassing)
  const ids = new Set([...allowed.map(({ id }) => id), ...done, ...open, ...spent, ...again.keys()])
  const target = spec.count === 'all' ? ids.size : spec.count
  const fails = (error: string): PassPlan => ({
    ...{ begin: [], isWaiting: false },
    end: { pass, isDone: false, error, reasons: reasonsOf(calls, candidates) },
  })
  if (target > LIMITS.deviceTaskDevicesMax && tries === 0)
    return fails(`${target} devices fit, and a pass calls ${LIMITS.deviceTaskDevicesMax} at most`)
  if (target > 0 && done.size >= target && open.size === 0)
    return { begin: [], isWaiting: false, end: { pass, isDone: true, reasons: {} } }
  const missing = target - done.size - open.size - spent.size
  const triesLeft = Math.min(target + spec.retry, LIMITS.deviceTaskCallsKeptMax) - tries
  if (missing > 0 && triesLeft > 0) {
    const isLeft = ({ id }: Candidate): boolean => !done.has(id) && !open.has(id) && !spent.has(id)
    const plan = planNext(input, allowed.filter(isLeft), again, Math.min(missing, triesLeft))
    if (plan) return plan
  }
  if (open.size > 0) return { begin: [], isWaiting: false }
  return fails(target === 0 ? 'no device fits' : `${done.size} of ${target} did it`)
}

/** Of the devices that are left those that are called now, or when to ask again; nothing when there is no hope. */
function planNext(
  { spec, passAtMs, nowMs, room }: PassInput,
  left: readonly Candidate[],
  again: Tally['again'],
  wanted: number,
): PassPlan | undefined {
  const triesOf = ({ id }: Candidate): number => again.get(id)?.tries ?? 0
  const readyAtMs = (candidate: Candidate): number => {
    const before = again.get(candidate.id)
    return before ? before.atMs + Math.min(AGAIN_MS * 2 ** (before.tries - 1), AGAIN_MS_MAX) : 0
  }
  const there = left.filter(({ flaw }) => flaw === undefined)
  const free = there.filter((each) => !each.isLeased && readyAtMs(each) <= nowMs)
  const begin = free
    .toSorted((a, b) => triesOf(a) - triesOf(b) || byRank(a, b))
    .slice(0, Math.max(0, Math.min(wanted, room)))
    .map(({ id }) => id)
  if (begin.length > 0) return { begin, isWaiting: begin.length < wanted }
  const times = there.filter((each) => !each.isLeased).map(readyAtMs)
  const patientUntilMs = passAtMs + Math.max(LIMITS.deviceTaskPatienceMs, spec.ttlMs ?? 0)
  if (left.length > there.length && there.length < wanted) times.push(patientUntilMs)
  const later = times.filter((atMs) => atMs > nowMs)
  if (later.length === 0 && there.length === 0) return undefined
  return { begin: [], isWaiting: true, ...(later.length > 0 && { lookAtMs: Math.min(...later) }) }
}

function byRank(a: Candidate, b: Candidate): number {
  const [aMs, bMs] = [a.tookMs ?? Number.MAX_VALUE, b.tookMs ?? Number.MAX_VALUE]
  return Number(b.isReady) - Number(a.isReady) || a.failures - b.failures || aMs - bMs || (a.id < b.id ? -1 : 1)
}

function reasonsOf(calls: readonly StoredTaskCall[], candidates: readonly Candidate[]): PassEnd['reasons'] {
  const reasons = new Map<string, string>()
  for (const { id, flaw } of candidates) if (flaw) reasons.set(id, flaw.why)
  for (const { device, end, isVoid } of calls) {
    if (end === undefined || isVoid === true) continue
    // what was called comes first, where there are more than can be told
    reasons.delete(device)
    const why = end.error === undefined ? end.outcome : `${end.outcome}: ${end.error}`
    if (end.outcome !== 'done') reasons.set(device, why)
  }
  const told = [...reasons].slice(-LIMITS.deviceTaskDevicesMax)
  return Object.fromEntries(told.map(([id, why]) => [id, why.slice(0, REASON_LENGTH_MAX)]))
}

export function ended(task: StoredTask, outcome: TaskOutcome, nowMs: number, error?: string): StoredTask {
  const { passAtMs: _running, nextAtMs: _due, ...rest } = task
  return { ...rest, end: { outcome, ...(error !== undefined && { error }), endedAtMs: nowMs } }
}

/** What an active task does now: it begins a pass that is due, goes on with one, or ends. */
export function stepOf({ task, calls, candidates, nowMs, room }: StepInput): Step {
  const { spec } = task
  const still = { begin: [], isWaiting: false }
  if (spec.untilMs !== undefined && nowMs >= spec.untilMs)
    return { ...still, task: ended(task, 'expired', nowMs, 'its time was over') }
  const dueAtMs = task.nextAtMs ?? Infinity
  const running = task.passAtMs === undefined && nowMs >= dueAtMs ? begun(task, nowMs) : task
  const { passAtMs, pass } = running
  const cut = (atMs: number): number => Math.min(atMs, spec.untilMs ?? Infinity)
  if (passAtMs === undefined) return { ...still, task, lookAtMs: cut(dueAtMs) }
  const own = calls.filter((call) => call.pass === pass)
  const plan = planPass({ spec, candidates: candidates(), calls: own, pass, passAtMs, nowMs, room })
  const { end } = plan
  if (end === undefined) return { ...plan, task: running, lookAtMs: cut(plan.lookAtMs ?? Infinity) }
  const { passAtMs: _running, ...rest } = running
  const passed = { ...rest, last: end }
  if (spec.everyMs !== undefined) return { ...plan, task: passed, lookAtMs: cut(passed.nextAtMs ?? Infinity) }
  return { ...plan, task: ended(passed, end.isDone ? 'done' : 'failed', nowMs, end.error) }
}

/** With the next pass begun. Passes that were missed are not made up for. */
function begun({ nextAtMs: _due, ...task }: StoredTask, nowMs: number): StoredTask {
  const { everyMs } = task.spec
  const nextAtMs = everyMs && task.atMs + (Math.floor((nowMs - task.atMs) / everyMs) + 1) * everyMs
  return { ...task, pass: task.pass + 1, passAtMs: nowMs, ...(nextAtMs !== undefined && { nextAtMs }) }
}
