/** What the coordinator tells those who watch: each thing once, in its order, with what it is counted by. */
import { describe, expect, it } from 'vitest'
import { asPeerId, SkeinError } from '../../../mesh/protocol/index.ts'
import { MemoryNetwork } from '../../../mesh/network/index.ts'
import { ManualClock, SeededRandom, silentLogger } from '../../../mesh/runtime/index.ts'
import { Observers, type MeshEvent } from '../../../coordinator/admission/index.ts'
import { Directory, type NodeChange } from '../../../coordinator/directory/index.ts'
import { answers, DispatchHarness, stallsAfter } from './dispatch.harness.ts'

function watched(): { harness: DispatchHarness; told: MeshEvent[] } {
  const harness = new DispatchHarness()
  const told: MeshEvent[] = []
  harness.observers.watch((event) => told.push(event))
  return { harness, told }
}
const ofTasks = (told: readonly MeshEvent[]): MeshEvent[] => told.filter(({ type }) => type !== 'ledger.answered')

describe('a task', () => {
  it('is told of from its place in the line to its end', async () => {
    const { harness, told } = watched()
    harness.node('desk', 100, [answers])
    await harness.run()
    expect(ofTasks(told).map(({ type }) => type)).toEqual([
      'task.queued',
      'attempt.began',
      'attempt.ended',
      'task.ended',
    ])
    const [, began, ended, end] = ofTasks(told)
    expect(began).toMatchObject({ attempt: { attempt: 1, reason: 'first', node: { name: 'desk' } } })
    expect(ended).toMatchObject({ attempt: { attempt: 1 }, ended: { outcome: 'completed' } })
    expect(end).toMatchObject({ attempts: 1, result: { outcome: 'completed' }, task: { tenant: 'local' } })
    const { tokens, result } = end as Extract<MeshEvent, { type: 'task.ended' }>
    expect(tokens).toEqual(result.usage)
    expect(began).toHaveProperty('waitedMs', result.timing?.queuedMs)
    await harness.until(() => harness.dispatcher.stats().ledger.events === 0)
    expect(harness.dispatcher.stats()).toMatchObject({ attempts: 0, ledger: { ms: 0 } })
  })

  it('that goes on elsewhere is told as moved, once', async () => {
    const { harness, told } = watched()
    harness.node('first', 1000, [stallsAfter(2)])
    harness.node('second', 10, [answers])
    await harness.run()
    const moves = told.filter(({ type }) => type === 'task.moved')
    expect(moves).toHaveLength(1)
    expect(moves[0]).toMatchObject({ reason: 'lost', attempt: { attempt: 2, node: { name: 'second' } } })
    const failed = told.find(({ type }) => type === 'attempt.ended')
    expect(failed).toMatchObject({ ended: { outcome: 'lost', code: 'ATTEMPT_STALLED' } })
    expect(harness.dispatcher.stats().migrations).toEqual({ lost: 1 })
  })

  it('that fails is told with its code, and what was made of it', async () => {
    const { harness, told } = watched()
    harness.node('desk', 100, [stallsAfter(3)])
    const run = await harness.submit()
    const following = harness.follow(run)
    await harness.until(() => run.task.answer.length === 3)
    expect(harness.dispatcher.stats().attempts).toBe(1)
    run.cancel(new SkeinError('CLIENT_CLOSED', 'gone'))
    await following.over()
    const end = told.find(({ type }) => type === 'task.ended')
    expect(end).toMatchObject({
      result: { outcome: 'cancelled', error: { code: 'CLIENT_CLOSED' } },
      tokens: { completionTokens: 3 },
    })
  })
})

describe('the ledger', () => {
  it('is told of with each write, and how far it is behind', async () => {
    const { harness, told } = watched()
    harness.node('desk', 100, [answers])
    harness.ledger.failWrites('the disk is full')
    const failing = harness.dispatcher.submit(harness.task())
    await harness.until(() => failing.result !== undefined)
    const codes = (): unknown[] => told.flatMap((event) => (event.type === 'ledger.answered' ? [event.code] : []))
    await harness.until(() => codes().length > 0)
    expect(codes()[0]).toBe('LEDGER_UNAVAILABLE')
    await harness.clock.advance(50)
    const { events, ms } = harness.dispatcher.stats().ledger
    expect(events).toBeGreaterThan(2)
    expect(ms).toBeGreaterThanOrEqual(50)
    harness.ledger.failWrites(undefined)
    await harness.until(() => codes().includes(undefined))
    await harness.until(() => harness.dispatcher.stats().ledger.events === 0)
  })
})

describe('who watches', () => {
  it('harms nobody by an exception', () => {
    const observers = new Observers({ log: silentLogger })
    const heard: MeshEvent[] = []
    const stop = observers.watch(() => {
      throw new TypeError('a defect of a listener')
    })
    observers.watch((event) => heard.push(event))
    const event = { type: 'ledger.answered', tookMs: 1 } as const
    observers.tell(event)
    stop()
    observers.tell(event)
    expect(heard).toEqual([event, event])
  })
})

describe('a node', () => {
  it('is told of as it comes, turns and goes', () => {
    const directory = new Directory({ clock: new ManualClock(), log: silentLogger }, asPeerId('self'))
    const changes: string[] = []
    directory.watch({ changed: ({ what, name }: NodeChange) => changes.push(`${name} ${what}`) })
    const { self } = new MemoryNetwork({ clock: new ManualClock(), random: new SeededRandom(1) }).join('desk')
    const member = { ...self, isSelf: false }
    const load = { sequence: 1, models: [], memoryFreeBytes: 0, cordoned: false }
    const first = directory.connected(member)
    for (const draining of [false, true, true, false]) directory.report(member.peerId, { ...load, draining })
    directory.disconnected(member.peerId, first)
    directory.disconnected(member.peerId, first)
    const second = directory.connected(member)
    directory.disconnected(member.peerId, second, true)
    directory.connected(member)
    directory.connected(member)
    directory.forget(member.peerId)
    expect(changes.map((change) => change.replace('desk ', ''))).toEqual([
      ...['joined', 'draining', 'serving', 'lost'],
      ...['joined', 'left'],
      ...['joined', 'lost', 'joined', 'left'],
    ])
  })
})
