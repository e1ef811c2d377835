/**
 * The one desk for calls of devices, whoever makes them. Each is checked and, if it changes something, recorded before it is
 * sent; it is sent at most once, and has exactly one end. What was sent and has no result by its expiry ends `unknown`: it
 * may have been carried out. A result that comes later still is recorded in its place.
 */
import {
  BRIDGE_DEVICE,
  CALL_OUTCOMES,
  LIMITS,
  SkeinError,
  type CallOp,
  type CallResult,
  type DeviceLevel,
} from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock, Logger, Random } from '../../mesh/runtime/index.ts'
import type { DeviceBook } from './book.ts'
import { CallRates, checkAllowed, checkedValue, usualOp } from './checks.ts'
import type { DeviceEvent } from './events.ts'
import type { BridgeLinks } from './links.ts'
import type { CallEnd, CallOrigin, CallValue, DeviceStore, StoredCall } from './store.ts'

export interface CallRequest {
  /** Its id, a UUID that was recorded before; a new one when absent. */
  readonly call?: string
  readonly device: string
  readonly capability: string
  /** By what the capability is, when absent. */
  readonly op?: CallOp
  readonly value?: CallValue
  /** How long it is good. */
  readonly ttlMs?: number
  /** Of a call to a bridge itself: which, where there are several. */
  readonly bridge?: string
  readonly origin: CallOrigin
  /** Which one wants it, of a call of the origin `rule`. */
  readonly rule?: string
  /** Which one wants it, of a call of the origin `task`. */
  readonly task?: string
  readonly tenant: string
  readonly level: DeviceLevel
  readonly isAdmin: boolean
  /** A person has seen it and said yes. */
  readonly isConfirmed?: boolean
}

export interface CallHandle {
  readonly call: StoredCall
  /** Nothing happens before a person says yes. */
  readonly waitsForConfirm: boolean
  /** Its end. @throws SkeinError LEDGER_UNAVAILABLE when it could not be recorded, and was not sent. */
  readonly ended: Promise<CallEnd>
  /** Whether it may have left for its bridge. */
  readonly isSent: () => boolean
}

export interface DeskComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly store: DeviceStore
  readonly book: DeviceBook
  readonly links: BridgeLinks
  readonly tell: (event: DeviceEvent) => void
  /** A call has ended; `tookMs` from its sending, where that is known. */
  readonly onEnded: (call: StoredCall, end: CallEnd, tookMs?: number) => void
}

interface OpenCall {
  readonly call: StoredCall
  stage: 'confirm' | 'recording' | 'held' | 'sent'
  /** On the clock for intervals; absent of what a former process sent. */
  goneAtMs?: number
  cancelTimer: CancelTimer
  readonly end: PromiseWithResolvers<CallEnd>
}

/** How long a call is good that says nothing of it. */
const TTL_MS: Readonly<Record<CallOp, number>> = { read: 2000, write: 10_000, run: 10_000 }
const BRIDGE_TTL_MS = 15_000
/** From a call's expiry to its end: a result may be on its way. */
const RESULT_MS = 2000
/** Calls that ended unknown, of which a result may still come. */
const UNKNOWN_KEPT = 256

/** UUID of version 4. */
export function mintUuid(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes)
  hex[6] = (hex[6]! & 0x0f) | 0x40
  hex[8] = (hex[8]! & 0x3f) | 0x80
  return hex.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}

const isActing = ({ op }: StoredCall): boolean => op !== 'read'
/** Calls to a bridge may ask for, and be answered with, secrets. */
const isSecret = ({ device }: StoredCall): boolean => device === BRIDGE_DEVICE

/** As it is kept. */
export function keptCall({ value, end, ...call }: StoredCall): StoredCall {
  const kept = isSecret(call) ? {} : { ...(value !== undefined && { value }) }
  return { ...call, ...kept, ...(end && { end: keptEnd(call, end) }) }
}

export function keptEnd(call: StoredCall, { value, ...end }: CallEnd): CallEnd {
  return { ...end, ...(value !== undefined && !isSecret(call) && { value }) }
}

