/** When demand has outgrown the holders of a model, and where another replica goes. */
import { describe, expect, it } from 'vitest'
import { choosePlace, type ReplicaNode } from '../../../coordinator/residency/choice.ts'
import { deliveredBy, Demand, loadShare } from '../../../coordinator/residency/demand.ts'
import { Orders, type ReplicaOrder } from '../../../coordinator/residency/orders.ts'
import { Outgrown, predictedWaitMs } from '../../../coordinator/residency/outgrown.ts'
import type { NodeSnapshot } from '../../../coordinator/scheduler/index.ts'
import { asModelDigest, asPeerId, LIMITS, type ModelCapability, type PeerId } from '../../../mesh/protocol/index.ts'
import { capability, DIGEST, model, node, OTHER_DIGEST, speed } from './snapshots.ts'

const GIB = 1024 ** 3
const big = capability({ sizeBytes: 4 * GIB })
const resting = capability({ sizeBytes: 4 * GIB, residency: 'disk', loadMs: 3000 })

const nodeOf = (name: string, init: Partial<NodeSnapshot> = {}, more: Partial<ReplicaNode> = {}): ReplicaNode => ({
  node: node(name, init),
  consent: 'load',
  memoryFreeBytes: 16 * GIB,
  ...more,
})
const having = (own: ModelCapability | undefined) => ({
  models: new Map(own ? [[own.digest, model({ capability: own })]] : []),
})
const nobody = (): boolean => false
const chosen = (nodes: readonly ReplicaNode[], isSpared: (peerId: PeerId) => boolean = nobody) =>
  choosePlace(big, nodes, isSpared).place

describe('the demand for a model', () => {
  it('is a rate that forgets by half in a minute', () => {
    const demand = new Demand()
    for (let second = 0; second < 600; second++)
      demand.arrived(DIGEST, { prefillTokens: 100, decodeTokens: 50 }, second * 1000)
    const rates = demand.rates(DIGEST, 600_000)
    expect(rates.requests).toBeCloseTo(1, 1)
    expect(rates.prefillTokens).toBeCloseTo(100, -1)
    const later = demand.rates(DIGEST, 660_000)
    expect(later.decodeTokens).toBeCloseTo(rates.decodeTokens / 2, 5)
    expect(demand.rates(OTHER_DIGEST, 0)).toEqual({ requests: 0, prefillTokens: 0, decodeTokens: 0 })
  })

  it('is a share of what its holders deliver together', () => {
    const holders = [
      model({ capability: capability({ slots: 4, speed: speed(1000, [1, 100], [4, 200]) }), decodeCorrection: 0.5 }),
      model({ capability: capability({ slots: 1, speed: speed(500, [1, 100]) }) }),
    ]
    expect(deliveredBy(holders)).toEqual({ prefillTokens: 1500, decodeTokens: 200 })
    expect(loadShare({ prefillTokens: 750, decodeTokens: 100 }, deliveredBy(holders))).toBe(1)
    expect(loadShare({ prefillTokens: 0, decodeTokens: 0 }, deliveredBy([]))).toBe(0)
  })

  it('is remembered of so many models', () => {
    const demand = new Demand()
    for (let i = 0; i <= LIMITS.demandModelsMax; i++)
      demand.arrived(
        asModelDigest(`sha256:${i.toString(16).padStart(64, '0')}`),
        { prefillTokens: 1, decodeTokens: 1 },
        i,
      )
    expect([...demand.models()]).toHaveLength(LIMITS.demandModelsMax)
  })
})

