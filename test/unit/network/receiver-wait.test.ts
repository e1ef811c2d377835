import { getEventListeners } from 'node:events'
import { describe, expect, it } from 'vitest'
import { memoryChannelPair } from '../../../mesh/network/channels/memory-channel.ts'
import { ReceiverWait } from '../../../mesh/network/channels/receiver-wait.ts'
import { asPeerId, INBOUND, type Frame, type SkeinError } from '../../../mesh/protocol/index.ts'

const heard = (signal: AbortSignal): number => getEventListeners(signal, 'abort').length

describe('where a receiver waits', () => {
  it('resolves when it is woken, and when its signal aborts', async () => {
    const wait = new ReceiverWait()
    const woken = wait.changed(undefined)
    wait.wake()
    await woken
    const controller = new AbortController()
    const aborted = wait.changed(controller.signal)
    controller.abort()
    await aborted
  })

  it('listens to its signal once for all waits, to another one in its place, and to none at the end', async () => {
    const wait = new ReceiverWait()
    const [first, second] = [new AbortController().signal, new AbortController().signal]
    for (let i = 0; i < 3; i++) {
      const woken = wait.changed(first)
      wait.wake()
      await woken
    }
    expect(heard(first)).toBe(1)
    void wait.changed(second)
    expect([heard(first), heard(second)]).toEqual([0, 1])
    wait.release()
    expect(heard(second)).toBe(0)
  })
})

describe('a channel in memory', () => {
  const cancel: Frame = { type: 'attempt.cancel', fence: 1 }
  const pair = () => {
    const peer = asPeerId('12D3KooWGzBXWNvHpLALvWw3vDKpP7T1M5mD2rTeCqmSnvQbRzvU')
    const end = { peer, inbound: INBOUND.attemptNode, onFault: () => undefined }
    return memoryChannelPair(1024, end, end)
  }

  it.each(['close', 'abort'] as const)('leaves nothing at a signal that outlives its %s', async (way) => {
    const [near, far] = pair()
    const { signal } = new AbortController()
    const first = far.receive(signal)
    await near.send(cancel)
    expect(await first).toEqual(cancel)
    const last = far.receive(signal).catch((error: SkeinError) => error.code)
    expect(heard(signal)).toBe(1)
    if (way === 'close') await Promise.all([near.close(), far.close()])
    else far.abort(new TypeError('over'))
    expect(await last).toBe(way === 'close' ? undefined : 'STREAM_TRUNCATED')
    expect(heard(signal)).toBe(0)
  })
})
