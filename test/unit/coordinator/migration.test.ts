/** Answers that move: planned in two phases, pre-empted, attached to again, and gone on with after a restart. */
import { beforeEach, describe, expect, it } from 'vitest'
import { LIMITS, unpackTokenIds, type AttemptAttach, type PeerId } from '../../../mesh/protocol/index.ts'
import { sleep } from '../../../mesh/runtime/index.ts'
import type { MemoryPeerTransport } from '../../../mesh/network/index.ts'
import type { TaskRun } from '../../../coordinator/dispatch/index.ts'
import { textOf } from '../../../coordinator/ledger/index.ts'
import {
  accept,
  ANSWER,
  answers,
  DispatchHarness,
  end,
  stallsAfter,
  TEXT,
  tokensFrom,
  type NodeChannel,
  type Script,
} from './dispatch.harness.ts'

const ALL = ANSWER.map((_, i) => i)
const PACE_MS = 100
const QUICK_MS = 40
/** A prefill takes this long in these scripts. */
const PREFILL_MS = 250

describe('an answer that moves', () => {
  let harness: DispatchHarness
  /** Tokens with which each commit came, packed off. */
  let commits: (readonly number[] | undefined)[]
  beforeEach(() => {
    harness = new DispatchHarness()
    commits = []
  })

  /** One token each `paceMs`, until a cancel comes. */
  const pacedAt =
    (paceMs: number): Script =>
    async (channel, start) => {
      await accept(channel, start)
      const over = new AbortController()
      const cancelled = channel.receive(over.signal).then(
        () => true,
        () => true,
      )
      for (let i = unpackTokenIds(start.generated)!.length; i < ANSWER.length; i++) {
        const isOver = await Promise.race([cancelled, sleep(harness.clock, paceMs).then(() => false)])
        if (isOver) return
        await tokensFrom(channel, start.fence, i, i + 1)
      }
      over.abort(new TypeError('the answer is whole'))
      await end(channel, start)
    }
  const paced = pacedAt(PACE_MS)
  const quick = pacedAt(QUICK_MS)

  /** Prefills, waits for the commit, and goes on. */
  const held: Script = async (channel, start) => {
    if (!start.hold) return paced(channel, start)
    await accept(channel, start)
    await sleep(harness.clock, PREFILL_MS)
    await channel.send({ type: 'attempt.prepared', fence: start.fence })
    const commit = await channel.receive()
    if (commit?.type !== 'attempt.commit') return
    commits.push(unpackTokenIds(commit.generated))
    const from = (start.generated.length + commit.generated.length) / 4
    await tokensFrom(channel, start.fence, from, ANSWER.length)
    await end(channel, start)
  }

  const report = (node: MemoryPeerTransport, draining: boolean): void =>
    harness.directory.report(node.self.peerId, {
      sequence: 1,
      models: [],
      memoryFreeBytes: 0,
      cordoned: draining,
      draining,
    })
  const lose = (peerId: PeerId): void =>
    harness.directory.disconnected(peerId, harness.directory.entry(peerId)!.session)

  it('is prepared on its target while the source goes on, and cut at a token', async () => {
    const source = harness.node('source', 1000, [paced])
    harness.node('target', 10, [held])
    const run = await harness.submit()
    const following = harness.follow(run)
    await harness.until(() => run.task.answer.length === 2)
    report(source, true)
    await following.over(1)
    expect(following.text).toBe(TEXT)
    expect(following.indices).toEqual(ALL)
    expect(following.nodes).toEqual(['source', 'target'])
    // prefilled with two or three tokens, committed with what the source made meanwhile
    expect(commits[0]!.length).toBeGreaterThanOrEqual(2)
    expect(run.attempts.entries.map(({ assigned, ended }) => [assigned.reason, ended?.outcome])).toEqual([
      ['first', 'evicted'],
      ['drain', 'completed'],
    ])
    expect(harness.dispatcher.stats().handovers).toEqual({ ok: 1, failed: 0 })
  })

  it('is prepared once more when the source made many tokens meanwhile', async () => {
    const source = harness.node('source', 1000, [quick])
    let rounds = 0
    // the second time only what is new is prefilled
    const warm: Script = async (channel, start) => {
      await accept(channel, start)
      await sleep(harness.clock, rounds++ === 0 ? 5 * QUICK_MS + 10 : 10)
      await channel.send({ type: 'attempt.prepared', fence: start.fence })
      const commit = await channel.receive()
      if (commit?.type !== 'attempt.commit') return
      commits.push(unpackTokenIds(commit.generated))
      await tokensFrom(channel, start.fence, (start.generated.length + commit.generated.length) / 4, ANSWER.length)
      await end(channel, start)
    }
    harness.node('target', 10, [warm])
    const run = await harness.submit()
    const following = harness.follow(run)
    await harness.until(() => run.task.answer.length === 1)
    report(source, true)
    await following.over(1)
    expect(following.text).toBe(TEXT)
    expect(following.indices).toEqual(ALL)
    expect(harness.asked).toEqual(['source', 'target', 'target'])
    expect(commits).toHaveLength(1)
    expect(commits[0]!.length).toBeLessThanOrEqual(1)
    expect(harness.dispatcher.stats()).toMatchObject({ handovers: { ok: 1, failed: 0 }, migrations: { drain: 1 } })
  })

  it('waits at its source until another node has room', async () => {
    const source = harness.node('source', 1000, [paced])
    const run = await harness.submit()
    const following = harness.follow(run)
    await harness.until(() => run.task.answer.length === 2)
    report(source, true)
    await harness.clock.advance(PACE_MS)
    harness.node('late', 10, [held])
    await following.over(1)
    expect(following.nodes).toEqual(['source', 'late'])
    expect(following.text).toBe(TEXT)
  })

  it('goes on at the warm target when the source dies while it is prepared', async () => {
    const source = harness.node('source', 1000, [stallsAfter(3)])
    harness.node('target', 10, [held])
    const run = await harness.submit()
    const following = harness.follow(run)
    await harness.until(() => run.task.answer.length === 3)
    report(source, true)
    await harness.until(() => harness.asked.includes('target'))
    lose(source.self.peerId)
    await following.over(1)
    expect(following.text).toBe(TEXT)
    expect(following.indices).toEqual(ALL)
    expect(harness.asked).toEqual(['source', 'target'])
  })

  it('loses nothing when the target dies while it is prepared', async () => {
    const source = harness.node('source', 1000, [paced])
    const dies: Script = async (channel, start) => {
      await accept(channel, start)
      await sleep(harness.clock, 50)
      channel.abort(new TypeError('the target died'))
    }
    harness.node('target', 10, [dies])
    const run = await harness.submit()
    const following = harness.follow(run)
    await harness.until(() => run.task.answer.length === 2)
    report(source, true)
    await following.over(1)
    expect(following.text).toBe(TEXT)
    expect(following.nodes).toEqual(['source'])
    expect(harness.dispatcher.stats().handovers.ok).toBe(0)
  })

  it('an answer that ends while its move is prepared lets the target go', async () => {
    const source = harness.node('source', 1000, [paced])
    const slow: Script = async (channel, start) => {
      await accept(channel, start)
      expect((await channel.receive())?.type).toBe('attempt.cancel')
    }
    const target = harness.node('target', 10, [slow])
    const run = await harness.submit()
    const following = harness.follow(run)
    await harness.until(() => run.task.answer.length === 6)
    report(source, true)
    await following.over(1)
    expect(following.text).toBe(TEXT)
    await harness.clock.advance(1000)
    expect(harness.directory.entry(target.self.peerId)!.snapshot(0).models.values().next().value!.running).toBe(0)
  })

  it('gives its slot to a more urgent task, and goes on behind it', async () => {
    harness.node('only', 1000, [stallsThenPaced(), held])
    const bulk = await harness.submit(harness.task({ priority: 'bulk', attachment: 'background' }))
    await harness.until(() => bulk.task.answer.length === 2)
    const urgent = harness.follow(await harness.submit(harness.task({ priority: 'interactive' })))
    await urgent.over(10)
    expect(urgent.text).toBe(TEXT)
    await harness.until(() => bulk.result !== undefined, 10)
    expect(bulk.task.answer.text).toBe(TEXT)
    expect(bulk.attempts.entries.map(({ assigned, ended }) => [assigned.reason, ended?.outcome])).toEqual([
      ['first', 'evicted'],
      ['preempted', 'completed'],
    ])
  })

  /** Two tokens, then slowly nothing but signs of life, until it is told to stop. */
  const stallsThenPaced = (): Script => async (channel, start) => {
    await accept(channel, start)
    await tokensFrom(channel, start.fence, 0, 2)
    let i = 2
    const cancelled = channel.receive()
    for (;;) {
      const isOver = await Promise.race([cancelled.then(() => true), sleep(harness.clock, 900).then(() => false)])
      if (isOver) return
      if (i < 5) await tokensFrom(channel, start.fence, i, ++i)
    }
  }

  /** What a node does with `attempt.attach`: gives all tokens from there on, and the end. */
  const gives = async (channel: NodeChannel, attach: AttemptAttach): Promise<void> => {
    await accept(channel, attach)
    await tokensFrom(channel, attach.fence, attach.from, ANSWER.length)
    await end(channel, attach)
  }

  /** The node's connection breaks and comes back, and it tells that it holds the attempt. */
  const goesAndComesBack = async (node: MemoryPeerTransport, run: TaskRun): Promise<void> => {
    const { fence } = run.current!.init
    const { peerId } = node.self
    lose(peerId)
    await harness.clock.advance(500)
    harness.connect(node, 1000)
    harness.directory.held({ peerId, attempts: [{ taskId: run.task.id, fence, index: 8, ended: true }] })
  }

  it('is attached to again when its node comes back with it', async () => {
    const node = harness.node('only', 1000, [stallsAfter(3)], { attach: gives })
    const run = await harness.submit()
    const following = harness.follow(run)
    await harness.until(() => run.task.answer.length === 3)
    await goesAndComesBack(node, run)
    await following.over(1)
    expect(following.text).toBe(TEXT)
    expect(following.indices).toEqual(ALL)
    expect(run.attempts.entries.at(-1)!.assigned.reason).toBe('reattached')
  })

  it('an attempt that is being attached to is not released when its node names it once more', async () => {
    const released: unknown[] = []
    harness.directory.watch({ release: (_peer, attempts) => released.push(...attempts) })
    const node = harness.node('only', 1000, [stallsAfter(3)], {
      attach: async (channel, attach) => {
        const { taskId, heldFence: fence } = attach
        harness.directory.held({ peerId: node.self.peerId, attempts: [{ taskId, fence, index: 8, ended: true }] })
        await gives(channel, attach)
      },
    })
    const run = await harness.submit()
    const following = harness.follow(run)
    await harness.until(() => run.task.answer.length === 3)
    await goesAndComesBack(node, run)
    await following.over(1)
    expect(released).toEqual([])
    expect(following.text).toBe(TEXT)
  })

  it('takes the node at its word also when that comes before the stream is known to be lost', async () => {
    const node = harness.node('only', 1000, [stallsAfter(3)], { attach: gives })
    const run = await harness.submit()
    const following = harness.follow(run)
    await harness.until(() => run.task.answer.length === 3)
    const { fence } = run.current!.init
    harness.directory.held({
      peerId: node.self.peerId,
      attempts: [{ taskId: run.task.id, fence, index: 5, ended: false }],
    })
    await following.over(1)
    expect(following.text).toBe(TEXT)
    expect(run.attempts.entries.at(-1)!.assigned.reason).toBe('reattached')
  })

  it('what nobody wants any more is released', async () => {
    const node = harness.node('only', 1000, [answers])
    const released: unknown[] = []
    harness.directory.watch({ release: (_peer, attempts) => released.push(...attempts) })
    const { peerId } = node.self
    const attempt = { taskId: harness.task().id, fence: 7, index: 3, ended: false }
    harness.directory.held({ peerId, attempts: [attempt] })
    expect(released).toEqual([attempt])
  })

  describe('after a restart of the coordinator', () => {
    it('goes on with the attempt that the node holds, and a client gets the rest by its place', async () => {
      const node = harness.node('only', 1000, [stallsAfter(5)], { attach: gives })
      const run = await harness.submit(harness.task({ attachment: 'resumable' }))
      const first = harness.follow(run)
      await harness.until(() => run.task.answer.length === 5)
      await harness.clock.advance(LIMITS.checkpointMs + 100)
      const { fence } = run.current!.init
      const { peerId } = node.self
      lose(peerId)
      await harness.restart()
      const again = harness.dispatcher.run(run.task.id)!
      expect(again.task.answer.length).toBe(5)
      const second = harness.follow(again, 5)
      await harness.clock.advance(1000)
      harness.connect(node, 1000)
      harness.directory.held({ peerId, attempts: [{ taskId: run.task.id, fence, index: 5, ended: false }] })
      await second.over(1)
      expect(second.error).toBeUndefined()
      expect(first.text + second.text).toBe(TEXT)
      const last = harness.begins.at(-1)!
      expect(last).toMatchObject({ type: 'attempt.attach', heldFence: fence, from: 5 })
      expect(last.fence).toBeGreaterThan(fence)
      await harness.clock.advance(10)
      expect(textOf((await settledTask(run.task.id))!)).toBe(TEXT)
    })

    it('makes the rest again when no node holds it; who had more is told so', async () => {
      const node = harness.node('only', 1000, [stallsAfter(3), answers])
      const run = await harness.submit(harness.task({ attachment: 'background' }))
      await harness.until(() => run.task.answer.length === 3)
      await harness.clock.advance(LIMITS.checkpointMs + 100)
      const { peerId } = node.self
      lose(peerId)
      await harness.restart()
      const again = harness.dispatcher.run(run.task.id)!
      const whole = harness.follow(again, 0)
      const ahead = harness.follow(again, 6)
      harness.connect(node, 1000)
      harness.directory.held({ peerId, attempts: [] })
      await whole.over(1)
      expect(whole.text).toBe(TEXT)
      expect(ahead.error).toMatchObject({ code: 'ANSWER_DIVERGED' })
      expect(again.attempts.entries.at(-1)!.assigned.reason).toBe('recovered')
      expect(() => again.follow(5)).toThrow(expect.objectContaining({ code: 'ANSWER_DIVERGED' }))
      const rest = harness.follow(again, 3)
      await rest.over()
      expect(rest.text).toBe(ANSWER.slice(3).join(''))
      expect(again.textBefore(3)).toBe(ANSWER.slice(0, 3).join(''))
      expect(again.textBefore(again.task.answer.position(ANSWER.length))).toBe(TEXT)
      expect(() => again.textBefore(5)).toThrow(expect.objectContaining({ code: 'ANSWER_DIVERGED' }))
    })

    it('does not wait for ever for a node that stays away', async () => {
      const node = harness.node('gone', 1000, [stallsAfter(3)])
      const run = await harness.submit(harness.task({ attachment: 'background' }))
      await harness.until(() => run.task.answer.length === 3)
      lose(node.self.peerId)
      await harness.restart()
      harness.node('other', 10, [answers])
      const again = harness.dispatcher.run(run.task.id)!
      await harness.until(() => again.result !== undefined, 50)
      expect(again.result).toMatchObject({ outcome: 'completed' })
      expect(again.task.answer.text).toBe(TEXT)
    })

    it('an answer whose client cannot come back is ended, and said to be', async () => {
      harness.node('only', 1000, [stallsAfter(3)])
      const run = await harness.submit()
      await harness.until(() => run.task.answer.length === 3)
      await harness.restart()
      await harness.clock.advance(100)
      expect((await settledTask(run.task.id))!.result).toMatchObject({
        outcome: 'cancelled',
        error: { code: 'COORDINATOR_RESTARTED' },
      })
    })
  })

  it('an end that cannot be written is written when the disk has room again', async () => {
    harness.node('good', 100, [answers])
    const task = harness.task({ attachment: 'background' })
    const run = await harness.submit(task)
    harness.ledger.failWrites('the disk is full')
    await harness.until(() => run.result !== undefined)
    await harness.clock.advance(3000)
    expect(harness.dispatcher.ledgerFailure).toMatchObject({ code: 'LEDGER_UNAVAILABLE' })
    harness.ledger.failWrites(undefined)
    await harness.clock.advance(6000)
    expect(harness.dispatcher.ledgerFailure).toBeUndefined()
    expect(textOf((await settledTask(task.id))!)).toBe(TEXT)
  })

  async function settledTask(taskId: Parameters<DispatchHarness['ledger']['task']>[0]) {
    const task = harness.ledger.task(taskId)
    await harness.clock.advance(10)
    return task
  }
})
