import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  conditionOf,
  emptyMesh,
  endedTasks,
  isOpen,
  lacksBars,
  openTasks,
  queueOf,
  TASKS_MAX,
  withAttempts,
  withEvent,
  withNodes,
  withTasks,
  type MeshEvent,
  type MeshState,
} from '../../../../clients/web/mesh/model.ts'
import type { MeshNode, TaskSummary } from '../../../../clients/web/mesh/types.ts'
import { node, task } from './fixtures.ts'

const NODES = [node('desk'), node('attic'), node('shed')]
const nameOf = (index: number) => ({ peerId: NODES[index % 3]!.peerId, name: NODES[index % 3]!.name })

/** What the coordinator would say: the truth that the picture is held against. */
class Coordinator {
  readonly tasks = new Map<string, TaskSummary>()
  readonly nodes = new Map<string, MeshNode>(NODES.map((member) => [member.peerId, member]))
  #nowMs = 1000

  /** Does one of the things that can happen, and tells of it; `undefined` when it cannot happen just now. */
  act({ what, which, where }: Act): MeshEvent | undefined {
    const atMs = ++this.#nowMs
    const taskId = `task_${which}`
    const known = this.tasks.get(taskId)
    const of = { atMs, taskId, key: 'local', model: 'tiny' }
    switch (what) {
      case 'queue':
        if (known !== undefined) return undefined
        this.tasks.set(taskId, task(taskId, { admittedAtMs: atMs, priority: 'bulk' }))
        return { type: 'task.queued', ...of, priority: 'bulk' }
      case 'place': {
        if (known === undefined || !isOpen(known)) return undefined
        const attempts = known.attempts + 1
        this.tasks.set(taskId, { ...known, state: 'running', attempts, node: nameOf(where) })
        const attempt = { attempt: attempts, node: nameOf(where), route: 'mesh' }
        if (attempts === 1) return { type: 'task.started', ...of, ...attempt, waitedMs: 1 }
        return { type: 'task.moved', ...of, ...attempt, reason: 'lost' }
      }
      case 'end': {
        if (known === undefined || !isOpen(known)) return undefined
        this.tasks.set(taskId, { ...known, state: 'completed', endedAtMs: atMs, tokens: where })
        return {
          type: 'task.ended',
          ...of,
          outcome: 'completed',
          attempts: known.attempts,
          completionTokens: where,
          tookMs: 5,
        }
      }
      case 'lose': {
        const { peerId, name } = nameOf(where)
        this.nodes.set(peerId, { ...this.nodes.get(peerId)!, state: 'disconnected', isEligible: false })
        return { type: 'node.lost', atMs, peerId, name }
      }
      case 'join': {
        const { peerId, name } = nameOf(where)
        this.nodes.set(peerId, node(name))
        return { type: 'node.joined', atMs, peerId, name }
      }
    }
  }

  snapshot() {
    const all = [...this.tasks.values()]
    return { open: all.filter(isOpen), recent: all, nodes: [...this.nodes.values()] }
  }
}

interface Act {
  readonly what: 'queue' | 'place' | 'end' | 'lose' | 'join'
  readonly which: number
  readonly where: number
}

const acts = fc.array(
  fc.record({
    what: fc.constantFrom('queue' as const, 'place' as const, 'end' as const, 'lose' as const, 'join' as const),
    which: fc.nat(5),
    where: fc.nat(40),
  }),
  { maxLength: 60 },
)

/** What is compared: a picture of the same mesh, however it came to be. */
const picture = (state: MeshState) => ({
  open: openTasks(state)
    .map(({ bars: _, event: _event, ...summary }) => summary)
    .sort((a, b) => (a.taskId < b.taskId ? -1 : 1)),
  nodes: [...state.nodes.values()].map(({ peerId, state: liveness }) => [peerId, liveness]).sort(),
})

const fresh = (coordinator: Coordinator): MeshState => {
  const { open, recent, nodes } = coordinator.snapshot()
  return withTasks(withNodes(emptyMesh(0), nodes, 0), { open, recent, mark: 0 })
}

