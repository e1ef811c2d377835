/**
 * Devices of a coordinator: what bridges report, what is known of each device, and calls to them. The state of a device has
 * two levels, its own and its bridge's: of a device whose bridge is away nobody knows more than what was.
 */
import {
  LIMITS,
  RULE_OUTCOMES,
  SkeinError,
  type BridgeReport,
  type DeviceDescriptor,
  type DeviceLevel,
  type DeviceState,
  type DeviceValue,
  type RuleOutcome,
} from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock, Logger, Random, Startable } from '../../mesh/runtime/index.ts'
import { DeviceBook } from './book.ts'
import { checkAllowed, fitting } from './checks.ts'
import { CallRecords } from './call-records.ts'
import { CallDesk, keptEnd, type CallHandle, type CallRequest } from './desk.ts'
import { ReadingThinner, type DeviceEvent } from './events.ts'
import { BridgeLinks, type LinkSink } from './links.ts'
import { Shadow } from './shadow.ts'
import type {
  CallEnd,
  CallsQuery,
  DeviceStore,
  HistoryQuery,
  StoredCall,
  StoredDesire,
  StoredReading,
} from './store.ts'
import { DeviceTasks } from './tasks.ts'

export interface DevicesComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly store: DeviceStore
  /** What a tenant that was let do `level` may do now: keys are revoked, and run out. As it was, when absent. */
  readonly standing?: (tenant: string, level: DeviceLevel) => DeviceLevel
}

export interface DeviceView {
  readonly descriptor: DeviceDescriptor
  readonly bridge: string
  readonly isBridgeOnline: boolean
  readonly state: DeviceState
  readonly stateAtMs: number
  readonly joinedAtMs: number
  readonly readings: number
  readonly last: readonly StoredReading[]
  readonly desired: readonly StoredDesire[]
}

/** How a call ended; of a read that the device did not answer the last value, which is so old. */
export interface CallResultView extends CallEnd {
  readonly call?: StoredCall
  readonly isFresh?: boolean
  readonly ageMs?: number
}

export interface DeviceStats {
  readonly byState: Readonly<Record<string, number>>
  readonly bridgesOnline: number
  readonly readings: number
  readonly reports: Readonly<Record<'applied' | 'repeated' | 'failed', number>>
  readonly dropped: number
  /** Ended calls by operation and outcome, with a space between. */
  readonly calls: ReadonlyMap<string, number>
  /** Ended calls of rules by outcome. */
  readonly ruleCalls: Readonly<Record<string, number>>
  /** Rules that were met and made no call, by why. */
  readonly ruleOutcomes: Readonly<Record<RuleOutcome, number>>
  readonly waiting: number
  /** Active device tasks. */
  readonly tasks: number
}

const SWEEP_MS = 600_000
/** At the start, to know which devices fail. */
const CALLS_LOOKED_BACK_AT = 1000

export class Devices implements Startable {
  readonly name = 'devices'
  readonly #components: DevicesComponents
  readonly #book = new DeviceBook()
  readonly #links: BridgeLinks
  readonly #desk: CallDesk
  readonly #shadow: Shadow
  readonly #records = new CallRecords()
  readonly tasks: DeviceTasks
  readonly #listeners = new Set<(event: DeviceEvent) => void>()
  readonly #thinner = new ReadingThinner()
  readonly #reports = { applied: 0, repeated: 0, failed: 0 }
  readonly #ruleOutcomes = Object.fromEntries(RULE_OUTCOMES.map((each) => [each, 0])) as Record<RuleOutcome, number>
  #readings = 0
  #dropped = 0
  /** Grows when a device comes, changes what it can do, or goes. */
  #version = 0
  #reporting: Promise<unknown> = Promise.resolve()
  #cancelSweep: CancelTimer = () => {}

