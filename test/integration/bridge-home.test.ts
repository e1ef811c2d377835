/** A whole bridge at a Mosquitto with dynamic security: users of devices made and voided there, and Home Assistant told. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { silentLogger, SystemRandom } from '../../mesh/runtime/index.ts'
import { Bridge } from '../../firmware-bridge/index.ts'
import { clock, freePort, mqttDevice, until, type TestClient } from './bridge.harness.ts'

const PLUGIN = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib', '/usr/local/lib']
const ADMIN = { username: 'admin', password: 'of-the-admin' }
const CONFIG = 'homeassistant/device/skein-greenhouse/config'
const CLAIMS_ACL = fileURLToPath(new URL('../../deploy/mosquitto/skein-claims.acl', import.meta.url))
const ROOT = 'skein/v1/bridge/attic/ha/greenhouse'

const pluginPath = (): string => PLUGIN.map((at) => join(at, 'mosquitto_dynamic_security.so')).find(existsSync)!

describe('a house with a broker of its own', () => {
  let folder: string
  let port: number
  let claimPort: number
  let broker: ChildProcess
  let bridge: Bridge
  let watcher: TestClient
  let board: TestClient

  const last = (topic: string): string | undefined =>
    watcher.heard.findLast((message) => message.topic === topic)?.payload
  const heard = (kind: string): string[] =>
    board.heard.filter(({ topic }) => topic === `skein/v1/dev/greenhouse/down/${kind}`).map(({ payload }) => payload)
  const say = (kind: string, body: object): void =>
    void board.client.publish(`skein/v1/dev/greenhouse/up/${kind}`, JSON.stringify(body))

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'skein-home-'))
    port = await freePort()
    claimPort = await freePort()
    const security = join(folder, 'security.json')
    execFileSync('mosquitto_ctrl', ['dynsec', 'init', security, ADMIN.username, ADMIN.password])
    // its administrator may then publish elsewhere too; done over the broker it would cut that one off
    const rules = JSON.parse(await readFile(security, 'utf8')) as { roles: { acls: object[] }[] }
    rules.roles[0]!.acls.push({ acltype: 'publishClientSend', topic: '#', priority: 0, allow: true })
    await writeFile(security, JSON.stringify(rules))
    const asRoot = process.getuid?.() === 0 ? 'user root\n' : ''
    await writeFile(
      join(folder, 'mosquitto.conf'),
      `${asRoot}per_listener_settings true\nset_tcp_nodelay true\nlistener ${port} 127.0.0.1\nallow_anonymous false\n` +
        `plugin ${pluginPath()}\nplugin_opt_config_file ${security}\n` +
        `listener ${claimPort} 127.0.0.1\nallow_anonymous true\nacl_file ${CLAIMS_ACL}\n`,
    )
    broker = spawn('mosquitto', ['-c', join(folder, 'mosquitto.conf')], { stdio: 'ignore' })
    for (;;) {
      watcher = await mqttDevice(port, { clientId: 'watcher', protocolVersion: 5, ...ADMIN })
      if (watcher.client.connected) break
    }
    await watcher.client.subscribeAsync(['homeassistant/#', 'skein/v1/bridge/#'])
    bridge = new Bridge(
      { clock, random: new SystemRandom(), log: silentLogger },
      {
        ...{
          bridge: 'attic',
          database: join(folder, 'bridge.db'),
          serial: 'off',
          baud: 115_200,
          isSerialTrusted: false,
        },
        mqtt: {
          of: 'broker',
          url: `mqtt://127.0.0.1:${port}`,
          user: ADMIN.username,
          password: ADMIN.password,
          hasDynamicSecurity: true,
        },
        // nobody is there: the house goes on without a coordinator
        ...{
          coordinators: ['http://127.0.0.1:1'],
          apiKey: () => undefined,
          quotas: { asksPerMinute: 10, tokensPerDay: 1000 },
        },
      },
      { onClaim: () => undefined, onNotice: () => undefined },
    )
    await bridge.start()
    await until(() => last('skein/v1/bridge/attic/state') === 'online')
  })
  afterAll(async () => {
    await bridge?.stop()
    for (const each of [watcher, board]) each?.client.end(true)
    const gone = once(broker, 'exit')
    broker.kill('SIGKILL')
    await gone
    await rm(folder, { recursive: true, force: true })
  })

  it('lets a device in as soon as it was added, and tells Home Assistant what it is', async () => {
    const { key } = await bridge.register.add('Greenhouse')
    board = await mqttDevice(port, { clientId: 'greenhouse', username: 'greenhouse', password: key })
    expect(board.client.connected).toBe(true)
    await board.client.subscribeAsync('skein/v1/dev/greenhouse/down/#')
    await board.client.subscribeAsync('skein/v1/dev/+/up/#').catch(() => undefined)
    const caps = ['rf:temperature:C', 'wb:vent', 'xn:reboot']
    say('hello', { v: 1, fw: '1.2', rx: 256, win: 1, boot: 7, n: 3, fmt: 'json', caps, class: 'esp32' })
    await until(() => heard('welcome').length > 0 && last(CONFIG))
    expect(JSON.parse(last(CONFIG)!)).toEqual({
      dev: { ids: ['skein-greenhouse'], name: 'Greenhouse', mf: 'Skein', mdl: 'esp32', sw: '1.2' },
      o: { name: 'skein' },
      avty: [{ t: 'skein/v1/bridge/attic/state' }, { t: `${ROOT}/available` }],
      avty_mode: 'all',
      cmps: {
        temperature: {
          ...{ p: 'sensor', stat_t: `${ROOT}/temperature`, unit_of_meas: '°C', dev_cla: 'temperature' },
          ...{ stat_cla: 'measurement', name: 'temperature', unique_id: 'skein-greenhouse-temperature' },
        },
        vent: {
          ...{ p: 'binary_sensor', stat_t: `${ROOT}/vent`, pl_on: 'on', pl_off: 'off' },
          ...{ name: 'vent', unique_id: 'skein-greenhouse-vent' },
        },
      },
    })
    expect(last(`${ROOT}/available`)).toBe('online')
    say('tele', { n: 1, a: 1, r: { temperature: 31.5, vent: false } })
    await until(() => last(`${ROOT}/temperature`) === '31.5' && last(`${ROOT}/vent`) === 'off')
  })

  it('tells it again when Home Assistant starts', async () => {
    watcher.heard.length = 0
    watcher.client.publish('homeassistant/status', 'online')
    await until(() => last(CONFIG) !== undefined && last(`${ROOT}/available`) === 'online')
  })

  it('takes orders for what the owner permits, and for nothing else', async () => {
    watcher.client.publish(`${ROOT}/vent/set`, 'on')
    await bridge.register.setPolicy('greenhouse', { act: 'yes' })
    await until(() => last(CONFIG)?.includes('switch') && last(CONFIG)?.includes('button'))
    expect(heard('cmd')).toEqual([])
    watcher.client.publish(`${ROOT}/vent/set`, 'ajar')
    watcher.client.publish(`${ROOT}/vent/set`, 'on')
    const command = await until(() => heard('cmd')[0])
    expect(JSON.parse(command)).toMatchObject({ c: 'vent', v: true })
    say('result', { id: (JSON.parse(command) as { id: number }).id, ok: 1, v: true })
    await until(() => last(`${ROOT}/vent`) === 'on')
    expect(heard('cmd')).toHaveLength(1)
  })

  it('cuts off a device that was revoked, voids its user, and takes it from Home Assistant', async () => {
    await bridge.register.revoke('greenhouse')
    await until(() => board.closes > 0)
    await until(() => last(CONFIG) === '' && last(`${ROOT}/available`) === '' && last(`${ROOT}/vent`) === '')
    const { key } = await bridge.register.add('Greenhouse')
    const again = await mqttDevice(port, { clientId: 'greenhouse', username: 'greenhouse', password: key })
    expect(again.client.connected).toBe(true)
    again.client.end(true)
  })

  it('lets a board in that has claimed at the listener for that, as a user of its own', async () => {
    const claiming = await mqttDevice(claimPort, { clientId: 'c0ffee', username: 'claim' })
    await claiming.client.subscribeAsync('skein/v1/claim/c0ffee/down')
    const claim = (): void =>
      void claiming.client.publish('skein/v1/claim/c0ffee/up', JSON.stringify({ v: 1, code: '471100', class: 'esp32' }))
    claim()
    await until(() => bridge.register.claims()[0])
    const id = await bridge.register.approve('471100', 'Lamp')
    claim()
    const { payload } = await until(() => claiming.heard[0])
    claiming.client.end(true)
    const granted = JSON.parse(payload) as { id: string; key: string }
    expect(granted.id).toBe(id)
    const lamp = await mqttDevice(port, { clientId: id, username: id, password: granted.key })
    expect(lamp.client.connected).toBe(true)
    lamp.client.end(true)
  })

  it('says that it is gone when it stops', async () => {
    await bridge.stop()
    await until(() => last('skein/v1/bridge/attic/state') === 'offline')
  })
})