describe('the picture of the mesh', () => {
  it('ends in what a fresh snapshot says, whenever snapshots were asked for, answered and came, and whatever was missed', () => {
    fc.assert(
      fc.property(acts, fc.array(fc.nat(60), { minLength: 3, maxLength: 3 }), fc.nat(60), (all, moments, until) => {
        const [asked, answered, came] = moments.toSorted((a, b) => a - b) as [number, number, number]
        const coordinator = new Coordinator()
        let state = emptyMesh(0)
        let mark = 0
        let snapshot = coordinator.snapshot()
        const missedUntil = Math.min(until, asked)
        for (let i = 0; i <= Math.max(all.length, came); i++) {
          if (i === asked) mark = state.events
          if (i === answered) snapshot = coordinator.snapshot()
          if (i === came) {
            state = withNodes(state, snapshot.nodes, mark)
            state = withTasks(state, { ...snapshot, mark })
          }
          const event = all[i] && coordinator.act(all[i]!)
          // the stream was away for a while, and says so when it is back
          if (event !== undefined && i >= missedUntil) state = withEvent(state, event)
        }
        // what an event made doubtful is asked for again, as the page does
        if (state.stale.nodes) state = withNodes(state, coordinator.snapshot().nodes, state.events)
        if (state.stale.tasks) state = withTasks(state, { ...coordinator.snapshot(), mark: state.events })
        expect(picture(state)).toEqual(picture(fresh(coordinator)))
        expect(Object.values(state.stale).slice(0, 1)).toEqual([false])
      }),
      { numRuns: 400 },
    )
  })

  it('does not change by an event that is told twice', () => {
    fc.assert(
      fc.property(acts, (all) => {
        const coordinator = new Coordinator()
        let once = emptyMesh(0)
        let twice = emptyMesh(0)
        for (const act of all) {
          const event = coordinator.act(act)
          if (event === undefined) continue
          once = withEvent(once, event)
          twice = withEvent(withEvent(twice, event), event)
        }
        const tasks = (state: MeshState) => [...state.tasks.values()].map(({ event: _, ...rest }) => rest)
        expect(tasks(twice)).toEqual(tasks(once))
        expect(twice.generated).toBe(once.generated)
      }),
    )
  })

  it('keeps bars without gaps: each attempt ends where the next begins', () => {
    const began: MeshEvent[] = [
      { type: 'task.queued', atMs: 10, taskId: 'task_a', key: 'local', model: 'tiny', priority: 'default' },
      { type: 'task.started', atMs: 20, taskId: 'task_a', key: 'local', model: 'tiny', attempt: 1, node: nameOf(0) },
      {
        type: 'task.moved',
        atMs: 50,
        taskId: 'task_a',
        key: 'local',
        model: 'tiny',
        attempt: 2,
        node: nameOf(1),
        reason: 'lost',
      },
      {
        type: 'task.ended',
        atMs: 90,
        taskId: 'task_a',
        key: 'local',
        model: 'tiny',
        outcome: 'completed',
        completionTokens: 7,
      },
    ]
    const state = began.reduce(withEvent, emptyMesh(0))
    expect(state.tasks.get('task_a')!.bars).toEqual([
      { attempt: 1, node: nameOf(0), fromMs: 20, toMs: 50, reason: 'first' },
      { attempt: 2, node: nameOf(1), fromMs: 50, toMs: 90, reason: 'lost' },
    ])
    expect(state.generated).toBe(7)
    expect(state.happenings.map(({ type }) => type)).toEqual([
      'task.ended',
      'task.moved',
      'task.started',
      'task.queued',
    ])
  })

  it('takes the bars of a task that moved before the page looked from its explanation', () => {
    const moved = task('task_a', { state: 'running', attempts: 2, node: nameOf(1) })
    const state = withTasks(emptyMesh(5000), { open: [moved], mark: 0 })
    expect(lacksBars(state.tasks.get('task_a')!)).toBe(true)
    const attempt = (n: number, atMs: number) => ({
      ...{ attempt: n, atMs, node: nameOf(n - 1), route: 'mesh', from: 0, candidates: [], observed: {} },
      reason: n === 1 ? 'first' : 'drain',
    })
    const explained = withAttempts(state, 'task_a', [attempt(1, 100), attempt(2, 300)]).tasks.get('task_a')!
    expect(explained.bars.map(({ fromMs, toMs }) => [fromMs, toMs])).toEqual([
      [100, 300],
      [300, undefined],
    ])
    expect(lacksBars(explained)).toBe(false)
  })

  it('drops an open task that a later snapshot does not list, and asks how it ended', () => {
    const state = withTasks(emptyMesh(0), { open: [task('task_a')], mark: 0 })
    const later = withTasks(state, { open: [], mark: state.events })
    expect(later.tasks.size).toBe(0)
    expect(later.stale.tasks).toBe(true)
  })

  it('keeps a task that was told of while the snapshot was on its way', () => {
    const queued: MeshEvent = { type: 'task.queued', atMs: 10, taskId: 'task_a', key: 'local', model: 'tiny' }
    const state = withTasks(withEvent(emptyMesh(0), queued), { open: [], mark: 0 })
    expect(openTasks(state)).toHaveLength(1)
    expect(state.stale.tasks).toBe(false)
  })

  it('does not take a page of open tasks for all of them', () => {
    const page = Array.from({ length: 200 }, (_, i) => task(`task_${i}`))
    const state = withTasks(emptyMesh(0), { open: [task('task_old')], mark: 0 })
    expect(withTasks(state, { open: page, mark: state.events }).tasks.has('task_old')).toBe(true)
  })

  it('counts tokens that came since the page looks, and not those of before', () => {
    const old = task('task_old', { admittedAtMs: 100, state: 'running', tokens: 50 })
    let state = withTasks(emptyMesh(1000), { open: [old], mark: 0 })
    expect(state.generated).toBe(0)
    state = withTasks(state, {
      open: [{ ...old, tokens: 80 }, task('task_new', { admittedAtMs: 2000, tokens: 5 })],
      mark: 0,
    })
    expect(state.generated).toBe(35)
  })

  it('forgets those that ended first, and never one that is open', () => {
    const ended = Array.from({ length: TASKS_MAX }, (_, i) =>
      task(`task_${i}`, { state: 'completed', endedAtMs: i + 1 }),
    )
    const state = withTasks(emptyMesh(0), { open: [task('task_open')], recent: ended, mark: 0 })
    expect(state.tasks.size).toBe(TASKS_MAX)
    expect(state.tasks.has('task_open')).toBe(true)
    expect(state.tasks.has('task_0')).toBe(false)
    expect(endedTasks(state)[0]!.taskId).toBe(`task_${TASKS_MAX - 1}`)
  })

  it('asks for everything again when events were missed, and survives events that are nonsense', () => {
    expect(withEvent(emptyMesh(0), { type: 'events.missed', atMs: 1 }).stale).toEqual({
      nodes: true,
      models: true,
      tasks: true,
    })
    fc.assert(
      fc.property(
        fc.constantFrom(
          'task.started',
          'task.moved',
          'task.ended',
          'task.queued',
          'node.lost',
          'replica.done',
          'other',
        ),
        fc.dictionary(
          fc.constantFrom('taskId', 'node', 'attempt', 'reason', 'outcome', 'peerId', 'tookMs'),
          fc.anything(),
        ),
        (type, members) => {
          const state = withEvent(emptyMesh(0), { ...members, type, atMs: 1 })
          for (const { bars, state: taskState } of state.tasks.values()) {
            expect(bars.every(({ node: { name } }) => typeof name === 'string')).toBe(true)
            expect(typeof taskState).toBe('string')
          }
        },
      ),
    )
  })
})

