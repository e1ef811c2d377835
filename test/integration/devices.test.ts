/** Devices over HTTP: a bridge that reports and is called, and clients that ask, also over MCP. */
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { describe, expect, it, vi } from 'vitest'
import { standingOf } from '../../coordinator/gateway/index.ts'
import { says } from '../fixtures/mesh-service-twin.ts'
import { ADMIN, type Answered, BridgeDouble, type DeviceWorld, deviceWorld, GREENHOUSE } from './devices.harness.ts'
import { CHAT } from './gateway.harness.ts'

const world = await deviceWorld()
const { running, bridge, keys } = world

const describeDevice: DeviceWorld['describeDevice'] = (policy) => world.describeDevice(policy)
const ask: DeviceWorld['ask'] = (...given) => world.ask(...given)
const call = (key: string, body: unknown, id = 'greenhouse'): Promise<Answered> =>
  ask('POST', `/mesh/v1/devices/${id}/calls`, key, body)

describe('clients', () => {
  it('see devices, their values and history, with a key that may', async () => {
    const now = Date.now()
    const reading = { device: 'greenhouse', name: 'temperature', value: 20.5, atMs: now, boot: 1, n: 1 }
    await bridge.report({ readings: [reading] })
    const { json: list } = await ask('GET', '/mesh/v1/devices', keys.read)
    expect(list).toMatchObject({
      ...{ object: 'list', bridges: ['house'] },
      data: [
        {
          ...{ id: 'greenhouse', class: 'uno', policy: { act: 'confirm' } },
          presence: { state: 'ready', bridge: 'house', bridgeOnline: true },
          values: { temperature: { value: 20.5 } },
        },
      ],
    })
    const { json: one } = await ask('GET', '/mesh/v1/devices/greenhouse', keys.read)
    expect(one).toMatchObject({ counts: { readings: 1 }, shadow: { desired: {}, reported: {} } })
    const { json: history } = await ask('GET', '/mesh/v1/devices/greenhouse/history?name=temperature', keys.read)
    expect(history).toMatchObject({ data: [{ name: 'temperature', value: 20.5, atMs: now }] })
    for (const path of ['', '/greenhouse', '/greenhouse/history', '/greenhouse/calls'])
      expect((await ask('GET', `/mesh/v1/devices${path}`, keys.none)).status).toBe(403)
    expect((await ask('GET', '/mesh/v1/devices/nothing', ADMIN)).status).toBe(404)
  })

  it('read a sensor, and set an actuator after a yes', async () => {
    expect((await call(keys.read, { capability: 'temperature' })).json).toMatchObject({
      ...{ op: 'read', state: 'ended', outcome: 'done', value: 31.2, unit: 'C', fresh: true },
    })
    const asked = await call(keys.act, { capability: 'vent', value: true })
    expect(asked.status).toBe(202)
    const { call: id, state } = asked.json as { call: string; state: string }
    expect(state).toBe('confirm')
    expect((await ask('GET', '/mesh/v1/calls', keys.act)).json).toMatchObject({ data: [{ call: id }] })
    expect((await ask('GET', '/mesh/v1/calls', keys.read)).json).toMatchObject({ data: [] })
    const confirm = (key: string) => ask('POST', `/mesh/v1/calls/${id}/confirm`, key, { approve: true })
    expect((await confirm(keys.read)).status).toBe(403)
    expect((await confirm(keys.act)).json).toMatchObject({ outcome: 'done', value: true })
    expect((await confirm(keys.act)).status).toBe(404)
    expect(bridge.calls.map(({ capability, op }) => `${op} ${capability}`)).toEqual(['read temperature', 'write vent'])
    expect((await ask('GET', '/mesh/v1/devices/greenhouse/calls', ADMIN)).json).toMatchObject({
      data: [{ capability: 'vent', outcome: 'done', origin: 'api' }],
    })
  })

  it('say what is to be, for a device to come back to', async () => {
    const desire = (key: string, body: unknown) => ask('PUT', '/mesh/v1/devices/greenhouse/desired', key, body)
    expect((await desire(keys.act, { values: { vent: true } })).status).toBe(403)
    expect((await desire(keys.read, { values: { vent: true }, confirmed: true })).status).toBe(403)
    const wished = await desire(keys.act, { values: { vent: false }, confirmed: true })
    expect(wished.json).toMatchObject({ shadow: { desired: { vent: { value: false } } } })
    expect((await desire(ADMIN, { values: { vent: null }, confirmed: true })).json).toMatchObject({
      shadow: { desired: {} },
    })
  })

  it('ask the bridge itself, as admin alone', async () => {
    bridge.answer = () => ({ outcome: 'done', value: { claims: [] } })
    expect((await call(ADMIN, { capability: 'claims', value: {} }, '%24bridge')).json).toMatchObject({
      value: { claims: [] },
    })
    expect((await call(keys.act, { capability: 'claims', value: {} }, '%24bridge')).status).toBe(403)
  })

  it.each([
    ['a body that is none', '{', 400],
    ['no capability', {}, 400],
    ['a member too many', { capability: 'vent', confirm: true }, 400],
    ['a value that cannot be', { capability: 'vent', value: [1] }, 400],
    ['an unknown capability', { capability: 'door' }, 400],
    ['a time that is too long', { capability: 'vent', ttl_ms: 1e9 }, 400],
    ['a name of another form', { capability: '../x' }, 400],
  ])('are told what is wrong: %s', async (_name, body, status) => {
    expect((await call(ADMIN, body)).status).toBe(status)
    expect(bridge.calls).toEqual([])
  })

  it.each(['history?limit=0', 'history?limit=99999', 'history?since_ms=x', 'history?x=1', 'calls?limit=9999'])(
    'are told what is wrong in an address: %s',
    async (path) => expect((await ask('GET', `/mesh/v1/devices/greenhouse/${path}`, ADMIN)).status).toBe(400),
  )
})