describe('the wait of a newcomer', () => {
  const full = { running: 4, slotFreeMs: [3000, 9000, 9000, 9000] }

  it('is that of the best holder, behind those that wait', () => {
    expect(predictedWaitMs([], 0)).toBeUndefined()
    expect(predictedWaitMs([model(full)], 1500)).toBe(4500)
    expect(predictedWaitMs([model(full), model({ ...full, slotFreeMs: [700] })], 100)).toBe(800)
    expect(predictedWaitMs([model(full), model({ running: 3 })], 100)).toBe(0)
    expect(predictedWaitMs([model({ ...full, turnMs: 200 })], 0)).toBe(200)
    // another coordinator's answers
    expect(predictedWaitMs([model({ running: 4 })], 0)).toBeGreaterThan(1000)
  })

  it('counts when it lasts, and not for less than the load of a replica would take', () => {
    const outgrown = new Outgrown()
    for (let ms = 0; ms <= 9000; ms += 1000) outgrown.look(5000, ms)
    expect(outgrown.isWorth(0, 9000)).toBe(false)
    outgrown.look(5000, 10_000)
    expect([outgrown.isWorth(0, 10_000), outgrown.isWorth(30_000, 10_000)]).toEqual([true, false])
    for (let ms = 11_000; ms <= 30_000; ms += 1000) outgrown.look(5000, ms)
    expect(outgrown.isWorth(30_000, 30_000)).toBe(true)
    outgrown.reset()
    expect(outgrown.isWorth(0, 30_000)).toBe(false)
  })

  it('is over when it is short, not when it is a little less', () => {
    const outgrown = new Outgrown()
    for (let ms = 0; ms <= 12_000; ms += 1000) outgrown.look(ms % 2000 === 0 ? 2500 : 1000, ms)
    expect(outgrown.isWorth(0, 12_000)).toBe(true)
    outgrown.look(100, 13_000)
    outgrown.look(9000, 14_000)
    expect(outgrown.lastedMs(14_000)).toBe(0)
  })

  it('is not counted while the process stood still', () => {
    const outgrown = new Outgrown()
    outgrown.look(9000, 0)
    outgrown.look(9000, 60_000)
    expect(outgrown.isWorth(0, 60_000)).toBe(false)
  })
})

describe('the place of another replica', () => {
  it('is where the model lies on the disk, before any node that must fetch it', () => {
    const fetching = nodeOf('fast', having(capability({ digest: OTHER_DIGEST, sizeBytes: GIB })), { consent: 'fetch' })
    const slow = nodeOf('slow', having(resting))
    expect(chosen([fetching, slow])).toMatchObject({ node: { name: 'slow' }, fetch: false, readyInMs: 3000 })
    expect(chosen([fetching])).toMatchObject({ node: { name: 'fast' }, fetch: true })
  })

  it('is where there is room, then the fastest, by another model where this one was not measured', () => {
    const tight = nodeOf('tight', having({ ...resting, speed: speed(900, [1, 300]) }), { memoryFreeBytes: GIB })
    const { speed: _speed, ...unmeasured } = resting
    const other = capability({ digest: OTHER_DIGEST, sizeBytes: GIB, speed: speed(900, [1, 800]) })
    const unknown = nodeOf('unknown', having(unmeasured))
    const judged = nodeOf('judged', { models: new Map([...having(unmeasured).models, ...having(other).models]) })
    expect(chosen([tight, unknown])).toMatchObject({ node: { name: 'unknown' } })
    expect(chosen([unknown, nodeOf('slow', having({ ...resting, speed: speed(9, [1, 150]) })), judged])).toMatchObject({
      node: { name: 'judged' },
    })
    expect(chosen([tight])).toMatchObject({ node: { name: 'tight' } })
  })

  it.each<[string, ReplicaNode, string]>([
    ['resident', nodeOf('n', having(big)), 'has it already'],
    ['loading', nodeOf('n', having({ ...big, residency: 'loading' })), 'has it already'],
    ['away', nodeOf('n', { ...having(resting), isConnected: false }), 'not connected'],
    ['suspect', nodeOf('n', { ...having(resting), isSuspect: true }), 'not connected'],
    ['draining', nodeOf('n', { ...having(resting), isDraining: true }), 'takes no work'],
    ['tripped', nodeOf('n', { ...having(resting), isTripped: true }), 'takes no work'],
    ['rented', nodeOf('n', { ...having(resting), isCloud: true }), 'rented'],
    ['billed', nodeOf('n', { ...having(resting), price: { inputPerMillion: 0, outputPerMillion: 0 } }), 'rented'],
    ['refusing', nodeOf('n', having(resting), { consent: 'off' }), 'its owner takes no orders'],
    ['not to fetch', nodeOf('n', having(undefined), { consent: 'load' }), 'its owner lets it fetch nothing'],
    ['on battery', nodeOf('n', { ...having(undefined), onBattery: true }, { consent: 'fetch' }), 'on battery'],
    ['small', nodeOf('n', having(undefined), { consent: 'fetch', memoryFreeBytes: 4 * GIB }), 'too little memory'],
  ])('is no node that is %s', (_what, each, why) => {
    const { place, rejected } = choosePlace(big, [each], nobody)
    expect([place, rejected.map((one) => one.why)]).toEqual([undefined, [why]])
  })

  it('is no node that is spared', () => {
    const [a, b] = [nodeOf('a', having(resting)), nodeOf('b', having(resting))]
    expect(chosen([a, b], (peerId) => peerId === a.node.peerId)).toMatchObject({ node: { name: 'b' } })
  })
})

