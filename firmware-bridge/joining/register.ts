/**
 * The devices of a bridge: added by their owner, or approved when a board claimed to be one. What is asked often (who is
 * this, may it connect) is answered from memory; every change is durable before it holds.
 */
import { LIMITS, SkeinError, type DevicePolicy } from '../../mesh/protocol/index.ts'
import type { Clock, Logger, Random } from '../../mesh/runtime/index.ts'
import type { Cancel, Tally } from '../ports/index.ts'
import { FIRST_POLICY, type DeviceStore, type NewDevice, type StoredDevice } from '../store/index.ts'
import { Claims, type ClaimInit, type ClaimView } from './claims.ts'
import { hashOf, isKeyOf, newKey } from './credential.ts'

export interface RegisterComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly tally: Tally
  readonly store: DeviceStore
  /** The owner's broker, where it keeps credentials of its own. */
  readonly broker?: BrokerAccess
}

/** A broker that is told who may connect. */
export interface BrokerAccess {
  /** @throws SkeinError COORDINATOR_UNREACHABLE when the broker did not take it. */
  grant(device: string, key: string): Promise<void>
  revoke(device: string): Promise<void>
}

export interface RegisterInit {
  /** Boards at serial ports need no approval. */
  readonly isSerialTrusted: boolean
}

export interface Added {
  readonly id: string
  /** Shown once. */
  readonly key: string
}

type Quota = 'asks_per_minute' | 'tokens_per_day'

/** What of a policy is to be otherwise; a quota that is `null` is as the bridge has it. */
export type PolicyChange = Partial<Omit<DevicePolicy, Quota>> & { readonly [Q in Quota]?: number | null }

export class Register {
  readonly #components: RegisterComponents
  readonly #init: RegisterInit
  readonly #devices = new Map<string, StoredDevice>()
  readonly #byPort = new Map<string, string>()
  readonly #claims: Claims
  readonly #revoked = new Set<(device: StoredDevice) => void>()
  readonly #changed = new Set<(device: StoredDevice) => void>()
  readonly #claimed = new Set<(claim: ClaimView) => void>()
  /** Chips and ports whose approval is being made durable. */
  readonly #granting = new Set<string>()
  /** Ports whose device was revoked: trust in ports does not bring it back. */
  readonly #distrusted = new Set<string>()
  #changing: Promise<unknown> = Promise.resolve()

  private constructor(components: RegisterComponents, init: RegisterInit, devices: readonly StoredDevice[]) {
    this.#components = { ...components, log: components.log.scope('register') }
    this.#init = init
    this.#claims = new Claims(components)
    for (const device of devices) this.#set(device)
  }

  /** @throws SkeinError DATA_DIR_UNUSABLE. */
  static async open(components: RegisterComponents, init: RegisterInit): Promise<Register> {
    return new Register(components, init, await components.store.devices())
  }

  device(id: string): StoredDevice | undefined {
    return this.#devices.get(id)
  }

  devices(): StoredDevice[] {
    return [...this.#devices.values()]
  }

  deviceOfPort(port: string): string | undefined {
    return this.#byPort.get(port)
  }

  isCredential(id: string, key: Uint8Array): boolean {
    const { credential } = this.#devices.get(id) ?? {}
    return credential !== undefined && isKeyOf(credential, key)
  }

  /** Called once it holds. */
  onRevoked(listener: (device: StoredDevice) => void): Cancel {
    this.#revoked.add(listener)
    return () => void this.#revoked.delete(listener)
  }

  onChanged(listener: (device: StoredDevice) => void): Cancel {
    this.#changed.add(listener)
    return () => void this.#changed.delete(listener)
  }

  /** A board asks for the first time. */
  onClaimed(listener: (claim: ClaimView) => void): Cancel {
    this.#claimed.add(listener)
    return () => void this.#claimed.delete(listener)
  }

  /**
   * A device with a credential of its own.
   *
   * @throws SkeinError KEY_NAME_TAKEN, INVALID_REQUEST for a name without a letter or digit, DISK_FULL, …
   */
  async add(name: string): Promise<Added> {
    const id = idOf(name)
    this.#free(id)
    const key = newKey(this.#components.random)
    await this.#components.broker?.grant(id, key)
    await this.#add({ ...this.#fresh(id, name), credential: hashOf(key) })
    return { id, key }
  }

  claims(): ClaimView[] {
    return this.#claims.list()
  }

  /**
   * The board that shows `code` becomes a device.
   *
   * @param code of the claim, or its chip.
   * @throws SkeinError NOT_FOUND; INVALID_REQUEST when two boards show it; KEY_NAME_TAKEN.
   */
  async approve(code: string, name?: string): Promise<string> {
    const claim = this.#claims.find(code)
    const given = name ?? this.#freeName(`${claim.class || 'board'}-${claim.chip.slice(-4)}`)
    const id = idOf(given)
    const untilMs = this.#components.clock.wallMs() + LIMITS.deviceClaimMs
    await this.#add({
      ...this.#fresh(id, given),
      ...(claim.port === undefined
        ? { approval: { chip: claim.chip, code: claim.code, untilMs } }
        : { port: claim.port }),
    })
    this.#claims.forget(claim.chip)
    this.#components.log.info({ device: id, chip: claim.chip }, 'a board was approved')
    return id
  }