describe('a node in one word', () => {
  const load = { memoryFreeBytes: 1, isCordoned: false, isDraining: false }

  it.each([
    ['lost', { state: 'disconnected' as const }],
    ['suspect', { state: 'suspect' as const }],
    ['joining', { state: 'initializing' as const }],
    ['paused', { load: { ...load, paused: 'the sun is down', isDraining: true } }],
    ['draining', { load: { ...load, isDraining: true } }],
    ['cordoned', { load: { ...load, isCordoned: true } }],
    ['idle', { roles: ['coordinator'], models: [] }],
    ['ready', { load }],
  ])('is %s', (condition, change) => {
    expect(conditionOf({ ...node('desk'), ...change })).toBe(condition)
  })

  it('is busy while a slot is taken', () => {
    const busy = node('desk')
    expect(conditionOf({ ...busy, models: [{ ...busy.models[0]!, slotsInUse: 1 }] })).toBe('busy')
  })
})

describe('the queue', () => {
  it('has each class with how long it waits, the most urgent first', () => {
    const waiting = [
      task('task_1', { priority: 'bulk', admittedAtMs: 10 }),
      task('task_2', { priority: 'interactive', admittedAtMs: 30 }),
      task('task_3', { priority: 'bulk', admittedAtMs: 5 }),
      task('task_4', { priority: 'bulk', admittedAtMs: 1, state: 'running' }),
    ]
    const queue = queueOf(withTasks(emptyMesh(0), { open: waiting, mark: 0 }))
    expect(queue.map(({ priority, waiting: own, oldestAtMs }) => [priority, own.length, oldestAtMs])).toEqual([
      ['system', 0, undefined],
      ['interactive', 1, 30],
      ['default', 0, undefined],
      ['bulk', 2, 5],
    ])
  })
})
