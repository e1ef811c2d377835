/** What every `PeerTransport` must do, whatever carries it. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { FrameChannel, Member, PeerTransport } from '../../mesh/network/index.ts'
import {
  asModelDigest,
  asPeerId,
  asTaskId,
  GREEDY,
  INBOUND,
  LIMITS,
  SkeinError,
  type AnyFrame,
  type Frame,
} from '../../mesh/protocol/index.ts'

export interface Pair {
  readonly a: PeerTransport
  readonly b: PeerTransport
  /** Resolves when each has the other among its members. */
  readonly connected: Promise<void>
  /** Takes `b` away as if its process had died. */
  readonly crashB: () => void
  readonly close: () => Promise<void>
}

type Coordinator = FrameChannel<(typeof INBOUND.controlCoordinator)['frame']>
type Attempt = FrameChannel<(typeof INBOUND.attemptNode)['frame']>

const STRANGER = asPeerId('12D3KooWSHj3RRbBjD15g6wekV8y3mm57Pobmps2g2WJm6F67Lay')
const beat = (sequence: number): Frame => ({ type: 'control.heartbeat', sequence })
const MIB = 1024 * 1024
/** An `attempt.tokens` frame of about `bytes`. */
const tokens = (index: number, bytes: number): Frame => ({
  type: 'attempt.tokens',
  fence: 1,
  index,
  ids: new Uint8Array(4),
  text: 'x'.repeat(bytes),
})

/** The code of the SkeinError that `work` rejects with; fails when it does not. */
async function codeOf(work: Promise<unknown>): Promise<string> {
  const thrown = await work.then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(thrown).toBeInstanceOf(SkeinError)
  return (thrown as SkeinError).code
}

async function drain<F extends AnyFrame>(channel: FrameChannel<F>): Promise<F[]> {
  const frames: F[] = []
  for (let frame = await channel.receive(); frame !== undefined; frame = await channel.receive()) frames.push(frame)
  return frames
}

const echo = async (channel: Coordinator): Promise<void> => {
  for (let frame = await channel.receive(); frame !== undefined; frame = await channel.receive())
    if (frame.type === 'control.heartbeat') await channel.send(frame)
}

