/**
 * A whole bridge between a board that prints lines and a gateway on a real socket: what the board measures is looked at by
 * the bundled sensor model, told to the board, recorded, and makes rules act on the board again.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { duplexPair, type Duplex } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { Bridge } from '../../firmware-bridge/index.ts'
import { Devices, MemoryDeviceStore } from '../../coordinator/devices/index.ts'
import { asModelDigest } from '../../mesh/protocol/index.ts'
import { silentLogger, SystemClock, SystemRandom } from '../../mesh/runtime/index.ts'
import { OnnxEngine } from '../../node/engines/onnx/onnx-engine.ts'
import { accessOf } from '../fixtures/access.ts'
import { says, TWIN_DIGEST, TWIN_NODE } from '../fixtures/mesh-service-twin.ts'
import { after, temporaryDirectory } from '../fixtures/temporary.ts'
import { startGateway, type RunningGateway } from './gateway.harness.ts'

const RULES = `
[[rule]]
name = "vent-opens"
when = { capability = "temp", above = 40 }
act = [{ capability = "vent", value = true }]

[[rule]]
name = "lamp-warns"
when = { capability = "temp_anomaly", above = 0.6 }
ask = { question = "Is that odd?", model = "tiny", readings = ["temp", "temp_anomaly"] }
act = [{ capability = "lamp", value = true }]
`
const STREAMS = '[[stream]]\ncapability = "temp"\nevery = 1\nthreshold = 0.6\n'

const parts = { clock: new SystemClock(), random: new SystemRandom(), log: silentLogger }
const engine = new OnnxEngine({ log: silentLogger })
const access = accessOf('sk-admin')
const devices = new Devices({ ...parts, store: new MemoryDeviceStore() })
let running: RunningGateway
let key: string

beforeAll(async () => {
  const path = fileURLToPath(new URL('../../node/models/bundled/sensor/model.onnx', import.meta.url))
  await engine.load({ path, digest: asModelDigest(`sha256:${'0'.repeat(64)}`), slots: 1, threads: 1 })
  await devices.start()
  await access.start()
  running = await startGateway({ access, devices })
  const grant = { models: ['*'], priority: 'interactive' as const, localOnly: false, routes: ['bridge' as const] }
  key = (await access.add({ name: 'house', grant: { ...grant, devices: 'act' } })).secret
  running.twin.script = says('"yes"')
  running.twin.worker = async ({ work }) => {
    const result = await engine.work({ id: 'look', work }, new AbortController().signal)
    const timing = { queuedMs: 0, workMs: 1 }
    return { digest: TWIN_DIGEST, result, nodes: [TWIN_NODE], route: 'local', attempts: 1, timing }
  }
})
afterAll(async () => {
  await running.gateway.stop()
  await devices.stop()
  await engine.unload()
})

/** A board at a serial line, which sets what it is told and says so. */
class Board {
  readonly heard: string[] = []
  readonly end: Duplex
  readonly #line: Duplex

  constructor() {
    const [mine, other] = duplexPair()
    this.#line = mine
    this.end = other
    let rest = ''
    mine.on('data', (bytes: Buffer) => {
      const lines = (rest + bytes.toString()).split('\n')
      rest = lines.pop()!
      for (const line of lines) {
        this.heard.push(line.trim())
        if (/^(vent|lamp)=/.test(line)) this.says(`ok ${line.trim()}`)
      }
    })
  }

  says(...lines: string[]): void {
    this.#line.write(lines.map((line) => `${line}\n`).join(''))
  }
}

async function startBridge(folder: string): Promise<{ bridge: Bridge; board: Board }> {
  const files = { rules: join(folder, 'rules.toml'), streams: join(folder, 'streams.toml') }
  await writeFile(files.rules, RULES)
  await writeFile(files.streams, STREAMS)
  const bridge = new Bridge(
    parts,
    {
      ...{ bridge: 'house', database: join(folder, 'bridge.sqlite'), mqtt: 'off', serial: 'off', baud: 115_200 },
      ...{ isSerialTrusted: true, coordinators: [running.gateway.url], apiKey: () => key, ...files },
      quotas: { asksPerMinute: 60, tokensPerDay: 50_000 },
    },
    { onClaim: () => undefined, onNotice: () => undefined },
  )
  await bridge.start()
  const board = new Board()
  bridge.attach(board.end, { port: 'usb-0001', path: 'played' })
  return { bridge, board }
}

