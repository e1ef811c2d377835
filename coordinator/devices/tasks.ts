/**
 * Device tasks as they are carried out. What a task does next is decided in `task-plan.ts`; here it is made durable before
 * it is done. A call is recorded in its task, then by the desk, then sent: after a crash it is known of each whether it may
 * have left, and none that may is made again. A device has one call of a task at a time: its lease ends with the call.
 */
import { LIMITS, SkeinError, type DeviceLevel } from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock, Logger, Random } from '../../mesh/runtime/index.ts'
import type { DeviceBook } from './book.ts'
import type { CallRecords } from './call-records.ts'
import { isWithin } from './checks.ts'
import { mintUuid, type CallDesk, type CallHandle } from './desk.ts'
import type { DeviceEvent } from './events.ts'
import type { DeviceStore, StoredDevice } from './store.ts'
import { candidateOf, ended, isMeant, refusalOf, stepOf, type Step } from './task-plan.ts'
import type { StoredTask, StoredTaskCall, TaskAndCalls, TaskCallEnd, TaskSpec, TasksQuery } from './task-types.ts'

export interface TasksComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly store: DeviceStore
  readonly book: DeviceBook
  readonly desk: CallDesk
  readonly records: CallRecords
  readonly isOnline: (bridge: string) => boolean
  /** What a tenant that was let do `level` may do now. */
  readonly standing: (tenant: string, level: DeviceLevel) => DeviceLevel
  readonly tell: (event: DeviceEvent) => void
}

export interface TaskRequest {
  readonly spec: TaskSpec
  readonly tenant: string
  readonly level: DeviceLevel
}

export interface TaskCaller {
  readonly tenant: string
  readonly isAdmin: boolean
}

interface Entry {
  task: StoredTask
  /** Of its newest pass. */
  calls: readonly StoredTaskCall[]
  /** By call: ends that are not recorded yet. */
  readonly ends: Map<string, TaskCallEnd>
  /** Wall clock. */
  lookAtMs: number
  isStepping: boolean
  /** Something happened while it stepped. */
  isStirred: boolean
  /** It needs a device, a lease or room. */
  isWaiting: boolean
  /** Who waits for its cancelling. */
  cancel: PromiseWithResolvers<void> | undefined
}

/** What does not change without a word is looked at this often: the wall clock may jump. */
const LOOK_MS = 60_000
/** At the least: a step that leaves its task due at once costs a look, not a core. */
const LOOK_LEAST_MS = 5
/** Until what could not be recorded is tried again. */
const DISK_MS = 5000
/** Devices that come and go are looked at together. */
const STIR_MS = 200
const ERROR_LENGTH_MAX = 256

export class DeviceTasks {
  readonly #components: TasksComponents
  readonly #entries = new Map<string, Entry>()
  /** Devices that a task's call runs at. */
  readonly #leases = new Set<string>()
  #isOpen = false
  #isLookDue = false
  #cancelLook: CancelTimer = () => {}
  #cancelStir: CancelTimer | undefined

  constructor(components: TasksComponents) {
    this.#components = components
  }

  /** Active ones. */
  get size(): number {
    return this.#entries.size
  }

