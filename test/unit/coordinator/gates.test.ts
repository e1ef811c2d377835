/**
 * The gates that keep what is local-only in the house, each with those before it broken. The last one, the node's own, is in
 * `test/unit/node/cloud-gate.test.ts`.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { CloudRules } from '../../../coordinator/dispatch/index.ts'
import { Leaving } from '../../../coordinator/dispatch/leave.ts'
import { Planner } from '../../../coordinator/dispatch/planner.ts'
import type { CloudReason } from '../../../mesh/protocol/index.ts'
import { accept, answers, DispatchHarness, end, stallsAfter, TEXT, tokensFrom } from './dispatch.harness.ts'

const NOTHING = { waitMs: 0, loadMs: 0, prefillMs: 0, decodeMs: 0, linkMs: 0, penaltyMs: 0, totalMs: 0 }

/** As if nothing in the scheduler knew of what is local-only. */
function breakPlan(): void {
  vi.spyOn(Planner.prototype, 'plan').mockImplementation(() => {
    const node = harness.directory.snapshot().nodes.find(({ isCloud }) => isCloud)!
    return { kind: 'plan', node, prediction: NOTHING, reason: 'name', explain: [] }
  })
}
/** As if the commit believed every plan. */
function breakCommit(): void {
  vi.spyOn(Leaving.prototype, 'paper').mockImplementation(({ spec: { prompt } }, _node, reason) => ({
    ...{ reason: reason!, prompt, redactions: 0 },
    maySay: () => true,
  }))
}

let harness: DispatchHarness
beforeEach(() => {
  harness = new DispatchHarness()
  harness.node('rented', 1000, [answers], { tier: 'cloud' })
})

afterEach(() => vi.restoreAllMocks())

const local = { localOnly: true, deadlineAtMs: 0 }
const localTask = () => harness.task({ ...local, deadlineAtMs: harness.clock.wallMs() + 5000 })

describe('what is local-only', () => {
  it('is stopped at admission, with the plan and without it', () => {
    expect(() => harness.dispatcher.check(localTask())).toThrow(/only rented machines could take it/)
    breakPlan()
    expect(() => harness.dispatcher.check(localTask())).toThrow(/is not to leave/)
  })

  it.each([
    ['by the plan, when admission has let it in', [], 'nothing'],
    ['by the commit, when the plan names a cloud node', [breakPlan], 'nothing'],
    ['before anything is sent, when it was committed', [breakPlan, breakCommit], 'attempts'],
  ])('is stopped %s', async (_, broken, begun) => {
    for (const breaks of broken) breaks()
    const run = await harness.submit(localTask())
    const following = await harness.follow(run).over()
    expect(run.attempts.entries.length > 0 ? 'attempts' : 'nothing').toBe(begun)
    expect(harness.begins).toEqual([])
    expect(following.text).toBe('')
    expect(following.error).toMatchObject({ code: expect.stringMatching(/LOCAL_ONLY|TASK_EXPIRED|ATTEMPTS_EXHAUSTED/) })
  })

  it('waits when its node is lost, and ends with LOCAL_ONLY when none comes', async () => {
    const home = harness.node('home', 1000, [stallsAfter(3)])
    const run = await harness.submit(localTask())
    const following = harness.follow(run)
    await harness.until(() => run.task.answer.length === 3)
    harness.directory.disconnected(home.self.peerId, harness.directory.entry(home.self.peerId)!.session)
    await following.over()
    expect(following.error).toMatchObject({ code: 'LOCAL_ONLY' })
    expect(harness.asked).toEqual(['home'])
  })

  it('goes on at home after a restart of the coordinator, and nowhere else', async () => {
    const home = harness.node('home', 1000, [stallsAfter(3), answers])
    const task = harness.task({
      localOnly: true,
      attachment: 'background',
      deadlineAtMs: harness.clock.wallMs() + 60_000,
    })
    const run = await harness.submit(task)
    await harness.until(() => run.task.answer.length === 3)
    await harness.restart()
    harness.directory.disconnected(home.self.peerId, harness.directory.entry(home.self.peerId)!.session)
    await harness.until(() => harness.clock.nowMs() > 20_000, 100)
    expect(harness.asked).toEqual(['home'])
    harness.connect(home, 1000)
    await harness.until(() => harness.dispatcher.run(task.id)?.result !== undefined, 25)
    expect(harness.dispatcher.run(task.id)?.result).toMatchObject({ outcome: 'completed' })
    expect(new Set(harness.asked)).toEqual(new Set(['home']))
  })
})

