/**
 * What happens when an endpoint does not do as it should: each row of "What happens when" in docs/CLOUD.md, with the double of
 * vLLM that has a real model; and endpoints as nodes of a coordinator's process.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { asModelDigest, GREEDY, INBOUND, type CapabilityRecord, type SkeinError } from '../../mesh/protocol/index.ts'
import { openCapabilityRecord, type PeerHost } from '../../mesh/network/index.ts'
import {
  ManualClock,
  silentLogger,
  SystemClock,
  SystemRandom,
  type Clock,
  type Random,
} from '../../mesh/runtime/index.ts'
import { Endpoint, UpstreamEngine, upstreamPath, type GenerationRequest, type NamedServer } from '../../node/index.ts'
import { CloudEndpoints, type EndpointStatus } from '../../clients/cli/cloud-endpoints.ts'
import { ensureModel } from '../fixtures/models/index.ts'
import { temporaryDirectory } from '../fixtures/temporary.ts'
import { startVllm, type Fault, type VllmDouble } from '../fixtures/vllm/index.ts'
import { after, components, startHost, until } from './network.harness.ts'

const digest = asModelDigest(`sha256:${'0'.repeat(64)}`)
const never = new AbortController().signal
/** No wait between tries takes any time. */
const atOnce: Random = { next: () => 0, bytes: (length) => new SystemRandom().bytes(length) }

