import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  costOf,
  decodeRate,
  exclusionKey,
  predict,
  schedule,
  uncachedTokens,
  type NodeSnapshot,
  type Plan,
  type PromptPrefix,
  type Unschedulable,
  type Wait,
} from '../../../coordinator/scheduler/index.ts'
import { LIMITS } from '../../../mesh/protocol/index.ts'
import { SeededRandom } from '../../../mesh/runtime/index.ts'
import { capability, demand, model, node, OTHER_DIGEST, speed, withModel, leave } from './snapshots.ts'

const draw = (seed = 1): (() => number) => {
  const random = new SeededRandom(seed)
  return () => random.next()
}
const planned = (result: Plan | Wait | Unschedulable): Plan => {
  if (result.kind !== 'plan') throw new TypeError(`no plan but ${result.kind}`)
  return result
}

describe('schedule', () => {
  it('prefers the node that is predicted to complete first', () => {
    const slow = node('slow', withModel(model({ capability: capability({ speed: speed(100, [1, 10]) }) })))
    const fast = node('fast', withModel(model({ capability: capability({ speed: speed(1000, [1, 100]) }) })))
    expect(planned(schedule({ nodes: [slow, fast] }, demand(), draw())).node.name).toBe('fast')
  })

  it('leaves the fast node once its load makes it slower than the idle one', () => {
    const busy = node(
      'busy',
      withModel(model({ capability: capability({ speed: speed(1000, [1, 100], [4, 110]) }), running: 3 })),
    )
    const idle = node('idle', withModel(model({ capability: capability({ speed: speed(800, [1, 60]) }) })))
    expect(planned(schedule({ nodes: [busy, idle] }, demand(), draw())).node.name).toBe('idle')
  })

  it('finds a place whatever a node has measured on a busy machine', () => {
    const odd = capability({ speed: speed(1600, [1, 18], [4, 254]) })
    const nodes = [node('odd', withModel(model({ capability: odd, running: 1 })))]
    const { node: chosen, prediction } = planned(schedule({ nodes }, demand(), draw()))
    expect(chosen.name).toBe('odd')
    expect(prediction.totalMs).toBeGreaterThan(0)
  })

  it('counts the load time of a cold model', () => {
    const cold = node('cold', withModel(model({ capability: capability({ residency: 'disk', loadMs: 60_000 }) })))
    const warm = node('warm', withModel(model({ capability: capability({ speed: speed(500, [1, 50]) }) })))
    expect(planned(schedule({ nodes: [cold, warm] }, demand(), draw())).node.name).toBe('warm')
  })

  it.each([
    ['draining', { isDraining: true }],
    ['suspect', { isSuspect: true }],
    ['not connected', { isConnected: false }],
  ] as const)('says %s', (why, init) => {
    const result = schedule({ nodes: [node('only', init)] }, demand(), draw())
    expect(result).toMatchObject({ kind: 'unschedulable', code: 'NO_ELIGIBLE_NODE' })
    expect(result.explain[0]?.verdict).toEqual({ rejected: why })
  })

  it('tells apart: no node, no such model, too small, full, failed before', () => {
    const code = (nodes: NodeSnapshot[], change = {}): string => {
      const result = schedule({ nodes }, demand(change), draw())
      return result.kind === 'unschedulable' ? result.code : result.kind
    }
    const full = node('full', withModel(model({ running: 4 })))
    const failed = node('failed')
    expect(code([])).toBe('NO_NODE')
    expect(code([node('empty', { models: new Map() })])).toBe('NO_NODE')
    expect(code([node('a')], { digest: OTHER_DIGEST })).toBe('MODEL_NOT_FOUND')
    expect(code([node('a')], { prefillTokensMin: 4096 })).toBe('CONTEXT_LENGTH_EXCEEDED')
    expect(code([full])).toBe('SATURATED')
    expect(code([failed], { excluded: new Set([exclusionKey(failed)]) })).toBe('NO_ELIGIBLE_NODE')
    expect(code([failed, full], { excluded: new Set([exclusionKey(failed)]) })).toBe('SATURATED')
  })

  it('an exclusion ends with the life of the node that earned it', () => {
    const earlier = node('a', { session: 1 })
    const later = node('a', { session: 2 })
    const excluded = new Set([exclusionKey(earlier)])
    expect(schedule({ nodes: [earlier] }, demand({ excluded }), draw()).kind).toBe('unschedulable')
    expect(schedule({ nodes: [later] }, demand({ excluded }), draw()).kind).toBe('plan')
  })

  it('equal nodes share the work', () => {
    const nodes = ['a', 'b', 'c'].map((name) => node(name))
    const random = draw(7)
    const counts = new Map<string, number>()
    for (let i = 0; i < 300; i++) {
      const { name } = planned(schedule({ nodes }, demand(), random)).node
      counts.set(name, (counts.get(name) ?? 0) + 1)
    }
    for (const name of ['a', 'b', 'c']) expect(counts.get(name)).toBeGreaterThan(60)
  })

  it('in a mesh of a thousand finds the one that can, and mostly one of the best where all can', () => {
    const many = (one: (i: number) => Partial<NodeSnapshot>): NodeSnapshot[] =>
      Array.from({ length: 1000 }, (_, i) => node(`n${i}`, one(i)))
    const lonely = many((i) => ({ isDraining: i !== 617 }))
    expect(planned(schedule({ nodes: lonely }, demand(), draw(3))).node.name).toBe('n617')
    const nobody = schedule({ nodes: many(() => ({ isDraining: true })) }, demand(), draw(3))
    expect(nobody).toMatchObject({ kind: 'unschedulable', code: 'NO_ELIGIBLE_NODE' })
    const mixed = many((i) => withModel(model({ capability: capability({ speed: speed(100 + i, [1, 10 + i]) }) })))
    const ranks = Array.from({ length: 50 }, (_, seed) =>
      Number(planned(schedule({ nodes: mixed }, demand(), draw(seed))).node.name.slice(1)),
    )
    expect(Math.min(...ranks)).toBeGreaterThan(850)
  })

  describe('features, privacy and money', () => {
    const cloud = (price = { inputPerMillion: 1, outputPerMillion: 10 }): NodeSnapshot =>
      node('cloud', {
        isCloud: true,
        price,
        ...withModel(model({ capability: capability({ features: ['chat', 'json'] }) })),
      })
    const code = (nodes: NodeSnapshot[], change: Parameters<typeof demand>[0]): string => {
      const result = schedule({ nodes }, demand(change), draw())
      return result.kind === 'unschedulable' ? result.code : result.kind
    }

    it('asks for a feature that every node lacks in vain, and finds the one that has it', () => {
      expect(code([node('a')], { features: ['logprobs'] })).toBe('UNSUPPORTED_PARAMETER')
      expect(code([node('a', { isConnected: false })], { features: ['json'] })).toBe('UNSUPPORTED_PARAMETER')
      const found = planned(
        schedule({ nodes: [node('a'), cloud()] }, demand({ features: ['json'], budget: 1, leave: leave() }), draw()),
      )
      expect(found.node.name).toBe('cloud')
      expect(found.explain.at(-1)).toMatchObject({ name: 'a', verdict: { rejected: 'no such feature' } })
      // it is known when it has been loaded; a client of the first second is not refused for nothing
      const loading = node('b', withModel(model({ capability: capability({ residency: 'loading' }) })))
      expect(planned(schedule({ nodes: [loading] }, demand({ features: ['tools'] }), draw())).node.name).toBe('b')
      // an older node does not know what it would pass over
      expect(code([loading], { features: ['repeatPenalty'] })).toBe('UNSUPPORTED_PARAMETER')
      const newer = capability({ residency: 'loading', options: ['repeatPenalty', 'what comes later'] })
      expect(code([node('c', withModel(model({ capability: newer })))], { features: ['repeatPenalty'] })).toBe('plan')
    })

    it('keeps what is local-only off rented machines, whatever it costs', () => {
      expect(code([cloud()], { localOnly: true, budget: 1 })).toBe('LOCAL_ONLY')
      expect(code([cloud(), node('away', { isConnected: false })], { localOnly: true, budget: 1 })).toBe('LOCAL_ONLY')
      expect(code([cloud(), node('leaving', { isDraining: true })], { localOnly: true, budget: 1 })).toBe(
        'NO_ELIGIBLE_NODE',
      )
    })

    it('spends no more than the budget: the cost of the prompt and of the longest answer', () => {
      const price = { inputPerMillion: 1, outputPerMillion: 10 }
      const cost = costOf(price, demand())
      expect(cost).toBeCloseTo((100 + 1000) / 1e6)
      expect(code([cloud()], { budget: cost, leave: leave() })).toBe('plan')
      expect(code([cloud()], { budget: cost * 0.99, leave: leave() })).toBe('BUDGET_EXCEEDED')
      expect(code([cloud()], { budget: 0, leave: leave() })).toBe('BUDGET_EXCEEDED')
      expect(code([cloud()], { budget: Number.NaN, leave: leave() })).toBe('BUDGET_EXCEEDED')
      expect(code([node('owned'), cloud()], { budget: 0 })).toBe('plan')
    })

    it('pays for speed only when the time is worth the money', () => {
      const owned = node('owned', withModel(model({ capability: capability({ speed: speed(1000, [1, 50]) }) })))
      const paid = (outputPerMillion: number): NodeSnapshot =>
        node('paid', { price: { inputPerMillion: 0, outputPerMillion } })
      const name = (outputPerMillion: number): string =>
        planned(schedule({ nodes: [owned, paid(outputPerMillion)] }, demand({ budget: 1 }), draw())).node.name
      expect(name(1)).toBe('paid')
      expect(name(100)).toBe('owned')
    })
  })

  describe('a planned move', () => {
    it('does not end where it began', () => {
      const nodes = [
        node('here'),
        node('there', withModel(model({ capability: capability({ speed: speed(10, [1, 5]) }) }))),
      ]
      const plan = planned(schedule({ nodes }, demand({ leaving: nodes[0]!.peerId }), draw()))
      expect(plan.node.name).toBe('there')
      expect(plan.explain.at(-1)?.verdict).toEqual({ rejected: 'the node it leaves' })
    })

    it('takes no place that is not free', () => {
      const nodes = [node('full', withModel(model({ running: 4, slotFreeMs: [1] })))]
      const result = schedule({ nodes }, demand({ mustStartNow: true }), draw())
      expect(result).toMatchObject({ kind: 'unschedulable', code: 'SATURATED' })
      expect(result.explain[0]?.verdict).toEqual({ rejected: 'no free slot' })
    })
  })

  describe('a breaker', () => {
    it('spares a node while another can do its work, and ejects nobody when there is none', () => {
      const tripped = node('tripped', { isTripped: true })
      const slow = node('slow', withModel(model({ capability: capability({ speed: speed(10, [1, 5]) }) })))
      const plan = planned(schedule({ nodes: [tripped, slow] }, demand(), draw()))
      expect(plan.node.name).toBe('slow')
      expect(plan.explain.at(-1)?.verdict).toEqual({ rejected: 'breaker open' })
      const gone = { ...slow, isConnected: false }
      expect(planned(schedule({ nodes: [tripped, gone] }, demand(), draw())).node.name).toBe('tripped')
    })

    it('that is open for the last node does not void what else speaks against it', () => {
      const full = node('full', { isTripped: true, ...withModel(model({ running: 4 })) })
      expect(schedule({ nodes: [full] }, demand({ mustStartNow: true }), draw())).toMatchObject({ code: 'SATURATED' })
      const cloud = node('cloud', { isTripped: true, isCloud: true })
      expect(schedule({ nodes: [cloud] }, demand({ localOnly: true }), draw())).toMatchObject({ code: 'LOCAL_ONLY' })
    })
  })

  describe('full nodes', () => {
    const fast = (slotFreeMs: number): NodeSnapshot =>
      node('fast', withModel(model({ running: 4, slotFreeMs: [slotFreeMs, slotFreeMs + 1] })))
    const slow = node('slow', withModel(model({ capability: capability({ speed: speed(20, [1, 10], [4, 20]) }) })))

    it('are waited for when that ends sooner than any free one', () => {
      const result = schedule({ nodes: [fast(500), slow] }, demand(), draw())
      expect(result).toMatchObject({ kind: 'wait', node: { name: 'fast' }, prediction: { waitMs: 500 } })
      expect(result.explain.map(({ name }) => name)).toEqual(['fast', 'slow'])
      expect(result.kind === 'wait' && result.workMs).toBeGreaterThan(0)
    })

    it('are not when the wait is too long, or what is claimed by those ahead makes it so', () => {
      expect(planned(schedule({ nodes: [fast(30_000), slow] }, demand(), draw())).node.name).toBe('slow')
      const claims = new Map([[fast(0).peerId, 30_000]])
      expect(planned(schedule({ nodes: [fast(500), slow], claims }, demand(), draw())).node.name).toBe('slow')
    })

    it('are not by what has waited so long that its time in the line is about to end', () => {
      const kind = (waitedMs: number): string =>
        schedule({ nodes: [fast(500), slow] }, demand({ waitedMs }), draw()).kind
      expect([kind(0), kind(LIMITS.queuedMs / 2), kind(LIMITS.queuedMs - 5000)]).toEqual(['wait', 'wait', 'plan'])
    })

    it('are not in place of one that has not measured the model yet', () => {
      const { speed: _speed, ...unmeasured } = capability()
      const full = node('full', withModel(model({ running: 4, slotFreeMs: [1, 1, 1, 1] })))
      const fresh = node('new', withModel(model({ capability: unmeasured })))
      expect(planned(schedule({ nodes: [full, fresh] }, demand(), draw())).node.name).toBe('new')
    })

    it('are not for a gain within the error of a guess', () => {
      const twin = node('twin', withModel(model({ running: 3, prefillTokensPending: 50 })))
      const full = node('full', withModel(model({ running: 4, slotFreeMs: [0] })))
      expect(planned(schedule({ nodes: [full, twin] }, demand(), draw())).node.name).toBe('twin')
    })

    it('alone make it wait, and it is told how long', () => {
      const other = node('other', withModel(model({ running: 4, slotFreeMs: [200] })))
      const result = schedule({ nodes: [fast(500), other] }, demand(), draw())
      expect(result).toMatchObject({ kind: 'unschedulable', code: 'SATURATED', waitMs: 200 })
      expect(result.explain).toHaveLength(2)
    })

    it('of which nothing is known are taken to be busy for as long as the task itself would take', () => {
      const unknown = node('unknown', withModel(model({ running: 4 })))
      expect(schedule({ nodes: [unknown] }, demand(), draw())).toMatchObject({ waitMs: 100 + 2000 })
    })
  })

  describe('a warm prefix', () => {
    const prefix: PromptPrefix = { hashes: [1], ends: [64] }
    const turn = demand({ prefillTokens: 1000, promptBytes: 4000, prefix })
    const warm = (running: number, slotFreeMs: number[] = []): NodeSnapshot =>
      node('warm', withModel(model({ running, slotFreeMs, cachedBytes: () => 3600 })))
    const cold = node('cold')

    it('holds the session on its node until that is busy enough to be slower', () => {
      expect(planned(schedule({ nodes: [warm(0), cold] }, turn, draw())).node.name).toBe('warm')
      expect(planned(schedule({ nodes: [warm(4, [5000]), cold] }, turn, draw())).node.name).toBe('cold')
    })

    it('spares the share of the prompt that is cached, and never the last token', () => {
      const held = (bytes: number): number => uncachedTokens(model({ cachedBytes: () => bytes }), turn)
      expect(held(0)).toBe(1000)
      expect(held(3600)).toBeCloseTo(100)
      expect(held(9999)).toBe(1)
    })

    it('is not missed in a mesh that is too large to be looked at whole', () => {
      const nodes = Array.from({ length: 1000 }, (_, i) => node(`n${i}`))
      const warmest = { ...warm(0), name: 'n500', peerId: nodes[500]!.peerId }
      nodes[500] = warmest
      for (let seed = 0; seed < 10; seed++)
        expect(planned(schedule({ nodes, warmest: () => warmest }, turn, draw(seed))).node.name).toBe('n500')
    })
  })

  it('a prompt that only an absent node could hold is no fault of the request', () => {
    const large = node('large', {
      isConnected: false,
      ...withModel(model({ capability: capability({ contextTokens: 1e6 }) })),
    })
    const result = schedule({ nodes: [node('small'), large] }, demand({ prefillTokensMin: 5000 }), draw())
    expect(result).toMatchObject({ kind: 'unschedulable', code: 'NO_ELIGIBLE_NODE' })
  })

  it('explains no more candidates than the bound', () => {
    const nodes = Array.from({ length: 200 }, (_, i) => node(`n${i}`, { isConnected: i % 2 === 0 }))
    expect(schedule({ nodes }, demand(), draw()).explain).toHaveLength(LIMITS.explainedCandidatesMax)
  })

  it('never names a node that a filter rejects, explains every candidate, and repeats itself under one seed', () => {
    const anyNode = fc.record({
      name: fc.string({ minLength: 1, maxLength: 8 }),
      isConnected: fc.boolean(),
      isSuspect: fc.boolean(),
      isDraining: fc.boolean(),
      isCloud: fc.boolean(),
      isTripped: fc.boolean(),
      price: fc.option(fc.constantFrom(0, 1, 100), { nil: undefined }),
      hasJson: fc.boolean(),
      context: fc.constantFrom(100, 4096),
      running: fc.integer({ min: 0, max: 6 }),
      rate: fc.integer({ min: 1, max: 500 }),
    })
    const anyDemand = fc.record({
      localOnly: fc.boolean(),
      budget: fc.constantFrom(0, 0.001, 1),
      features: fc.constantFrom([], ['json' as const]),
      prefillTokensMin: fc.constantFrom(10, 200),
      mustStartNow: fc.boolean(),
    })
    const property = fc.property(
      fc.uniqueArray(anyNode, { selector: (each) => each.name, maxLength: 40 }),
      anyDemand,
      fc.nat(),
      (made, asked, seed) => {
        const nodes = made.map(({ name, running, rate, hasJson, context, price, ...flags }) =>
          node(name, {
            ...flags,
            ...(price !== undefined && { price: { inputPerMillion: 0, outputPerMillion: price } }),
            ...withModel(
              model({
                running,
                capability: capability({
                  speed: speed(rate, [1, rate]),
                  contextTokens: context,
                  features: hasJson ? ['chat', 'json'] : ['chat'],
                }),
              }),
            ),
          }),
        )
        const excluded = new Set(nodes.slice(0, 1).map(exclusionKey))
        const leaving = nodes[1]?.peerId
        const task = demand({ ...asked, excluded, ...(leaving && { leaving }) })
        const may = (each: NodeSnapshot): boolean => {
          const held = each.models.values().next().value!
          return (
            each.isConnected &&
            !each.isSuspect &&
            !each.isDraining &&
            // whether it may leave is another test's matter
            !each.isCloud &&
            (each.price === undefined ||
              costOf(each.price, { prefillTokens: task.inputTokensMax, decodeTokens: task.outputTokensMax }) <=
                task.budget) &&
            task.features.every((feature) => (held.capability.features as readonly string[]).includes(feature)) &&
            task.prefillTokensMin < held.capability.contextTokens &&
            !excluded.has(exclusionKey(each)) &&
            each.peerId !== leaving &&
            !(task.mustStartNow && held.running >= 4)
          )
        }
        const result = schedule({ nodes }, task, draw(seed))
        expect(schedule({ nodes }, task, draw(seed))).toEqual(result)
        expect(result.explain.length).toBe(nodes.length)
        const able = nodes.filter(may)
        const spared = able.filter((each) => !each.isTripped)
        if (result.kind === 'unschedulable') {
          if (result.waitMs === undefined) expect(able).toEqual([])
          else expect(able.length).toBeGreaterThan(0)
          return
        }
        expect(spared.length > 0 ? spared : able).toContain(result.node)
        const isFree = [...result.node.models.values()][0]!.running < 4
        expect(isFree).toBe(result.kind === 'plan')
      },
    )
    fc.assert(property, { numRuns: 300 })
  })
})

