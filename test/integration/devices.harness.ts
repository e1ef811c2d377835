/** A bridge of a test: it speaks to a gateway as the real one does, over HTTP, and answers calls as the test says. */
import { createParser } from 'eventsource-parser'
import { afterAll, beforeEach } from 'vitest'
import type { Access } from '../../coordinator/access/index.ts'
import { Devices, MemoryDeviceStore } from '../../coordinator/devices/index.ts'
import { standingOf } from '../../coordinator/gateway/index.ts'
import {
  parseBridgeCall,
  parseBridgeRecorded,
  type BridgeCall,
  type BridgeReport,
  type CallResult,
  type DeviceDescriptor,
  type DevicePolicy,
} from '../../mesh/protocol/index.ts'
import { silentLogger, SystemClock, SystemRandom } from '../../mesh/runtime/index.ts'
import { accessOf } from '../fixtures/access.ts'
import { TWIN_MODEL } from '../fixtures/mesh-service-twin.ts'
import { startGateway, type RunningGateway } from './gateway.harness.ts'

export const GREENHOUSE: DeviceDescriptor = {
  ...{ id: 'greenhouse', class: 'uno', firmware: '1.0', dialect: 'frames', rx: 128, sleeps: 0 },
  capabilities: [
    { name: 'temperature', dir: 'sensor', type: 'number', unit: 'C' },
    { name: 'vent', dir: 'actuator', type: 'boolean' },
    { name: 'note', dir: 'sensor', type: 'text' },
  ],
  policy: { read: true, act: 'confirm', ask: true, local_only: true },
}

/** What a device does with a call; nothing when it does not answer. */
export type Answer = (call: BridgeCall) => Pick<CallResult, 'outcome' | 'value' | 'error'> | undefined

const SESSION = '123e4567-e89b-42d3-a456-426614174000'

export class BridgeDouble {
  readonly calls: BridgeCall[] = []
  answer: Answer = () => ({ outcome: 'done' })
  readonly #url: string
  readonly #headers: Record<string, string>
  readonly #left = new AbortController()
  #seq = 0
  #ended: Promise<unknown> = Promise.resolve()

  constructor(url: string, key: string) {
    this.#url = url
    this.#headers = { authorization: `Bearer ${key}` }
  }

  async report(change: Partial<BridgeReport> = {}): Promise<{ status: number; recorded: number | undefined }> {
    const lists = { devices: [], gone: [], states: [], readings: [], results: [] }
    const body = { bridge: 'house', session: SESSION, seq: ++this.#seq, ...lists, ...change }
    const response = await fetch(`${this.#url}/mesh/v1/bridge/reports`, {
      method: 'POST',
      headers: { ...this.#headers, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    const given: unknown = await response.json()
    return {
      status: response.status,
      recorded: response.ok ? parseBridgeRecorded(given).recorded : undefined,
    }
  }

  /** Resolves when the gateway sends calls to it. */
  async connect(): Promise<Response> {
    const response = await fetch(`${this.#url}/mesh/v1/bridge/calls?bridge=house&session=${SESSION}`, {
      headers: this.#headers,
      signal: this.#left.signal,
    })
    if (!response.ok) return response
    const isWatching = Promise.withResolvers<void>()
    const parser = createParser({
      onComment: () => isWatching.resolve(),
      onEvent: ({ event, data }) => {
        if (event === 'call') void this.#carryOut(parseBridgeCall(JSON.parse(data)))
      },
    })
    this.#ended = this.#read(response, (text) => parser.feed(text)).catch(() => undefined)
    await isWatching.promise
    return response
  }

  async leave(): Promise<void> {
    this.#left.abort()
    await this.#ended
  }

  async #read(response: Response, feed: (text: string) => void): Promise<void> {
    const decoder = new TextDecoder()
    for await (const chunk of response.body!) feed(decoder.decode(chunk as Uint8Array, { stream: true }))
  }

  async #carryOut(call: BridgeCall): Promise<void> {
    this.calls.push(call)
    const result = this.answer(call)
    if (result) await this.report({ results: [{ call: call.call, atMs: call.expiresAtMs, ...result }] })
  }
}

export const ADMIN = 'sk-admin'

/** Keys by what they may do with devices, and the bridge's. */
export interface DeviceKeys {
  readonly none: string
  readonly read: string
  readonly act: string
  readonly bridge: string
}

export interface Answered {
  readonly status: number
  readonly text: string
  readonly json: never
}

/** A gateway with devices, one of which is there, and a bridge. */
export class DeviceWorld {
  readonly running: RunningGateway
  readonly access: Access
  readonly devices: Devices
  readonly bridge: BridgeDouble
  readonly keys: DeviceKeys

  private constructor(running: RunningGateway, access: Access, devices: Devices, keys: DeviceKeys) {
    this.running = running
    this.access = access
    this.devices = devices
    this.keys = keys
    this.bridge = new BridgeDouble(running.gateway.url, keys.bridge)
  }

  static async start(): Promise<DeviceWorld> {
    const access = accessOf(ADMIN)
    const components = { clock: new SystemClock(), random: new SystemRandom(), log: silentLogger }
    const devices = new Devices({ ...components, store: new MemoryDeviceStore(), standing: standingOf(access) })
    await devices.start()
    await access.start()
    const running = await startGateway({ access, devices })
    const grant = { models: ['*'], priority: 'interactive' as const, localOnly: false }
    const own = { ...grant, routes: ['inference', 'mesh'] as const }
    const add = async (name: string, given: Parameters<typeof access.add>[0]['grant']): Promise<string> =>
      (await access.add({ name, grant: given })).secret
    const world = new DeviceWorld(running, access, devices, {
      none: await add('none', own),
      read: await add('read', { ...own, devices: 'read' }),
      act: await add('act', { ...own, devices: 'act' }),
      bridge: await add('bridge', { ...grant, routes: ['bridge'] }),
    })
    await world.bridge.connect()
    return world
  }

  async stop(): Promise<void> {
    await this.bridge.leave()
    await this.running.gateway.stop()
    await this.devices.stop()
  }

  /** As at the beginning. */
  async reset(): Promise<void> {
    const { bridge, running } = this
    running.twin.modelViews = [TWIN_MODEL]
    running.twin.calls.length = 0
    bridge.calls.length = 0
    bridge.answer = ({ op, value }) => ({ outcome: 'done', value: op === 'read' ? 31.2 : (value as boolean) })
    // a device that is new has its rates to itself
    await bridge.report({ gone: ['greenhouse'] })
    await this.describeDevice()
  }

  describeDevice(policy: Partial<DevicePolicy> = {}): Promise<unknown> {
    return this.bridge.report({
      devices: [{ ...GREENHOUSE, policy: { ...GREENHOUSE.policy, ...policy } }],
      states: [{ device: 'greenhouse', state: 'ready', atMs: Date.now() }],
    })
  }

  async ask(method: string, path: string, key: string, body?: unknown, headers = {}): Promise<Answered> {
    const response = await fetch(this.running.gateway.url + path, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await response.text()
    return {
      ...{ status: response.status, text },
      get json() {
        return JSON.parse(text) as never
      },
    }
  }
}

/** A world for the file that asks for it, which begins anew with each of its tests. */
export async function deviceWorld(): Promise<DeviceWorld> {
  const world = await DeviceWorld.start()
  afterAll(() => world.stop())
  beforeEach(() => world.reset())
  return world
}
