/**
 * What is to be done next for one lease: a pure function of the lease, of what this process has done for it, and of what
 * its provider and the mesh show. Asked again and again, so that whatever was interrupted goes on, and whatever failed is
 * tried again; each step is safe to take twice.
 */
import type { NodeName } from '../ledger/index.ts'
import { billedMicros, type Lease } from './leases.ts'
import { CALL_MS, type Machine } from './provider.ts'

const MINUTE_MS = 60_000
/** Between a step that has failed and the next, at first and at most. */
const RETRY_MS = 5000
const RETRY_MS_MAX = 60_000
/** A launch whose answer does not come is made again so often; then only the list can tell what came of it. */
const LAUNCHES_MAX = 5
/** A machine may take twice as long as its provider said, and so much more. */
const READY_SLACK_MS = 5 * MINUTE_MS
/** A worker that is not in the mesh for so long has lost us, or we have lost its machine. */
const LOST_MS = 3 * MINUTE_MS
/** What still runs on a worker after so long is moved without waiting for it. */
export const DRAIN_MS = 2 * MINUTE_MS
/** A machine that cannot be ended for so long is put out of the mesh: its dead-man switch ends it. */
const CUT_OFF_MS = MINUTE_MS
/** To find out that a machine must go, to drain it and to end it, with some calls that fail. */
const END_MS = 8 * MINUTE_MS
/** The list of a provider is waited for before an earlier life's machine is paid for again. */
const ASKED_MS = 2 * MINUTE_MS
/** Money is set aside by steps of at least so long. */
const PAID_STEP_MS = 10 * MINUTE_MS

/**
 * For so long ahead a machine is always paid. If the coordinator dies, the machine goes on until its dead-man switch; if a
 * coordinator comes back just before that, and cannot end it, it goes on as long once more.
 */
export const paidAheadMs = (aloneMinutes: number): number => 2 * aloneMinutes * MINUTE_MS + END_MS

/** What this process has done for a lease, and since when. All times on the monotonic clock, in ms. */
export interface LeaseLife {
  /** When it was ordered; or when this process began, for a lease of an earlier one. */
  readonly sinceMs: number
  /** The lease is of an earlier life of the coordinator: how long it ran, no clock can say. */
  readonly isInherited: boolean
  /** For so long it is paid, counted from `sinceMs`; 0 where only an earlier life paid for it. */
  paidMs: number
  /** There was no money for another step. */
  isUnpaid: boolean
  launches: number
  /** What came of a launch is not known. */
  isUncertain: boolean
  /** When the last call ended that may have made or ended a machine. */
  calledMs: number
  /** Calls in a row that failed, and when the next is due. */
  failures: number
  dueMs: number
  /** When it may be paid for again, after that has failed. */
  payDueMs: number
  /** Since when the worker, once ready, is not in the mesh. */
  lostSinceMs: number | undefined
  releasedMs: number | undefined
  /** Until the release is recorded. */
  releasedWhy: string | undefined
  drainedMs: number | undefined
  /** Its provider has accepted that it ends. */
  isTerminated: boolean
  isCutOff: boolean
}

export const newLife = (nowMs: number, isInherited: boolean): LeaseLife => ({
  ...{ sinceMs: nowMs, isInherited, paidMs: 0, isUnpaid: false, launches: 0, isUncertain: isInherited },
  // a call of the earlier life may have been on its way still
  ...{
    calledMs: isInherited ? nowMs + CALL_MS : nowMs,
    failures: 0,
    dueMs: nowMs,
    payDueMs: nowMs,
    lostSinceMs: undefined,
  },
  ...{ releasedMs: undefined, releasedWhy: undefined, drainedMs: undefined, isTerminated: false, isCutOff: false },
})

/** A complete list of a provider. */
export interface Listed {
  /** When it was asked for, on the monotonic clock. */
  readonly askedMs: number
  readonly byToken: ReadonlyMap<string, Machine>
}

