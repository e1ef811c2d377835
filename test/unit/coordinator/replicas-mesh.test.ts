/** A coordinator and node agents, as they are, on a memory network: demand outgrows one holder, and another takes over a part. */
import { describe, expect, it } from 'vitest'
import { createCoordinator } from '../../../coordinator/index.ts'
import { MemoryLedger } from '../../../coordinator/ledger/index.ts'
import { MemoryDiscovery, MemoryNetwork } from '../../../mesh/network/index.ts'
import {
  asRequestId,
  canonicalBytes,
  parseCapabilityRecord,
  readCanonical,
  SkeinError,
  type CapabilityRecord,
  type ReplicaConsent,
} from '../../../mesh/protocol/index.ts'
import { ManualClock, SeededRandom, silentLogger } from '../../../mesh/runtime/index.ts'
import { createEngine } from '../../../node/engines/index.ts'
import { createNodeAgent, type NodeAgent } from '../../../node/index.ts'
import { FACTS } from '../node/node-agent.harness.ts'
import { after, temporaryDirectory, until } from '../node/support.ts'
import { speed } from './snapshots.ts'

/** On the disk at first; five seconds for an answer of a hundred tokens. */
const MODEL = 'echo:lab?rest=1&tps=20&load=4000'
const refused = (): Promise<never> => Promise.reject(new SkeinError('NOT_THE_AUTHORITY', 'not in this test'))

/** As one that had the model in memory before: it knows its speed, and that loading takes half a minute. */
const experienced = (record: CapabilityRecord): CapabilityRecord => ({
  ...record,
  models: record.models.map((model) => ({ ...model, speed: speed(1000, [1, 20]), loadMs: 30_000 })),
})

async function setup() {
  const clock = new ManualClock()
  const random = new SeededRandom(8)
  const network = new MemoryNetwork({ clock, random })
  const log = silentLogger
  const transport = network.join('home', ['coordinator'])
  const coordinator = createCoordinator({
    ...{ clock, random, log, transport },
    discovery: new MemoryDiscovery(network, transport.self.peerId),
    ledger: new MemoryLedger({ clock }, { commitMs: 1 }),
    membership: { isAuthority: false, invite: refused, revoke: refused },
    openRecord: async (_peer, signed) => parseCapabilityRecord(readCanonical(signed.payload)),
    discoveryReport: () => [],
    revocations: () => undefined,
  })
  await coordinator.start()
  const node = async (name: string, replicas: ReplicaConsent): Promise<NodeAgent> => {
    const own = network.join(name, ['node'])
    const agent = createNodeAgent(
      {
        ...{ clock, random, log, transport: own, createEngine },
        discovery: new MemoryDiscovery(network, own.self.peerId),
        sign: async (record) => ({ payload: canonicalBytes(experienced(record)), signature: new Uint8Array(64) }),
        probeDevices: () => Promise.reject(new RangeError('none')),
        runCommand: () => Promise.reject(new RangeError('ENOENT')),
        power: { read: async () => 'mains' },
        hostFacts: () => FACTS,
      },
      { models: [MODEL], name, slots: 1, replicas, graceMs: 100, dataDir: await temporaryDirectory() },
    )
    after(async () => {
      let isStopped = false
      void agent.stop().then(() => (isStopped = true))
      await until('the agent stops', () => isStopped, { clock, stepMs: 200 })
    })
    await agent.start()
    await until(
      `${name} is known`,
      () => coordinator.service.nodes().some((each) => each.name === name && each.eligible),
      {
        ...{ clock, stepMs: 20 },
      },
    )
    return agent
  }
  return { clock, coordinator, node }
}

const residencyOf = (agent: NodeAgent): string | undefined => agent.models()[0]?.capability.residency

describe('a mesh whose demand outgrows the one node that has a model in memory', () => {
  it('has another load it that allows that, which then takes requests', { timeout: 60_000 }, async () => {
    const { clock, coordinator, node } = await setup()
    const { service } = coordinator
    const served = new Map<string, number>()
    const stop = new AbortController()
    const client = async (): Promise<void> => {
      for (let i = 0; !stop.signal.aborted; i++) {
        const handle = await service.submit(
          {
            ...{ requestId: asRequestId(`req_${i}`), model: 'lab', prompt: { kind: 'text', text: 'why' } },
            ...{ sampling: {}, stop: [], tenant: 'local', attachment: 'attached', shape: '{}', maxTokens: 100 },
          },
          stop.signal,
        )
        for await (const event of handle.follow(0, stop.signal))
          if (event.type === 'started') served.set(event.node.name, (served.get(event.node.name) ?? 0) + 1)
      }
    }
    const running = (): Promise<void> => client().catch((thrown: unknown) => {
      if (!stop.signal.aborted) throw thrown
    }) // prettier-ignore
    const first = await node('first', 'load')
    const clients = [running()]
    await until('the first has it in memory', () => residencyOf(first) === 'resident', { clock, stepMs: 50 })
    const [refusing, second] = [await node('refusing', 'off'), await node('second', 'load')]
    clients.push(running())
    await until('the second has it in memory', () => residencyOf(second) === 'resident', { clock, stepMs: 100 })
    expect(service.replicaOrders()).toMatchObject([{ node: { name: 'second' }, cause: 'demand', fetch: false }])
    await until('the second takes requests', () => (served.get('second') ?? 0) > 1, { clock, stepMs: 100 })
    stop.abort(new SkeinError('CLIENT_CLOSED', 'the test is over'))
    await Promise.all(clients)
    expect(service.replicaOrders()).toMatchObject([{ node: { name: 'second' }, state: 'done' }])
    expect([residencyOf(refusing), served.has('refusing')]).toEqual(['disk', false])
    expect(service.models()[0]!.replicas).toMatchObject({ resident: 2, loading: 0, onDisk: 1 })
    expect(service.stats().replicas).toEqual({ mode: 'auto', orders: { 'sent demand': 1, done: 1 } })
    await clock.advance(1000)
    await coordinator.stop()
  })
})
