/** What a node does with orders for replicas: as a part, and as an agent on a memory network. */
import { describe, expect, it } from 'vitest'
import {
  asModelDigest,
  asPeerId,
  INBOUND,
  LIMITS,
  SkeinError,
  type ControlOutcome,
  type Frame,
  type ModelDigest,
  type ReplicaConsent,
} from '../../../mesh/protocol/index.ts'
import { ManualClock, silentLogger } from '../../../mesh/runtime/index.ts'
import { ReplicaOrders } from '../../../node/agent/replica-orders.ts'
import { echoDigest } from '../../../node/engines/index.ts'
import type { ModelHost } from '../../../node/models/index.ts'
import { join2, setup, startAttempt, type ControlTwin } from './node-agent.harness.ts'
import { until } from './support.ts'

const HOME = asPeerId('12D3KooWBCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuv')
const OTHER = asPeerId('12D3KooWCCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuv')
const A = asModelDigest(`sha256:${'a'.repeat(64)}`)
const B = asModelDigest(`sha256:${'b'.repeat(64)}`)

class Rig {
  readonly clock = new ManualClock()
  readonly told: [string, number, string, string?][] = []
  readonly hosts = new Map<ModelDigest, { isResident: boolean; failure?: SkeinError }>([[A, { isResident: false }]])
  readonly loads = new Map<ModelDigest, PromiseWithResolvers<void>>()
  readonly fetched: ModelDigest[] = []
  consent: ReplicaConsent = 'load'
  closed: string | undefined
  permitted = true
  fetching = Promise.withResolvers<string>()
  readonly orders: ReplicaOrders

  constructor(canFetch = true) {
    this.orders = new ReplicaOrders({
      clock: this.clock,
      log: silentLogger,
      models: {
        host: (digest) => this.hosts.get(digest) as ModelHost | undefined,
        include: async (path) => void this.hosts.set(asModelDigest(path), { isResident: false }),
        ordered: (digest, signal) => {
          const load = Promise.withResolvers<void>()
          this.loads.set(digest, load)
          signal.addEventListener('abort', () => load.reject(signal.reason), { once: true })
          return load.promise
        },
      },
      consent: () => this.consent,
      isPermitted: () => this.permitted,
      closedBecause: () => this.closed,
      ...(canFetch && {
        fetch: (digest: ModelDigest) => {
          this.fetched.push(digest)
          return this.fetching.promise
        },
      }),
      tell: (coordinator, { order, state, code }: ControlOutcome) =>
        this.told.push([coordinator === HOME ? 'home' : 'other', order, state, ...(code ? [code] : [])] as [
          string,
          number,
          string,
        ]),
    })
  }

  order(order: number, digest = A, fetch = false, from = HOME): void {
    this.orders.ordered(from, { type: 'control.order', order, digest, fetch })
  }

  settle(): Promise<void> {
    return this.clock.advance(0)
  }
}

describe('an order for a replica', () => {
  it('is accepted, carried out and told', async () => {
    const rig = new Rig()
    rig.order(1)
    expect(rig.told).toEqual([['home', 1, 'accepted']])
    rig.loads.get(A)!.resolve()
    await rig.settle()
    expect(rig.told.at(-1)).toEqual(['home', 1, 'done'])
    rig.hosts.get(A)!.isResident = true
    rig.order(2)
    expect(rig.told.slice(2)).toEqual([['home', 2, 'done']])
    expect(rig.clock.pendingTimers).toBe(0)
  })

  it('fails with what the load says, and when it takes too long', async () => {
    const rig = new Rig()
    rig.order(1)
    rig.loads.get(A)!.reject(new SkeinError('NO_FREE_SLOT', 'no memory'))
    await rig.settle()
    expect(rig.told.at(-1)).toEqual(['home', 1, 'failed', 'NO_FREE_SLOT'])
    rig.order(2)
    await rig.clock.advance(LIMITS.replicaLoadMs)
    expect(rig.told.at(-1)).toEqual(['home', 2, 'failed', 'STREAM_TIMEOUT'])
    rig.order(3)
    expect(rig.told.at(-1)).toEqual(['home', 3, 'accepted'])
  })

  it.each<[string, (rig: Rig) => void, string]>([
    ['the owner takes no orders', (rig) => (rig.consent = 'off'), 'NOT_SERVED'],
    ['the node is closed', (rig) => (rig.closed = 'the node is draining'), 'NODE_DRAINING'],
    ['others may not use the model', (rig) => (rig.permitted = false), 'NOT_SERVED'],
    [
      'the model cannot be loaded',
      (rig) => rig.hosts.set(A, { isResident: false, failure: new SkeinError('MODEL_LOAD_FAILED', 'x') }),
      'MODEL_LOAD_FAILED',
    ],
    ['the model is not here', (rig) => rig.hosts.clear(), 'MODEL_NOT_FOUND'],
  ])('is refused when %s, and nothing is begun', (_why, arrange, code) => {
    const rig = new Rig()
    arrange(rig)
    rig.order(1)
    expect([rig.told, rig.loads.size, rig.fetched]).toEqual([[['home', 1, 'refused', code]], 0, []])
  })

  it('is one at a time, whoever sent it, and shared when it is the same', async () => {
    const rig = new Rig()
    rig.hosts.set(B, { isResident: false })
    rig.order(1)
    rig.order(7, B, false, OTHER)
    rig.order(8, A, false, OTHER)
    expect(rig.told.slice(1)).toEqual([
      ['other', 7, 'refused', 'NO_FREE_SLOT'],
      ['other', 8, 'accepted'],
    ])
    rig.loads.get(A)!.resolve()
    await rig.settle()
    expect(rig.told.slice(3)).toEqual([
      ['home', 1, 'done'],
      ['other', 8, 'done'],
    ])
  })

  it('fetches only where the owner said so, and the coordinator', async () => {
    const rig = new Rig()
    rig.order(1, B, true)
    rig.consent = 'fetch'
    rig.order(2, B, false)
    expect(rig.told).toEqual([
      ['home', 1, 'refused', 'NOT_SERVED'],
      ['home', 2, 'refused', 'MODEL_NOT_FOUND'],
    ])
    const cannot = new Rig(false)
    cannot.consent = 'fetch'
    cannot.order(1, B, true)
    expect(cannot.told).toEqual([['home', 1, 'refused', 'NOT_SERVED']])
    rig.order(3, B, true)
    expect(rig.fetched).toEqual([B])
    rig.fetching.resolve(B)
    await rig.settle()
    rig.loads.get(B)!.resolve()
    await rig.settle()
    expect(rig.told.slice(2)).toEqual([
      ['home', 3, 'accepted'],
      ['home', 3, 'done'],
    ])
  })

  it('is given up when the node stops', async () => {
    const rig = new Rig()
    rig.order(1)
    await rig.orders.stop()
    expect(rig.told.at(-1)).toEqual(['home', 1, 'failed', 'NODE_DRAINING'])
    rig.order(2)
    expect(rig.told.at(-1)).toEqual(['home', 2, 'refused', 'NODE_DRAINING'])
  })
})

