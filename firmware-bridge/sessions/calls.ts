/**
 * Calls of devices. A command is recorded before it is sent and sent once: what comes after a crash is known or `unknown`,
 * never a second actuation. Calls for a device that sleeps wait for it; of those that set one capability the newest alone.
 */
import {
  asSkeinError,
  BRIDGE_DEVICE,
  LIMITS,
  type BridgeCall,
  type CallOutcome,
  type CallResult,
  type DeviceCapability,
  type DevicePolicy,
  type DeviceValue,
} from '../../mesh/protocol/index.ts'
import type { Clock, Logger } from '../../mesh/runtime/index.ts'
import { checkValue, type Cmd, type MessageOf } from '../messages/index.ts'
import type { DeviceCalls, SendOutcome, Tally } from '../ports/index.ts'
import type { DeviceStore, StoredCall } from '../store/index.ts'
import type { Session } from './session.ts'

/** Does what a call to the bridge itself says. @throws SkeinError */
export type ManageCall = (call: BridgeCall) => Promise<Record<string, unknown>>

export interface CallsComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly tally: Tally
  readonly store: DeviceStore
  readonly session: (device: string) => Session | undefined
  readonly isKnown: (device: string) => boolean
  readonly send: (session: Session, message: Cmd) => SendOutcome
  readonly manage: ManageCall
}

type Ending = Omit<CallResult, 'call' | 'atMs'>
const refusal = (error: string): Ending => ({ outcome: 'refused', error })

export class Calls implements DeviceCalls {
  readonly #components: CallsComponents
  readonly #open = new Map<string, StoredCall>()
  /** Of sent ones by number. */
  readonly #sent = new Map<number, string>()
  /** Calls whose write is under way. */
  readonly #busy = new Set<string>()
  readonly #waiters = new Map<string, (result: CallResult) => void>()

  constructor(components: CallsComponents) {
    this.#components = { ...components, log: components.log.scope('calls') }
  }

  /** Takes up what a former start left open. @throws SkeinError DATA_DIR_UNUSABLE. */
  async start(): Promise<void> {
    for (const stored of await this.#components.store.openCalls()) {
      // what was done for the bridge itself and not told is not known any more
      if (stored.call.device === BRIDGE_DEVICE) await this.#end(stored.call, { outcome: 'unknown' })
      else this.#keep(stored)
    }
  }