export interface SeenWorker {
  readonly node: NodeName
  /** It takes work: its model is loaded and has answered. */
  readonly isServing: boolean
  readonly running: number
}

export interface LeaseView {
  readonly lease: Lease
  readonly life: LeaseLife
  readonly listed: Listed | undefined
  /** Of the provider. */
  readonly settleMs: number
  readonly worker: SeenWorker | undefined
}

export type Step =
  | { readonly kind: 'wait' }
  | { readonly kind: 'launch' }
  | { readonly kind: 'found'; readonly machineId: string }
  | { readonly kind: 'ready'; readonly node: NodeName }
  | { readonly kind: 'release'; readonly why: string }
  | { readonly kind: 'extend'; readonly byMs: number; readonly micros: number }
  | { readonly kind: 'drain'; readonly machineId: string }
  /** `cutsOff`: its worker is put out of the mesh as well; that alone where no machine is known. */
  | { readonly kind: 'terminate'; readonly machineId?: string; readonly cutsOff: boolean }
  | { readonly kind: 'end'; readonly costMicros: number }

const WAIT: Step = { kind: 'wait' }

export function nextStep(view: LeaseView, nowMs: number): Step {
  const { lease, life } = view
  if (isGone(view)) return { kind: 'end', costMicros: costOf(view, nowMs) }
  const found = view.listed?.byToken.get(lease.id)
  // what goes is not held up by what cannot be paid or recorded
  const leaving = life.releasedMs === undefined ? WAIT : leave(view, found, life.releasedMs, nowMs)
  if (leaving.kind !== 'wait') return leaving
  const why = life.releasedMs === undefined ? releaseWhy(view, found, nowMs) : undefined
  if (why !== undefined) return { kind: 'release', why }
  const extended = extend(view, nowMs)
  if (extended !== undefined) return extended
  if (life.releasedMs !== undefined) return WAIT
  if (lease.machineId === undefined && found !== undefined) return { kind: 'found', machineId: found.id }
  if (lease.machineId === undefined) return nowMs >= life.dueMs && mayLaunch(life) ? { kind: 'launch' } : WAIT
  if (lease.readyAtMs === undefined && view.worker?.isServing) return { kind: 'ready', node: view.worker.node }
  return WAIT
}

/** Of an earlier life nothing is launched again: its provider may have forgotten the token. */
const mayLaunch = ({ isInherited, launches }: LeaseLife): boolean => !isInherited && launches < LAUNCHES_MAX

/**
 * A list that was asked for after all calls had settled does not have it. Before anything is asked of the provider there
 * is nothing to be gone; nor while a launch may be made yet.
 */
function isGone({ lease, life, listed, settleMs }: LeaseView): boolean {
  if (lease.machineId === undefined && life.releasedMs === undefined && mayLaunch(life)) return false
  if (lease.machineId === undefined && !life.isUncertain) return true
  if (listed === undefined || listed.byToken.has(lease.id)) return false
  // later, not as late: a list that was asked for in the same moment may be of before
  return listed.askedMs > life.calledMs + settleMs
}

function costOf({ lease, life }: LeaseView, nowMs: number): number {
  if (life.isInherited) return lease.paidMicros
  if (lease.machineId === undefined) return 0
  return Math.min(lease.paidMicros, billedMicros(lease.quote, nowMs - life.sinceMs))
}

/** Whether the next step of its time is paid. One on its way out is paid as well, as long as it is there. */
function extend({ lease, life, listed }: LeaseView, nowMs: number): Step | undefined {
  if (life.isUnpaid || nowMs < life.payDueMs) return undefined
  // of an earlier life's machine it is asked first whether there is one still: it is paid for as long as that takes
  if (life.isInherited && listed === undefined && nowMs - life.sinceMs < ASKED_MS) return undefined
  const { quote, aloneMinutes } = lease
  const ranMs = nowMs - life.sinceMs
  if (life.paidMs - ranMs >= paidAheadMs(aloneMinutes)) return undefined
  const byMs = paidStepMs(lease, ranMs + paidAheadMs(aloneMinutes) - life.paidMs)
  const paid = life.paidMs === 0 ? 0 : billedMicros(quote, life.paidMs)
  return { kind: 'extend', byMs, micros: billedMicros(quote, life.paidMs + byMs) - paid }
}