let double: VllmDouble
beforeAll(async () => {
  double = await startVllm({ model: await ensureModel('tiny'), servedName: 'org/tiny', key: ['good', 'spare'] })
}, 60_000)
afterAll(() => double.stop())
const cleanups: (() => Promise<unknown>)[] = []
beforeEach(() => double.faults.clear())
afterEach(async () => {
  double.faults.clear()
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

interface Asking {
  readonly engine: UpstreamEngine
  readonly endpoint: Endpoint
}

async function load({
  keys = ['good'],
  clock = new SystemClock(),
  url = double.url,
}: { keys?: string[]; clock?: Clock; url?: string } = {}): Promise<Asking> {
  const endpoint = new Endpoint({ clock, random: atOnce }, { keys })
  const server: NamedServer = { url, models: ['org/tiny'], slots: 4, endpoint }
  const engine = new UpstreamEngine({ clock, log: silentLogger }, { servers: new Map([[url, server]]) })
  cleanups.push(() => engine.unload())
  await engine.load({ path: upstreamPath({ url, model: 'org/tiny' }), digest, slots: 4 })
  return { engine, endpoint }
}

const request = (): GenerationRequest => ({
  id: 'a',
  prompt: { kind: 'text', text: 'The house stands on the hill and' },
  sampling: { ...GREEDY, seed: 7 },
  stop: [],
  maxTokens: 8,
  isEndless: true,
  generated: [],
})

interface Outcome {
  readonly text: string
  readonly error?: SkeinError
}

/** What came, and how it ended. */
async function ask(engine: UpstreamEngine): Promise<Outcome> {
  let text = ''
  try {
    for await (const event of engine.generate(request(), never))
      if (event.type === 'tokens' || event.type === 'end') text += event.text
    return { text }
  } catch (thrown) {
    return { text, error: thrown as SkeinError }
  }
}

const answers = (): number => double.requests.filter(({ path }) => path === '/v1/completions').length

describe('an endpoint, before the first byte of an answer', () => {
  it.each<[string, Fault]>([
    ['says 429 without saying when', { kind: 'status', status: 429, times: 2 }],
    ['says 429 with Retry-After', { kind: 'status', status: 429, retryAfter: '0.02', times: 1 }],
    ['says 500', { kind: 'status', status: 500, times: 1 }],
    ['says 503', { kind: 'status', status: 503, times: 3 }],
    ['drops the connection', { kind: 'drop', times: 2 }],
    ['has closed a connection that was kept', { kind: 'stale', times: 1 }],
  ])('%s: it is asked again, and nobody notices', async (_, fault) => {
    const { engine } = await load()
    const whole = await ask(engine)
    expect(whole.error).toBeUndefined()
    double.faults.set(fault)
    expect(await ask(engine)).toEqual(whole)
  })

  it('says 429 for a long time: the attempt is refused at once, and nothing is asked meanwhile', async () => {
    const { engine, endpoint } = await load()
    double.faults.set({ kind: 'status', status: 429, retryAfter: '120' })
    const before = answers()
    expect((await ask(engine)).error).toMatchObject({ code: 'NO_FREE_SLOT' })
    expect((await ask(engine)).error).toMatchObject({ code: 'NO_FREE_SLOT' })
    expect(answers() - before).toBe(1)
    expect(endpoint.restMs).toBeGreaterThan(100_000)
  })

  it('goes on failing: four requests, and no more', async () => {
    const { engine } = await load()
    double.faults.set({ kind: 'status', status: 500 })
    const before = answers()
    expect((await ask(engine)).error?.code).toBe('ENGINE_FAILED')
    expect(answers() - before).toBe(4)
  })

  it('refuses a key: the next one is used, and kept', async () => {
    const { engine, endpoint } = await load({ keys: ['good', 'spare'] })
    double.faults.set({ kind: 'status', status: 401, key: 'good' })
    expect((await ask(engine)).error).toBeUndefined()
    expect(endpoint.key).toBe('spare')
    double.faults.set({ kind: 'status', status: 403 })
    expect((await ask(engine)).error).toMatchObject({ code: 'ENGINE_FAILED' })
  })

  it('refuses a key at its list of models, too', async () => {
    const { engine, endpoint } = await load({ keys: ['wrong', 'good'] })
    expect(endpoint.key).toBe('good')
    expect((await ask(engine)).error).toBeUndefined()
  })

  it('is asked again on the connection that it was asked on, once an answer has ended', async () => {
    let connections = 0
    const server = createServer((asked, response) => {
      if (asked.url !== '/v1/completions') return void response.end('{"data":[{"id":"org/tiny"}]}')
      response.write(`data: {"choices":[{"text":"a","finish_reason":"length"}]}\n\n`)
      response.end('data: [DONE]\n\n')
    })
    server.on('connection', () => connections++)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    cleanups.push(async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    })
    const { engine } = await load({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` })
    for (let i = 0; i < 4; i++) {
      expect((await ask(engine)).text).toBe('a')
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(connections).toBeLessThan(4)
  })

  it('knows none of its keys: it is not loaded, and the error says where keys are named', async () => {
    await expect(load({ keys: ['wrong'] })).rejects.toThrow(/401.*cloud\.json/)
  })

  it('sends no headers: the attempt ends in time', async () => {
    const clock = new ManualClock()
    const { engine } = await load({ clock })
    double.faults.set({ kind: 'headers' })
    const before = answers()
    const outcome = ask(engine)
    await until(() => answers() > before)
    for (let i = 0; i < 61; i++) await clock.advance(1000)
    expect((await outcome).error?.message).toMatch(/no answer within 60000 ms/)
  })
})

describe('an endpoint, in the middle of an answer', () => {
  it.each<[string, Fault]>([
    ['cuts it before the first token', { kind: 'cut', afterTokens: 0 }],
    ['cuts it after the first token', { kind: 'cut', afterTokens: 1 }],
    ['says abort', { kind: 'abort', afterTokens: 2 }],
    ['ends without a reason', { kind: 'unfinished', afterTokens: 2 }],
    ['says that its engine failed', { kind: 'error', afterTokens: 2 }],
    ['sends garbage', { kind: 'garbage', afterTokens: 2 }],
  ])('%s: that attempt fails, what came is the beginning of the answer, and others go on', async (_, fault) => {
    const { engine } = await load()
    const whole = await ask(engine)
    double.faults.set({ ...fault, times: 1 })
    const [broken, other] = await Promise.all([ask(engine), ask(engine)])
    const [lost, made] = broken.error ? [broken, other] : [other, broken]
    expect(lost.error?.code, 'of this answer alone').toBe('ENGINE_FAILED')
    expect(whole.text.startsWith(lost.text)).toBe(true)
    expect(made).toEqual(whole)
  })

  it('stalls: the attempt ends after the longest time between tokens', async () => {
    const clock = new ManualClock()
    const { engine } = await load({ clock })
    double.faults.set({ kind: 'stall', afterTokens: 2 })
    let tokens = 0
    const outcome = (async () => {
      try {
        for await (const event of engine.generate(request(), never)) if (event.type === 'tokens') tokens++
        return undefined
      } catch (thrown) {
        return thrown as SkeinError
      }
    })()
    await until(() => tokens > 0)
    for (let i = 0; i < 31; i++) await clock.advance(1000)
    expect((await outcome)?.message).toMatch(/no token within/)
  })

  it('answers with another model than was asked: none of it is delivered', async () => {
    const { engine } = await load()
    double.faults.set({ kind: 'model-told', name: 'org/other' })
    const { text, error } = await ask(engine)
    expect(text).toBe('')
    expect(error?.message).toMatch(/answered with the model org\/other/)
  })

  it('has another time of day, and shows no metrics: nothing depends on either', async () => {
    double.faults.clockSkewMs = 86_400_000
    double.faults.hidesMetrics = true
    const { engine } = await load()
    expect((await ask(engine)).error).toBeUndefined()
  })
})

it('an endpoint whose certificate has expired is not asked, and the error says so', async () => {
  const expired = await startVllm({ model: await ensureModel('tiny'), servedName: 'org/tiny', tls: 'expired' })
  cleanups.push(() => expired.stop())
  const before = getCACertificates('default')
  setDefaultCACertificates([...before, expired.ca!])
  try {
    const url = expired.url.replace('127.0.0.1', 'localhost')
    await expect(load({ url, keys: [] })).rejects.toThrow(/certificate does not hold, or the clock.*CERT_HAS_EXPIRED/)
    expect(expired.requests).toEqual([])
  } finally {
    setDefaultCACertificates(before)
  }
})

describe('endpoints of the settings', () => {
  /** The records of members that keep a control stream, newest of each name. */
  function recordsAt(host: PeerHost): Map<string, CapabilityRecord> {
    const records = new Map<string, CapabilityRecord>()
    host.handle('control', INBOUND.controlCoordinator, async (channel, member) => {
      for (let frame = await channel.receive(); frame !== undefined; frame = await channel.receive()) {
        if (frame.type === 'control.goodbye') return void records.delete(member.certificate.name)
        if (frame.type !== 'control.announce') continue
        const record = await openCapabilityRecord(member.peerId, frame.capability)
        records.set(record.name, record)
        const welcome = { sequence: record.sequence, coordinator: host.self.peerId, heartbeatIntervalMs: 500 }
        await channel.send({ type: 'control.welcome', ...welcome })
      }
    })
    return records
  }

  it('are nodes of their own, come and go with the settings, and one that is wrong keeps no other', async () => {
    let records = new Map<string, CapabilityRecord>()
    const host = await startHost('home', { prepare: (made) => (records = recordsAt(made)) })
    const listeners = new Set<(settings: { endpoints: readonly object[] }) => void>()
    const price = { inputPerMillion: 1, outputPerMillion: 2 }
    const one = { name: 'one', url: `${double.url}/v1`, keys: ['KEY'], price, slots: 3, models: [{ name: 'org/tiny' }] }
    const bad = { name: 'bad', url: double.url, keys: ['NOT_SET'], models: [{ name: 'org/tiny' }] }
    const far = { name: 'far', url: 'http://example.com', models: [{ name: 'x' }] }
    const source = {
      settings: { endpoints: [one, bad, far] },
      watch: (listener: (settings: { endpoints: (typeof one)[] }) => void) => {
        listeners.add(listener as never)
        return () => listeners.delete(listener as never)
      },
    }
    const path = await temporaryDirectory()
    const statuses: (readonly EndpointStatus[])[] = []
    const endpoints = new CloudEndpoints({
      ...components,
      host,
      source,
      data: { path } as never,
      environment: { KEY: 'good' },
      onStatus: (status) => statuses.push(status),
    })
    after(() => endpoints.stop())
    await endpoints.start()
    await until(() => records.get('one')?.models[0]?.residency === 'resident')
    const { tier, price: told, models, peerId } = records.get('one')!
    expect({ tier, told, slots: models[0]!.slots }).toEqual({ tier: 'cloud', told: price, slots: 3 })
    expect(host.members().map((member) => member.certificate.name)).toEqual(['one'])
    expect(endpoints.status().map(({ name, problem }) => [name, problem ?? ''])).toEqual([
      ['bad', expect.stringMatching(/NOT_SET is not set/)],
      ['far', expect.stringMatching(/only https:/)],
      ['one', ''],
    ])
    for (const listener of listeners) listener({ endpoints: [{ ...one, name: 'two' }] })
    await until(() => records.has('two') && !records.has('one'))
    expect(host.members().map((member) => member.certificate.name)).toEqual(['two'])
    for (const listener of listeners) listener({ endpoints: [one] })
    await until(() => records.has('one') && !records.has('two'))
    expect(records.get('one')!.peerId, 'it is the same member again').toBe(peerId)
    await host.revoke(peerId)
    await until(() => endpoints.status()[0]?.problem !== undefined)
    expect(endpoints.status()[0]).toMatchObject({ name: 'one', problem: expect.stringMatching(/revoked/) as string })
    expect(host.members()).toEqual([])
    expect(statuses.at(-1)).toEqual(endpoints.status())
  })
})
