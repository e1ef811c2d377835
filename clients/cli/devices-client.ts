/** The part of a coordinator's API that is about devices. */
import type { DeviceCallView, DeviceReadingView, DeviceTaskView, DeviceView } from '../../coordinator/index.ts'

export type Caller = (method: string, path: string, body?: unknown) => Promise<unknown>

/** What a bridge answers; its own words are read with care. */
export type BridgeAnswer = Readonly<Record<string, unknown>>

export class DevicesClient {
  readonly #call: Caller

  constructor(call: Caller) {
    this.#call = call
  }

  async list(): Promise<DeviceView[]> {
    return ((await this.#call('GET', '/mesh/v1/devices')) as { data: DeviceView[] }).data
  }

  get(id: string): Promise<DeviceView> {
    return this.#call('GET', pathOf(id)) as Promise<DeviceView>
  }

  async history(id: string, name: string | undefined, sinceMs: number, limit: number): Promise<DeviceReadingView[]> {
    const query = new URLSearchParams({
      since_ms: String(Math.max(0, Math.floor(sinceMs))),
      limit: String(limit),
      ...(name !== undefined && { name }),
    })
    return ((await this.#call('GET', `${pathOf(id)}/history?${query}`)) as { data: DeviceReadingView[] }).data
  }

  async calls(id: string): Promise<DeviceCallView[]> {
    return ((await this.#call('GET', `${pathOf(id)}/calls`)) as { data: DeviceCallView[] }).data
  }

  /** @throws SkeinError the gateway's code. */
  call(id: string, call: Readonly<Record<string, unknown>>): Promise<DeviceCallView> {
    return this.#call('POST', `${pathOf(id)}/calls`, call) as Promise<DeviceCallView>
  }

  confirm(call: string, approve: boolean): Promise<DeviceCallView> {
    const path = `/mesh/v1/calls/${encodeURIComponent(call)}/confirm`
    return this.#call('POST', path, { approve }) as Promise<DeviceCallView>
  }

  /** Newest first. */
  async tasks(): Promise<DeviceTaskView[]> {
    return ((await this.#call('GET', TASKS)) as { data: DeviceTaskView[] }).data
  }

  task(id: string): Promise<DeviceTaskView> {
    return this.#call('GET', `${TASKS}/${encodeURIComponent(id)}`) as Promise<DeviceTaskView>
  }

  makeTask(task: Readonly<Record<string, unknown>>): Promise<DeviceTaskView> {
    return this.#call('POST', TASKS, task) as Promise<DeviceTaskView>
  }

  cancelTask(id: string): Promise<DeviceTaskView> {
    return this.#call('DELETE', `${TASKS}/${encodeURIComponent(id)}`) as Promise<DeviceTaskView>
  }

  desire(id: string, values: Readonly<Record<string, unknown>>, confirmed: boolean): Promise<DeviceView> {
    return this.#call('PUT', `${pathOf(id)}/desired`, { values, confirmed }) as Promise<DeviceView>
  }
}

const TASKS = '/mesh/v1/device-tasks'
const pathOf = (id: string): string => `/mesh/v1/devices/${encodeURIComponent(id)}`