describe('device tasks', () => {
  const OPEN = { op: 'write', capability: 'vent', value: true, select: { class: 'uno' } }
  const tasks = (method: string, key: string, id = '', body?: unknown): Promise<Answered> =>
    ask(method, `/mesh/v1/device-tasks${id}`, key, body)
  const made = async (body: object, key = keys.act): Promise<string> => {
    const { status, json } = await tasks('POST', key, '', body)
    expect(status).toBe(201)
    return (json as { id: string }).id
  }
  const isNow = (id: string, more: object, key = ADMIN) =>
    vi.waitFor(async () => expect((await tasks('GET', key, `/${id}`)).json).toMatchObject(more), { interval: 10 })

  it('are made with a word for what wants one, carried out, and told of', async () => {
    expect((await tasks('POST', keys.act, '', OPEN)).status).toBe(403)
    const id = await made({ ...OPEN, confirmed: true })
    const call = { n: 1, pass: 1, device: 'greenhouse', outcome: 'done', value: true }
    await isNow(id, {
      state: 'done',
      object: 'device_task',
      select: { class: 'uno' },
      last: { done: true },
      calls: [call],
    })
    expect(bridge.calls.map(({ capability, op }) => `${op} ${capability}`)).toEqual(['write vent'])
    const { json } = await ask('GET', '/mesh/v1/devices/greenhouse/calls', ADMIN)
    expect((json as { data: object[] }).data[0]).toMatchObject({ origin: 'task', task: id })
  })

  it('read again and again until they are cancelled, and are their key’s alone', async () => {
    const until = new Date(Date.now() + 60_000).toISOString()
    const read = {
      op: 'read',
      capability: 'temperature',
      select: { device: 'greenhouse' },
      count: 'all',
      every: 5,
      until,
    }
    const id = await made(read, keys.read)
    await isNow(
      id,
      { state: 'active', every: 5, until, last: { pass: 1, done: true }, calls: [{ value: 31.2 }] },
      keys.read,
    )
    expect((await tasks('GET', keys.read)).json).toMatchObject({ data: [{ id }] })
    expect((await tasks('GET', keys.act, `/${id}`)).status).toBe(404)
    expect((await tasks('DELETE', keys.act, `/${id}`)).status).toBe(404)
    expect((await tasks('DELETE', keys.read, `/${id}`)).json).toMatchObject({ id, state: 'cancelled' })
    expect((await tasks('DELETE', ADMIN, `/${id}`)).json).toMatchObject({ state: 'cancelled' })
    for (const method of ['GET', 'DELETE']) expect((await tasks(method, keys.none, `/${id}`)).status).toBe(403)
  })

  it.each([
    ['nobody is meant', { ...OPEN, select: { device: 'shed' } }, 404],
    ['no such capability', { ...OPEN, capability: 'door' }, 400],
    ['a device and a class', { ...OPEN, select: { device: 'greenhouse', class: 'uno' } }, 400],
    ['no selection', { op: 'read', capability: 'temperature' }, 400],
    ['no device at all', { ...OPEN, count: 0 }, 400],
    ['too often', { ...OPEN, every: 1 }, 400],
    ['a time that was', { ...OPEN, until: '2020-01-01T00:00:00Z' }, 400],
    ['a day that there is not', { ...OPEN, until: '2030-13-01T00:00:00Z' }, 400],
    ['a time of nowhere', { ...OPEN, until: '2030-01-01T00:00:00' }, 400],
    ['too many tries', { ...OPEN, retry: 6 }, 400],
    ['a member too many', { ...OPEN, priority: 1 }, 400],
  ])('are refused: %s', async (_name, body, status) => {
    expect((await tasks('POST', ADMIN, '', body)).status).toBe(status)
    expect((await tasks('POST', keys.none, '', body)).status).not.toBe(201)
    expect(bridge.calls).toEqual([])
  })

  it('are the key’s no more when that is revoked', async () => {
    const revoked = await ask('POST', '/mesh/v1/keys', ADMIN, { name: 'gone', devices: 'read' })
    const { id: key, secret } = revoked.json as { id: string; secret: string }
    const standing = standingOf(world.access)
    expect([standing(key, 'read'), standing('local', 'act')]).toEqual(['read', 'act'])
    expect((await ask('DELETE', `/mesh/v1/keys/${key}`, ADMIN)).status).toBeLessThan(300)
    expect([standing(key, 'read'), (await tasks('GET', secret)).status]).toEqual(['none', 401])
  })
})

