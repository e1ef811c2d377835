/**
 * Devices by the thousand in a process of their own, so that their work does not wait behind what is measured. Each sends
 * at its own moment of the second; every answer is timed here.
 */
import mqtt, { type MqttClient } from 'mqtt'
import type { KnownDevice } from '../../fixtures/bridge-devices.ts'

export interface LoadInit {
  readonly port: number
  readonly devices: readonly KnownDevice[]
  /** How many of them ask, too, from the first. */
  readonly asking: number
}

/** Orders to it; each is answered by one report of that name. */
export type LoadOrder =
  | ({ readonly order: 'connect' } & LoadInit)
  /** Every device sends to who answers at the bare broker. */
  | { readonly order: 'bare'; readonly seconds: number }
  /** Every device says hello to the bridge. */
  | { readonly order: 'greet' }
  /** Every device tells a reading each second; each fifth time it sends to the bare broker and pings the bridge as well. */
  | { readonly order: 'bridge'; readonly seconds: number }

export interface Figures {
  readonly sent: number
  /** Of those that were answered. */
  readonly ms: readonly number[]
}

export interface LoadReport {
  readonly order: LoadOrder['order']
  readonly bare: Figures
  readonly readings: Figures
  /** Answered by the bridge without its disk. */
  readonly pings: Figures
  readonly asks: Figures
  /** To `accept`. */
  readonly acceptMs: readonly number[]
  /** Compact errors of questions that failed. */
  readonly failed: readonly number[]
  /** Readings that each device was told are recorded. */
  readonly acknowledged: Readonly<Record<string, number>>
}

const SECOND = 1000
const CONNECTING_AT_ONCE = 50
/** With each so manieth of its messages a device sends one to the bare broker, and with another a ping to the bridge. */
const BARE_EACH = 5
const ASK_EACH_MS = 8000
const ASK_TTL_S = 30
/** What is not answered this long after the last message is lost. */
const LAST_MS = 5000
const BOOT = 1

interface Board {
  readonly id: string
  readonly client: MqttClient
  n: number
  ask: number
}

/** What is waited for by its key, from when. */
class Timed {
  readonly ms: number[] = []
  sent = 0
  readonly #since = new Map<string, number>()

  send(key: string): void {
    this.sent++
    this.#since.set(key, performance.now())
  }

  answer(key: string): void {
    const since = this.#since.get(key)
    if (since === undefined) return
    this.#since.delete(key)
    this.ms.push(performance.now() - since)
  }

