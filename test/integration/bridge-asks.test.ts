import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type { AnswerProgress } from '../../firmware-bridge/asks/index.ts'
import {
  CoordinatorAnswers,
  Endpoints,
  HttpCoordinatorLink,
  HttpSensorModels,
} from '../../firmware-bridge/coordinator/index.ts'
import type { Outbox, OutboxPart } from '../../firmware-bridge/ports/index.ts'
import { Devices, MemoryDeviceStore } from '../../coordinator/devices/index.ts'
import { createGateway, type Gateway } from '../../coordinator/gateway/index.ts'
import { SkeinError, type BridgeCall, type DeviceDescriptor, type Reading } from '../../mesh/protocol/index.ts'
import { SeededRandom, silentLogger, SystemClock, SystemRandom } from '../../mesh/runtime/index.ts'
import { accessOf } from '../fixtures/access.ts'
import {
  end,
  MeshServiceTwin,
  says,
  saysAndHangs,
  started,
  status,
  tokens,
  TWIN_DIGEST,
  TWIN_NODE,
} from '../fixtures/mesh-service-twin.ts'

const clock = new SystemClock()

/** A way to the gateway that can be cut. */
class Way {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  /** Connections are refused while it is down. */
  isDown = false

  constructor(port: number) {
    this.#server = createServer((socket) => {
      if (this.isDown) return void socket.destroy()
      const other = connect(port, '127.0.0.1')
      for (const each of [socket, other]) {
        this.#sockets.add(each)
        each.on('error', () => undefined)
        each.on('close', () => {
          socket.destroy()
          other.destroy()
        })
      }
      socket.pipe(other).pipe(socket)
    })
  }

  async open(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#sockets.clear()
  }

  close(): void {
    this.cut()
    this.#server.close()
  }
}

const reading = (n: number): Reading => ({ device: 'uno', name: 'temperature', value: n, atMs: 1000 + n, boot: 1, n })
const DESCRIPTOR: DeviceDescriptor = {
  ...{ id: 'uno', class: 'uno', firmware: '1', dialect: 'frames' as const, rx: 96, sleeps: 0 },
  capabilities: [{ name: 'temperature', dir: 'sensor', type: 'number', unit: 'C' }],
  policy: { read: true, act: 'yes', ask: true, local_only: false },
}

let twin: MeshServiceTwin
let devices: Devices
let gateway: Gateway
let way: Way
let url: string

beforeAll(async () => {
  twin = new MeshServiceTwin()
  const parts = { clock, random: new SystemRandom(), log: silentLogger }
  devices = new Devices({ ...parts, store: new MemoryDeviceStore() })
  await devices.start()
  gateway = createGateway(
    { ...parts, service: twin, access: accessOf('sk-test'), devices },
    { host: '127.0.0.1', port: 0 },
  )
  await gateway.start()
  const session = '00000000-0000-4000-8000-000000000000'
  const rest = { gone: [], states: [], readings: [], results: [] }
  await devices.report({ bridge: 'b0', session, seq: 1, devices: [DESCRIPTOR], ...rest })
})
afterAll(async () => {
  await gateway.stop()
  await devices.stop()
})
beforeEach(async () => {
  twin.script = says('Hello', ' world')
  twin.refusal = undefined
  way = new Way(Number(new URL(gateway.url).port))
  url = await way.open()
})
afterEach(() => way.close())

let keys = 0
const requestOf = (extra: object = {}) => ({
  key: `b1:uno:1:${keys++}`,
  device: 'uno',
  body: { model: 'tiny', messages: [{ role: 'user', content: 'hi' }], max_tokens: 50, temperature: 0 },
  localOnly: false,
  leftMs: () => 20_000,
  ...extra,
})

/** Nobody waits long between two tries. */
const impatient = { next: () => 0.01, bytes: (length: number) => new SeededRandom(1).bytes(length) }
const endpointsAt = (...urls: string[]) => new Endpoints(clock, { urls, apiKey: () => 'sk-test' })
const answersAt = (...urls: string[]) =>
  new CoordinatorAnswers({ endpoints: endpointsAt(...urls), clock, random: impatient })

class Heard {
  text_ = ''
  restarts = 0
  nodes: string[] = []
  seen: AnswerProgress[] = []
  wasReached = false
  onText: (text: string) => void = () => undefined
  reached = (): void => void (this.wasReached = true)
  node = (name: string): void => void this.nodes.push(name)
  progress = (progress: AnswerProgress): void => void this.seen.push(progress)
  restarted = (): void => {
    this.text_ = ''
    this.restarts++
  }
  text = (text: string): void => {
    this.text_ += text
    this.onText(this.text_)
  }
}

const never = new AbortController().signal

