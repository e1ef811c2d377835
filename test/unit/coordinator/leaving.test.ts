/** When a task leaves the owner's nodes, and why. */
import { describe, expect, it } from 'vitest'
import { LOST_GRACE_MS, schedule, type NodeSnapshot, type TaskDemand } from '../../../coordinator/scheduler/index.ts'
import { CLOUD_REASONS, type CloudReason, type ModelCapability } from '../../../mesh/protocol/index.ts'
import { capability, demand, leave, model, node, OTHER_DIGEST, speed, withModel } from './snapshots.ts'

const cloud = (init: Partial<NodeSnapshot> = {}): NodeSnapshot => node('cloud', { isCloud: true, ...init })
const home = (init: Partial<NodeSnapshot> = {}): NodeSnapshot => node('home', init)
const without = withModel(model({ capability: capability({ digest: OTHER_DIGEST }) }))
const full = (slotFreeMs: number): Partial<NodeSnapshot> => withModel(model({ running: 4, slotFreeMs: [slotFreeMs] }))

const planOf = (nodes: NodeSnapshot[], init: Partial<TaskDemand> = {}) =>
  schedule({ nodes }, demand({ leave: leave(), ...init }), () => 0)
/** Where, and for which reason; or the code. */
function found(nodes: NodeSnapshot[], init: Partial<TaskDemand> = {}): string {
  const plan = planOf(nodes, init)
  if (plan.kind === 'unschedulable') return plan.code
  return `${plan.kind} ${plan.node.name}${plan.reason === undefined ? '' : ` ${plan.reason}`}`
}
const verdicts = (nodes: NodeSnapshot[], init: Partial<TaskDemand> = {}): Record<string, unknown> =>
  Object.fromEntries(
    planOf(nodes, init).explain.map(({ name, verdict }) => [name, 'rejected' in verdict ? verdict.rejected : 'scored']),
  )

describe("the owner's nodes first", () => {
  it('are taken, however much faster the cloud is', () => {
    const slow = home(withModel(model({ capability: capability({ speed: speed(10, [1, 5]) }) })))
    expect(found([cloud(), slow])).toBe('plan home')
    expect(verdicts([cloud(), slow])).toEqual({ home: 'scored', cloud: "cloud, and the owner's nodes can do it" })
  })

  it('are waited for while there is time', () => {
    expect(found([cloud(), home(full(5000))])).toBe('SATURATED')
    expect(planOf([cloud(), home(full(5000))])).toMatchObject({ waitMs: 5000 })
  })
})

describe('a task leaves', () => {
  const json = (init: Partial<ModelCapability> = {}): Pick<NodeSnapshot, 'models'> =>
    withModel(model({ capability: capability({ features: ['completion', 'json'], ...init }) }))
  it.each([
    ['has the model', without],
    ['can hold it', json({ contextTokens: 10 })],
    ['can do what is asked', json({ features: ['completion'] })],
  ] as const)("as too big when no node of the owner's %s", (_, lacking) => {
    const asked: Partial<TaskDemand> = { features: ['json'], prefillTokensMin: 20 }
    const nodes = [cloud(json()), home(lacking)]
    expect(found(nodes, asked)).toBe('plan cloud too-big')
    expect(verdicts(nodes, asked)).toMatchObject({ cloud: 'scored' })
    expect(found([cloud(json()), home(json())], asked)).toBe('plan home')
  })

  it('for its deadline when the end, the wait or the line is predicted beyond it', () => {
    const nodes = [cloud(), home(full(5000))]
    expect(found(nodes, { leave: leave({ leftMs: 4000 }) })).toBe('plan cloud deadline')
    expect(found(nodes, { leave: leave({ waitLeftMs: 4000 }) })).toBe('plan cloud deadline')
    expect(found(nodes, { leave: leave({ leftMs: 9000, aheadMs: 8500 }) })).toBe('plan cloud deadline')
    const slow = home(withModel(model({ capability: capability({ speed: speed(1000, [1, 1]) }) })))
    expect(found([cloud(), slow], { leave: leave({ leftMs: 20_000 }) })).toBe('plan cloud deadline')
    // what is ahead in the line is not ahead of one that starts at once
    expect(found([cloud(), home()], { leave: leave({ leftMs: 9000, aheadMs: 8500 }) })).toBe('plan home')
  })

  it('for its deadline when nobody knows when a node of the owner comes back', () => {
    expect(found([cloud(), home({ isConnected: false })])).toBe('plan cloud deadline')
    expect(found([cloud(), home({ isDraining: true })])).toBe('plan cloud deadline')
  })

  it('not in vain: where the cloud would be too late as well', () => {
    const slow = withModel(model({ capability: capability({ speed: speed(1000, [1, 1]) }) }))
    expect(found([cloud(slow), home(slow)], { leave: leave({ leftMs: 20_000 }) })).toBe('plan home')
  })

  it('by name, and then nowhere else; what has begun there goes home before it is lost', () => {
    const isNamed = { leave: leave({ isNamed: true }) }
    expect(found([home(), cloud()], isNamed)).toBe('plan cloud name')
    expect(verdicts([home(), cloud()], isNamed)).toEqual({
      cloud: 'scored',
      home: 'not cloud, and the cloud was asked for',
    })
    const gone = cloud({ isConnected: false })
    expect(found([home(), gone], isNamed)).toBe('NO_ELIGIBLE_NODE')
    expect(found([home(), gone], { leave: leave({ isNamed: true, hasBegun: true }) })).toBe('plan home')
    expect(planOf([home(), cloud(full(700))], isNamed)).toMatchObject({ code: 'SATURATED', isAway: true })
  })

  it('when its answer was lost and no node of the owner is left, after a little', () => {
    const begun = leave({ hasBegun: true })
    const lost = (waitedMs: number, init: Partial<NodeSnapshot>): string =>
      found([cloud(), home(init)], { leave: begun, waitedMs })
    expect(lost(0, { isConnected: false })).toBe('NO_ELIGIBLE_NODE')
    expect(lost(LOST_GRACE_MS, { isConnected: false })).toBe('plan cloud lost')
    expect(lost(LOST_GRACE_MS, {})).toBe('plan home')
    // a slot that becomes free costs nothing
    expect(lost(LOST_GRACE_MS, full(5000))).toBe('SATURATED')
    // its node leaves: nothing comes back
    const here = home()
    expect(found([cloud(), here], { leave: begun, leaving: here.peerId, mustStartNow: true })).toBe('plan cloud lost')
    const other = node('other', full(5000))
    const moved = { leave: begun, leaving: here.peerId, mustStartNow: true }
    expect(found([cloud(), here, other], moved)).toBe('SATURATED')
  })

  it('again for what it left for, when its cloud node is lost', () => {
    const begun = leave({ hasBegun: true, earlier: 'too-big', reasons: new Set<CloudReason>(['too-big']) })
    const nodes = [cloud(), node('gone', { isCloud: true, isConnected: false }), home(without)]
    expect(found(nodes, { leave: begun, waitedMs: LOST_GRACE_MS })).toBe('plan cloud too-big')
  })
})