  get open(): number {
    return this.#since.size
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

const boards: Board[] = []
let asking = 0
let bare = new Timed()
let readings = new Timed()
let pings = new Timed()
let asks = new Timed()
let accepts = new Timed()
let failed: number[] = []
let welcome = 0
const acknowledged: Record<string, number> = {}

const say = ({ id, client }: Board, kind: string, body: object): void =>
  void client.publish(`skein/v1/dev/${id}/up/${kind}`, JSON.stringify(body))

function onMessage(board: Board, topic: string, payload: Buffer): void {
  if (topic.startsWith('bench/')) return bare.answer(`${board.id}/${payload.toString()}`)
  const message = JSON.parse(payload.toString()) as {
    n: number
    id: number
    i: number
    l?: number
    c: number
    s: unknown
  }
  const { n, id, i, l, c } = message
  switch (topic.slice(topic.lastIndexOf('/') + 1)) {
    case 'welcome':
      welcome++
      return
    case 'ack':
      readings.answer(`${board.id}/${n}`)
      acknowledged[board.id] = (acknowledged[board.id] ?? 0) + 1
      return
    case 'ping':
      return pings.answer(`${board.id}/${n}`)
    case 'accept':
      return accepts.answer(`${board.id}/${id}`)
    case 'chunk':
      say(board, 'credit', { id, next: i + 1, n: 4 })
      if (l) asks.answer(`${board.id}/${id}`)
      return
    case 'fail':
      failed.push(c)
  }
}

async function connect(device: KnownDevice, port: number): Promise<Board> {
  const { id, key } = device
  const client = mqtt.connect({
    ...{ host: '127.0.0.1', port, protocolVersion: 4, reconnectPeriod: 0 },
    ...{ clientId: id, username: id, password: key },
  })
  const board = { id, client, n: 0, ask: 0 }
  client.on('message', (topic, payload) => onMessage(board, topic, payload))
  await new Promise<void>((resolve, reject) => {
    client.once('connect', () => resolve())
    client.once('error', reject)
  })
  ;(client.stream as { setNoDelay?: (isOn: boolean) => void }).setNoDelay?.(true)
  await client.subscribeAsync([`skein/v1/dev/${id}/down/#`, `bench/${id}/down`])
  return board
}

async function connectAll({ devices, port, asking: count }: LoadInit): Promise<void> {
  asking = count
  for (let from = 0; from < devices.length; from += CONNECTING_AT_ONCE) {
    const some = devices.slice(from, from + CONNECTING_AT_ONCE)
    boards.push(...(await Promise.all(some.map((device) => connect(device, port)))))
  }
}

/** Every board is welcome: hello is said again until it is. */
async function greet(): Promise<void> {
  const welcomed = new Set<Board>()
  while (welcomed.size < boards.length) {
    const next = boards.filter((board) => !welcomed.has(board)).slice(0, CONNECTING_AT_ONCE)
    const before = welcome
    for (const board of next)
      say(board, 'hello', { v: 1, fw: 'bench', rx: 1024, win: 4, boot: BOOT, n: 1, caps: ['rf:temp'], class: 'bench' })
    for (let looks = 0; looks < 100 && welcome < before + next.length; looks++) await pause(20)
    if (welcome >= before + next.length) for (const board of next) welcomed.add(board)
  }
}

/** Calls `work` for each board once a second, at a moment of its own, for so many seconds. */
async function eachSecond(seconds: number, work: (board: Board, second: number) => void): Promise<void> {
  const beganMs = performance.now()
  const last = seconds * boards.length
  for (let turn = 0; turn < last;) {
    // as many as are due: a timer wakes late, and never twice for one turn
    const due = Math.min(last, Math.floor(((performance.now() - beganMs) / SECOND) * boards.length))
    for (; turn < due; turn++) work(boards[turn % boards.length]!, Math.floor(turn / boards.length))
    await pause(1)
  }
  for (let looks = 0; looks < LAST_MS / 50; looks++) {
    if (bare.open + readings.open + pings.open + asks.open === 0) return
    await pause(50)
  }
}

const sendBare = (board: Board, second: number): void => {
  bare.send(`${board.id}/${second}`)
  board.client.publish(`bench/${board.id}/up`, String(second))
}

function tell(board: Board): void {
  readings.send(`${board.id}/${++board.n}`)
  say(board, 'tele', { n: board.n, a: 1, r: { temp: board.n } })
}

function ping(board: Board, second: number): void {
  pings.send(`${board.id}/${second}`)
  say(board, 'ping', { n: second })
}

function ask(board: Board): void {
  const id = ++board.ask
  asks.send(`${board.id}/${id}`)
  accepts.send(`${board.id}/${id}`)
  say(board, 'infer', { id, q: `${board.id} asks ${id}`, ttl: ASK_TTL_S, max: 400 })
}

async function bridged(seconds: number): Promise<void> {
  const asker = new Set(boards.slice(0, asking))
  const each = ASK_EACH_MS / SECOND
  await eachSecond(seconds, (board, second) => {
    tell(board)
    const at = boards.indexOf(board)
    if ((second + at) % BARE_EACH === 0) sendBare(board, second)
    // at another second, so that none of the two waits for the other
    if ((second + at) % BARE_EACH === 2) ping(board, second)
    // those that would still wait at the end are not asked
    if (asker.has(board) && (second + at) % each === 0 && second + 2 < seconds) ask(board)
  })
}

async function obey(order: LoadOrder): Promise<void> {
  bare = new Timed()
  readings = new Timed()
  pings = new Timed()
  asks = new Timed()
  accepts = new Timed()
  failed = []
  if (order.order === 'connect') await connectAll(order)
  else if (order.order === 'greet') await greet()
  else if (order.order === 'bare') await eachSecond(order.seconds, sendBare)
  else await bridged(order.seconds)
  const figures = ({ sent, ms }: Timed): { sent: number; ms: number[] } => ({ sent, ms })
  const report: LoadReport = {
    ...{ order: order.order, bare: figures(bare), readings: figures(readings) },
    ...{ pings: figures(pings), asks: figures(asks), acceptMs: accepts.ms, failed, acknowledged },
  }
  process.send!(report)
}

process.on('message', (order) => void obey(order as LoadOrder))
process.on('disconnect', () => process.exit(0))