export function peerTransportSuite(name: string, createPair: () => Promise<Pair>): void {
  describe(`${name} as a PeerTransport`, () => {
    let pair: Pair
    beforeEach(async () => {
      pair = await createPair()
      await pair.connected
    })
    afterEach(() => pair.close())

    const openControl = (from = pair.a, to = pair.b) => from.open(to.self.peerId, 'control', INBOUND.controlNode)
    const openAttempt = (from = pair.a, to = pair.b) => from.open(to.self.peerId, 'attempt', INBOUND.attemptCoordinator)

    it('carries frames in order, both ways, and names the member to the handler', async () => {
      const served = Promise.withResolvers<Member>()
      pair.b.handle('control', INBOUND.controlCoordinator, async (channel, member) => {
        served.resolve(member)
        await echo(channel)
      })
      const channel = await openControl()
      expect(channel.peer).toBe(pair.b.self.peerId)
      for (let i = 0; i < 200; i++) await channel.send(beat(i))
      await channel.close()
      expect(await drain(channel)).toEqual(Array.from({ length: 200 }, (_, i) => beat(i)))
      expect(await served.promise).toMatchObject({ peerId: pair.a.self.peerId, isSelf: false })
      expect((await served.promise).certificate).toEqual(pair.a.self.certificate)
    })

    it('aborts `closed` once both sides have closed', async () => {
      pair.b.handle('control', INBOUND.controlCoordinator, echo)
      const channel = await openControl()
      expect(channel.closed.aborted).toBe(false)
      const closed = new Promise((resolve) => channel.closed.addEventListener('abort', resolve, { once: true }))
      await channel.close()
      expect(await channel.receive()).toBeUndefined()
      await closed
      expect(await codeOf(channel.send(beat(1)))).toBe('STREAM_TRUNCATED')
    })

    it('tells a reset from an end', async () => {
      const ended = Promise.withResolvers<string>()
      pair.b.handle('control', INBOUND.controlCoordinator, async (channel) => {
        await channel.receive()
        ended.resolve(await codeOf(channel.receive()))
      })
      const channel = await openControl()
      await channel.send(beat(1))
      channel.abort(new SkeinError('CLIENT_CLOSED', 'no longer wanted'))
      expect(await ended.promise).toBe('STREAM_TRUNCATED')
      expect(channel.closed.aborted).toBe(true)
      expect(await codeOf(channel.receive())).toBe('STREAM_TRUNCATED')
    })

    it('resets the stream of a handler that throws', async () => {
      pair.b.handle('control', INBOUND.controlCoordinator, async (channel) => {
        await channel.receive()
        throw new SkeinError('INTERNAL', 'on purpose')
      })
      const channel = await openControl()
      await channel.send(beat(1))
      expect(await codeOf(channel.receive())).toBe('STREAM_TRUNCATED')
      expect(channel.closed.aborted).toBe(true)
    })

    it('refuses a frame that is not expected, on both ends', async () => {
      const refused = Promise.withResolvers<string>()
      pair.b.handle('control', INBOUND.controlCoordinator, async (channel) => {
        refused.resolve(await codeOf(channel.receive()))
        await channel.receive()
      })
      const channel = await openControl()
      await channel.send({ type: 'attempt.cancel', fence: 1 })
      expect(await refused.promise).toBe('FRAME_UNEXPECTED')
      expect(await codeOf(channel.receive())).toBe('STREAM_TRUNCATED')
    })

    it('does not send a frame that its protocol does not allow, and goes on', async () => {
      pair.b.handle('control', INBOUND.controlCoordinator, echo)
      const channel = await openControl()
      const reason = 'x'.repeat(LIMITS.controlFrameBytesMax)
      expect(await codeOf(channel.send({ type: 'control.goodbye', reason }))).toBe('FRAME_TOO_LARGE')
      await channel.send(beat(2))
      expect(await channel.receive()).toEqual(beat(2))
    })

    it('carries a frame of several megabytes', async () => {
      const received = Promise.withResolvers<number>()
      pair.b.handle('attempt', INBOUND.attemptNode, async (channel: Attempt) => {
        const frame = await channel.receive()
        if (frame?.type === 'attempt.start' && frame.prompt.kind === 'text') received.resolve(frame.prompt.text.length)
        else received.resolve(-1)
      })
      const channel = await openAttempt()
      await channel.send(attemptStart('y'.repeat(4 * MIB)))
      expect(await received.promise).toBe(4 * MIB)
    })

    it('makes a sender wait for a reader that does not read', async () => {
      const sent = { frames: 0 }
      const total = 64
      pair.b.handle('attempt', INBOUND.attemptNode, async (channel: Attempt) => {
        for (; sent.frames < total; sent.frames++) await channel.send(tokens(sent.frames, MIB / 2))
      })
      const channel = await openAttempt()
      expect(await channel.receive()).toMatchObject({ index: 0 })
      await quiet(() => sent.frames)
      // 32 MiB are on offer; far less may be under way
      expect(sent.frames).toBeLessThan(24)
      const rest = await drain(channel)
      expect(rest.map((frame) => (frame.type === 'attempt.tokens' ? frame.index : -1))).toEqual(
        Array.from({ length: total - 1 }, (_, i) => i + 1),
      )
    })

    it('obeys the signal of a receive and of a send', async () => {
      pair.b.handle('control', INBOUND.controlCoordinator, echo)
      const channel = await openControl()
      const controller = new AbortController()
      const reason = new SkeinError('STREAM_TIMEOUT', 'waited enough')
      const waiting = channel.receive(controller.signal)
      controller.abort(reason)
      await expect(waiting).rejects.toBe(reason)
      await expect(channel.send(beat(1), controller.signal)).rejects.toBe(reason)
      await expect(channel.receive(controller.signal)).rejects.toBe(reason)
      // the channel itself is whole
      await channel.send(beat(3))
      expect(await channel.receive()).toEqual(beat(3))
    })

    it('frees a sender that waits when the reader goes away', async () => {
      const outcome = Promise.withResolvers<string>()
      pair.b.handle('attempt', INBOUND.attemptNode, async (channel: Attempt) => {
        const sendForever = async (): Promise<void> => {
          for (let index = 0; ; index++) await channel.send(tokens(index, MIB / 2))
        }
        outcome.resolve(await codeOf(sendForever()))
      })
      const channel = await openAttempt()
      await channel.receive()
      channel.abort(new SkeinError('CLIENT_CLOSED', 'no longer wanted'))
      expect(await outcome.promise).toBe('STREAM_TRUNCATED')
    })

    it('opens channels to itself', async () => {
      pair.a.handle('control', INBOUND.controlCoordinator, async (channel, member) => {
        if (member.isSelf) await echo(channel)
      })
      const channel = await openControl(pair.a, pair.a)
      const frame = { type: 'control.heartbeat', sequence: 5 } as const
      await channel.send(frame)
      const back = await channel.receive()
      expect(back).toEqual(frame)
      expect(back).not.toBe(frame)
      await channel.close()
      expect(await channel.receive()).toBeUndefined()
    })

    it('cannot open what nobody serves, or a peer that is nowhere', async () => {
      expect(await codeOf(openAttempt())).toBe('DIAL_FAILED')
      expect(await codeOf(pair.a.open(STRANGER, 'control', INBOUND.controlNode))).toBe('DIAL_FAILED')
      expect(await codeOf(pair.a.connect(STRANGER))).toBe('DIAL_FAILED')
      const controller = new AbortController()
      const reason = new SkeinError('STREAM_TIMEOUT', 'too late')
      controller.abort(reason)
      await expect(
        pair.a.open(pair.b.self.peerId, 'control', INBOUND.controlNode, { signal: controller.signal }),
      ).rejects.toBe(reason)
    })

    it('connects at once to who is connected, and to itself', async () => {
      expect(await pair.a.connect(pair.b.self.peerId)).toMatchObject({ peerId: pair.b.self.peerId, isSelf: false })
      expect(await pair.a.connect(pair.a.self.peerId)).toMatchObject({ isSelf: true })
    })

    it('tells who is there, who goes, and breaks the channels of who went', async () => {
      pair.b.handle('control', INBOUND.controlCoordinator, echo)
      expect(pair.a.members().map((member) => member.peerId)).toEqual([pair.b.self.peerId])
      const told: string[] = []
      const lost = Promise.withResolvers<void>()
      pair.a.watch({
        connected: (member) => told.push(`+${member.peerId}`),
        disconnected: (member) => {
          told.push(`-${member.peerId}`)
          lost.resolve()
        },
      })
      const silent = pair.a.watch({ disconnected: () => told.push('unsubscribed') })
      silent()
      const channel = await openControl()
      await channel.send(beat(1))
      expect(await channel.receive()).toEqual(beat(1))
      const waiting = codeOf(channel.receive())
      pair.crashB()
      await lost.promise
      expect(await waiting).toBe('STREAM_TRUNCATED')
      expect(told).toEqual([`+${pair.b.self.peerId}`, `-${pair.b.self.peerId}`])
      expect(pair.a.members()).toEqual([])
    })
  })
}

function attemptStart(text: string): Frame {
  return {
    type: 'attempt.start',
    taskId: asTaskId('task_aaaaaaaaaaaaaaaaaaaaaaaa'),
    attempt: 1,
    fence: 1,
    digest: asModelDigest(`sha256:${'0'.repeat(64)}`),
    prompt: { kind: 'text', text },
    sampling: { ...GREEDY, seed: 1 },
    stop: [],
    maxTokens: 1,
    generated: new Uint8Array(0),
  }
}

/** Resolves when `value` has not moved for a while: the sender is stuck, or done. */
async function quiet(value: () => number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  let last = -1
  let still = 0
  const timer = setInterval(() => {
    still = value() === last ? still + 1 : 0
    last = value()
    if (still < 10) return
    clearInterval(timer)
    resolve()
  }, 20)
  await promise
}