const handleOf = (open: OpenCall, waitsForConfirm: boolean): CallHandle => ({
  ...{ call: open.call, waitsForConfirm, ended: open.end.promise },
  isSent: () => open.stage === 'sent',
})

export class CallDesk {
  readonly #components: DeskComponents
  readonly #open = new Map<string, OpenCall>()
  readonly #unknown = new Map<string, StoredCall>()
  readonly #rates = new CallRates()
  /** Ended calls by operation and outcome. */
  readonly counts = new Map<string, number>()
  /** Those of rules by outcome. */
  readonly ruleCounts: Record<string, number> = Object.fromEntries(CALL_OUTCOMES.map((outcome) => [outcome, 0]))

  constructor(components: DeskComponents) {
    this.#components = components
  }

  /** Calls that were open when the process ended: a result may still come, and none is sent again. */
  restore(calls: readonly StoredCall[]): void {
    for (const call of calls) {
      const open: OpenCall = { call, stage: 'sent', cancelTimer: () => {}, end: Promise.withResolvers() }
      this.#open.set(call.call, open)
      this.#expireAt(open)
    }
  }

  forget(device: string): void {
    this.#rates.forget(device)
  }

  /** Ends what waits here; what was sent may still be answered after the next start. */
  close(): void {
    for (const { cancelTimer } of this.#open.values()) cancelTimer()
  }

  /** Calls that wait for a person. */
  waiting(): StoredCall[] {
    return [...this.#open.values()].filter(({ stage }) => stage === 'confirm').map(({ call }) => call)
  }

  /**
   * Begins a call.
   *
   * @throws SkeinError NOT_FOUND for a device that is not known; INVALID_REQUEST for what it cannot do; FORBIDDEN; RATE_LIMITED;
   *   SATURATED when too many calls are open, or wait for the bridge.
   */
  begin(request: CallRequest): CallHandle {
    const { clock, book } = this.#components
    const call = this.#callOf(request)
    if (this.#open.size >= LIMITS.deviceCallsOpenMax)
      throw new SkeinError('SATURATED', 'too many calls of devices are open', { retryAfterSeconds: 5 })
    // an owner at its bridge wears out no relay, and may let in a house of boards by one script
    const isRated = request.origin !== 'shadow' && call.device !== BRIDGE_DEVICE
    if (isRated) this.#rates.admit(call.device, call.capability, clock.nowMs())
    const policy = book.get(call.device)?.descriptor.policy
    const waitsForConfirm = isActing(call) && policy?.act === 'confirm' && request.isConfirmed !== true
    const open: OpenCall = { call, stage: 'recording', cancelTimer: () => {}, end: Promise.withResolvers() }
    open.end.promise.catch(() => undefined)
    this.#open.set(call.call, open)
    if (waitsForConfirm) {
      open.stage = 'confirm'
      open.cancelTimer = clock.timer(LIMITS.deviceConfirmMs, () =>
        this.#end(open, { outcome: 'refused', error: 'nobody confirmed it in time' }),
      )
      this.#tell(open, 'confirm')
    } else void this.#go(open)
    return handleOf(open, waitsForConfirm)
  }

  /**
   * A person's word on a call that waits for it.
   *
   * @throws SkeinError NOT_FOUND when there is none of that id that waits, or it is another's.
   */
  confirm(id: string, approve: boolean, caller: { readonly tenant: string; readonly isAdmin: boolean }): CallHandle {
    const open = this.#open.get(id)
    const isOwn = caller.isAdmin || open?.call.tenant === caller.tenant
    if (open?.stage !== 'confirm' || !isOwn)
      throw new SkeinError('NOT_FOUND', `no call '${id.slice(0, 64)}' waits to be confirmed`)
    open.cancelTimer()
    if (approve) {
      // how long it is good counts from the yes
      const ttlMs = open.call.expiresAtMs - open.call.atMs
      const confirmed: OpenCall = {
        ...open,
        call: { ...open.call, expiresAtMs: this.#components.clock.wallMs() + ttlMs },
        stage: 'recording',
      }
      this.#open.set(id, confirmed)
      // for whoever began it: from now on it may have left
      open.stage = 'sent'
      void this.#go(confirmed)
    } else this.#end(open, { outcome: 'refused', error: 'it was not approved' })
    return handleOf(open, false)
  }

  /** A call that has not ended; one of a former process may have been sent. */
  follow(id: string): CallHandle | undefined {
    const open = this.#open.get(id)
    return open && handleOf(open, open.stage === 'confirm')
  }

  /** Nobody waits for it any more. What was sent may be carried out all the same. */
  abandon(id: string): void {
    const open = this.#open.get(id)
    if (open === undefined) return
    const { links } = this.#components
    if (open.stage === 'confirm' || links.withdraw(open.call.bridge, id))
      return this.#end(open, { outcome: 'refused', error: 'its caller left' })
    if (open.stage === 'sent') links.cancel(open.call.bridge, id)
  }

  /** What of a bridge's results ends a call; the ends are recorded with its report, and `settle` is told of them then. */
  ends(bridge: string, results: readonly CallResult[]): { readonly call: StoredCall; readonly end: CallEnd }[] {
    return results.flatMap(({ call: id, outcome, value, error, atMs }) => {
      const call = this.#open.get(id)?.call ?? this.#unknown.get(id)
      if (call?.bridge !== bridge) return []
      const endedAtMs = Math.min(atMs, this.#components.clock.wallMs())
      const end = { outcome, ...(value !== undefined && { value }), ...(error !== undefined && { error }), endedAtMs }
      return [{ call, end }]
    })
  }

  /** The end is durable. */
  settle(call: StoredCall, end: CallEnd): void {
    this.#unknown.delete(call.call)
    const open = this.#open.get(call.call)
    if (open) this.#settle(open, end)
    else this.#tellOf(call, 'ended', end)
  }

  /** A call that waited for its bridge is on its way. */
  sent(id: string): void {
    const open = this.#open.get(id)
    if (open) open.stage = 'sent'
  }

  /** Whether such a call could be begun. @throws SkeinError as `begin`. */
  check(request: CallRequest): void {
    this.#deviceCall(request)
  }

  /** @throws SkeinError as `begin`. */
  #callOf(request: CallRequest): StoredCall {
    const { clock, random } = this.#components
    const { device, capability, origin, rule, task, tenant } = request
    const isForBridge = device === BRIDGE_DEVICE
    const checked = isForBridge ? this.#bridgeCall(request) : this.#deviceCall(request)
    const atMs = clock.wallMs()
    const usualMs = isForBridge ? BRIDGE_TTL_MS : TTL_MS[checked.op]
    const expiresAtMs = atMs + Math.min(request.ttlMs ?? usualMs, LIMITS.deviceCallMs)
    const call = request.call ?? mintUuid(random.bytes(16))
    const by = { origin, ...(rule !== undefined && { rule }), ...(task !== undefined && { task }), tenant }
    return { call, device, capability, ...checked, ...by, atMs, expiresAtMs }
  }

  #deviceCall({ device: id, capability: name, op, value, level }: CallRequest) {
    const { book } = this.#components
    const device = book.get(id)
    if (device === undefined) throw new SkeinError('NOT_FOUND', `there is no device '${id.slice(0, 32)}'`)
    const capability = book.capability(id, name)
    if (capability === undefined) {
      const names = device.descriptor.capabilities.map((each) => each.name).join(', ')
      throw new SkeinError('INVALID_REQUEST', `${id} has no '${name.slice(0, 32)}'; it has: ${names}`, {
        param: 'capability',
      })
    }
    const meant = op ?? usualOp(capability, value)
    checkAllowed(id, device.descriptor.policy, meant, level)
    const checked = checkedValue(capability, meant, value)
    return { op: meant, bridge: device.bridge, ...(checked !== undefined && { value: checked }) }
  }

  #bridgeCall({ bridge, isAdmin, value }: CallRequest) {
    const { links } = this.#components
    if (!isAdmin) throw new SkeinError('FORBIDDEN', 'who joins, and by what policy, is for the admin')
    const online = links.online()
    const meant = bridge ?? (online.length === 1 ? online[0] : undefined)
    if (meant === undefined && online.length > 1)
      throw new SkeinError('INVALID_REQUEST', `bridge is required, one of: ${online.join(', ')}`, { param: 'bridge' })
    if (meant === undefined || !online.includes(meant))
      throw new SkeinError('BRIDGE_OFFLINE', 'no bridge is connected; start one with: skein bridge')
    return { op: 'run' as const, bridge: meant, ...(value !== undefined && { value }) }
  }

  async #go(open: OpenCall): Promise<void> {
    const { clock, links, store } = this.#components
    const { call } = open
    try {
      if (!links.isOnline(call.bridge))
        return this.#end(open, { outcome: 'failed', error: 'offline: its bridge is away' })
      if (isActing(call)) await store.recordCall(keptCall(call))
      this.#tell(open, 'begun')
      if (clock.wallMs() >= call.expiresAtMs) return this.#end(open, { outcome: 'expired' })
      const { call: id, device, capability, op, value, expiresAtMs } = call
      const sent = { call: id, device, capability, op, ...(value !== undefined && { value }), expiresAtMs }
      open.goneAtMs = clock.nowMs()
      open.stage = links.send(call.bridge, sent)
      this.#expireAt(open)
    } catch (error) {
      this.#open.delete(call.call)
      open.end.reject(error)
    }
  }

  #expireAt(open: OpenCall): void {
    const { clock, links } = this.#components
    const leftMs = Math.max(0, open.call.expiresAtMs - clock.wallMs())
    open.cancelTimer = clock.timer(leftMs, () => {
      if (links.withdraw(open.call.bridge, open.call.call))
        return this.#end(open, { outcome: 'expired', error: 'its bridge did not come back' })
      open.cancelTimer = clock.timer(RESULT_MS, () => {
        if (!isActing(open.call)) return this.#end(open, { outcome: 'expired', error: 'the device did not answer' })
        this.#keepUnknown(open.call)
        this.#end(open, { outcome: 'unknown', error: 'no result came; it may have been carried out' })
      })
    })
  }

