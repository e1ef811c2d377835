/** Money under load: a coordinator with its ledger on the disk, a cloud node with a price, and a thousand clients at once. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Access, createCoordinator, ownersOf, type Coordinator } from '../../coordinator/index.ts'
import { HttpGateway } from '../../coordinator/gateway/gateway.ts'
import { openLedger, type Ledger } from '../../coordinator/ledger/index.ts'
import { MemoryDiscovery, MemoryNetwork } from '../../mesh/network/index.ts'
import { canonicalBytes, parseCapabilityRecord, readCanonical, SkeinError } from '../../mesh/protocol/index.ts'
import { silentLogger, SystemClock, SystemRandom } from '../../mesh/runtime/index.ts'
import { createEngine } from '../../node/engines/index.ts'
import { createNodeAgent, type NodeAgent } from '../../node/index.ts'
import { FACTS } from '../unit/node/node-agent.harness.ts'

const CLIENTS = 1000
const REQUESTS_PAID = 100
const TOKENS = 5
/** Nothing for the prompt, so that what an answer costs is what was set aside for it. */
const PRICE = { inputPerMillion: 0, outputPerMillion: 7 }
const COST = TOKENS * PRICE.outputPerMillion
const OWNER = 'sk-owner'

const clock = new SystemClock()
const random = new SystemRandom()
const log = silentLogger
let directory: string
let ledger: Ledger
let coordinator: Coordinator
let agent: NodeAgent
let gateway: HttpGateway

interface Answer {
  readonly status: number
  readonly body: {
    readonly error?: { readonly code?: string; readonly message: string }
    readonly usage?: { readonly completion_tokens: number }
  } & Record<string, unknown>
  readonly headers: Record<string, unknown>
}

async function ask(method: 'GET' | 'PUT' | 'POST', url: string, key: string, payload?: object): Promise<Answer> {
  const headers = { authorization: `Bearer ${key}` }
  const answer = await gateway.app.inject({ method, url, headers, ...(payload && { payload }) })
  return { status: answer.statusCode, body: answer.json(), headers: answer.headers }
}

const until = (condition: () => boolean): Promise<void> =>
  new Promise((resolve) => {
    const look = (): void => void (condition() ? resolve() : clock.timer(5, look))
    look()
  })

const refused = (): Promise<never> => Promise.reject(new SkeinError('NOT_THE_AUTHORITY', 'not in this test'))

beforeAll(async () => {
  const network = new MemoryNetwork({ clock, random })
  const transport = network.join('home', ['coordinator'])
  directory = await mkdtemp(join(tmpdir(), 'skein-budget-'))
  ledger = await openLedger({ clock, log }, { path: join(directory, 'ledger.db') })
  coordinator = createCoordinator({
    ...{ clock, random, log, transport, ledger },
    discovery: new MemoryDiscovery(network, transport.self.peerId),
    membership: { isAuthority: false, invite: refused, revoke: refused },
    openRecord: async (_peer, signed) => parseCapabilityRecord(readCanonical(signed.payload)),
    discoveryReport: () => [],
    revocations: () => undefined,
  })
  await coordinator.start()
  const own = network.join('rented', ['node'])
  agent = createNodeAgent(
    {
      ...{ clock, random, log, transport: own, createEngine },
      discovery: new MemoryDiscovery(network, own.self.peerId),
      sign: async (record) => ({ payload: canonicalBytes(record), signature: new Uint8Array(64) }),
      probeDevices: () => Promise.reject(new RangeError('none')),
      runCommand: () => Promise.reject(new RangeError('ENOENT')),
      power: { read: async () => 'mains' },
      hostFacts: () => FACTS,
    },
    {
      ...{ models: ['echo:far?tps=2000&prefill=100000'], name: 'rented', slots: 32, tier: 'cloud', price: PRICE },
      ...{ graceMs: 100, dataDir: join(directory, 'node') },
    },
  )
  await agent.start()
  await until(() => coordinator.service.nodes().some(({ eligible }) => eligible))
  const access = new Access({ clock, random, store: ledger }, ownersOf(OWNER))
  await access.start()
  gateway = new HttpGateway(
    { service: coordinator.service, access, clock, random, log },
    { host: '127.0.0.1', port: 0 },
  )
  await gateway.app.ready()
})

