/**
 * Hundreds of boards, each a process of the Arduino library, at a real Mosquitto with a credential each: broker, bridge and
 * coordinator are killed in turn while all of them tell and ask. Whatever a board was told is recorded is recorded once,
 * whatever it asked is answered once and in full, and what it was told to do it does once at most.
 */
import { appendFile, mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, freemem, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { SystemRandom } from '../../mesh/runtime/index.ts'
import { mosquittoLine } from '../../firmware-bridge/joining/credential.ts'
import { buildForHost } from '../fixtures/avr/toolchain.ts'
import { addDevices, type KnownDevice } from '../fixtures/bridge-devices.ts'
import { SkeinProcess } from '../fixtures/skein-process.ts'
import { Mosquitto, until } from '../integration/bridge.harness.ts'
import { echoed } from './harness/answer.ts'
import { Board, WATCHED_SKETCH, Wire } from './harness/boards.ts'
import { FaultMesh } from './harness/fault-mesh.ts'

/** Fewer only where there is no room for them. */
const BOARDS = freemem() > 1024 ** 3 ? 200 : 50
/** Boards whose fan is set while something is killed. */
const SET = 10
const TOKENS = 16
/** Of an answer: the killing finds some under way, some waiting and some done. */
const TOKENS_PER_SECOND = 40
const BUSY_MS = 75_000
const PASSWORD = 'of-who-watches'

let data: string
let mesh: FaultMesh
let broker: Mosquitto
let bridge: SkeinProcess
let devices: KnownDevice[]
let boards: Board[] = []
const wire = new Wire()
/** Of each setting, by its value, the board that was told and what came of it. */
const settings = new Map<number, { readonly board: Board; readonly outcome: Promise<string> }>()

const post = async (path: string, body: unknown): Promise<Record<string, unknown>> => {
  const response = await fetch(`${mesh.http}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  if (!response.ok) throw new TypeError(`${path}: ${response.status} ${await response.text()}`)
  return (await response.json()) as Record<string, unknown>
}

const startBridge = async (): Promise<void> => {
  const mqtt = ['--mqtt', `mqtt://127.0.0.1:${broker.port}`, '--mqtt-user', 'skein-bridge', '--mqtt-password', PASSWORD]
  bridge = await SkeinProcess.start({
    args: ['bridge', '--name', 'attic', '--url', mesh.http, ...mqtt],
    dataDir: data,
    readyMs: 60_000,
  })
}

beforeAll(async () => {
  data = await mkdtemp(join(tmpdir(), 'skein-devices-'))
  const random = new SystemRandom()
  const names = Array.from({ length: BOARDS }, (_, i) => `b${i}`)
  devices = await addDevices(data, names, SET)
  const users = ['skein-bridge', 'watcher'].map((user) => mosquittoLine(user, PASSWORD, random))
  broker = await Mosquitto.start([...users, ...devices.map(({ passwordLine }) => passwordLine)])
  await appendFile(join(broker.folder, 'skein.acl'), '\nuser watcher\ntopic read skein/v1/dev/+/down/#\n')
  broker.reload()
  const model = `echo:paced?tps=${TOKENS_PER_SECOND}&answer=${TOKENS}`
  mesh = await FaultMesh.start({ nodes: [{ name: 'one', args: ['--model', model, '--slots', '64'] }] })
  await startBridge()
})
afterAll(async () => {
  for (const board of boards) board.kill()
  wire.close()
  await bridge?.kill()
  await broker?.stop()
  await mesh?.stop()
  await rm(data, { recursive: true, force: true })
})

/** How many of the boards have ended each of their questions. */
const answered = (asks: number): number => boards.filter(({ ends }) => ends.length >= asks).length

/** What each board has been promised more than before, waits until it is that much. */
async function allAcknowledged(more: number): Promise<void> {
  const goals = boards.map(({ acknowledged }) => acknowledged.length + more)
  await until(() => boards.every(({ acknowledged }, i) => acknowledged.length >= goals[i]!), BUSY_MS)
}

/** Sets the fans of some boards, each to a value that no other setting has. */
function setFans(): void {
  for (const board of boards.slice(0, SET)) {
    const value = settings.size + 1
    const outcome = post(`/mesh/v1/devices/${board.id}/calls`, {
      capability: 'fan',
      value,
      op: 'write',
      ttl_ms: 20_000,
    })
    settings.set(value, {
      board,
      outcome: outcome.then(
        (end) => String(end['outcome']),
        () => 'the coordinator is gone',
      ),
    })
  }
}

const VICTIMS: Readonly<Record<string, () => Promise<void>>> = {
  broker: async () => {
    await broker.kill()
    await broker.up()
    await wire.connect(broker.port, 'watcher', PASSWORD)
  },
  bridge: async () => {
    await bridge.stop('SIGKILL')
    await startBridge()
  },
  coordinator: async () => {
    await mesh.coordinator.stop('SIGKILL')
    await mesh.startCoordinator()
  },
}

it('boards lose nothing that they were promised when broker, bridge and coordinator are killed in turn', async () => {
  const beganMs = performance.now()
  const program = join(data, 'watched')
  buildForHost(WATCHED_SKETCH, program)
  await wire.connect(broker.port, 'watcher', PASSWORD)
  boards = devices.map((device) => new Board(program, device, broker.port))
  await allAcknowledged(1)
  const times = [`joined after ${((performance.now() - beganMs) / 1000).toFixed(1)} s`]

  let asks = 0
  for (const [victim, kill] of Object.entries(VICTIMS)) {
    const fromMs = performance.now()
    asks++
    for (const board of boards) board.ask()
    setFans()
    await until(() => answered(asks) >= BOARDS / 10, BUSY_MS)
    const before = answered(asks)
    await kill()
    await until(() => answered(asks) === BOARDS, BUSY_MS)
    await allAcknowledged(2)
    const seconds = ((performance.now() - fromMs) / 1000).toFixed(1)
    times.push(`${victim} (at ${before} answers) ${seconds} s`)
  }
  for (const board of boards) board.hush()
  const readings = await expectRecorded()
  expectAnswered(asks)
  await expectSetOnce()
  process.stdout.write(
    `${BOARDS} boards on ${availableParallelism()} cores: ${times.join(', ')}; ${readings} readings acknowledged, ` +
      `${asks * BOARDS} questions (${wire.accepted.size} seen accepted), ${settings.size} settings\n`,
  )
})

/** Compares what the boards were told with what the coordinator has. Returns how many readings were acknowledged. */
async function expectRecorded(): Promise<number> {
  let sum = 0
  for (const board of boards) {
    expect(board.hasExited).toBe(false)
    let values: number[] = []
    const isThere = async (): Promise<boolean> => {
      const path = `/mesh/v1/devices/${board.id}/history?name=temperature&limit=10000`
      values = (await mesh.get<{ data: { value: number }[] }>(path)).data.map(({ value }) => value)
      return board.acknowledged.every((n) => values.includes(n))
    }
    // reports follow the acknowledgement
    for (let look = 0; look < 50 && !(await isThere()); look++) await new Promise((resolve) => setTimeout(resolve, 100))
    expect(values, board.id).toEqual(expect.arrayContaining(board.acknowledged))
    expect(new Set(values).size, `${board.id} ${values.join()}`).toBe(values.length)
    expect(new Set(board.acknowledged).size).toBe(board.acknowledged.length)
    sum += board.acknowledged.length
  }
  return sum
}

function expectAnswered(asks: number): void {
  for (const { id, asked, ends } of boards) {
    const expected = asked.map((ask) => ({ ask, code: 0, text: echoed(`${id} asks ${ask}`, TOKENS).trim() }))
    expect(ends, id).toEqual(expected)
    expect(asked).toHaveLength(asks)
  }
  expect(wire.faults).toEqual([])
  expect(wire.accepted.size).toBeGreaterThan(BOARDS)
}

async function expectSetOnce(): Promise<void> {
  for (const [value, { board, outcome }] of settings) {
    const times = board.set.filter((each) => each === value).length
    const told = await outcome
    expect(times, `${board.id} ${value}: ${told}`).toBeLessThanOrEqual(1)
    if (told === 'done') expect(times, `${board.id} ${value}`).toBe(1)
  }
}
