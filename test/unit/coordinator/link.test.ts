/** The way to a node: what heartbeats, attempts and long prompts show of it, and what plans make of that. */
import { describe, expect, it } from 'vitest'
import { LinkState, NodeEntry } from '../../../coordinator/directory/index.ts'
import { predict, schedule } from '../../../coordinator/scheduler/index.ts'
import { asPeerId, LIMITS } from '../../../mesh/protocol/index.ts'
import { sleep } from '../../../mesh/runtime/index.ts'
import { accept, ANSWER, DispatchHarness, end, tokensFrom, type Script } from './dispatch.harness.ts'
import { demand, DIGEST, model, node } from './snapshots.ts'

const MIB = 1024 ** 2

describe('a link', () => {
  it('is as long as heartbeats take, until attempts show what it really takes', () => {
    const link = new LinkState()
    expect([link.ms, link.view]).toEqual([0, {}])
    expect(link.addRoundTrip(8)).toBe(true)
    expect(link.addRoundTrip(8)).toBe(false)
    expect([link.ms, link.view]).toEqual([8, { roundTripMs: 8 }])
    link.addAccept(12, 500, 0)
    link.addRoundTrip(8)
    expect([link.ms, link.view]).toEqual([12, { roundTripMs: 8 }])
    link.addAccept(20, 500, 0)
    expect(link.ms).toBeCloseTo(13)
  })

  it('is as wide as long prompts show, and these do not make it longer', () => {
    const link = new LinkState()
    link.addAccept(10, 100, 0)
    link.addAccept(110, MIB, 0)
    expect(link.ms).toBe(10)
    expect(link.view.bytesPerSecond).toBeCloseTo(10 * MIB, -3)
    link.addAccept(210, MIB, 0)
    expect(link.view.bytesPerSecond).toBeCloseTo(10 * MIB + (5 * MIB - 10 * MIB) / 4, -3)
    // faster than a clock of ms can tell, and slower than anything
    const [fast, slow] = [new LinkState(), new LinkState()]
    fast.addAccept(0, 4 * MIB, 0)
    slow.addAccept(1e12, MIB, 0)
    expect([fast.view.bytesPerSecond, slow.view.bytesPerSecond]).toEqual([4 * MIB * 1000, 1000])
  })

  it('is probed when the way is known and nothing long went there for a while, and then not again soon', () => {
    const link = new LinkState()
    expect(link.takeProbe(0)).toBe(false)
    link.addRoundTrip(8)
    expect([link.takeProbe(0), link.takeProbe(LIMITS.linkProbeIntervalMs - 1)]).toEqual([true, false])
    // some 5 ms above the usual are no news: it is wide enough
    link.addProbe(12, 16_384)
    expect(link.view).toEqual({ roundTripMs: 8 })
    link.addProbe(108, 16_384)
    expect(link.view.bytesPerSecond).toBeCloseTo(163_840)
    expect(link.takeProbe(LIMITS.linkProbeIntervalMs)).toBe(true)
    link.addAccept(50, MIB, 2 * LIMITS.linkProbeIntervalMs)
    expect(link.takeProbe(3 * LIMITS.linkProbeIntervalMs - 1)).toBe(false)
  })

  it('is probed of a node alone that does nothing and says that it may be', () => {
    const entry = new NodeEntry(asPeerId('desk'), false)
    entry.addRoundTrip({ ms: 8, probeBytes: 0 })
    const load = { sequence: 0, models: [], memoryFreeBytes: 0, cordoned: false, draining: false }
    const running = [{ digest: DIGEST, running: 1, prefillTokensPending: 0 }]
    expect(entry.takeProbe(0)).toBe(false)
    for (const no of [load, { ...load, mayProbe: false }, { ...load, mayProbe: true, models: running }]) {
      entry.setLoad(no, 0)
      expect(entry.takeProbe(0)).toBe(false)
    }
    entry.setLoad({ ...load, mayProbe: true }, 0)
    expect(entry.takeProbe(0)).toBe(true)
    entry.addRoundTrip({ ms: 108, probeBytes: 16_384 })
    expect(entry.link).toEqual({ roundTripMs: 8, bytesPerSecond: 163_840 })
  })

  it('of our own machine is none', () => {
    const self = new NodeEntry(asPeerId('self'), true)
    self.addLink(10)
    self.addRoundTrip({ ms: 5, probeBytes: 0 })
    expect([self.linkMs, self.link]).toEqual([0, {}])
    expect(self.snapshot(0)).not.toHaveProperty('linkBytesPerSecond')
  })
})

describe('a plan', () => {
  const wide = node('wide', { linkMs: 5, linkBytesPerSecond: 100 * MIB })
  const narrow = node('narrow', { linkMs: 1, linkBytesPerSecond: 100 * 1024 })

  it('counts the time that a prompt needs to get there', () => {
    const asked = demand({ promptBytes: MIB })
    expect(predict(wide, model(), asked).linkMs).toBeCloseTo(15)
    expect(predict(narrow, model(), asked).linkMs).toBeCloseTo(1 + 10_240)
    expect(predict(node('unknown', { linkMs: 3 }), model(), asked).linkMs).toBe(3)
    const { totalMs, linkMs } = predict(narrow, model(), asked)
    expect(totalMs).toBeGreaterThan(linkMs)
  })

  it('sends long prompts over the wide link, and short ones wherever it is near', () => {
    const chosen = (promptBytes: number): string => {
      const plan = schedule({ nodes: [wide, narrow] }, demand({ promptBytes, decodeTokens: 1, prefillTokens: 1 }), () => 0.5) // prettier-ignore
      return plan.kind === 'plan' ? plan.node.name : plan.kind
    }
    expect(chosen(MIB)).toBe('wide')
    expect(chosen(100)).toBe('narrow')
  })
})

describe('an attempt with a long prompt', () => {
  it('shows how wide the link is, and takes nothing from what is learned of the prefill', async () => {
    const harness = new DispatchHarness()
    const slowly: Script = async (channel, start) => {
      await sleep(harness.clock, start.prompt.kind === 'text' && start.prompt.text.length > 1000 ? 500 : 10)
      await accept(channel, start)
      await tokensFrom(channel, start.fence, 0, ANSWER.length)
      await end(channel, start)
    }
    const transport = harness.node('far', 100, [slowly], { model: { contextTokens: 1_000_000 } })
    const entry = () => harness.directory.entry(transport.self.peerId)!
    await harness.run()
    const near = entry().linkMs
    expect(near).toBeGreaterThan(5)
    expect(entry().link.bytesPerSecond).toBeUndefined()
    await harness.run(harness.task({ prompt: { kind: 'text', text: 'x'.repeat(500_000) } }))
    expect(entry().linkMs).toBe(near)
    expect(entry().link.bytesPerSecond).toBeGreaterThan(800_000)
    expect(entry().link.bytesPerSecond).toBeLessThan(1_200_000)
    expect(entry().snapshot(harness.clock.nowMs()).linkBytesPerSecond).toBe(entry().link.bytesPerSecond)
  })
})
