/**
 * What the bridge adds to a broker, under a thousand devices that tell a reading each second while some of them ask:
 * `node test/bench/devices.ts [--seconds N] [--devices N] [--asking N]`.
 *
 * Over the same broker and in the same seconds three things go there and back: messages that a bare client sends back at
 * once, pings that the bridge answers without its disk, and readings, which the bridge acknowledges when they are on its
 * disk. What is more than with the bare client is what the bridge adds; of a reading, the wait for the disk is a part of
 * that, so the disk alone is measured beside it. Before all that the bare client is measured alone. At the end what was
 * acknowledged is compared with what the coordinator recorded.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { appendFile, mkdtemp, open, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import mqtt from 'mqtt'
import { SystemRandom } from '../../mesh/runtime/index.ts'
import { mosquittoLine } from '../../firmware-bridge/joining/credential.ts'
import { addDevices } from '../fixtures/bridge-devices.ts'
import { eventually, SkeinProcess } from '../fixtures/skein-process.ts'
import { Mosquitto } from '../integration/bridge.harness.ts'
import type { Figures, LoadOrder, LoadReport } from './devices/boards.ts'
import { takenBy, type Taken } from './processes.ts'
import { machine, median, ms, percentile, print } from './stats.ts'

const PASSWORD = 'of-the-benchmark'
const MODEL = 'echo:paced?tps=40&answer=16'
const TARGET_MS = 10
const READY_MS = 60_000
/** Share of the time in which the bare broker is alone. */
const ALONE_SHARE = 0.2
const SYNC_EACH_MS = 100

/** Who answers there: what comes on `bench/ID/up` goes back on `bench/ID/down`. */
const BARE_USER = 'bare'
const BARE_RULES = [
  `pattern write bench/%u/up`,
  `pattern read bench/%u/down`,
  `user ${BARE_USER}`,
  'topic read bench/+/up',
  'topic write bench/+/down',
]

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '300' },
    devices: { type: 'string', default: '1000' },
    asking: { type: 'string', default: '50' },
  },
})
const [seconds, count, asking] = [values.seconds, values.devices, values.asking].map(Number) as [number, number, number]
if (![seconds, count, asking].every((each) => Number.isInteger(each) && each > 0) || asking > count)
  throw new TypeError('--seconds, --devices and --asking are whole numbers above 0, and no more ask than there are')

/** Sends back what comes, and does nothing else: what a broker takes by itself. */
async function answerBare(port: number): Promise<mqtt.MqttClient> {
  const client = await mqtt.connectAsync({
    ...{ host: '127.0.0.1', port, protocolVersion: 4, username: BARE_USER, password: PASSWORD },
  })
  ;(client.stream as { setNoDelay?: (isOn: boolean) => void }).setNoDelay?.(true)
  client.on('message', (topic, payload) => client.publish(topic.replace(/up$/, 'down'), payload))
  await client.subscribeAsync('bench/+/up')
  return client
}

async function tellLoad(load: ChildProcess, order: LoadOrder): Promise<LoadReport> {
  const answered = once(load, 'message')
  const ended = once(load, 'exit').then(() => {
    throw new TypeError('the process with the devices has ended')
  })
  load.send(order)
  const [report] = (await Promise.race([answered, ended])) as [LoadReport]
  return report
}

interface Watched {
  readonly name: string
  readonly pid: number
}

const takenByAll = (watched: readonly Watched[]): Promise<Taken[]> =>
  Promise.all(watched.map(({ pid }) => takenBy(pid)))

const row = (...cells: readonly (string | number)[]): void => print(`| ${cells.join(' | ')} |`)

function latencies(name: string, figures: readonly number[], sent: number): void {
  const lost = sent - figures.length
  row(
    name,
    ms(median(figures)),
    ms(percentile(figures, 0.99)),
    ms(figures.reduce((most, each) => Math.max(most, each), 0)),
    sent,
    lost,
  )
}

/** What the coordinator recorded of what was acknowledged. */
async function lostReadings(http: string, acknowledged: Readonly<Record<string, number>>): Promise<number> {
  let lost = 0
  for (const [id, told] of Object.entries(acknowledged)) {
    const found = await eventually(`readings of ${id}`, async () => {
      const response = await fetch(`${http}/mesh/v1/devices/${id}/history?name=temp&limit=10000`)
      const { data } = (await response.json()) as { data: { value: number }[] }
      return data.length >= told ? data : undefined
    }).catch(() => [])
    lost += told - Math.min(told, new Set(found.map(({ value }) => value)).size)
  }
  return lost
}

/** How long the disk takes for one small write, while the devices go on. */
async function syncs(folder: string, signal: AbortSignal): Promise<number[]> {
  const took: number[] = []
  const file = await open(join(folder, 'sync'), 'w')
  const block = Buffer.alloc(4096)
  while (!signal.aborted) {
    const sinceMs = performance.now()
    await file.write(block, 0, block.length, 0)
    await file.datasync()
    took.push(performance.now() - sinceMs)
    await new Promise((resolve) => setTimeout(resolve, SYNC_EACH_MS))
  }
  await file.close()
  return took
}

