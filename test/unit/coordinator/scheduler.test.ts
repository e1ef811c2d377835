import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  decodeRate,
  exclusionKey,
  predict,
  schedule,
  type NodeSnapshot,
  type Plan,
  type Unschedulable,
} from '../../../coordinator/scheduler/index.ts'
import { SeededRandom } from '../../../mesh/runtime/index.ts'
import { capability, demand, model, node, OTHER_DIGEST, speed, withModel } from './snapshots.ts'

const draw = (seed = 1): (() => number) => {
  const random = new SeededRandom(seed)
  return () => random.next()
}
const planned = (result: Plan | Unschedulable): Plan => {
  if (result.kind !== 'plan') throw new TypeError(`no plan: ${result.message}`)
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
      return result.kind === 'plan' ? 'plan' : result.code
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

  it('never plans an infeasible node, explains every candidate, and repeats itself under one seed', () => {
    const anyNode = fc.record({
      name: fc.string({ minLength: 1, maxLength: 8 }),
      isConnected: fc.boolean(),
      isSuspect: fc.boolean(),
      isDraining: fc.boolean(),
      running: fc.integer({ min: 0, max: 6 }),
      rate: fc.integer({ min: 1, max: 500 }),
    })
    const property = fc.property(
      fc.uniqueArray(anyNode, { selector: (each) => each.name, maxLength: 40 }),
      fc.nat(),
      (made, seed) => {
        const nodes = made.map(({ name, running, rate, ...flags }) =>
          node(name, {
            ...flags,
            ...withModel(model({ running, capability: capability({ speed: speed(rate, [1, rate]) }) })),
          }),
        )
        const result = schedule({ nodes }, demand(), draw(seed))
        expect(schedule({ nodes }, demand(), draw(seed))).toEqual(result)
        expect(result.explain.length).toBe(nodes.length)
        if (result.kind === 'unschedulable') {
          expect(
            nodes.some(
              (each) =>
                each.isConnected &&
                !each.isSuspect &&
                !each.isDraining &&
                each.models.values().next().value!.running < 4,
            ),
          ).toBe(false)
          return
        }
        expect(result.node).toMatchObject({ isConnected: true, isSuspect: false, isDraining: false })
        expect([...result.node.models.values()][0]!.running).toBeLessThan(4)
      },
    )
    fc.assert(property, { numRuns: 200 })
  })
})

describe('predict', () => {
  it('is the sum of its parts', () => {
    const parts = predict(node('a', { linkMs: 7, recentFailures: 1 }), model({ prefillTokensPending: 50 }), demand())
    expect(parts.prefillMs).toBeCloseTo(150)
    expect(parts.decodeMs).toBeCloseTo(1000)
    expect(parts.totalMs).toBeCloseTo(parts.loadMs + parts.prefillMs + parts.decodeMs + parts.linkMs + parts.penaltyMs)
    expect(parts.penaltyMs).toBeGreaterThan(0)
  })

  it('interpolates the measured decode rates and never speeds up under load', () => {
    const measured = speed(1000, [1, 100], [4, 220])
    expect(decodeRate(measured, 1)).toBeCloseTo(100)
    expect(decodeRate(measured, 4)).toBeCloseTo(55)
    expect(decodeRate(measured, 8)).toBeCloseTo(27.5)
    for (let n = 1; n < 12; n++) expect(decodeRate(measured, n + 1)).toBeLessThanOrEqual(decodeRate(measured, n))
  })
})