  /**
   * A board without a credential asks for one. Gives it when its owner has approved: at each asking anew until the device
   * has said hello, since an answer may be lost on its way; only the newest holds.
   *
   * @throws SkeinError DISK_FULL, DATA_DIR_UNUSABLE.
   */
  async claim(claim: ClaimInit): Promise<Added | undefined> {
    const { clock, random, store, broker } = this.#components
    const device = this.devices().find(({ approval }) => approval?.chip === claim.chip)
    const { approval } = device ?? {}
    const isApproved = approval !== undefined && approval.code === claim.code && clock.wallMs() <= approval.untilMs
    if (device === undefined || !isApproved) {
      this.#pend(claim)
      return undefined
    }
    if (this.#granting.has(claim.chip)) return undefined
    this.#granting.add(claim.chip)
    try {
      const key = newKey(random)
      await broker?.grant(device.id, key)
      if (!(await store.change(device.id, { credential: hashOf(key) }))) return undefined
      this.#set({ ...device, credential: hashOf(key) })
      return { id: device.id, key }
    } finally {
      this.#granting.delete(claim.chip)
    }
  }

  /** A board speaks at a serial port that nobody has approved: gives its device where ports are trusted. */
  async claimPort(claim: Omit<ClaimInit, 'code' | 'chip'> & { readonly port: string }): Promise<string | undefined> {
    const { port } = claim
    const known = this.deviceOfPort(port)
    if (known !== undefined || this.#granting.has(port)) return known
    if (!this.#init.isSerialTrusted || this.#distrusted.has(port)) {
      this.#pend({ ...claim, chip: port, code: this.#claims.codeOf(port) })
      return undefined
    }
    this.#granting.add(port)
    try {
      const name = this.#freeName(`${claim.class || 'board'}-${port.slice(-4)}`)
      await this.#add({ ...this.#fresh(idOf(name), name), port })
    } finally {
      this.#granting.delete(port)
    }
    return this.deviceOfPort(port)
  }

  /** The device has shown that it has its credential: its approval is used up. */
  async arrived(id: string): Promise<void> {
    const device = this.#devices.get(id)
    if (device?.approval === undefined) return
    const { approval: _used, ...rest } = device
    this.#set(rest)
    await this.#components.store.change(id, { approval: null })
  }

  /** One change after the other: none undoes what another one has just forbidden. @throws SkeinError NOT_FOUND. */
  setPolicy(id: string, change: PolicyChange): Promise<DevicePolicy> {
    const done = this.#changing.then(() => this.#setPolicy(id, change))
    this.#changing = done.catch(() => undefined)
    return done
  }

  async #setPolicy(id: string, change: PolicyChange): Promise<DevicePolicy> {
    const device = this.#known(id)
    const { asks_per_minute: asks, tokens_per_day: tokens, ...rest } = { ...device.policy, ...change }
    const policy: DevicePolicy = {
      ...rest,
      ...(typeof asks === 'number' && { asks_per_minute: asks }),
      ...(typeof tokens === 'number' && { tokens_per_day: tokens }),
    }
    await this.#components.store.change(id, { policy })
    this.#set({ ...this.#known(id), policy })
    for (const listener of this.#changed) listener(this.#known(id))
    return policy
  }

  /** Its credential is void, its link is cut, and it is forgotten. @throws SkeinError NOT_FOUND. */
  async revoke(id: string): Promise<void> {
    const device = this.#known(id)
    await this.#components.store.remove(id)
    this.#devices.delete(id)
    if (device.port !== undefined) {
      this.#byPort.delete(device.port)
      this.#distrusted.add(device.port)
    }
    this.#components.log.info({ device: id }, 'a device was revoked')
    for (const listener of this.#revoked) listener(device)
    await this.#components.broker?.revoke(id)
  }

  #pend(claim: ClaimInit): void {
    const fresh = this.#claims.add(claim)
    if (fresh) for (const listener of this.#claimed) listener(fresh)
  }

  #known(id: string): StoredDevice {
    const device = this.#devices.get(id)
    if (device === undefined) throw new SkeinError('NOT_FOUND', `there is no device ${id}`)
    return device
  }

  #fresh(id: string, name: string): NewDevice {
    return { id, name, addedAtMs: this.#components.clock.wallMs(), policy: FIRST_POLICY }
  }

  #free(id: string): void {
    if (this.#devices.has(id)) throw taken(id)
  }

  async #add(device: NewDevice): Promise<void> {
    this.#free(device.id)
    if (this.#devices.size >= LIMITS.devicesMax)
      throw new SkeinError('INVALID_REQUEST', `a bridge has ${LIMITS.devicesMax} devices at most; revoke some`)
    if (!(await this.#components.store.add(device))) throw taken(device.id)
    this.#set({ ...device, tele: 0 })
  }

  #set(device: StoredDevice): void {
    this.#devices.set(device.id, device)
    if (device.port !== undefined) this.#byPort.set(device.port, device.id)
  }

  #freeName(base: string): string {
    const first = idOf(base)
    if (!this.#devices.has(first)) return first
    for (let n = 2; ; n++) {
      const name = `${first.slice(0, 18)}-${n}`
      if (!this.#devices.has(name)) return name
    }
  }
}

const taken = (id: string): SkeinError =>
  new SkeinError('KEY_NAME_TAKEN', `there is a device ${id}; revoke it, or choose another name`)

const ID_LENGTH_MAX = 23

/** The id of a device that its owner calls `name`. @throws SkeinError INVALID_REQUEST. */
export function idOf(name: string): string {
  const id = name
    .normalize('NFKD')
    .toLowerCase()
    .replace(/\p{M}+/gu, '')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+/, '')
    .slice(0, ID_LENGTH_MAX)
    .replace(/-+$/, '')
  if (id === '') throw new SkeinError('INVALID_REQUEST', `'${name}': a device's name has a letter or a digit`)
  return id
}