  /** Goes on with what is active. The desk has its open calls already. @throws SkeinError LEDGER_UNAVAILABLE. */
  async start(): Promise<void> {
    for (const stored of await this.#components.store.activeTasks()) await this.#resume(stored)
    this.#isOpen = true
    this.#wake()
  }

  close(): void {
    this.#isOpen = false
    this.#cancelLook()
    this.#cancelStir?.()
    for (const { cancel } of this.#entries.values())
      cancel?.reject(new SkeinError('SHUTTING_DOWN', 'the coordinator is stopping', { retryAfterSeconds: 5 }))
  }

  /** A device or a bridge came, changed or went. */
  stir(): void {
    if (!this.#isOpen || this.#cancelStir) return
    this.#cancelStir = this.#components.clock.timer(STIR_MS, () => {
      this.#cancelStir = undefined
      this.#stirWaiting()
    })
  }

  /**
   * Makes a task. Resolves when it is durable.
   *
   * @throws SkeinError NOT_FOUND for a device that is not known; INVALID_REQUEST naming a member; FORBIDDEN by permission or
   *   policy, also where a confirmation is missing; SATURATED when too many are active; SHUTTING_DOWN; LEDGER_UNAVAILABLE.
   */
  async make({ spec, tenant, level }: TaskRequest): Promise<TaskAndCalls> {
    const { clock, random, store } = this.#components
    if (!this.#isOpen) throw new SkeinError('SHUTTING_DOWN', 'the coordinator is stopping', { retryAfterSeconds: 5 })
    this.#checkSpec(spec, level)
    const own = [...this.#entries.values()].filter(({ task }) => task.tenant === tenant)
    if (this.#entries.size >= LIMITS.deviceTasksMax || own.length >= LIMITS.deviceTasksPerTenantMax)
      throw new SkeinError('SATURATED', 'too many device tasks are active; cancel one', { retryAfterSeconds: 60 })
    const [id, atMs] = [mintUuid(random.bytes(16)), clock.wallMs()]
    const task: StoredTask = { task: id, spec, tenant, level, atMs, pass: 0, nextAtMs: atMs, calls: 0 }
    const entry = entryOf(task, [], true)
    this.#entries.set(id, entry)
    try {
      await store.recordTask(task, [])
    } catch (error) {
      this.#entries.delete(id)
      throw error
    }
    entry.isStepping = false
    this.#tell(task, 'made')
    this.#wake()
    return { task, calls: [] }
  }

  /** @throws SkeinError NOT_FOUND, also of another's; LEDGER_UNAVAILABLE. */
  async get(id: string, caller: TaskCaller): Promise<TaskAndCalls> {
    const { store } = this.#components
    const found = await store.task(id)
    if (found === undefined || (!caller.isAdmin && found.task.tenant !== caller.tenant))
      throw new SkeinError('NOT_FOUND', `there is no device task '${id.slice(0, 64)}'`)
    if (found.task.end === undefined) return found
    // what ran when the task ended has its end at the desk
    const calls = found.calls.map(async (each): Promise<StoredTaskCall> => {
      const known = each.end ? undefined : await store.call(each.call)
      return known?.end ? { ...each, end: { ...known.end, isSent: true } } : each
    })
    return { ...found, calls: await Promise.all(calls) }
  }

  /** Newest first. @throws SkeinError LEDGER_UNAVAILABLE. */
  list(query: TasksQuery): Promise<StoredTask[]> {
    return this.#components.store.tasks(query)
  }

  /**
   * Ends a task; one that has ended stays as it is. Calls that were sent may still be carried out.
   *
   * @throws SkeinError as `get`.
   */
  async cancel(id: string, caller: TaskCaller): Promise<TaskAndCalls> {
    await this.get(id, caller)
    const entry = this.#entries.get(id)
    if (entry) {
      entry.cancel ??= Promise.withResolvers()
      entry.isStirred = true
      entry.lookAtMs = 0
      this.#wake()
      await entry.cancel.promise
    }
    return this.get(id, caller)
  }

  /** @throws SkeinError as `make`. */
  #checkSpec(spec: TaskSpec, level: DeviceLevel): void {
    const { book } = this.#components
    const { select, capability, count } = spec
    const { device } = select
    if (device !== undefined && book.get(device) === undefined)
      throw new SkeinError('NOT_FOUND', `there is no device '${device}'`)
    const meant = book.all().filter((each) => isMeant(each, select, capability))
    if (meant.length === 0)
      throw new SkeinError('INVALID_REQUEST', `no device that is meant has '${capability}'`, { param: 'select' })
    const refusals = meant.flatMap((each) => refusalOf(each, spec, level) ?? [])
    const allowed = meant.length - refusals.length
    const unconfirmed = refusals.filter(({ param }) => param === 'confirmed')
    const wanted = count === 'all' ? Math.max(1, allowed + unconfirmed.length) : count
    const first = unconfirmed[0] ?? refusals[0]
    if (first && allowed < Math.min(wanted, meant.length)) throw first
    if (wanted > LIMITS.deviceTaskDevicesMax || wanted > meant.length)
      throw new SkeinError(
        'INVALID_REQUEST',
        `${wanted} devices are meant; ${meant.length} fit, and ${LIMITS.deviceTaskDevicesMax} are called at most`,
        { param: 'count' },
      )
  }

  /** Takes up what a former process has left. */
  async #resume({ task, calls }: TaskAndCalls): Promise<void> {
    const { desk, store, clock } = this.#components
    // bridges are on their way back: devices that are away are waited for anew
    const resumed = task.passAtMs === undefined ? task : { ...task, passAtMs: clock.wallMs() }
    const own = calls.filter(({ pass }) => pass === task.pass)
    const entry = entryOf(resumed, own, false)
    this.#entries.set(task.task, entry)
    const known = own.map(async (call): Promise<StoredTaskCall> => {
      if (call.end || call.isVoid === true) return call
      const running = desk.follow(call.call)
      if (running) this.#follow(entry, call, running)
      const stored = running ? undefined : await store.call(call.call)
      if (stored?.end) entry.ends.set(call.call, { ...stored.end, isSent: true })
      // the desk records what acts before it sends it: what it does not know has not left, or was to be read
      return running || stored ? call : { ...call, isVoid: true }
    })
    entry.calls = await Promise.all(known)
  }

  #wake(): void {
    if (this.#isLookDue) return
    this.#isLookDue = true
    // not at once: who calls has not done yet
    void Promise.resolve().then(() => {
      this.#isLookDue = false
      this.#look()
    })
  }

  #stirWaiting(): void {
    for (const entry of this.#entries.values())
      if (entry.isWaiting || entry.isStepping) {
        entry.isStirred = true
        entry.lookAtMs = 0
      }
    this.#wake()
  }

  #look(): void {
    if (!this.#isOpen) return
    const { clock } = this.#components
    const nowMs = clock.wallMs()
    const due = [...this.#entries.values()].filter((each) => !each.isStepping && each.lookAtMs <= nowMs)
    const sinceMs = ({ task }: Entry): number => task.passAtMs ?? task.nextAtMs ?? 0
    const devices = due.length > 0 ? this.#components.book.all() : []
    for (const entry of due.toSorted((a, b) => sinceMs(a) - sinceMs(b))) void this.#step(entry, devices)
    this.#cancelLook()
    const next = Math.min(...[...this.#entries.values()].map((each) => (each.isStepping ? Infinity : each.lookAtMs)))
    if (next === Infinity) return
    const waitMs = Math.min(LOOK_MS, Math.max(LOOK_LEAST_MS, next - clock.wallMs()))
    this.#cancelLook = clock.timer(waitMs, () => this.#look())
  }

  async #step(entry: Entry, devices: readonly StoredDevice[]): Promise<void> {
    const { clock, store, log } = this.#components
    entry.isStepping = true
    entry.isStirred = false
    const { cancel } = entry
    const news = new Map(entry.ends)
    const calls = entry.calls.map((call) => withEnd(call, news.get(call.call)))
    const step = this.#decide(entry, calls, devices)
    const begun = this.#calling(step, calls)
    const task = { ...step.task, calls: Math.max(step.task.calls, ...begun.map(({ n }) => n)) }
    const touched = [...calls.filter(({ call, isVoid }) => news.has(call) || isVoid === true), ...begun]
    try {
      if (step.task !== entry.task || touched.length > 0) await store.recordTask(task, touched)
    } catch (error) {
      log.warn({ err: error, task: task.task }, 'a device task could not be recorded; it waits')
      for (const { device } of begun) this.#leases.delete(device)
      entry.lookAtMs = clock.wallMs() + DISK_MS
      entry.isStepping = false
      entry.cancel = undefined
      cancel?.reject(error)
      return this.#wake()
    }
    for (const call of news.keys()) entry.ends.delete(call)
    const before = entry.task
    const replaced = new Set(begun.map(({ n }) => n))
    entry.task = task
    entry.calls = [...calls.filter(({ n, pass }) => pass === task.pass && !replaced.has(n)), ...begun]
    entry.isWaiting = step.isWaiting
    entry.isStepping = false
    entry.lookAtMs = entry.isStirred ? 0 : (step.lookAtMs ?? Infinity)
    this.#tellSteps(before, task)
    if (this.#isOpen) for (const call of begun) this.#call(entry, call)
    if (task.end) this.#finish(entry, cancel)
    this.#wake()
  }

  /** What the task does now. Devices that are to be called are leased. */
  #decide({ task, cancel }: Entry, calls: readonly StoredTaskCall[], devices: readonly StoredDevice[]): Step {
    const { clock, standing } = this.#components
    const nowMs = clock.wallMs()
    const none = { begin: [], isWaiting: false }
    if (cancel) return { ...none, task: ended(task, 'cancelled', nowMs) }
    const { spec, tenant, level } = task
    const now = standing(tenant, level)
    if (!isWithin(spec.op === 'read' ? 'read' : 'act', now))
      return { ...none, task: ended(task, 'failed', nowMs, 'whoever made it may not do that any more') }
    const room = LIMITS.deviceTaskCallsOpenMax - this.#leases.size
    const { select, capability } = spec
    const candidates = () =>
      devices.filter((each) => isMeant(each, select, capability)).map((each) => this.#candidate(each, spec, now))
    const step = stepOf({ task, calls, candidates, nowMs, room })
    for (const device of step.begin) this.#leases.add(device)
    return step
  }

  #calling({ task: { task, pass, calls: given }, begin }: Step, calls: readonly StoredTaskCall[]): StoredTaskCall[] {
    const { clock, random } = this.#components
    const free = calls.filter((call) => call.pass === pass && call.isVoid === true).map(({ n }) => n)
    let number = given
    return begin.map((device) => {
      const n = free.shift() ?? ++number
      return { task, n, pass, device, call: mintUuid(random.bytes(16)), atMs: clock.wallMs() }
    })
  }

  #call(entry: Entry, call: StoredTaskCall): void {
    const { clock, desk } = this.#components
    const { spec, tenant, level, task } = entry.task
    const { op, capability, value, ttlMs, isConfirmed } = spec
    try {
      const handle = desk.begin({
        ...{ call: call.call, device: call.device, capability, op, origin: 'task', task, tenant, level },
        ...{ isAdmin: false, isConfirmed },
        ...(value !== undefined && { value }),
        ...(ttlMs !== undefined && { ttlMs }),
      })
      this.#follow(entry, call, handle)
    } catch (error) {
      const why = error instanceof SkeinError ? error.message : String(error)
      this.#ended(entry, call, notSent(why, clock.wallMs()))
    }
  }

  #follow(entry: Entry, call: StoredTaskCall, handle: CallHandle): void {
    const { clock } = this.#components
    this.#leases.add(call.device)
    void handle.ended.then(
      (end) => this.#ended(entry, call, { ...end, isSent: handle.isSent() }),
      (error: unknown) => this.#ended(entry, call, notSent(`not recorded: ${String(error)}`, clock.wallMs())),
    )
  }

  #ended(entry: Entry, call: StoredTaskCall, end: TaskCallEnd): void {
    this.#leases.delete(call.device)
    if (entry.task.end) this.#recordLate(entry.task, { ...call, end })
    else {
      entry.ends.set(call.call, end)
      entry.isStirred = true
      entry.lookAtMs = 0
    }
    // its lease is free for others
    this.#stirWaiting()
  }

  /** The end of a call whose task has ended before. */
  #recordLate(task: StoredTask, call: StoredTaskCall): void {
    const { store, log } = this.#components
    store.recordTask(task, [call]).catch((error: unknown) => {
      log.warn({ err: error, task: task.task, call: call.call }, "the end of a device task's call was not recorded")
    })
  }