describe('what may leave', () => {
  it('goes on in the cloud with its reason on record, its prefix unchanged, and says so', async () => {
    const home = harness.node('home', 1000, [stallsAfter(3)])
    const run = await harness.submit()
    const following = harness.follow(run)
    await harness.until(() => run.task.answer.length === 3)
    harness.directory.disconnected(home.self.peerId, harness.directory.entry(home.self.peerId)!.session)
    await following.over()
    expect(following.text).toBe(TEXT)
    expect(following.nodes).toEqual(['home', 'rented'])
    expect(harness.begins.at(-1)).toMatchObject({ leave: { reason: 'lost' } })
    expect(harness.begins[0]).not.toHaveProperty('leave')
    expect(run.attempts.entries.at(-1)?.assigned).toMatchObject({ leave: 'lost', route: 'cloud' })
    expect(following.events.at(-1)).toMatchObject({ type: 'end', receipt: { reason: 'lost', costMicros: 0 } })
  })

  it('says what it is expected to cost, and what it has cost', async () => {
    harness = new DispatchHarness({ budgetMicros: 1e6 })
    const price = { inputPerMillion: 1, outputPerMillion: 2 }
    harness.node('rented', 1000, [answers], { tier: 'cloud', price })
    const run = await harness.submit()
    const { events } = await harness.follow(run).over()
    const [{ assigned, ended } = undefined!] = run.attempts.entries
    expect(assigned.estimateMicros).toBeGreaterThan(0)
    expect(assigned.estimateMicros).toBeLessThanOrEqual(assigned.reservedMicros!)
    expect(events.find(({ type }) => type === 'started')).toMatchObject({
      left: { reason: 'too-big', estimateMicros: assigned.estimateMicros },
    })
    expect(ended!.costMicros).toBeGreaterThan(0)
    expect(events.at(-1)).toMatchObject({ receipt: { reason: 'too-big', costMicros: ended!.costMicros } })
  })

  it('is told by a node of the cloud that nothing lets it in, and goes elsewhere', async () => {
    // its record said otherwise when the plan was made
    harness.node('odd', 5000, [
      (channel, { fence }) => channel.send({ type: 'attempt.failed', fence, code: 'LOCAL_ONLY', message: 'no' }),
    ])
    harness.node('home', 1000, [answers])
    const following = await harness.run()
    expect(following.text).toBe(TEXT)
    expect(harness.asked).toEqual(['odd', 'home'])
  })
})

describe('what is taken out', () => {
  const rules = (finds: (text: string) => boolean): CloudRules => ({
    reasonsFor: () => new Set<CloudReason>(['too-big', 'lost']),
    cascadeFor: () => undefined,
    prompt: () => ({ value: { kind: 'text', text: '[redacted]' }, count: 2 }),
    work: (work) => ({ value: work, count: 0 }),
    finds,
  })

  it('does not leave, and how much it was is on record', async () => {
    harness = new DispatchHarness({ cloudRules: () => rules(() => false) })
    harness.node('rented', 1000, [answers], { tier: 'cloud' })
    const run = await harness.submit()
    await harness.follow(run).over()
    expect(harness.begins[0]).toMatchObject({ prompt: { text: '[redacted]' }, leave: { reason: 'too-big' } })
    expect(run.attempts.entries[0]?.assigned).toMatchObject({ redactions: 2 })
    expect(run.task.spec.prompt).toEqual({ kind: 'text', text: 'why' })
  })

  it('keeps an answer at home that says it, or whose prompt cannot be judged', async () => {
    harness = new DispatchHarness({ cloudRules: () => rules((text) => text.includes('geese')) })
    harness.node('rented', 1000, [answers], { tier: 'cloud' })
    const home = harness.node('home', 1000, [
      async (channel, start) => {
        await accept(channel, start)
        await tokensFrom(channel, start.fence, 0, 3)
        await new Promise(() => {})
      },
      async (channel, start) => {
        await accept(channel, start)
        await tokensFrom(channel, start.fence, 3, 8)
        await end(channel, start)
      },
    ])
    const run = await harness.submit()
    const following = harness.follow(run)
    await harness.until(() => run.task.answer.length === 3)
    harness.directory.disconnected(home.self.peerId, harness.directory.entry(home.self.peerId)!.session)
    await harness.until(() => harness.clock.nowMs() > 10_000, 100)
    expect(harness.asked).toEqual(['home'])
    harness.connect(home, 1000)
    await following.over()
    expect(following.text).toBe(TEXT)
    expect(harness.asked).toEqual(['home', 'home'])
  })
})