describe('bridges', () => {
  it('report with a key of their class alone, and once', async () => {
    const stranger = new BridgeDouble(running.gateway.url, keys.act)
    expect((await stranger.report()).status).toBe(403)
    expect((await stranger.connect()).status).toBe(403)
    const { recorded } = await bridge.report()
    expect(await bridge.report({ seq: 1, gone: ['greenhouse'] })).toEqual({ status: 200, recorded })
    expect((await ask('GET', '/mesh/v1/devices/greenhouse', ADMIN)).status).toBe(200)
    expect((await ask('GET', '/mesh/v1/nodes', keys.bridge)).status).toBe(403)
  })

  it.each([
    ['no number', { seq: 0 }],
    ['a name that no bridge has', { bridge: '../x' }],
    ['a device without a policy', { devices: [{ ...GREENHOUSE, policy: undefined }] }],
    ['an id that no device has', { devices: [{ ...GREENHOUSE, id: 'UPPER' }] }],
    [
      'a value that is none',
      { readings: [{ device: 'greenhouse', name: 'temperature', value: null, atMs: 1, boot: 1, n: 1 }] },
    ],
    ['a state that there is not', { states: [{ device: 'greenhouse', state: 'happy', atMs: 1 }] }],
  ])('are refused with %s', async (_name, change) => {
    expect((await bridge.report(change as never)).status).toBe(400)
  })

  it('are refused with more than a report may be', async () => {
    const claims = Array.from({ length: 20_000 }, () => ({ code: '123456'.repeat(5), class: 'x'.repeat(12) }))
    expect((await bridge.report({ claims })).status).toBe(413)
  })

  it('ask in the name of a device, which counts as itself and may do what its policy says', async () => {
    running.twin.script = says('Hi')
    const chat = (device: string, key = keys.bridge) =>
      ask('POST', '/v1/chat/completions', key, CHAT, { 'x-skein-device': device })
    expect((await chat('greenhouse')).status).toBe(200)
    expect(running.twin.calls.at(-1)!.request).toMatchObject({ tenant: 'device:greenhouse', localOnly: true })
    // its owner's word holds from the next question on, whatever the bridge says
    await describeDevice({ local_only: false })
    await chat('greenhouse')
    expect(running.twin.calls.at(-1)!.request).not.toHaveProperty('localOnly', true)
    await describeDevice({ local_only: true })
    const asked = { ...CHAT, skein: { local_only: false } }
    const headers = { 'x-skein-device': 'greenhouse' }
    expect((await ask('POST', '/v1/chat/completions', keys.bridge, asked, headers)).status).toBe(200)
    expect(running.twin.calls.at(-1)!.request).toMatchObject({ localOnly: true })
    expect((await chat('nothing')).status).toBe(400)
    expect((await chat('greenhouse', keys.act)).status).toBe(403)
    await describeDevice({ ask: false })
    expect((await chat('greenhouse')).status).toBe(403)
    expect((await ask('POST', '/v1/chat/completions', keys.bridge, CHAT)).status).toBe(403)
  })
})