  call(call: BridgeCall): void {
    this.#take(call).catch((error: unknown) => {
      // not recorded, hence not carried out: the coordinator sees it expire
      this.#components.tally.count('call_not_recorded')
      this.#components.log.warn({ err: error, call: call.call }, 'a call was not taken')
    })
  }

  /** Carries out `call` for the bridge itself, and waits for its end. */
  carryOut(call: BridgeCall): Promise<CallResult> {
    return new Promise((resolve) => {
      this.#waiters.set(call.call, resolve)
      this.call(call)
    })
  }

  cancel(call: string): void {
    const stored = this.#open.get(call)
    if (stored?.state === 'waiting' && !this.#busy.has(call))
      this.#endLater(stored.call, { outcome: 'refused', error: 'cancelled' })
  }

  /** A device has told what became of a command. */
  onResult(session: Session, { id, ok, v, e }: MessageOf<'result'>): void {
    const stored = this.#sentBy(id)
    if (stored === undefined || stored.call.device !== session.id) return this.#components.tally.count('unknown_result')
    const value = v === undefined ? undefined : valueOf(session, stored.call, v)
    this.#endLater(stored.call, {
      outcome: ok ? 'done' : 'failed',
      ...(value !== undefined && { value }),
      ...(!ok && { error: e ?? 'internal' }),
    })
  }

  /** A board that prints lines has answered a command by the name of its capability. */
  onLineResult(session: Session, name: string, isDone: boolean, value?: DeviceValue): void {
    const stored = [...this.#open.values()].find(
      ({ state, call }) => state === 'sent' && call.device === session.id && call.capability === name,
    )
    if (stored === undefined) return
    this.#endLater(stored.call, {
      outcome: isDone ? 'done' : 'failed',
      ...(value !== undefined && { value }),
      ...(!isDone && { error: 'internal' }),
    })
  }

  /**
   * A device has said hello.
   *
   * @param lastCommand that it has carried out since its start; 0 none.
   * @param isNewBoot of a start that no command was sent to.
   */
  onHello(session: Session, lastCommand: number, isNewBoot: boolean): void {
    for (const { state, call, cmd } of [...this.#open.values()]) {
      if (call.device !== session.id || state !== 'sent') continue
      // `cmd` is of the running start alone
      if (!isNewBoot && cmd !== undefined && cmd <= lastCommand) this.#endLater(call, { outcome: 'done' })
      else if (isNewBoot) this.#endLater(call, { outcome: 'unknown', error: 'the device began anew' })
    }
    this.flush(session)
  }

  /** Sends what waits for a device, as far as it may. */
  flush(session: Session): void {
    for (const { state, call } of [...this.#open.values()])
      if (state === 'waiting' && call.device === session.id) this.#sendWaiting(session, call)
  }

  onRevoked(device: string): void {
    for (const { state, call } of [...this.#open.values()])
      if (call.device === device)
        this.#endLater(call, { outcome: state === 'sent' ? 'unknown' : 'refused', error: 'revoked' })
  }

  /** Ends what has expired. */
  sweep(): void {
    const nowMs = this.#components.clock.wallMs()
    for (const { state, call } of [...this.#open.values()])
      if (call.expiresAtMs <= nowMs && !this.#busy.has(call.call))
        this.#endLater(call, { outcome: state === 'sent' ? 'unknown' : 'expired' })
  }

  async #take(call: BridgeCall): Promise<void> {
    if (this.#open.has(call.call) || this.#busy.has(call.call)) return
    this.#busy.add(call.call)
    try {
      await (call.device === BRIDGE_DEVICE ? this.#manage(call) : this.#carryOut(call))
    } finally {
      this.#busy.delete(call.call)
    }
    const session = this.#components.session(call.device)
    if (session) this.flush(session)
  }

  async #manage(call: BridgeCall): Promise<void> {
    if (!(await this.#components.store.addCall({ call, state: 'sent' }))) return
    const stored: StoredCall = { call, state: 'sent' }
    this.#open.set(call.call, stored)
    try {
      await this.#end(call, { outcome: 'done', value: await this.#components.manage(call) })
    } catch (error) {
      await this.#end(call, refusal(asSkeinError(error).message.slice(0, 256)))
    }
  }

  async #carryOut(call: BridgeCall): Promise<void> {
    const session = this.#components.session(call.device)
    const ending = this.#flawOf(call, session)
    const isNow = ending === undefined && session?.isReachable === true && this.#mayFly(session)
    const cmd = isNow ? this.#components.store.nextCommand() : undefined
    const stored: StoredCall = { call, state: isNow ? 'sent' : 'waiting', ...(cmd !== undefined && { cmd }) }
    // its place in flight is taken while the disk works
    this.#keep(stored)
    try {
      if (!(await this.#components.store.addCall(stored))) return this.#forget(call.call)
    } catch (error) {
      this.#forget(call.call)
      throw error
    }
    if (ending !== undefined) return this.#end(call, ending)
    this.#supersede(call)
    if (isNow) await this.#sendNow(session, call, cmd!)
  }

  /** How a call ends that must not be carried out. */
  #flawOf(call: BridgeCall, session: Session | undefined): Ending | undefined {
    const { clock, isKnown } = this.#components
    if (!isKnown(call.device)) return refusal(`there is no device ${call.device}`)
    if (call.expiresAtMs <= clock.wallMs()) return { outcome: 'expired' }
    if (session === undefined) return undefined
    const capability = session.capability(call.capability)
    if (capability === undefined) return { outcome: 'refused', error: 'unknown_capability' }
    return flawOf(call, capability, session.policy)
  }

  /** An older call that waits to set the same is pointless now. */
  #supersede(newer: BridgeCall): void {
    if (newer.op !== 'write') return
    for (const { state, call } of [...this.#open.values()]) {
      const isSame = call.device === newer.device && call.capability === newer.capability && call.op === 'write'
      if (isSame && state === 'waiting' && call.call !== newer.call && !this.#busy.has(call.call))
        this.#endLater(call, { outcome: 'expired', error: 'a newer call sets the same' })
    }
  }

  #mayFly(session: Session): boolean {
    let inFlight = 0
    for (const { state, call } of this.#open.values()) if (state === 'sent' && call.device === session.id) inFlight++
    return inFlight < LIMITS.deviceCallsInFlightMax
  }

  #sendWaiting(session: Session, call: BridgeCall): void {
    if (this.#busy.has(call.call) || !session.isReachable || !this.#mayFly(session)) return
    const flaw = this.#flawOf(call, session)
    if (flaw !== undefined) return this.#endLater(call, flaw)
    const cmd = this.#components.store.nextCommand()
    this.#busy.add(call.call)
    this.#keep({ call, state: 'sent', cmd })
    const send = async (): Promise<void> => {
      try {
        if (await this.#components.store.sendCall(call.call, cmd)) await this.#sendNow(session, call, cmd)
      } catch (error) {
        this.#components.log.warn({ err: error, call: call.call }, 'a call that waited was not sent')
        this.#sent.delete(cmd)
        this.#keep({ call, state: 'waiting' })
      } finally {
        this.#busy.delete(call.call)
      }
    }
    void send()
  }

  async #sendNow(session: Session, call: BridgeCall, cmd: number): Promise<void> {
    const { clock, send } = this.#components
    const leftS = Math.ceil((call.expiresAtMs - clock.wallMs()) / 1000)
    if (leftS <= 0) return this.#end(call, { outcome: 'expired' })
    const sent = send(session, {
      kind: 'cmd',
      id: cmd,
      c: session.refOf(call.capability),
      ...(call.op !== 'read' && isValue(call.value) && { v: call.value }),
      exp: leftS,
    })
    if (sent !== 'sent') await this.#end(call, { outcome: 'failed', error: sent })
  }

  #keep(stored: StoredCall): void {
    this.#open.set(stored.call.call, stored)
    if (stored.state === 'sent' && stored.cmd !== undefined) this.#sent.set(stored.cmd, stored.call.call)
  }

  #forget(call: string): void {
    const cmd = this.#open.get(call)?.cmd
    if (cmd !== undefined) this.#sent.delete(cmd)
    this.#open.delete(call)
  }

  #sentBy(cmd: number): StoredCall | undefined {
    const call = this.#sent.get(cmd)
    return call === undefined ? undefined : this.#open.get(call)
  }

  #endLater(call: BridgeCall, ending: Ending): void {
    this.#end(call, ending).catch((error: unknown) => {
      // it stays open in the store: the next start, or its expiry, ends it
      this.#components.log.warn({ err: error, call: call.call }, 'the end of a call was not recorded')
    })
  }

  async #end(call: BridgeCall, ending: Ending): Promise<void> {
    const { clock, store } = this.#components
    if (!this.#open.has(call.call) && call.device !== BRIDGE_DEVICE) return
    this.#forget(call.call)
    const result: CallResult = { call: call.call, ...ending, atMs: clock.wallMs() }
    await store.endCall(result)
    this.#waiters.get(call.call)?.(result)
    this.#waiters.delete(call.call)
    const session = this.#components.session(call.device)
    if (session) this.flush(session)
  }
}

const isValue = (value: unknown): value is DeviceValue => value !== undefined && typeof value !== 'object'

const valueOf = (session: Session, call: BridgeCall, value: DeviceValue): DeviceValue | undefined => {
  const capability = session.capability(call.capability)
  if (capability === undefined || capability.type === 'none') return value
  const checked = checkValue(capability, value)
  return checked.ok ? checked.value : undefined
}

/** Why a capability must not, or cannot, be called so. */
export function flawOf(
  { op, value }: Pick<BridgeCall, 'op' | 'value'>,
  capability: DeviceCapability,
  policy: DevicePolicy,
): { readonly outcome: CallOutcome; readonly error: string } | undefined {
  const refused = (error: string) => ({ outcome: 'refused' as const, error })
  if (op === 'read') {
    if (!policy.read) return refused('not_permitted')
    return capability.dir === 'command' ? refused('unknown_capability') : undefined
  }
  const isRun = op === 'run'
  if (isRun !== (capability.dir === 'command' || capability.dir === 'model') || capability.dir === 'sensor')
    return refused('unknown_capability')
  if (capability.dir === 'model' ? !policy.read : policy.act === 'no') return refused('not_permitted')
  if (value === undefined) return isRun ? undefined : refused('out_of_range')
  if (!isValue(value)) return refused('malformed')
  // a model takes what it is given; only what is set or run has a range
  if (capability.dir === 'model') return undefined
  return checkValue(capability, value).ok ? undefined : refused('out_of_range')
}