describe('an agent that is sent orders', () => {
  const LABEL = 'echo:lab?rest=1'
  const outcomes = (home: ControlTwin): Frame[] => home.frames.filter(({ type }) => type === 'control.outcome')
  async function ready(init: Parameters<typeof setup>[0] = {}) {
    const made = await setup({ models: [LABEL], ...init })
    const home = join2(made.network, made.clock)
    await made.agent.start()
    await until('it is welcomed', () => made.agent.status().coordinators[0]?.state === 'welcomed')
    await until('its model is known', () => made.agent.models().length === 1)
    return { ...made, home }
  }
  const digest = echoDigest(LABEL)

  it('says what may be ordered, loads a model that lies on the disk, and tells', async () => {
    const { home, agent } = await ready()
    expect(agent.models()[0]!.capability.residency).toBe('disk')
    await until('it reports', () => home.loads().length > 0)
    expect(home.loads().at(-1)).toMatchObject({ replicas: 'load' })
    await home.channel.send({ type: 'control.order', order: 5, digest, fetch: false })
    await until('it is done', () => outcomes(home).length === 2)
    expect(outcomes(home)).toEqual([
      { type: 'control.outcome', order: 5, state: 'accepted' },
      { type: 'control.outcome', order: 5, state: 'done' },
    ])
    expect(agent.models()[0]!.capability.residency).toBe('resident')
  })

  it('refuses when its owner does, says so beforehand, and serves all the same', async () => {
    const { home, agent, transport } = await ready({ replicas: 'off', models: ['echo:lab'] })
    await until('it reports', () => home.loads().length > 0)
    expect(home.loads().at(-1)).not.toHaveProperty('replicas')
    await home.channel.send({ type: 'control.order', order: 5, digest: echoDigest('echo:lab'), fetch: false })
    await until('it is told', () => outcomes(home).length === 1)
    expect(outcomes(home)).toMatchObject([{ order: 5, state: 'refused', code: 'NOT_SERVED' }])
    await until('it is resident', () => agent.models()[0]!.capability.residency === 'resident')
    const channel = await startAttempt(home, transport)
    expect((await channel.receive())?.type).toBe('attempt.accepted')
  })

  it('refuses while it is cordoned', async () => {
    const { home, agent } = await ready()
    await home.channel.send({ type: 'control.directive', directive: 'cordon' })
    await until('it is cordoned', () => agent.status().isCordoned)
    await home.channel.send({ type: 'control.order', order: 5, digest, fetch: false })
    await until('it is told', () => outcomes(home).length === 1)
    expect(outcomes(home)).toMatchObject([{ state: 'refused', code: 'NODE_DRAINING' }])
    expect(agent.models()[0]!.capability.residency).toBe('disk')
  })

  it('ends a stream on which orders come and answers are not read, and no other', async () => {
    const { home, network, agent } = await ready({ replicas: 'off' })
    const deaf = network.join('deaf', ['coordinator'])
    const isOver = Promise.withResolvers<void>()
    let ordered = 0
    deaf.handle('control', INBOUND.controlCoordinator, async (channel) => {
      await channel.receive()
      channel.closed.addEventListener('abort', () => isOver.resolve(), { once: true })
      // as many as its buffers hold answers to, and some more
      const bytesMax = 4 * LIMITS.streamReadBufferBytes
      for (; !channel.closed.aborted && ordered * 64 < bytesMax; ordered++)
        await channel.send({ type: 'control.order', order: ordered, digest, fetch: false }).catch(() => {})
      await isOver.promise
    })
    await isOver.promise
    expect(ordered).toBeGreaterThan(2 * LIMITS.replicaOrdersMax)
    expect(home.streams).toHaveLength(1)
    expect(agent.status().coordinators).toContainEqual({ peerId: home.transport.self.peerId, state: 'welcomed' })
  })
})