describe('the Model Context Protocol', () => {
  const connect = async (key: string, mode: { pin: string } | 'legacy', headers = {}): Promise<Client> => {
    const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode } })
    const requestInit = { headers: { authorization: `Bearer ${key}`, ...headers } }
    await client.connect(new StreamableHTTPClientTransport(new URL(`${running.gateway.url}/mcp`), { requestInit }))
    return client
  }
  const namesOf = async (client: Client): Promise<string[]> =>
    (await client.listTools()).tools.map(({ name }) => name).filter((name) => name.includes('.'))

  it.each([{ pin: '2026-07-28' }, 'legacy' as const])('has devices as tools, by what a key may: %j', async (mode) => {
    await describeDevice({ act: 'yes' })
    const client = await connect(keys.act, mode)
    const { tools } = await client.listTools()
    const hintOf = (name: string): unknown => tools.find((tool) => tool.name === name)?.annotations?.readOnlyHint
    expect([hintOf('greenhouse.temperature'), hintOf('greenhouse.vent')]).toEqual([true, false])
    const read = await client.callTool({ name: 'greenhouse.temperature', arguments: {} })
    expect(read.structuredContent).toEqual({
      outcome: 'done',
      value: 31.2,
      unit: 'C',
      fresh: true,
      ageMs: 0,
      call: expect.any(String) as string,
    })
    const set = await client.callTool({ name: 'greenhouse.vent', arguments: { value: true } })
    expect(set.structuredContent).toMatchObject({ outcome: 'done', value: true })
    const wrong = await client.callTool({ name: 'greenhouse.vent', arguments: { value: 'wide' } })
    expect(wrong.isError).toBe(true)
    await client.close()
    const none = await connect(keys.none, mode)
    expect(await namesOf(none)).toEqual([])
    await none.close()
  })

  it('lets an admin act by the header alone', async () => {
    await describeDevice({ read: false, act: 'yes' })
    const modest = await connect(ADMIN, { pin: '2026-07-28' })
    expect(await namesOf(modest)).toEqual([])
    const acting = await connect(ADMIN, { pin: '2026-07-28' }, { 'x-skein-devices': 'act' })
    expect(await namesOf(acting)).toEqual(['greenhouse.vent'])
    await Promise.all([modest.close(), acting.close()])
  })

  it('tells a session when the list has changed', async () => {
    const client = await connect(ADMIN, 'legacy')
    const isTold = Promise.withResolvers<void>()
    client.setNotificationHandler('notifications/tools/list_changed', () => isTold.resolve())
    // its stream is opened behind its back
    for (let id = 0; id < 100 && (await Promise.race([isTold.promise.then(() => false), wait(50)])); id++)
      await bridge.report({ devices: [{ ...GREENHOUSE, name: `Greenhouse ${id}` }] })
    await isTold.promise
    await client.close()
  })
})

const wait = (ms: number): Promise<boolean> => new Promise((resolve) => setTimeout(() => resolve(true), ms))

describe('events', () => {
  it('tell of devices whoever may read them, and of calls their callers', async () => {
    const left = new AbortController()
    const follow = async (key: string): Promise<{ until: (pattern: RegExp) => Promise<string> }> => {
      const response = await fetch(`${running.gateway.url}/mesh/v1/events?types=device`, {
        headers: { authorization: `Bearer ${key}` },
        signal: left.signal,
      })
      const reader = response.body!.getReader()
      const decoder = new TextDecoder()
      let text = ''
      return {
        until: async (pattern) => {
          while (!pattern.test(text)) text += decoder.decode((await reader.read()).value, { stream: true })
          return text
        },
      }
    }
    const reader = await follow(keys.read)
    const admin = await follow(ADMIN)
    await reader.until(/watching/)
    await admin.until(/watching/)
    await call(ADMIN, { capability: 'temperature' })
    await bridge.report({ claims: [{ code: '123456', class: 'uno' }] })
    await bridge.report({ states: [{ device: 'greenhouse', state: 'lost', atMs: Date.now() }] })
    const told = await admin.until(/"state":"lost"/)
    expect(told).toMatch(/event: device\.call/)
    expect(told).toMatch(/"code":"123456"/)
    const heard = await reader.until(/"state":"lost"/)
    expect(heard).not.toMatch(/device\.call|device\.claim/)
    left.abort()
  })
})