describe('predict', () => {
  it('is the sum of its parts', () => {
    const price = { inputPerMillion: 1, outputPerMillion: 1 }
    const failing = node('a', { linkMs: 7, recentFailures: 1, onBattery: true, price })
    const held = model({ running: 4, slotFreeMs: [300], capability: capability({ residency: 'disk', loadMs: 900 }) })
    const parts = predict(failing, held, demand())
    const { waitMs, loadMs, prefillMs, decodeMs, linkMs, penaltyMs, totalMs } = parts
    expect(parts).toMatchObject({ waitMs: 300, loadMs: 900, prefillMs: 100, decodeMs: 2000, linkMs: 7 })
    expect(totalMs).toBeCloseTo(waitMs + loadMs + prefillMs + decodeMs + linkMs + penaltyMs)
  })

  it('counts each thing that speaks against a node', () => {
    const penalty = (init: Partial<NodeSnapshot>): number => predict(node('a', init), model(), demand()).penaltyMs
    expect(penalty({})).toBe(0)
    expect(penalty({ recentFailures: 2 })).toBe(2 * penalty({ recentFailures: 1 }))
    expect(penalty({ recentFailures: 1 })).toBeGreaterThan(0)
    expect(penalty({ onBattery: true })).toBeGreaterThan(0)
    expect(penalty({ price: { inputPerMillion: 0, outputPerMillion: 10 } })).toBeCloseTo(1000)
  })

  it('believes what was delivered, not what was claimed', () => {
    const parts = predict(node('a'), model({ prefillCorrection: 0.5, decodeCorrection: 0.25 }), demand())
    expect(parts.prefillMs).toBeCloseTo(200)
    expect(parts.decodeMs).toBeCloseTo(4000)
  })

  it('queues a prompt behind those that prefill, for no longer than equal shares make it', () => {
    const prefillMs = (prefillTokensPending: number, running: number): number =>
      predict(node('a'), model({ prefillTokensPending, running }), demand()).prefillMs
    expect(prefillMs(50, 1)).toBeCloseTo(150)
    expect(prefillMs(5000, 1)).toBeCloseTo(200)
    expect(prefillMs(5000, 3)).toBeCloseTo(400)
  })

  it('charges for how much it slows those that run there', () => {
    const penalty = (running: number): number => predict(node('a'), model({ running }), demand()).penaltyMs
    expect(penalty(0)).toBe(0)
    expect(penalty(1)).toBeGreaterThan(0)
    expect(penalty(3)).toBeGreaterThan(penalty(1))
  })

  it('waits no longer for a slot than slots lately took to become free', () => {
    const waitMs = (turnMs: number): number =>
      predict(node('a'), model({ running: 4, slotFreeMs: [800], turnMs }), demand()).waitMs
    expect(waitMs(100)).toBe(100)
    expect(waitMs(5000)).toBe(800)
  })

  it('interpolates the measured decode rates and never speeds up under load', () => {
    const measured = speed(1000, [1, 100], [4, 220])
    expect(decodeRate(measured, 1)).toBeCloseTo(100)
    expect(decodeRate(measured, 4)).toBeCloseTo(55)
    expect(decodeRate(measured, 8)).toBeCloseTo(27.5)
    for (let n = 1; n < 12; n++) expect(decodeRate(measured, n + 1)).toBeLessThanOrEqual(decodeRate(measured, n))
  })
})
