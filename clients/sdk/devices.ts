/** Devices behind the bridges of a mesh. What changes something in the world is asked once and never repeated by itself. */
import type { CallOptions } from './chat.ts'
import { ProtocolError } from './errors.ts'
import type { Gateways } from './gateways.ts'

export type DeviceValue = string | number | boolean

export interface Device {
  readonly id: string
  /** What the bridge said last: `init`, `ready`, `sleeping`, `disconnected` or `lost`. */
  readonly state: string
  /** Last readings, by the name of what was read. */
  readonly values: Readonly<Record<string, DeviceValue>>
}

export interface DeviceCall {
  /** Absent of a read, which is not recorded. */
  readonly id: string | undefined
  /** `confirm`: it waits for a person; `open`: it is on its way. */
  readonly state: 'confirm' | 'open' | 'ended'
  /** Of one that has ended, such as `done` or `refused`. */
  readonly outcome: string | undefined
  /** What was read, or what the device says that it has now. */
  readonly value: DeviceValue | undefined
  /** Why it did not come to it. */
  readonly error: string | undefined
}

type Options = Pick<CallOptions, 'signal'>

export class Devices {
  readonly #gateways: Gateways

  constructor(gateways: Gateways) {
    this.#gateways = gateways
  }

  /** @throws SkeinApiError and its kinds. */
  async list(options: Options = {}): Promise<Device[]> {
    const listed = await this.#gateways.json({ method: 'GET', path: '/mesh/v1/devices', ...options })
    const { data } = (listed ?? {}) as { data?: unknown[] }
    if (!Array.isArray(data)) throw new ProtocolError('no list of devices')
    return data.map(deviceOf)
  }

  /** @throws SkeinApiError `device_not_found`, and others. */
  async get(id: string, options: Options = {}): Promise<Device> {
    return deviceOf(await this.#gateways.json({ method: 'GET', path: pathOf(id), ...options }))
  }

  /** What a sensor measures now. @throws SkeinApiError and its kinds. */
  read(id: string, capability: string, options: Options = {}): Promise<DeviceCall> {
    return this.#call(id, { capability, op: 'read' }, options)
  }

  /** Sets an actuator; one whose owner wants to be asked waits in the state `confirm`. @throws as `read`. */
  set(id: string, capability: string, value: DeviceValue, options: Options = {}): Promise<DeviceCall> {
    return this.#call(id, { capability, op: 'write', value }, options)
  }

  /** Runs a command. @throws as `read`. */
  run(id: string, capability: string, value?: DeviceValue, options: Options = {}): Promise<DeviceCall> {
    return this.#call(id, { capability, op: 'run', ...(value !== undefined && { value }) }, options)
  }

  /** A person's word on a call that waits for one. @throws SkeinApiError `not_found` when it waits no more, and others. */
  async confirm(call: string, approve: boolean, options: Options = {}): Promise<DeviceCall> {
    const path = `/mesh/v1/calls/${encodeURIComponent(call)}/confirm`
    return callOf(await this.#gateways.json({ method: 'POST', path, body: { approve }, ...options }))
  }

  async #call(id: string, body: object, options: Options): Promise<DeviceCall> {
    return callOf(await this.#gateways.json({ method: 'POST', path: `${pathOf(id)}/calls`, body, ...options }))
  }
}

function callOf(answer: unknown): DeviceCall {
  const { call, state, outcome, value, error } = (answer ?? {}) as Record<string, string | undefined>
  if (state !== 'confirm' && state !== 'open' && state !== 'ended') throw new ProtocolError('no call')
  return { id: call, state, outcome, value: value as DeviceValue | undefined, error }
}

function deviceOf(body: unknown): Device {
  const {
    id,
    presence,
    values = {},
  } = (body ?? {}) as {
    id?: unknown
    presence?: { state?: unknown }
    values?: Record<string, { value: DeviceValue }>
  }
  if (typeof id !== 'string') throw new ProtocolError('no device')
  const plain = Object.entries(values).map(([name, { value }]) => [name, value] as const)
  return { id, state: String(presence?.state), values: Object.fromEntries(plain) }
}

const pathOf = (id: string): string => `/mesh/v1/devices/${encodeURIComponent(id)}`