afterAll(async () => {
  await gateway.stop()
  await agent.stop()
  await coordinator.stop()
  await ledger.close()
  await rm(directory, { recursive: true })
})

describe('a thousand requests at once against a budget for a hundred', () => {
  const keys: Record<'a' | 'b', string> = { a: '', b: '' }
  let answers: { readonly key: 'a' | 'b'; readonly answer: Answer }[]
  const highest = { total: 0, limit: 0 }

  beforeAll(async () => {
    for (const name of ['a', 'b'] as const)
      keys[name] = (await ask('POST', '/mesh/v1/keys', OWNER, { name })).body['secret'] as string
    const all = await ask('PUT', '/mesh/v1/budget', OWNER, { day_micros: REQUESTS_PAID * COST })
    expect([all.status, all.body['atLimit']]).toEqual([200, 'refuse'])
    await ask('PUT', '/mesh/v1/budget', OWNER, { key: 'b', month_micros: 30 * COST + COST - 1 })
    const stop = coordinator.service.watch(() => {
      const { spentMicros, reservedMicros, limitMicros } = coordinator.service.budget().periods[0]!
      highest.total = Math.max(highest.total, spentMicros + reservedMicros)
      highest.limit = limitMicros!
    })
    const prompt = 'one two three four five six seven eight nine ten'
    answers = await Promise.all(
      Array.from({ length: CLIENTS }, async (_, i) => {
        const key = i % 2 === 0 ? 'a' : 'b'
        const body = { model: 'far', prompt: `${i} ${prompt}`, max_tokens: TOKENS }
        return { key, answer: await ask('POST', '/v1/completions', keys[key], body) } as const
      }),
    )
    stop()
    // an answer is told before its end is durable
    await until(() => coordinator.service.stats().dispatch.ledger.events === 0)
  }, 60_000)

  const paid = (key?: 'a' | 'b'): number =>
    answers.filter((each) => each.answer.status === 200 && (key === undefined || each.key === key)).length

  it('has exactly a hundred answered, and of a key no more than its own limit allows', () => {
    expect(paid()).toBe(REQUESTS_PAID)
    expect(paid('b')).toBeLessThanOrEqual(30)
    for (const { answer } of answers)
      if (answer.status === 200) expect(answer.body.usage).toMatchObject({ completion_tokens: TOKENS })
  })

  it('refuses all others, saying why and when to come again', () => {
    const others = answers.filter(({ answer }) => answer.status !== 200)
    expect(others).toHaveLength(CLIENTS - REQUESTS_PAID)
    for (const { answer } of others) {
      // a line that is full turns some away before money is looked at
      expect([402, 503]).toContain(answer.status)
      expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0)
    }
    const short = others.filter(({ answer }) => answer.status === 402)
    expect(short.length).toBeGreaterThan(0)
    for (const { answer } of short) expect(answer.body.error?.message).toMatch(/budget of the (day|month of this key)/)
  })

  it('never has more spent and set aside than the limit, at any moment', () => {
    expect(highest).toEqual({ total: REQUESTS_PAID * COST, limit: REQUESTS_PAID * COST })
  })

  it('has the same sum in the ledger, in the usage and in the budget', async () => {
    const billed = await ledger.billed(0)
    expect(billed.reduce((sum, { micros }) => sum + micros, 0)).toBe(REQUESTS_PAID * COST)
    const usage = (await ask('GET', '/mesh/v1/usage?by=key', OWNER)).body['data'] as {
      costMicros: number
      name: string
    }[]
    expect(usage.reduce((sum, { costMicros }) => sum + costMicros, 0)).toBe(REQUESTS_PAID * COST)
    const { body } = await ask('GET', '/mesh/v1/budget', OWNER)
    expect(body).toMatchObject({
      periods: [{ period: 'day', spentMicros: REQUESTS_PAID * COST, reservedMicros: 0, leftMicros: 0 }, {}],
      tenants: [{ name: 'b', periods: [{}, { spentMicros: paid('b') * COST, reservedMicros: 0 }] }],
    })
    expect(body['changes']).toMatchObject([{ by: expect.stringMatching(/^key:/) as string }, { terms: {} }])
    // of money only the admin is told
    expect((await ask('GET', '/mesh/v1/budget', keys.a)).status).toBe(403)
  })
})