  #finish(entry: Entry, cancel: Entry['cancel']): void {
    const { desk } = this.#components
    const { task, calls } = entry
    this.#entries.delete(task.task)
    for (const call of calls) {
      const end = entry.ends.get(call.call)
      // it came while the end of the task was recorded
      if (end) this.#recordLate(task, { ...call, end })
      else if (call.end === undefined && call.isVoid !== true) desk.abandon(call.call)
    }
    // one that came while it ended is answered too
    const late = entry.cancel
    cancel?.resolve()
    if (late !== cancel) late?.resolve()
  }

  #candidate(device: StoredDevice, spec: TaskSpec, level: DeviceLevel) {
    const { records, isOnline } = this.#components
    const { id } = device.descriptor
    const facts = { isBridgeOnline: isOnline(device.bridge), isLeased: this.#leases.has(id), ...records.of(id) }
    return candidateOf(device, facts, spec, level)
  }

  #tellSteps(before: StoredTask, task: StoredTask): void {
    if (task.last && task.last !== before.last) this.#tell(task, 'passed')
    if (task.end) this.#tell(task, 'ended')
  }

  #tell({ task, spec, tenant: key, pass, last, end }: StoredTask, state: 'made' | 'passed' | 'ended'): void {
    const { op, capability } = spec
    const how = state === 'ended' ? end : state === 'passed' && last ? outcomeOf(last) : undefined
    this.#components.tell({
      ...{ type: 'device.task', task, capability, op, key, state, pass },
      ...(how && { outcome: how.outcome }),
      ...(how?.error !== undefined && { error: how.error }),
    })
  }
}

const entryOf = (task: StoredTask, calls: readonly StoredTaskCall[], isStepping: boolean): Entry => ({
  ...{ task, calls, isStepping, ends: new Map(), lookAtMs: 0, isStirred: false, isWaiting: false, cancel: undefined },
})

const withEnd = (call: StoredTaskCall, end: TaskCallEnd | undefined): StoredTaskCall => (end ? { ...call, end } : call)

const notSent = (error: string, endedAtMs: number): TaskCallEnd => ({
  ...{ outcome: 'failed', error: error.slice(0, ERROR_LENGTH_MAX), endedAtMs, isSent: false },
})

const outcomeOf = ({ isDone, error }: NonNullable<StoredTask['last']>) => ({
  outcome: isDone ? ('done' as const) : ('failed' as const),
  error,
})
