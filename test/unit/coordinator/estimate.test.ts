/** What would become of a request, and what it would cost: as it then is, and without a trace of the question. */
import { beforeEach, describe, expect, it } from 'vitest'
import { cloudRules } from '../../../coordinator/cloud/policy.ts'
import { readCloudSettings } from '../../../coordinator/cloud/settings.ts'
import { renderEstimate } from '../../../clients/cli/commands/estimate.ts'
import { answers, DispatchHarness, stallsAfter } from './dispatch.harness.ts'

const PRICE = { inputPerMillion: 1, outputPerMillion: 2 }
const rented = { tier: 'cloud', price: PRICE } as const

let harness: DispatchHarness
let policy: object
beforeEach(() => {
  policy = {}
  harness = new DispatchHarness({
    budgetMicros: 1000,
    cloudRules: () => cloudRules(readCloudSettings(JSON.stringify({ policy })).policy),
  })
})

const estimate = (init: Parameters<DispatchHarness['task']>[0] = {}) => harness.dispatcher.estimate(harness.task(init))

describe('an estimate', () => {
  it('says where and what it costs at most, which is what is set aside and more than what is paid', async () => {
    harness.node('rented', 1000, [answers], rented)
    const told = estimate()
    expect(told).toMatchObject({ verdict: 'starts', place: { name: 'rented', route: 'cloud', leave: 'too-big' } })
    expect(harness.asked).toEqual([])
    expect(harness.dispatcher.stats()).toMatchObject({ running: 0, cloud: { left: {}, kept: [] } })
    const run = await harness.submit()
    await harness.follow(run).over()
    const [{ assigned, ended } = undefined!] = run.attempts.entries
    expect(told.place!.cost).toEqual({ expectedMicros: assigned.estimateMicros, maxMicros: assigned.reservedMicros })
    expect(ended!.costMicros).toBeLessThanOrEqual(told.place!.cost!.maxMicros)
    expect(renderEstimate({ ...told, model: 'tiny' })).toMatch(
      /starts? at once on rented \(cloud\)[^]*too-big[^]*at most 0\.000/,
    )
  })

  it('says what stops it: the budget, the policy, its own word', () => {
    harness.node('rented', 1000, [answers], { tier: 'cloud', price: { inputPerMillion: 1e6, outputPerMillion: 1e6 } })
    expect(estimate()).toMatchObject({ verdict: 'refused', error: { code: 'BUDGET_EXCEEDED' } })
    expect(harness.dispatcher.stats().budget.short).toEqual({ refuse: 0, wait: 0, local: 0 })
    policy = { reasons: ['lost'] }
    expect(estimate()).toMatchObject({ verdict: 'refused', mayLeaveFor: ['lost'] })
    const kept = estimate({ localOnly: true })
    expect(kept).toMatchObject({ verdict: 'refused', error: { code: 'LOCAL_ONLY' }, mayLeaveFor: [] })
    expect(renderEstimate({ ...kept, model: 'tiny' })).toMatch(
      /refused\n +Why .*\(LOCAL_ONLY\)\n[^]*\n +Cloud +it may leave for: nothing\n +Not +rented: /,
    )
  })

  it('says that another model would stand in, or that it waits', async () => {
    harness.node('rented', 1000, [answers], { tier: 'cloud', price: { inputPerMillion: 1e6, outputPerMillion: 1e6 } })
    await harness.settled(harness.dispatcher.budget.set({ atLimit: 'local', localModel: 'small' }, 'local'))
    expect(estimate()).toMatchObject({ verdict: 'stands-in', standIn: 'small', error: { code: 'BUDGET_EXCEEDED' } })
    harness = new DispatchHarness()
    harness.node('home', 1000, [stallsAfter(1)])
    const run = await harness.submit()
    await harness.until(() => run.task.answer.length === 1)
    expect(estimate()).toMatchObject({ verdict: 'waits' })
    expect(estimate({ deadlineAtMs: harness.clock.wallMs() + 1 })).toMatchObject({
      ...{ verdict: 'refused', error: { code: 'DEADLINE_UNREACHABLE' } },
    })
  })

  it('says where it would be asked again, were the answer not sure enough', () => {
    policy = { cascade: [{ models: ['*'], meanLogprob: -1 }] }
    harness.node('home', 1000, [answers])
    harness.node('rented', 1000, [answers], rented)
    const told = estimate()
    expect(told).toMatchObject({
      place: { name: 'home', route: 'mesh' },
      cascade: { name: 'rented', leave: 'low-confidence' },
    })
    expect(told.place).not.toHaveProperty('cost')
    expect(estimate({ localOnly: true })).not.toHaveProperty('cascade')
  })
})