const api = async (method: string, path: string, body?: unknown): Promise<never> => {
  const headers = {
    authorization: 'Bearer sk-admin',
    ...(body !== undefined && { 'content-type': 'application/json' }),
  }
  const text = body === undefined ? {} : { body: JSON.stringify(body) }
  return (await fetch(running.gateway.url + path, { method, headers, ...text })).json() as Promise<never>
}
const soon = { interval: 5, timeout: 20_000 }

describe('a board behind a bridge with rules', () => {
  it('is looked at by a model, whose word it hears, and acts as rules and its owner say, once', async () => {
    const folder = await temporaryDirectory()
    const first = await startBridge(folder)
    after(() => first.bridge.stop())
    const { board } = first
    // its first word lets it in
    board.says('temp=21')
    await vi.waitFor(() => expect(first.bridge.register.devices()).toHaveLength(1), soon)
    board.says('ok vent=false', 'ok lamp=false')
    await vi.waitFor(() => expect(devices.list()).toHaveLength(1), soon)
    const { id } = devices.list()[0]!.descriptor
    const calls = (): Promise<{ data: { rule?: string; origin: string; outcome: string }[] }> =>
      api('GET', `/mesh/v1/devices/${id}/calls`)

    // calm, then a reading that no greenhouse has: the first look sees both
    for (let i = 0; i < 7; i++) board.says(`temp=${(21 + Math.sin(i / 4)).toFixed(2)}`)
    board.says('temp=60')
    // the owner has not said that it may be set at once
    await vi.waitFor(() => expect(devices.waiting().map(({ rule }) => rule)).toContain('vent-opens'), soon)
    expect(board.heard).not.toContain('vent=true')
    const waiting = devices.waiting().find(({ rule }) => rule === 'vent-opens')!
    await api('POST', `/mesh/v1/calls/${waiting.call}/confirm`, { approve: true })
    expect(board.heard.filter((line) => /^vent=/.test(line))).toHaveLength(1)

    // the class message went down, and its word is a reading too
    await vi.waitFor(() => expect(board.heard.join('\n')).toMatch(/temp_class=\w+/), soon)
    await vi.waitFor(() => expect(devices.waiting().map(({ rule }) => rule)).toEqual(['lamp-warns']), soon)
    const history: { data: { name: string; value: number }[] } = await api(
      'GET',
      `/mesh/v1/devices/${id}/history?name=temp_anomaly`,
    )
    expect(history.data.at(-1)!.value).toBeGreaterThan(0.6)
    expect(devices.get(id)!.descriptor.capabilities.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['temp', 'temp_anomaly', 'temp_class']),
    )
    expect(JSON.stringify(running.twin.calls.at(-1)!.request)).toContain('Is that odd?')
    await api('POST', `/mesh/v1/calls/${devices.waiting()[0]!.call}/confirm`, { approve: false })
    const done = await calls()
    expect(done.data.map(({ origin, rule, outcome }) => [origin, rule, outcome])).toEqual(
      expect.arrayContaining([
        ['rule', 'vent-opens', 'done'],
        ['rule', 'lamp-warns', 'refused'],
      ]),
    )
    expect(devices.stats().ruleCalls).toMatchObject({ done: 1, refused: 1 })

    // another start of the bridge knows what was done
    await first.bridge.stop()
    const second = await startBridge(folder)
    after(() => second.bridge.stop())
    second.board.says('ok vent=false', 'temp=20', 'temp=60')
    await vi.waitFor(() => expect(second.bridge.counts).toMatchObject({ rule_cooldown: 1 }), soon)
    expect(devices.waiting()).toEqual([])
    expect((await calls()).data).toHaveLength(done.data.length)
  })

  it('is not set by a bridge whose key may not', async () => {
    const grant = { models: ['*'], priority: 'interactive' as const, localOnly: false, routes: ['bridge' as const] }
    const { secret } = await access.add({ name: 'other', grant })
    const { id } = devices.list()[0]!.descriptor
    const refused = await fetch(`${running.gateway.url}/mesh/v1/devices/${id}/calls`, {
      method: 'POST',
      headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
      body: JSON.stringify({ capability: 'vent', value: true, rule: 'vent-opens' }),
    })
    expect(refused.status).toBe(403)
    // and what is for admins stays theirs
    const add = await fetch(`${running.gateway.url}/mesh/v1/devices/$bridge/calls`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ capability: 'add', op: 'run', value: { name: 'x' } }),
    })
    expect(add.status).toBe(403)
  })
})
