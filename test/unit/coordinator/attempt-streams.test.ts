import { beforeEach, describe, expect, it } from 'vitest'
import { AttemptStreams } from '../../../coordinator/dispatch/attempt-streams.ts'
import {
  MemoryNetwork,
  type FrameChannel,
  type MemoryPeerTransport,
  type PeerTransport,
} from '../../../mesh/network/index.ts'
import { INBOUND, LIMITS } from '../../../mesh/protocol/index.ts'
import { ManualClock, SeededRandom } from '../../../mesh/runtime/index.ts'

describe('AttemptStreams', () => {
  const never = new AbortController().signal
  let clock: ManualClock
  let network: MemoryNetwork
  let node: MemoryPeerTransport
  let served: FrameChannel[]
  let opened: number
  let streams: AttemptStreams
  const turn = async (ms: number): Promise<void> => {
    await clock.advance(ms)
    await new Promise((resolve) => setImmediate(resolve))
  }

  beforeEach(() => {
    clock = new ManualClock()
    network = new MemoryNetwork({ clock, random: new SeededRandom(3) })
    const self = network.join('coordinator', ['coordinator'])
    node = network.join('node')
    served = []
    opened = 0
    node.handle('attempt', INBOUND.attemptNode, async (channel) => {
      served.push(channel)
      await new Promise((resolve) => channel.closed.addEventListener('abort', resolve))
    })
    const counting: Pick<PeerTransport, 'self' | 'open'> = {
      self: self.self,
      open: (...args) => {
        opened++
        return self.open(...args)
      },
    }
    streams = new AttemptStreams({ clock, transport: counting as PeerTransport })
  })

  it('keeps one more for the next attempt, and hands it out', async () => {
    const { peerId } = node.self
    const first = await streams.take(peerId, never)
    streams.replenish(peerId)
    streams.replenish(peerId)
    await turn(100)
    streams.replenish(peerId)
    expect(opened).toBe(2)
    const second = await streams.take(peerId, never)
    expect(opened).toBe(2)
    expect(second).not.toBe(first)
    await streams.take(peerId, never)
    expect(opened).toBe(3)
    expect(served).toHaveLength(3)
  })

  it('does not hand out one that broke', async () => {
    await streams.take(node.self.peerId, never)
    streams.replenish(node.self.peerId)
    await turn(100)
    network.crash(node)
    network.attach(node)
    const fresh = await streams.take(node.self.peerId, never)
    expect(fresh.closed.aborted).toBe(false)
    expect(opened).toBe(3)
  })

  it('gives an unused one up in time, before the node does, and all at the end', async () => {
    streams.replenish(node.self.peerId)
    await turn(100)
    expect(served[0]!.closed.aborted).toBe(false)
    await turn(LIMITS.reserveStreamMs)
    expect(served[0]!.closed.aborted).toBe(true)
    streams.replenish(node.self.peerId)
    await turn(100)
    streams.close()
    await turn(1)
    expect(served.at(-1)!.closed.aborted).toBe(true)
    expect(clock.pendingTimers).toBe(0)
  })

  it('gives up what is held for a node whose life is over', async () => {
    streams.replenish(node.self.peerId)
    await turn(100)
    streams.drop(node.self.peerId)
    await turn(1)
    expect(served[0]!.closed.aborted).toBe(true)
    expect(clock.pendingTimers).toBe(0)
  })

  it('takes a stream that is under way when all is given up back at once', async () => {
    streams.replenish(node.self.peerId)
    streams.close()
    await turn(100)
    expect(served.every((channel) => channel.closed.aborted)).toBe(true)
  })
})