describe('an answer for a device', () => {
  it('comes with its progress, its node and what it used', async () => {
    twin.script = async function* () {
      yield status('queued 2')
      yield status('loading 43%')
      yield started()
      yield tokens(0, 'It is ')
      yield tokens(1, 'warm.')
      yield end('', { promptTokens: 9, cachedTokens: 0, completionTokens: 2 })
    }
    const heard = new Heard()
    const result = await answersAt(url).answer(requestOf(), heard, never)
    expect(heard.text_).toBe('It is warm.')
    expect(heard.wasReached).toBe(true)
    expect(heard.nodes).toContain('desk-pc')
    expect(heard.seen.at(-1)).toEqual({ s: 'running' })
    expect(result).toEqual({ isLength: false, tokens: 11 })
  })

  it('is asked for with its deadline and stays at home where its owner says so', async () => {
    const before = twin.calls.length
    await answersAt(url).answer(requestOf({ localOnly: true, leftMs: () => 5000 }), new Heard(), never)
    expect(twin.calls[before]!.request).toMatchObject({ localOnly: true, deadlineMs: 5000 })
  })

  it('goes on behind its last event when the connection breaks, without repeat or loss', async () => {
    const gate = Promise.withResolvers<void>()
    twin.script = async function* () {
      yield started()
      for (let i = 0; i < 5; i++) yield tokens(i, `w${i} `)
      await gate.promise
      for (let i = 5; i < 10; i++) yield tokens(i, `w${i} `)
      yield end()
    }
    const before = twin.calls.length
    const heard = new Heard()
    heard.onText = (text) => {
      if (!text.endsWith('w4 ')) return
      way.cut()
      gate.resolve()
    }
    await answersAt(url).answer(requestOf(), heard, never)
    expect(heard.text_).toBe('w0 w1 w2 w3 w4 w5 w6 w7 w8 w9 ')
    expect(heard.restarts).toBe(0)
    expect(twin.calls).toHaveLength(before + 1)
  })

  it('is told from its start by another coordinator', async () => {
    twin.script = saysAndHangs('Hello', ' wor')
    const heard = new Heard()
    heard.onText = (text) => {
      if (text !== 'Hello wor' || heard.restarts > 0) return
      twin.script = says('Hello', ' world')
      way.isDown = true
      way.cut()
    }
    const request = { ...requestOf(), key: `b1:uno:2:${keys++}` }
    const signal = new AbortController()
    const answering = answersAt(url, gateway.url).answer(request, heard, signal.signal)
    await vi.waitFor(() => expect(heard.restarts).toBe(1), { interval: 5 })
    // the same task: what it has said so far is heard again
    await vi.waitFor(() => expect(heard.text_).toBe('Hello wor'), { interval: 5 })
    signal.abort(new SkeinError('CLIENT_CLOSED', 'enough'))
    await expect(answering).rejects.toMatchObject({ code: 'CLIENT_CLOSED' })
  })

  it('is cancelled down to its task when the rest is of no use', async () => {
    twin.script = saysAndHangs('Hello')
    const stop = new AbortController()
    const heard = new Heard()
    heard.onText = () => stop.abort(new SkeinError('CLIENT_CLOSED', 'enough'))
    const answering = answersAt(url).answer(requestOf(), heard, stop.signal)
    await expect(answering).rejects.toMatchObject({ code: 'CLIENT_CLOSED' })
    // a task that could be come back to would go on for a minute
    expect(twin.inside(twin.taskIds.at(-1)!).view().state).toBe('cancelled')
  })

  it('is waited for while no coordinator is there', async () => {
    way.isDown = true
    const heard = new Heard()
    const answering = answersAt(url).answer(requestOf(), heard, never)
    clock.timer(30, () => (way.isDown = false))
    await answering
    expect(heard.text_).toBe('Hello world')
  })

  it('that the gateway refuses is refused', async () => {
    const request = requestOf({ body: { model: 'none', messages: [{ role: 'user', content: 'hi' }] } })
    await expect(answersAt(url).answer(request, new Heard(), never)).rejects.toMatchObject({ code: 'MODEL_NOT_FOUND' })
    twin.refusal = new SkeinError('SATURATED', 'no slot', { retryAfterSeconds: 3 })
    await expect(answersAt(url).answer(requestOf(), new Heard(), never)).rejects.toMatchObject({
      code: 'SATURATED',
      retryAfterSeconds: 3,
    })
  })

  it('is of the first model that chats, where none is named', async () => {
    expect(await answersAt(url).usualModel('uno', never)).toBe('tiny')
  })
})

/** Parts that wait, as the bridge's store has them. */
class OutboxTwin implements Outbox {
  readonly parts: OutboxPart[] = []
  #seq = 0
  #listener: () => void = () => undefined