  #keepUnknown(call: StoredCall): void {
    this.#unknown.set(call.call, call)
    const oldest = this.#unknown.keys().next().value
    if (this.#unknown.size > UNKNOWN_KEPT && oldest !== undefined) this.#unknown.delete(oldest)
  }

  /** An end that is not a bridge's word. */
  #end(open: OpenCall, given: Omit<CallEnd, 'endedAtMs'>): void {
    const { clock, log, store } = this.#components
    const end = { ...given, endedAtMs: clock.wallMs() }
    this.#settle(open, end)
    if (!isActing(open.call)) return
    store
      .recordCall(keptCall({ ...open.call, end }))
      .catch((error: unknown) => log.error({ err: error, call: open.call.call }, "a call's end could not be recorded"))
  }

  #settle(open: OpenCall, end: CallEnd): void {
    if (!this.#open.delete(open.call.call)) return
    open.cancelTimer()
    const { clock, onEnded } = this.#components
    onEnded(open.call, end, open.goneAtMs === undefined ? undefined : clock.nowMs() - open.goneAtMs)
    this.#tell(open, 'ended', end)
    open.end.resolve(end)
  }

  #tell({ call }: OpenCall, state: 'confirm' | 'begun' | 'ended', end?: CallEnd): void {
    this.#tellOf(call, state, end)
  }

  #tellOf(call: StoredCall, state: 'confirm' | 'begun' | 'ended', end?: CallEnd): void {
    const { call: id, device, capability, op, origin, rule, tenant: key } = call
    if (end && origin === 'rule') this.ruleCounts[end.outcome]!++
    if (end) this.counts.set(`${op} ${end.outcome}`, (this.counts.get(`${op} ${end.outcome}`) ?? 0) + 1)
    const value = end ? end.value : call.value
    this.#components.tell({
      type: 'device.call',
      ...{ call: id, device, capability, op, origin, key, state },
      ...(rule !== undefined && { rule }),
      ...(value !== undefined && typeof value !== 'object' && { value }),
      ...(end && { outcome: end.outcome }),
      ...(end?.error !== undefined && { error: end.error }),
    })
  }
}
