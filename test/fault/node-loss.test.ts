/**
 * One node is hurt while answers come from it, on loopback: answers of the exact echo engine and of a real model, some
 * resumable and some not. Every client must get its answer whole, and the node must be of use again afterwards.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ensureModel } from '../fixtures/models/index.ts'
import { eventually } from '../fixtures/skein-process.ts'
import { allBegun, busiest, expectEchoed, expectWhole } from './harness/checks.ts'
import { FaultMesh, type TaskOnRecord } from './harness/fault-mesh.ts'
import { signalAll, sleep } from './harness/processes.ts'

const NODES = ['one', 'two', 'three']
const ECHO_STREAMS = 9
const MODEL_STREAMS = 3
/** Five seconds of echo. */
const ECHO_TOKENS = 300
const MODEL_TOKENS = 200

let mesh: FaultMesh
let round = 0

beforeAll(async () => {
  const model = await ensureModel('m135')
  const args = [
    '--model',
    'echo:paced?tps=60',
    '--model',
    model,
    '--slots',
    '16',
    '--threads',
    '1',
    '--context',
    '1024',
  ]
  mesh = await FaultMesh.start({ nodes: NODES.map((name) => ({ name, args })) })
})
afterAll(() => mesh?.stop())

interface Hurt {
  readonly victim: string
  readonly all: readonly TaskOnRecord[]
}

/** Asks all questions, hurts the node that most answers of `model` come from, and holds every answer to its promises. */
async function hurt(model: 'echo' | 'm135', fault: (victim: string) => Promise<void>): Promise<Hurt> {
  round++
  const resumable = (kind: string, i: number): { key?: string } => (i % 2 ? { key: `${kind}-${round}-${i}` } : {})
  const spoken = Array.from({ length: MODEL_STREAMS }, (_, i) =>
    mesh.ask({
      model: 'm135',
      prompt: `tell ${i} of geese`,
      maxTokens: MODEL_TOKENS,
      ...resumable('m', i),
    }),
  )
  // the model takes its time to begin, echo takes the same time always
  await allBegun(spoken)
  const echoes = Array.from({ length: ECHO_STREAMS }, (_, i) =>
    mesh.ask({
      model: 'paced',
      prompt: `round ${round} goose ${i} flies on`,
      maxTokens: ECHO_TOKENS,
      ...resumable('e', i),
    }),
  )
  await allBegun(echoes)
  const victim = busiest(mesh, model === 'echo' ? echoes : spoken)
  await fault(victim)
  const all = await Promise.all([
    ...echoes.map((answer) => expectEchoed(mesh, answer)),
    ...spoken.map((answer) => expectWhole(mesh, answer)),
  ])
  return { victim, all }
}

const movedFrom = (tasks: readonly TaskOnRecord[], name: string): TaskOnRecord[] =>
  tasks.filter((task) => task.attempts.slice(0, -1).some(({ assigned }) => assigned.node.name === name))

describe('a node is hurt while it answers', () => {
  it('kill -9 of the node: its answers go on elsewhere', async () => {
    const { victim, all } = await hurt('echo', async (name) => void (await mesh.node(name).stop('SIGKILL')))
    expect(movedFrom(all, victim).length).toBeGreaterThan(0)
    await mesh.startNode(victim)
  })

  it('SIGSTOP: its answers go on elsewhere, what it says when it wakes repeats nothing, and it is of use again', async () => {
    const { victim, all } = await hurt('echo', async (name) => {
      await mesh.freeze(name)
      await sleep(3000)
      await mesh.thaw(name)
    })
    expect(movedFrom(all, victim).length).toBeGreaterThan(0)
    await mesh.eligible(victim)
  })

  it('SIGTERM: it hands its answers over before it goes', async () => {
    const { victim, all } = await hurt('echo', async (name) => {
      expect(await mesh.node(name).stop('SIGTERM')).toBe(0)
    })
    const moved = movedFrom(all, victim)
    expect(moved.length).toBeGreaterThan(0)
    expect(moved.flatMap((task) => task.attempts.slice(1).map(({ assigned }) => assigned.reason))).toContain('drain')
    await mesh.startNode(victim)
  })

  it.each(['SIGKILL', 'SIGABRT'] as const)('%s of its engine: answers go on, and the agent lives', async (signal) => {
    const { victim, all } = await hurt('m135', async (name) => signalAll(await mesh.engines(name), signal))
    const crashed = all.flatMap((task) => task.attempts).filter(({ ended }) => ended?.code === 'ENGINE_CRASHED')
    expect(crashed.length).toBeGreaterThan(0)
    for (const { assigned } of crashed) expect(assigned.node.name).toBe(victim)
    expect(mesh.node(victim).exited).toBe(false)
    await eventually('it has an engine again', async () => (await mesh.engines(victim)).length > 0 || undefined)
  })
})
