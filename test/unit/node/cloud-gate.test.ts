/** The gate of the node itself: a machine in the cloud takes nothing that does not say why it leaves. */
import { describe, expect, it } from 'vitest'
import { asTaskId, INBOUND, type AttemptStart, type Leave, type Work } from '../../../mesh/protocol/index.ts'
import { bound, failure, start } from './executor.harness.ts'

const { digest } = start() as AttemptStart
const TASK = asTaskId(`task_${'w'.repeat(24)}`)

describe('a cloud node', () => {
  it('refuses an attempt without a reason, whatever its coordinator thinks, and takes one with', async () => {
    const { attempt } = await bound(true, true)
    expect(await failure(await attempt())).toBe('LOCAL_ONLY')
    const channel = await attempt({ fence: 2, leave: { reason: 'lost' } })
    expect(await channel.receive()).toMatchObject({ type: 'attempt.accepted' })
  })

  it('refuses work without a reason as well', async () => {
    const { coordinator, node } = await bound(true, true)
    const ask = async (leave?: Leave): Promise<string> => {
      const channel = await coordinator.open(node.self.peerId, 'work', INBOUND.workCoordinator)
      const work: Work = { kind: 'embed', texts: ['x'] }
      await channel.send({ type: 'work.start', taskId: TASK, digest, work, ...(leave && { leave }) })
      const frame = await channel.receive()
      return frame?.type === 'work.failed' ? frame.code : String(frame?.type)
    }
    expect(await ask()).toBe('LOCAL_ONLY')
    // it goes on to what the model can do
    expect(await ask({ reason: 'too-big' })).toBe('INVALID_REQUEST')
  })
})

describe("a node of the owner's", () => {
  it('asks for no reason', async () => {
    const { attempt } = await bound()
    expect(await (await attempt()).receive()).toMatchObject({ type: 'attempt.accepted' })
  })
})
