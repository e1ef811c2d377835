/** Devices over the twin of their store, in hand-moved time, and a bridge that is asked. */
import {
  Devices,
  MemoryDeviceStore,
  type BridgeMessage,
  type CallRequest,
  type DeviceEvent,
  type DevicesComponents,
} from '../../../coordinator/devices/index.ts'
import type {
  BridgeReport,
  CallResult,
  DeviceCapability,
  DeviceDescriptor,
  DevicePolicy,
} from '../../../mesh/protocol/index.ts'
import { ManualClock, SeededRandom, silentLogger } from '../../../mesh/runtime/index.ts'

export const SESSION = '123e4567-e89b-42d3-a456-426614174000'
export const CAPABILITIES: DeviceCapability[] = [
  { name: 'temperature', dir: 'sensor', type: 'number', unit: 'C' },
  { name: 'vent', dir: 'actuator', type: 'boolean' },
  { name: 'fan', dir: 'actuator', type: 'integer', unit: '%', min: 0, max: 100 },
  { name: 'mode', dir: 'actuator', type: 'choice', options: ['off', 'low', 'high'] },
  { name: 'label', dir: 'actuator', type: 'text' },
  { name: 'reboot', dir: 'command', type: 'none' },
  { name: 'posture', dir: 'model', type: 'choice', options: ['upright', 'fallen'] },
]

export const descriptorOf = (id = 'green', policy: Partial<DevicePolicy> = {}): DeviceDescriptor => ({
  ...{ id, class: 'uno', firmware: '1.0', dialect: 'frames', rx: 128, sleeps: 0, capabilities: CAPABILITIES },
  policy: { read: true, act: 'yes', ask: true, local_only: false, ...policy },
})

export const readingOf = (value: number, atMs: number, name = 'temperature') => ({
  ...{ device: 'green', name, value, atMs, boot: 1, n: 1 },
})

export class World {
  readonly clock: ManualClock
  readonly store: MemoryDeviceStore
  readonly devices: Devices
  readonly events: DeviceEvent[] = []
  readonly messages: BridgeMessage[] = []
  #seq = 0
  leave = (): void => {}

  constructor(store = new MemoryDeviceStore(), more: Partial<DevicesComponents> & { clock?: ManualClock } = {}) {
    this.store = store
    this.clock = more.clock ?? new ManualClock()
    const components = { random: new SeededRandom(1), log: silentLogger, ...more, store, clock: this.clock }
    this.devices = new Devices(components)
    this.devices.watch((event) => this.events.push(event))
  }

  report(change: Partial<BridgeReport> = {}): Promise<number> {
    const lists = { devices: [], gone: [], states: [], readings: [], results: [] }
    return this.devices.report({ bridge: 'house', session: SESSION, seq: ++this.#seq, ...lists, ...change })
  }

  /** A bridge that holds its stream. */
  connect(): void {
    this.leave = this.devices.link('house', {
      session: SESSION,
      send: (message) => this.messages.push(message),
      close: () => undefined,
    })
  }

  /** With one device that is ready. */
  async begin(policy: Partial<DevicePolicy> = {}): Promise<this> {
    await this.devices.start()
    this.connect()
    await this.report({
      devices: [descriptorOf('green', policy)],
      states: [{ device: 'green', state: 'ready', atMs: this.clock.wallMs() }],
    })
    return this
  }

  /** The calls that the bridge was sent. */
  get calls() {
    return this.messages.flatMap((message) => (message.type === 'call' ? [message.call] : []))
  }

  answer(result: Partial<CallResult> & Pick<CallResult, 'outcome'>, call = this.calls.at(-1)!.call): Promise<number> {
    return this.report({ results: [{ call, atMs: this.clock.wallMs(), ...result }] })
  }

  async settle(): Promise<void> {
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
  }
}

export const asks = (capability: string, more: Partial<CallRequest> = {}): CallRequest => ({
  ...{ device: 'green', capability, origin: 'api', tenant: 'local', level: 'act', isAdmin: false },
  ...more,
})