describe('an answer that was not sure enough', () => {
  const unsure = leave({ isUnsure: true, hasBegun: true })
  it('goes to the cloud alone, where it would end in time', () => {
    expect(found([cloud(), home()], { leave: unsure })).toBe('plan cloud low-confidence')
    expect(verdicts([cloud(), home()], { leave: unsure })).toMatchObject({
      home: 'not cloud, and the answer was not sure enough',
    })
    expect(found([cloud(), home()], { leave: { ...unsure, leftMs: 1 } })).not.toContain('plan')
    expect(found([home()], { leave: unsure })).not.toContain('plan')
  })
})

describe('nothing leaves', () => {
  const lacking = home(without)

  it('that is local-only, whatever else is said', () => {
    const all = leave({ isNamed: true, hasBegun: true, leftMs: 0 })
    expect(found([cloud(), lacking], { localOnly: true, leave: all, waitedMs: 1e6 })).toBe('LOCAL_ONLY')
    expect(found([cloud(), home()], { localOnly: true, leave: all })).toBe('plan home')
    expect(verdicts([cloud(), home()], { localOnly: true, leave: all })).toMatchObject({
      cloud: 'cloud, and the task is local-only',
    })
    const small = home(withModel(model({ capability: capability({ contextTokens: 10 }) })))
    expect(found([cloud(), small], { localOnly: true, prefillTokensMin: 20 })).toBe('LOCAL_ONLY')
  })

  it.each(CLOUD_REASONS)('for %s when the owner does not take it', (reason) => {
    const others = new Set<CloudReason>(CLOUD_REASONS.filter((each) => each !== reason))
    const asked: Record<CloudReason, [NodeSnapshot[], Partial<TaskDemand>]> = {
      'too-big': [[cloud(), lacking], { leave: leave({ reasons: others }) }],
      deadline: [[cloud(), home(full(5000))], { leave: leave({ reasons: others, leftMs: 10 }) }],
      name: [[cloud(), home()], { leave: leave({ reasons: others, isNamed: true }) }],
      lost: [
        [cloud(), home({ isConnected: false })],
        { leave: leave({ reasons: others, hasBegun: true }), waitedMs: 1e6 },
      ],
      'low-confidence': [[cloud(), home()], { leave: leave({ reasons: others, isUnsure: true, hasBegun: true }) }],
    }
    const [nodes, init] = asked[reason]
    expect(found(nodes, init)).not.toContain('cloud')
    expect(verdicts(nodes, init)).toMatchObject({ cloud: 'cloud, and the policy does not take the reason' })
  })

  it('without a policy that lets it, and says so where that would last', () => {
    for (const init of [{ leave: leave({ reasons: new Set() }) }, {}]) {
      const result = schedule({ nodes: [cloud(), lacking] }, demand(init), () => 0)
      expect(result).toMatchObject({ code: 'CLOUD_NOT_ALLOWED' })
    }
  })
})