describe('orders', () => {
  const peer = asPeerId('12D3KooWBCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuv')
  const other = asPeerId('12D3KooWCCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuv')
  const setup = () => {
    const seen: string[] = []
    const orders = new Orders(100, ({ state }) => seen.push(state))
    const begin = (digest = DIGEST, peerId = peer, nowMs = 0, fetch = false): ReplicaOrder =>
      orders.begin({ digest, node: { peerId, name: 'n' }, fetch, cause: 'demand', reason: 'r', atMs: 0 }, nowMs)
    const outcome = (order: ReplicaOrder, state: 'accepted' | 'refused' | 'done' | 'failed', nowMs = 0, from = peer) =>
      orders.outcome(from, { type: 'control.outcome', order: order.order, state, message: 'why' }, nowMs, nowMs)
    return { orders, begin, outcome, seen }
  }

  it('are one at a time for each model and each node, and bounded in all', () => {
    const { orders, begin } = setup()
    begin()
    expect([orders.mayOrder(DIGEST, 0), orders.mayOrder(OTHER_DIGEST, 0)]).toEqual([false, true])
    expect([orders.isSpared(peer, OTHER_DIGEST, 0), orders.isSpared(other, OTHER_DIGEST, 0)]).toEqual([true, false])
    for (let i = 1; i < LIMITS.replicaOrdersMax; i++) begin(asModelDigest(`sha256:${String(i).padStart(64, '0')}`))
    expect(orders.mayOrder(OTHER_DIGEST, 0)).toBe(false)
  })

  it('end by what the node says, and nobody else', () => {
    const { orders, begin, outcome, seen } = setup()
    const order = begin()
    expect(order.order).toBe(100)
    outcome(order, 'done', 1, other)
    outcome({ ...order, order: 99 }, 'done', 1)
    outcome(order, 'accepted', 1)
    outcome(order, 'accepted', 2)
    outcome(order, 'done', 3)
    outcome(order, 'failed', 4)
    expect(seen).toEqual(['sent', 'accepted', 'done'])
    expect(orders.counts()).toEqual({ 'sent demand': 1, done: 1 })
  })

  it('end by themselves when nobody answers, and when the model is not there in time', () => {
    const { orders, begin, outcome } = setup()
    begin()
    orders.expire(LIMITS.replicaAnswerMs - 1, 0)
    expect(orders.list()[0]!.state).toBe('sent')
    orders.expire(LIMITS.replicaAnswerMs, 0)
    expect(orders.list()[0]).toMatchObject({ state: 'failed', message: 'the node did not answer in time' })
    for (const [fetch, boundMs] of [
      [false, LIMITS.replicaLoadMs],
      [true, LIMITS.replicaFetchMs],
    ] as const) {
      const order = begin(OTHER_DIGEST, other, 0, fetch)
      outcome(order, 'accepted', 10, other)
      orders.expire(boundMs + 9, 0)
      expect(orders.list()[0]!.state).toBe('accepted')
      orders.expire(boundMs + 10, 0)
      expect(orders.list().some(({ state }) => state === 'accepted')).toBe(false)
    }
  })

  it('spare a node that refused, twice as long each time, and the model for a moment', () => {
    const { orders, begin, outcome } = setup()
    outcome(begin(), 'refused', 0)
    expect([orders.mayOrder(DIGEST, 4999), orders.mayOrder(DIGEST, 5000)]).toEqual([false, true])
    expect([orders.isSpared(peer, DIGEST, 59_999), orders.isSpared(peer, DIGEST, 60_000)]).toEqual([true, false])
    expect(orders.isSpared(other, DIGEST, 0)).toBe(false)
    outcome(begin(DIGEST, peer, 60_000), 'failed', 60_000)
    expect([orders.isSpared(peer, DIGEST, 179_999), orders.isSpared(peer, DIGEST, 180_000)]).toEqual([true, false])
    outcome(begin(DIGEST, peer, 180_000), 'done', 180_000)
    expect(orders.isSpared(peer, DIGEST, 180_001)).toBe(false)
    expect([orders.mayOrder(DIGEST, 209_999), orders.mayOrder(DIGEST, 210_000)]).toEqual([false, true])
  })

  it('are lost with their node, and kept in a number that is bounded', () => {
    const { orders, begin } = setup()
    for (let i = 0; i < LIMITS.replicaOrdersKeptMax + 9; i++) {
      begin()
      orders.lost(other, 'x', i, i)
      expect(orders.list()[0]!.state).toBe('sent')
      orders.lost(peer, 'the node is gone', i, i)
    }
    expect(orders.list()).toHaveLength(LIMITS.replicaOrdersKeptMax)
    expect(orders.list()[0]).toMatchObject({ state: 'lost', message: 'the node is gone' })
  })
})