function report(alone: LoadReport, run: LoadReport, disk: readonly number[], lost: number): void {
  const { bare, readings, pings, asks, acceptMs, failed } = run
  const more = ({ ms: took }: Figures, share: number): number => percentile(took, share) - percentile(bare.ms, share)
  const added = (name: string, figures: Figures): void =>
    row(`**added by the bridge: ${name}**`, ms(more(figures, 0.5)), `**${ms(more(figures, 0.99))}**`, '', '', '')
  print('')
  row('path, there and back', 'p50', 'p99', 'worst', 'sent', 'lost')
  row('---', '---', '---', '---', '---', '---')
  latencies('bare broker, alone', alone.bare.ms, alone.bare.sent)
  latencies('bare broker, beside the bridge', bare.ms, bare.sent)
  latencies('ping, answered by the bridge', pings.ms, pings.sent)
  latencies('reading, on the disk and acknowledged', readings.ms, readings.sent)
  latencies('the disk alone: 4 KiB and a sync', disk, disk.length)
  added('a message', pings)
  added('a reading on the disk', readings)
  latencies('question, accepted', acceptMs, asks.sent)
  latencies('question, answered in full', asks.ms, asks.sent)
  print('')
  print(
    `target: added p99 ≤ ${TARGET_MS} ms: ${more(pings, 0.99) <= TARGET_MS ? 'met' : 'missed'} without the disk, ${
      more(readings, 0.99) <= TARGET_MS ? 'met' : 'missed'
    } with it`,
  )
  print(`acknowledged readings that the coordinator does not have: ${lost}`)
  if (failed.length > 0) print(`questions that failed: ${failed.length}, codes ${[...new Set(failed)].join(' ')}`)
}

function reportTaken(
  watched: readonly Watched[],
  before: readonly Taken[],
  after: readonly Taken[],
  tookMs: number,
): void {
  print('')
  row('process', 'of a core', 'resident at first', 'at the end')
  row('---', '---', '---', '---')
  for (const [at, { name }] of watched.entries()) {
    const [from, to] = [before[at]!, after[at]!]
    const share = (100 * (to.cpuMs - from.cpuMs)) / tookMs
    row(name, `${share.toFixed(1)} %`, `${from.residentMb.toFixed(0)} MB`, `${to.residentMb.toFixed(0)} MB`)
  }
}

async function measure(data: string, stops: (() => Promise<unknown>)[]): Promise<void> {
  const random = new SystemRandom()
  const names = Array.from({ length: count }, (_, i) => `d${i}`)
  const devices = await addDevices(data, names)
  const users = ['skein-bridge', BARE_USER].map((user) => mosquittoLine(user, PASSWORD, random))
  const broker = await Mosquitto.start([...users, ...devices.map(({ passwordLine }) => passwordLine)])
  stops.push(() => broker.stop())
  await appendFile(join(broker.folder, 'skein.acl'), `\n${BARE_RULES.join('\n')}\n`)
  broker.reload()
  const bareClient = await answerBare(broker.port)
  stops.push(() => bareClient.endAsync(true))
  const load = fork(fileURLToPath(new URL('devices/boards.ts', import.meta.url)))
  stops.push(async () => void load.kill())
  await tellLoad(load, { order: 'connect', port: broker.port, devices, asking })
  const alone = await tellLoad(load, { order: 'bare', seconds: Math.max(2, Math.round(seconds * ALONE_SHARE)) })

  const up = await SkeinProcess.start({
    args: [
      'up',
      '--http',
      '127.0.0.1:0',
      '--no-mdns',
      '--listen',
      '/ip4/127.0.0.1/tcp/0',
      '--model',
      MODEL,
      '--slots',
      '64',
    ],
    readyMs: READY_MS,
  })
  stops.push(() => up.kill())
  const settings = [
    '--mqtt',
    `mqtt://127.0.0.1:${broker.port}`,
    '--mqtt-user',
    'skein-bridge',
    '--mqtt-password',
    PASSWORD,
  ]
  const bridge = await SkeinProcess.start({
    args: ['bridge', '--name', 'bench', '--url', up.http, ...settings],
    dataDir: data,
    readyMs: READY_MS,
  })
  stops.push(() => bridge.kill())
  await tellLoad(load, { order: 'greet' })
  const watched = [
    { name: 'Mosquitto', pid: broker.pid },
    { name: 'bridge', pid: bridge.child.pid! },
    { name: 'coordinator with the echo engine', pid: up.child.pid! },
    { name: 'the devices and who measures', pid: load.pid! },
  ]
  const before = await takenByAll(watched)
  const beganMs = performance.now()
  const ended = new AbortController()
  const syncing = syncs(data, ended.signal)
  const run = await tellLoad(load, { order: 'bridge', seconds })
  const after = await takenByAll(watched)
  const tookMs = performance.now() - beganMs
  ended.abort()
  report(alone, run, await syncing, await lostReadings(up.http, run.acknowledged))
  reportTaken(watched, before, after, tookMs)
}

print(`${machine()}; ${availableParallelism()} cores for all`)
print(`${count} devices, 1 message/s each, ${asking} of them ask every 8 s; ${seconds} s`)
const data = await mkdtemp(join(tmpdir(), 'skein-bench-'))
const stops: (() => Promise<unknown>)[] = []
try {
  await measure(data, stops)
} finally {
  for (const stop of stops.reverse()) await stop().catch(() => undefined)
  await rm(data, { recursive: true, force: true })
}
process.exit(0)