  constructor(components: DevicesComponents) {
    this.#components = { ...components, log: components.log.scope('devices') }
    const { clock } = components
    this.#links = new BridgeLinks({
      clock,
      onOnline: (bridge, isOnline) => this.#turn(bridge, isOnline),
      onSent: (call) => this.#desk.sent(call),
    })
    const tell = (event: DeviceEvent): void => this.#tell(event)
    const [book, links, records] = [this.#book, this.#links, this.#records]
    this.#desk = new CallDesk({
      ...{ ...this.#components, book, links, tell },
      onEnded: (call, end, tookMs) => records.note(call, end, tookMs),
    })
    this.tasks = new DeviceTasks({
      ...{ ...this.#components, book, records, desk: this.#desk, tell },
      isOnline: (bridge) => links.isOnline(bridge),
      standing: components.standing ?? ((_tenant, level) => level),
    })
    this.#shadow = new Shadow({
      log: this.#components.log,
      book: this.#book,
      isReachable: (id) => this.#isReachable(id),
      begin: (request) => this.#desk.begin(request),
    })
  }

  /** Reads what is recorded. @throws SkeinError LEDGER_UNAVAILABLE. */
  async start(): Promise<void> {
    const snapshot = await this.#components.store.load()
    this.#book.load(snapshot)
    this.#desk.restore(snapshot.open)
    const ended = await this.#components.store.calls({ limit: CALLS_LOOKED_BACK_AT })
    for (const call of ended.reverse()) if (call.end) this.#records.note(call, call.end)
    await this.tasks.start()
    await this.#sweep()
    this.#scheduleSweep()
  }

  async stop(): Promise<void> {
    this.#cancelSweep()
    this.tasks.close()
    this.#links.close()
    this.#desk.close()
    await this.#reporting
    await this.#components.store.close()
  }

  /** Grows with every change of what there is to call. */
  get version(): number {
    return this.#version
  }

  /** Tells what happens from now on. Returns how to stop that. */
  watch(listener: (event: DeviceEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * Takes a report of a bridge; one that was taken before changes nothing. Resolves when it is durable, with the number of
   * the newest that is.
   *
   * @throws SkeinError SATURATED when there are too many bridges; LEDGER_UNAVAILABLE.
   */
  report(report: BridgeReport): Promise<number> {
    const done = this.#reporting.then(() => this.#report(report))
    this.#reporting = done.catch(() => undefined)
    return done
  }

  /** Takes a bridge's stream for calls. Returns how to say that it has ended. @throws SkeinError SATURATED, SHUTTING_DOWN. */
  link(bridge: string, sink: LinkSink): () => void {
    return this.#links.open(bridge, sink)
  }

  list(): DeviceView[] {
    return this.#book.all().map((device) => this.#view(device.descriptor.id)!)
  }

  get(id: string): DeviceView | undefined {
    return this.#view(id)
  }

  /** @throws SkeinError LEDGER_UNAVAILABLE. */
  history(query: HistoryQuery): Promise<StoredReading[]> {
    return this.#components.store.history({ ...query, limit: Math.min(query.limit, LIMITS.deviceHistoryMax) })
  }

  /** @throws SkeinError LEDGER_UNAVAILABLE. */
  calls(query: CallsQuery): Promise<StoredCall[]> {
    return this.#components.store.calls(query)
  }

  waiting(): StoredCall[] {
    return this.#desk.waiting()
  }

  /** @throws SkeinError as `CallDesk.begin`. */
  begin(request: CallRequest): CallHandle {
    return this.#desk.begin(request)
  }

  /** @throws SkeinError as `CallDesk.confirm`. */
  confirm(id: string, approve: boolean, caller: { readonly tenant: string; readonly isAdmin: boolean }): CallHandle {
    return this.#desk.confirm(id, approve, caller)
  }

  /**
   * Reads a value: of a device that is reachable its own answer, within two seconds, else the last value, with its age.
   *
   * @throws SkeinError as `begin`; the signal's reason.
   */
  async read(request: CallRequest, signal?: AbortSignal): Promise<CallResultView> {
    const { device, capability } = request
    let end: CallResultView | undefined
    if (this.#isReachable(device)) {
      const handle = this.begin({ ...request, op: 'read' })
      end = { ...(await this.outcome(handle, signal)), call: handle.call }
      if (end.outcome === 'done') return { ...end, isFresh: true, ageMs: 0 }
    } else this.#desk.check({ ...request, op: 'read' })
    const last = this.#book.last(device, capability)
    const nowMs = this.#components.clock.wallMs()
    if (last === undefined)
      return end ?? { outcome: 'failed', error: 'it is not reachable, and no value of it is known', endedAtMs: nowMs }
    const ageMs = Math.max(0, nowMs - last.atMs)
    const given = end?.call && { call: end.call }
    return { outcome: 'done', value: last.value, endedAtMs: nowMs, isFresh: false, ageMs, ...given }
  }

  /** The end of a call, or the signal's reason, with which it is given up. */
  outcome({ call, ended }: CallHandle, signal?: AbortSignal): Promise<CallEnd> {
    if (signal === undefined) return ended
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#desk.abandon(call.call)
        reject(signal.reason)
      }
      if (signal.aborted) return onAbort()
      signal.addEventListener('abort', onAbort, { once: true })
      void ended.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
    })
  }

  /**
   * Says what actuators are to have; `null` takes a wish back. What the device does not have is sent to it when it is there, and
   * again each time that it comes back.
   *
   * @throws SkeinError NOT_FOUND; INVALID_REQUEST naming a member; FORBIDDEN by permission or policy; LEDGER_UNAVAILABLE.
   */
  async desire(
    id: string,
    values: Readonly<Record<string, DeviceValue | null>>,
    { level, isConfirmed }: { readonly level: DeviceLevel; readonly isConfirmed: boolean },
  ): Promise<DeviceView> {
    const device = this.#book.get(id)
    if (device === undefined) throw new SkeinError('NOT_FOUND', `there is no device '${id.slice(0, 32)}'`)
    const { policy } = device.descriptor
    checkAllowed(id, policy, 'write', level)
    if (policy.act === 'confirm' && !isConfirmed)
      throw new SkeinError('FORBIDDEN', `${id} wants each change confirmed by a person: send confirmed: true`, {
        param: 'confirmed',
      })
    const desired = new Map(this.#book.desiredOf(id).map((desire) => [desire.name, desire]))
    const atMs = this.#components.clock.wallMs()
    for (const [name, value] of Object.entries(values)) {
      const capability = this.#book.capability(id, name)
      if (capability?.dir !== 'actuator')
        throw new SkeinError('INVALID_REQUEST', `${id} has no actuator '${name.slice(0, 32)}'`, { param: name })
      if (value === null) desired.delete(name)
      else desired.set(name, { device: id, name, value: fitting(capability, value), atMs })
    }
    await this.#components.store.desire(id, [...desired.values()])
    this.#book.desire(id, [...desired.values()])
    this.#shadow.sync(id)
    return this.#view(id)!
  }

  /** Names of the bridges that are connected. */
  bridges(): string[] {
    return this.#links.online()
  }

  stats(): DeviceStats {
    const byState: Record<string, number> = { init: 0, ready: 0, sleeping: 0, disconnected: 0, lost: 0 }
    for (const { state } of this.#book.all()) byState[state] = (byState[state] ?? 0) + 1
    const [readings, dropped, reports] = [this.#readings, this.#dropped, { ...this.#reports }]
    const bridgesOnline = this.#links.online().length
    const waiting = this.#desk.waiting().length
    return {
      byState,
      bridgesOnline,
      readings,
      reports,
      dropped,
      calls: this.#desk.counts,
      ruleCalls: this.#desk.ruleCounts,
      ruleOutcomes: { ...this.#ruleOutcomes },
      waiting,
      tasks: this.tasks.size,
    }
  }

  async #report(report: BridgeReport): Promise<number> {
    const { clock, store, log } = this.#components
    const { bridge, seq, results } = report
    const recorded = this.#book.recorded(bridge)
    if (seq <= recorded) {
      this.#reports.repeated++
      return recorded
    }
    if (!this.#book.isKnown(bridge) && this.#book.bridges().length >= LIMITS.bridgesMax)
      throw new SkeinError('SATURATED', `there are ${LIMITS.bridgesMax} bridges`, { retryAfterSeconds: 60 })
    const { change, dropped } = this.#book.judge(report, clock.wallMs())
    const ended = this.#desk.ends(bridge, results)
    const acknowledged = ended.flatMap(({ call, end }) => {
      const { value } = end
      const isValue = end.outcome === 'done' && value !== undefined && typeof value !== 'object'
      return isValue ? [{ device: call.device, name: call.capability, value, atMs: end.endedAtMs }] : []
    })
    const isKept = (reading: StoredReading): boolean => !change.gone.includes(reading.device)
    const last = this.#book.newest([...change.last, ...acknowledged].filter(isKept))
    const ends = ended.map(({ call, end }) => ({ call: call.call, end: keptEnd(call, end) }))
    const whole = { ...change, last, ends }
    try {
      await store.record(whole)
    } catch (error) {
      this.#reports.failed++
      log.warn({ err: error, bridge, seq }, 'a report of a bridge could not be recorded')
      throw error
    }
    const before = new Map(whole.devices.map(({ descriptor: { id } }) => [id, this.#book.get(id)]))
    this.#book.apply(whole)
    this.#reports.applied++
    this.#dropped += dropped
    this.#readings += whole.readings.length
    for (const { call, end } of ended) this.#desk.settle(call, end)
    this.#tellOf(report, whole, before)
    return seq
  }

  #tellOf(
    { bridge, claims = [], rules = [] }: BridgeReport,
    { devices, gone, last }: Parameters<DeviceBook['apply']>[0],
    before: ReadonlyMap<string, ReturnType<DeviceBook['get']>>,
  ): void {
    for (const { descriptor, state } of devices) {
      const { id } = descriptor
      const known = before.get(id)
      const isChanged = JSON.stringify(known?.descriptor) !== JSON.stringify(descriptor)
      if (isChanged) this.#version++
      if (known === undefined) this.#tell({ type: 'device.joined', device: id, bridge, class: descriptor.class })
      else if (isChanged) this.#tell({ type: 'device.changed', device: id, bridge })
      if (isChanged || known?.state !== state) this.tasks.stir()
      if (known?.state === state) continue
      this.#tell({ type: 'device.state', device: id, bridge, state })
      this.#shadow.changed(id)
    }
    for (const id of gone) {
      this.#version++
      this.#desk.forget(id)
      this.#records.forget(id)
      this.#thinner.forget(id)
      this.#shadow.forget(id)
      this.#tell({ type: 'device.gone', device: id, bridge })
    }
    const nowMs = this.#components.clock.nowMs()
    for (const { device, name, value, atMs } of last)
      if (this.#thinner.mayTell(device, name, nowMs))
        this.#tell({ type: 'device.reading', device, name, value, readAtMs: atMs })
    for (const { rule, device, outcome, times } of rules) {
      this.#ruleOutcomes[outcome] += times
      if (this.#book.get(device)?.bridge === bridge)
        this.#tell({ type: 'device.rule', device, bridge, rule, outcome, times })
    }
    for (const { code, class: kind = '' } of claims) this.#tell({ type: 'device.claim', bridge, code, class: kind })
  }

  #turn(bridge: string, isOnline: boolean): void {
    this.#tell({ type: 'device.bridge', bridge, isOnline })
    this.tasks.stir()
    if (!isOnline) return
    for (const device of this.#book.all()) if (device.bridge === bridge) this.#shadow.changed(device.descriptor.id)
  }

  #isReachable(id: string): boolean {
    const device = this.#book.get(id)
    return device?.state === 'ready' && this.#links.isOnline(device.bridge)
  }

  #view(id: string): DeviceView | undefined {
    const device = this.#book.get(id)
    if (device === undefined) return undefined
    const isBridgeOnline = this.#links.isOnline(device.bridge)
    return { ...device, isBridgeOnline, last: this.#book.lastOf(id), desired: this.#book.desiredOf(id) }
  }

  #tell(event: DeviceEvent): void {
    for (const listener of this.#listeners) listener(event)
  }

  #scheduleSweep(): void {
    const { clock, log } = this.#components
    this.#cancelSweep = clock.timer(SWEEP_MS, () => {
      void this.#sweep()
        .catch((error: unknown) => log.warn({ err: error }, 'old readings could not be deleted'))
        .finally(() => this.#scheduleSweep())
    })
  }

  async #sweep(): Promise<void> {
    const nowMs = this.#components.clock.wallMs()
    await this.#components.store.sweep(nowMs - LIMITS.deviceReadingsRetentionMs, nowMs - LIMITS.deviceCallsRetentionMs)
  }
}
