/**
 * `skein bridge` at a real Mosquitto, with a coordinator that is played: whatever is killed, what a device was told is
 * recorded is recorded once, and a command acts once.
 */
import { createServer, type Server, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import { appendFile, mkdtemp, rm } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { SystemRandom } from '../../mesh/runtime/index.ts'
import { parseBridgeReport, type BridgeCall, type BridgeReport, type CallResult } from '../../mesh/protocol/index.ts'
import { mosquittoLine } from '../../firmware-bridge/joining/credential.ts'
import { SkeinProcess } from '../fixtures/skein-process.ts'
import { clock, Mosquitto, mqttDevice, until } from '../integration/bridge.harness.ts'

const DEVICES = ['a', 'b', 'c']

/** What a coordinator does with reports and calls, in memory; it outlives all that is killed here. */
class PlayedCoordinator {
  readonly server: Server
  readonly readings: string[] = []
  readonly results = new Map<string, CallResult>()
  recorded = 0
  #stream: ServerResponse | undefined

  constructor() {
    this.server = createServer((request, response) => {
      if (request.url?.startsWith('/mesh/v1/bridge/calls')) {
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        response.write(': here\n\n')
        this.#stream = response
        return
      }
      const parts: Buffer[] = []
      request.on('data', (part: Buffer) => parts.push(part))
      request.on('end', () => {
        if (request.method === 'POST') this.#record(parseBridgeReport(JSON.parse(Buffer.concat(parts).toString())))
        response.writeHead(200, { 'content-type': 'application/json' })
        response.end(JSON.stringify(request.method === 'POST' ? { recorded: this.recorded } : { data: [] }))
      })
    })
  }

  async call(call: Omit<BridgeCall, 'expiresAtMs'>): Promise<CallResult> {
    const full: BridgeCall = { ...call, expiresAtMs: clock.wallMs() + 20_000 }
    await until(() => this.#stream !== undefined && !this.#stream.destroyed)
    this.#stream!.write(`event: call\ndata: ${JSON.stringify(full)}\n\n`)
    return until(() => this.results.get(call.call), 25_000)
  }

  #record(report: BridgeReport): void {
    if (report.seq <= this.recorded) return
    this.recorded = report.seq
    for (const { device, boot, n } of report.readings) this.readings.push(`${device}/${boot}/${n}`)
    for (const result of report.results) this.results.set(result.call, result)
  }
}

const uuid = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`

let data: string
let broker: Mosquitto
let bridge: SkeinProcess
const coordinator = new PlayedCoordinator()

const start = async (): Promise<void> => {
  const url = `http://127.0.0.1:${(coordinator.server.address() as AddressInfo).port}`
  const mqtt = ['--mqtt', `mqtt://127.0.0.1:${broker.port}`, '--mqtt-user', 'skein-bridge', '--mqtt-password', 'secret']
  bridge = await SkeinProcess.start({ args: ['bridge', '--name', 'attic', '--url', url, ...mqtt], dataDir: data })
}

beforeAll(async () => {
  data = await mkdtemp(join(tmpdir(), 'skein-crash-'))
  coordinator.server.listen(0, '127.0.0.1')
  await once(coordinator.server, 'listening')
  broker = await Mosquitto.start([mosquittoLine('skein-bridge', 'secret', new SystemRandom())])
  await start()
})
afterAll(async () => {
  await bridge.kill()
  await broker.stop()
  coordinator.server.closeAllConnections()
  coordinator.server.close()
  await rm(data, { recursive: true, force: true })
})

/** A board that sends a reading until it is acknowledged, then the next; says hello until it is welcome; comes back. */
class Board {
  readonly id: string
  readonly acknowledged: string[] = []
  acted = 0
  isStopped = false
  readonly #key: string
  #lastCommand = 0

  constructor(id: string, key: string) {
    this.id = id
    this.#key = key
  }

  async run(): Promise<void> {
    for (let n = 1; !this.isStopped;) n = await this.#connected(n)
  }

  async #connected(from: number): Promise<number> {
    const { client } = await mqttDevice(broker.port, { clientId: this.id, username: this.id, password: this.#key })
    let n = from
    let isWelcome = false
    const say = (kind: string, body: object): void =>
      void client.publish(`skein/v1/dev/${this.id}/up/${kind}`, JSON.stringify(body))
    const tick = (): void => {
      if (isWelcome) say('tele', { n, a: 1, r: { temp: n } })
      else
        say('hello', {
          v: 1,
          fw: '1',
          rx: 512,
          win: 1,
          boot: 7,
          n: 2,
          cmd: this.#lastCommand,
          caps: ['rf:temp', 'wi:count'],
        })
    }
    client.on('message', (topic, payload) => {
      const message = JSON.parse(payload.toString()) as { n: number; id: number }
      const kind = topic.split('/').at(-1)
      if (kind === 'welcome') isWelcome = true
      else if (kind === 'bye') isWelcome = false
      else if (kind === 'ack' && message.n === n) this.acknowledged.push(`${this.id}/7/${n++}`)
      else if (kind === 'cmd') {
        if (message.id > this.#lastCommand) this.acted++
        this.#lastCommand = message.id
        say('result', { id: message.id, ok: 1 })
      }
    })
    client.subscribe(`skein/v1/dev/${this.id}/down/#`)
    const beat = setInterval(tick, 60)
    await until(() => client.disconnected || !client.connected || this.isStopped, 60_000)
    clearInterval(beat)
    client.end(true)
    return n
  }
}

it('through kill -9 of bridge and broker, what was acknowledged is recorded once', async () => {
  const boards: Board[] = []
  for (const [at, name] of DEVICES.entries()) {
    const added = await coordinator.call({
      ...{ call: uuid(at), device: '$bridge', capability: 'add', op: 'run' },
      value: { name },
    })
    expect(added.outcome).toBe('done')
    const { key, password_line: line } = added.value as Record<string, string>
    await appendFile(join(broker.folder, 'skein.passwd'), `${line!}\n`)
    boards.push(new Board(name, key!))
  }
  broker.reload()
  const runs = boards.map((board) => board.run())
  const each = (count: number): Promise<true> =>
    until(() => boards.every(({ acknowledged }) => acknowledged.length >= count) || undefined, 40_000)
  await each(5)
  let calls = 100
  let acted = 0
  for (const victim of ['bridge', 'broker', 'bridge']) {
    const result = await coordinator.call({
      ...{ call: uuid(calls++), device: 'a', capability: 'count', op: 'write', value: 1 },
    })
    expect(result.outcome).toBe('done')
    acted++
    if (victim === 'bridge') {
      await bridge.stop('SIGKILL')
      await start()
    } else {
      await broker.kill()
      await broker.up()
    }
    const so = Math.max(...boards.map(({ acknowledged }) => acknowledged.length))
    await each(so + 3)
  }
  for (const board of boards) board.isStopped = true
  await Promise.all(runs)
  const acknowledged = boards.flatMap((board) => board.acknowledged)
  await until(() => acknowledged.every((reading) => coordinator.readings.includes(reading)), 20_000)
  expect(new Set(coordinator.readings).size).toBe(coordinator.readings.length)
  expect(boards[0]!.acted).toBe(acted)
})
