/** A node that says why its owner's policy closed it: what people, plans and explanations make of that. */
import { describe, expect, it } from 'vitest'
import { LIMITS, LoadReportSchema, checker } from '../../../mesh/protocol/index.ts'
import { NodeEntry } from '../../../coordinator/directory/index.ts'
import { rejectionOf, schedule } from '../../../coordinator/scheduler/index.ts'
import { nodeViews } from '../../../coordinator/admission/views.ts'
import { asPeerId, type LoadReport } from '../../../mesh/protocol/index.ts'
import { demand, model, node, DIGEST } from './snapshots.ts'

const PAUSED: LoadReport = {
  sequence: 1,
  models: [],
  memoryFreeBytes: 0,
  cordoned: true,
  draining: true,
  paused: 'on battery',
}
const models = new Map([[DIGEST, model()]])

describe('a node that its owner’s policy has closed', () => {
  it('gets no work, and the reason is kept where it was considered', () => {
    const laptop = node('laptop', { models, isDraining: true, pausedBecause: 'on battery' })
    expect(rejectionOf(laptop, demand())).toBe('paused: on battery')
    const plan = schedule({ nodes: [laptop, node('desk', { models })] }, demand(), () => 0.5)
    expect(plan.kind).toBe('plan')
    expect(plan.explain).toContainEqual(
      expect.objectContaining({ name: 'laptop', verdict: { rejected: 'paused: on battery' } }),
    )
    const nobody = schedule({ nodes: [laptop] }, demand(), () => 0.5)
    expect(nobody).toMatchObject({
      code: 'NO_ELIGIBLE_NODE',
      message: expect.stringContaining('laptop: paused: on battery') as string,
    })
  })

  it('is shown with its reason, and so is one that is merely drained', () => {
    const entry = new NodeEntry(asPeerId('laptop'), false)
    entry.beginSession(1, 0)
    entry.setLoad(PAUSED, 0)
    expect(entry.snapshot(0)).toMatchObject({ isDraining: true, pausedBecause: 'on battery' })
    const views = (): readonly string[] =>
      nodeViews(
        { entries: () => [entry] } as never,
        { self: { peerId: 'x', certificate: { roles: [], name: 'x' } }, members: () => [] } as never,
        0,
      )[0]!.reasons
    expect(views()).toContain('paused: on battery')
    const { paused: _, ...drained } = PAUSED
    entry.setLoad({ ...drained, sequence: 2 }, 0)
    expect(views()).toContain('draining')
    expect(entry.snapshot(0)).not.toHaveProperty('pausedBecause')
  })

  it('cannot say more than a bound', () => {
    const isLoad = checker(LoadReportSchema)
    expect(isLoad({ ...PAUSED, paused: 'x'.repeat(LIMITS.pauseReasonLengthMax) })).toBe(true)
    expect(isLoad({ ...PAUSED, paused: 'x'.repeat(LIMITS.pauseReasonLengthMax + 1) })).toBe(false)
  })
})
