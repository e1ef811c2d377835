/** Devices of a real process: joined over its own broker, read and set by a person, over a kill. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { skein, SkeinProcess } from '../fixtures/skein-process.ts'
import { freePort, mqttDevice, until, type TestClient } from '../integration/bridge.harness.ts'

const ARGS = ['up', '--name', 'house', '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0', '--upstream', 'off']

describe('devices of `skein up`', () => {
  let data: string
  let port: number
  let up: SkeinProcess
  let board: TestClient
  let key: string
  let isOpen = false

  const start = async (): Promise<void> => {
    const args = [...ARGS, '--model', 'echo:parrot', '--http', '127.0.0.1:0', '--mqtt', `127.0.0.1:${port}`]
    up = await SkeinProcess.start({ args, dataDir: data })
    await up.until(({ event, state }) => event === 'bridge' && state === 'ready', 20_000)
  }
  const run = async (...args: string[]): Promise<string> => {
    const result = await skein([...args, '--data', data])
    expect(result.code, result.stderr).toBe(0)
    return result.stdout
  }
  const say = (kind: string, body: object): void =>
    void board.client.publish(`skein/v1/dev/greenhouse/up/${kind}`, JSON.stringify(body))
  const heard = (kind: string): unknown[] =>
    board.heard.filter(({ topic }) => topic.endsWith(`/${kind}`)).map(({ payload }) => JSON.parse(payload) as unknown)
  /** The board: one vent, one sensor. */
  const enter = async (boot: number): Promise<void> => {
    board = await mqttDevice(port, { clientId: 'greenhouse', username: 'greenhouse', password: key })
    await board.client.subscribeAsync('skein/v1/dev/greenhouse/down/#')
    board.client.on('message', (topic, payload) => {
      if (!topic.endsWith('/cmd')) return
      const { id, v } = JSON.parse(payload.toString()) as { id: number; v?: boolean }
      if (v !== undefined) isOpen = v
      say('result', { id, ok: 1, v: v ?? 31.5 })
    })
    const caps = ['rf:temperature:C', 'wb:vent']
    say('hello', { v: 1, fw: '1', rx: 512, win: 2, boot, n: 2, fmt: 'json', caps, class: 'esp32' })
    await until(() => heard('welcome').length > 0)
  }
  const shown = async (): Promise<string> => run('devices', 'show', 'greenhouse', '--json')

  beforeAll(async () => {
    data = await mkdtemp(join(tmpdir(), 'skein-bridge-'))
    port = await freePort()
    await start()
  })
  afterAll(async () => {
    board?.client.end(true)
    await up.kill()
    await rm(data, { recursive: true, force: true })
  })

  it('join with the credential that was printed, and are seen with what they say', async () => {
    const added = JSON.parse(await run('devices', 'add', 'Greenhouse', '--json')) as { key: string }
    key = added.key
    await enter(7)
    say('tele', { n: 1, a: 1, r: { temperature: 31.5 } })
    await until(() => heard('ack').length > 0)
    let seen = ''
    for (let look = 0; look < 20 && !seen.includes('31.5'); look++) seen = await shown()
    expect(seen).toContain('31.5')
    expect(seen).toContain('"ready"')
  })

  it('are read and set', async () => {
    expect(await run('devices', 'read', 'greenhouse', 'temperature')).toContain('31.5')
    await run('devices', 'policy', 'greenhouse', '--act', 'yes')
    await run('devices', 'set', 'greenhouse', 'vent', 'on')
    expect(isOpen).toBe(true)
  })

  it('lose nothing that was acknowledged when the process is killed', async () => {
    for (let n = 2; n <= 6; n++) say('tele', { n, a: 1, r: { temperature: 20 + n } })
    await until(() => heard('ack').length >= 6)
    board.client.end(true)
    await up.stop('SIGKILL')
    await start()
    await enter(7)
    say('tele', { n: 6, a: 1, r: { temperature: 99 } })
    await until(() => heard('ack').length > 0)
    let values: number[] = []
    for (let look = 0; look < 20 && !values.includes(26); look++) {
      const history = await run('devices', 'history', 'greenhouse', '--json')
      values = [...history.matchAll(/"value":\s*([\d.]+)/g)].map(([, value]) => Number(value))
    }
    expect(values.sort((a, b) => a - b)).toEqual([22, 23, 24, 25, 26, 31.5])
  })

  it('that were revoked are cut off, and do not come back', async () => {
    await run('devices', 'revoke', 'greenhouse')
    await until(() => board.closes > 0)
    const again = await mqttDevice(port, { clientId: 'greenhouse', username: 'greenhouse', password: key })
    expect(again.client.connected).toBe(false)
  })
})