/** In whole steps of the bill, so that none is paid for that is not used. */
function paidStepMs({ quote }: Pick<Lease, 'quote'>, leastMs: number): number {
  const stepMs = Math.max(quote.billedStepMs, PAID_STEP_MS)
  return Math.ceil(leastMs / stepMs) * stepMs
}

/** What is set aside before a machine is ordered, and for how long that is. */
export function firstPayment(lease: Pick<Lease, 'quote' | 'aloneMinutes'>): { paidMs: number; micros: number } {
  const paidMs = paidStepMs(lease, paidAheadMs(lease.aloneMinutes))
  return { paidMs, micros: billedMicros(lease.quote, paidMs) }
}

/** Why it has to go that was not released yet. */
function releaseWhy({ lease, life, worker }: LeaseView, found: Machine | undefined, nowMs: number): string | undefined {
  if (life.isUnpaid) return 'no money is left for it'
  if (isRunningOut(lease, life, nowMs)) return 'what is paid for it is almost over'
  if (found?.state === 'stopping') return 'its machine stops'
  if (found?.endsAtMs !== undefined) return 'its provider takes the machine back'
  if (lease.readyAtMs === undefined) {
    const lateMs = nowMs - life.sinceMs - 2 * lease.quote.readyMs - READY_SLACK_MS
    return lateMs > 0 ? 'it never became ready' : undefined
  }
  if (worker !== undefined) return undefined
  return life.lostSinceMs !== undefined && nowMs - life.lostSinceMs > LOST_MS ? 'its worker is lost' : undefined
}

/** The next step of its time could not be paid for a while: the ledger takes no writes. It must go while it is paid. */
function isRunningOut({ aloneMinutes }: Lease, { paidMs, sinceMs, isInherited }: LeaseLife, nowMs: number): boolean {
  const ranMs = nowMs - sinceMs
  // of an earlier life's machine so much is left at least: it was alone for one dead-man switch, and paid for two
  if (isInherited && paidMs === 0) return ranMs > 2 * ASKED_MS
  return paidMs - ranMs < aloneMinutes * MINUTE_MS + END_MS / 2
}

/** It was released: first its answers move, then its machine ends. */
function leave(
  { lease, life, worker }: LeaseView,
  found: Machine | undefined,
  releasedMs: number,
  nowMs: number,
): Step {
  const machineId = lease.machineId ?? found?.id
  // what nobody pays for is not waited for
  const isStubborn = nowMs - releasedMs >= DRAIN_MS + CUT_OFF_MS || (life.isUnpaid && life.failures > 0)
  const cutsOff = isStubborn && !life.isCutOff
  // what came of the launch the list decides; its worker, should there be one, is known by its name
  if (machineId === undefined) return cutsOff ? { kind: 'terminate', cutsOff } : WAIT
  if (life.drainedMs === undefined && worker !== undefined) return { kind: 'drain', machineId }
  const isDrained = worker === undefined || worker.running === 0 || nowMs - (life.drainedMs ?? nowMs) >= DRAIN_MS
  if (!isDrained) return WAIT
  return nowMs >= life.dueMs ? { kind: 'terminate', machineId, cutsOff } : WAIT
}

/** Ms until a step that has failed so often in a row is tried again, without jitter. */
export const retryMs = (failures: number): number => Math.min(RETRY_MS_MAX, RETRY_MS * 2 ** Math.max(0, failures - 1))
