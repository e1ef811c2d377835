/** A whole bridge and its devices at a real Mosquitto, over TLS with a certificate and with pre-shared keys, as it ships. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { IClientOptions } from 'mqtt'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeSelfSigned } from '../../mesh/certificates/index.ts'
import { createLogger, silentLogger, SystemRandom } from '../../mesh/runtime/index.ts'
import { Counts } from '../../firmware-bridge/counts.ts'
import { BrokerDoor } from '../../firmware-bridge/doors/index.ts'
import { Bridge, type BrokerSettings } from '../../firmware-bridge/index.ts'
import { mosquittoLine, newKey, pskLine } from '../../firmware-bridge/joining/credential.ts'
import { clock, Mosquitto, mqttDevice, until, type TestClient } from './bridge.harness.ts'

const random = new SystemRandom()
const BRIDGE_KEY = newKey(random)
const keyOf = (key: string): Buffer => Buffer.from(key, 'base64url')
const PSK = { ciphers: 'PSK-AES128-GCM-SHA256:PSK-AES256-GCM-SHA384', maxVersion: 'TLSv1.2' } as const

let folder: string
let broker: Mosquitto
let caFile: string
let cert: string
let bridge: Bridge
const clients: TestClient[] = []

const bridgeAt = (settings: Omit<BrokerSettings, 'of'>): Bridge =>
  new Bridge(
    { clock, random, log: silentLogger },
    {
      ...{ bridge: 'attic', database: join(folder, 'bridge.db'), serial: 'off', baud: 115_200, isSerialTrusted: false },
      ...{ mqtt: { of: 'broker', ...settings }, coordinators: ['http://127.0.0.1:1'], apiKey: () => undefined },
      quotas: { asksPerMinute: 10, tokensPerDay: 1000 },
    },
    { onClaim: () => undefined, onNotice: () => undefined },
  )

const DOORS = {
  certificate: {
    bridge: () => ({
      ...{ url: `mqtts://localhost:${broker.tlsPort}`, caFile },
      ...{ user: 'skein-bridge', password: BRIDGE_KEY },
    }),
    device: (id: string, key: string): IClientOptions => ({
      ...{ protocol: 'mqtts', host: 'localhost', port: broker.tlsPort, ca: cert },
      ...{ clientId: id, username: id, password: key },
    }),
  },
  'pre-shared key': {
    bridge: () => ({
      url: `mqtts://127.0.0.1:${broker.pskPort}`,
      psk: { identity: 'skein-bridge', key: keyOf(BRIDGE_KEY) },
    }),
    // its name is what it shows the key of, whatever it says besides
    device: (id: string, key: string): IClientOptions =>
      ({
        ...{ protocol: 'mqtts', host: '127.0.0.1', port: broker.pskPort, ...PSK, checkServerIdentity: () => undefined },
        ...{ clientId: 'anybody', pskCallback: () => ({ identity: id, psk: keyOf(key) }) },
      }) as IClientOptions,
  },
}

const device = async (options: IClientOptions): Promise<TestClient> => {
  const made = await mqttDevice(options.port!, options)
  clients.push(made)
  return made
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'skein-encrypted-'))
  const nowMs = clock.wallMs()
  const made = await makeSelfSigned(random, { subject: 'localhost', fromMs: nowMs - 60_000, untilMs: nowMs + 600_000 })
  cert = made.cert
  caFile = join(folder, 'ca.pem')
  await writeFile(caFile, cert)
  broker = await Mosquitto.start([mosquittoLine('skein-bridge', BRIDGE_KEY, random)], {
    ...{ psk: [pskLine('skein-bridge', BRIDGE_KEY)], cert, key: made.key },
  })
})
afterAll(async () => {
  for (const { client } of clients) client.end(true)
  await broker.stop()
  await rm(folder, { recursive: true, force: true })
})

describe.each(['certificate', 'pre-shared key'] as const)('at Mosquitto by %s', (how) => {
  const door = DOORS[how]
  const id = how === 'certificate' ? 'tls' : 'psk'
  let key: string

  beforeAll(async () => {
    bridge = bridgeAt(door.bridge())
    await bridge.start()
    const added = [await bridge.register.add(id), await bridge.register.add(`${id}-2`)]
    key = added[0]!.key
    await broker.admit(
      added.map((each) => mosquittoLine(each.id, each.key, random)),
      added.map((each) => pskLine(each.id, each.key)),
    )
  })
  afterAll(() => bridge.stop())

  it('a device joins, tells and reaches nothing of another', async () => {
    const board = await device(door.device(id, key))
    expect(board.client.connected).toBe(true)
    await board.client.subscribeAsync([`skein/v1/dev/${id}/down/#`, `skein/v1/dev/${id}-2/down/#`])
    const say = (as: string, kind: string, body: object): void =>
      void board.client.publish(`skein/v1/dev/${as}/up/${kind}`, JSON.stringify(body))
    const hello = { v: 1, fw: '1', rx: 256, win: 1, boot: 7, n: 1, fmt: 'json', caps: ['rf:temperature:C'] }
    const heard = (kind: string): unknown[] => board.heard.filter(({ topic }) => topic.endsWith(`/${kind}`))
    // first in the name of the other: what the broker forbids it does in silence, and in order
    say(`${id}-2`, 'hello', hello)
    say(id, 'hello', hello)
    await until(() => heard('welcome').length > 0)
    say(id, 'tele', { n: 1, a: 1, r: { temperature: 21.5 } })
    await until(() => heard('ack').length > 0)
    expect(bridge.sessions.sessions().map((session) => session.id)).toEqual([id])
    expect(board.heard.every(({ topic }) => topic.startsWith(`skein/v1/dev/${id}/`))).toBe(true)
  })

  it('nobody comes in with the key of another', async () => {
    const thief = await device(door.device(`${id}-2`, key))
    expect(thief.client.connected).toBe(false)
  })
})

it('the bridge speaks with no broker whose certificate is of nobody it trusts', async () => {
  const nowMs = clock.wallMs()
  const other = await makeSelfSigned(random, { subject: 'localhost', fromMs: nowMs - 60_000, untilMs: nowMs + 600_000 })
  const file = join(folder, 'other.pem')
  await writeFile(file, other.cert)
  let logged = ''
  const log = createLogger('warn', { write: (line) => (logged += line) })
  const door = new BrokerDoor(
    { clock, random, log, tally: new Counts() },
    { ...DOORS.certificate.bridge(), bridge: 'attic', caFile: file },
  )
  await door.start()
  await until(() => logged.includes('the broker cannot be reached'))
  expect(logged).toMatch(/self.signed certificate/)
  expect(door.isUp).toBe(false)
  await door.stop()
})