  add(part: Partial<OutboxPart>): void {
    this.parts.push({ seq: ++this.#seq, devices: [], gone: [], states: [], readings: [], results: [], ...part })
    this.#listener()
  }

  next(): Promise<OutboxPart | undefined> {
    return Promise.resolve(this.parts[0])
  }

  recorded(seq: number): Promise<void> {
    while (this.parts.length > 0 && this.parts[0]!.seq <= seq) this.parts.shift()
    return Promise.resolve()
  }

  renumber(seq: number): Promise<void> {
    for (const [i, part] of this.parts.entries()) this.parts[i] = { ...part, seq: seq + 1 + i }
    this.#seq = seq + this.parts.length
    return Promise.resolve()
  }

  onPending(listener: () => void): () => void {
    this.#listener = listener
    return () => undefined
  }
}

describe('the link', () => {
  it('reports in order over an outage, once each, and hears calls again after it', async () => {
    const outbox = new OutboxTwin()
    const heard: BridgeCall[] = []
    const calls = { call: (call: BridgeCall) => void heard.push(call), cancel: () => undefined }
    const tally = { count: () => undefined }
    const parts = { outbox, calls, endpoints: endpointsAt(url), clock, random: impatient, log: silentLogger, tally }
    const link = new HttpCoordinatorLink(parts, { bridge: 'b1' })
    outbox.add({ devices: [DESCRIPTOR] })
    outbox.add({ states: [{ device: 'uno', state: 'ready', atMs: 1000 }] })
    await link.start()
    await vi.waitFor(() => expect(link.isOnline).toBe(true), { interval: 5 })
    await vi.waitFor(() => expect(outbox.parts).toHaveLength(0), { interval: 5, timeout: 3000 })
    way.isDown = true
    way.cut()
    for (let n = 1; n <= 3; n++) outbox.add({ readings: Array.from({ length: 1000 }, (_, i) => reading(1000 * n + i)) })
    await vi.waitFor(() => expect(link.isOnline).toBe(false), { interval: 5 })
    expect(outbox.parts).toHaveLength(3)
    way.isDown = false
    await vi.waitFor(() => expect(outbox.parts).toHaveLength(0), { interval: 5, timeout: 3000 })
    await vi.waitFor(() => expect(link.isOnline).toBe(true), { interval: 5 })
    expect(devices.stats()).toMatchObject({ readings: 3000, bridgesOnline: 1 })
    await link.stop()
    expect(link.isOnline).toBe(false)
  })

  it('goes on behind what the coordinator has, when the bridge has lost its own state', async () => {
    const outbox = new OutboxTwin()
    const calls = { call: () => undefined, cancel: () => undefined }
    const tally = { count: () => undefined }
    const parts = { outbox, calls, endpoints: endpointsAt(url), clock, random: impatient, log: silentLogger, tally }
    const rest = { devices: [], gone: [], states: [], results: [] }
    const session = '00000000-0000-4000-8000-000000000001'
    await devices.report({
      ...rest,
      bridge: 'b2',
      session,
      seq: 40,
      devices: [{ ...DESCRIPTOR, id: 'esp' }],
      readings: [],
    })
    const before = devices.stats().readings
    outbox.add({ readings: [{ ...reading(1), device: 'esp' }] })
    const link = new HttpCoordinatorLink(parts, { bridge: 'b2' })
    await link.start()
    await vi.waitFor(() => expect(outbox.parts).toHaveLength(0), { interval: 5, timeout: 3000 })
    await link.stop()
    expect(devices.stats().readings).toBe(before + 1)
  })
})

describe('a sensor model', () => {
  /** 32-bit floats, little-endian. */
  const floats = (...values: number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer)
  const gives = (anomaly: number, ...probabilities: number[]): void => {
    const tensors = [
      { name: 'anomaly', type: 'float32' as const, shape: [1], data: floats(anomaly) },
      {
        name: 'probabilities',
        type: 'float32' as const,
        shape: [1, probabilities.length],
        data: floats(...probabilities),
      },
    ]
    const timing = { queuedMs: 0, workMs: 1 }
    const result = { kind: 'infer' as const, tensors }
    twin.worker = () =>
      Promise.resolve({ digest: TWIN_DIGEST, result, nodes: [TWIN_NODE], route: 'local', attempts: 1, timing })
  }
  const look = (model: string, values: readonly number[]) =>
    new HttpSensorModels(clock, endpointsAt(url)).look(model, 'uno', values, 8, never)

  it('is shown what there is, the rest as missing, and says what it sees', async () => {
    gives(0.75, 0.25, 0.5, 0.125, 0.125)
    expect(await look('skein-sensor', [20, 21.5, 90])).toEqual({ label: 'spike', score: 0.75 })
    const { work } = twin.works.at(-1)!
    expect(work).toMatchObject({
      kind: 'infer',
      tensors: [
        { name: 'values', shape: [1, 8], data: floats(0, 0, 0, 0, 0, 20, 21.5, 90) },
        { name: 'mask', shape: [1, 8], data: floats(0, 0, 0, 0, 0, 1, 1, 1) },
      ],
    })
    expect(await look('tiny', [1])).toEqual({ label: '1', score: 0.75 })
  })

  it('that says nonsense is not believed', async () => {
    gives(Number.NaN, 1)
    await expect(look('skein-sensor', [1])).rejects.toMatchObject({ code: 'ENGINE_FAILED' })
    gives(7, 1)
    await expect(look('skein-sensor', [1])).rejects.toMatchObject({ code: 'ENGINE_FAILED' })
  })
})
