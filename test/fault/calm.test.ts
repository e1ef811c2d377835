/**
 * Busy machines are not dead ones: processes that stand still for less than a loss takes, and processors that are fought
 * over, must cost nobody an attempt. A false loss is as much a defect as a missed one.
 */
import { spawn } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ensureModel } from '../fixtures/models/index.ts'
import { allBegun, expectEchoed, expectWhole } from './harness/checks.ts'
import { FaultMesh } from './harness/fault-mesh.ts'
import { signalAll, sleep } from './harness/processes.ts'

const NODES = ['one', 'two']
const ECHO_STREAMS = 6
/** Seven seconds. */
const ECHO_TOKENS = 420
const MODEL_TOKENS = 100
/** A stall of the event loop such as a large garbage collection or a busy disk makes. */
const STALL_MS = 400
const PAUSE_MS = 200
const STALLS = 8
const HOG_MS = 5000

let mesh: FaultMesh
let round = 0

beforeAll(async () => {
  const model = await ensureModel('m135')
  const args = ['--model', 'echo:paced?tps=60', '--model', model, '--slots', '8', '--threads', '1', '--context', '1024']
  mesh = await FaultMesh.start({ nodes: NODES.map((name) => ({ name, args })) })
})
afterAll(() => mesh?.stop())

/** Asks, disturbs, and expects every answer to end on the node where it began. */
async function expectUnmoved(disturb: () => Promise<void>): Promise<void> {
  round++
  const spoken = mesh.ask({ model: 'm135', prompt: `tell ${round} of geese`, maxTokens: MODEL_TOKENS })
  await allBegun([spoken])
  const echoes = Array.from({ length: ECHO_STREAMS }, (_, i) =>
    mesh.ask({ model: 'paced', prompt: `calm ${round} goose ${i} flies on`, maxTokens: ECHO_TOKENS }),
  )
  await allBegun(echoes)
  await disturb()
  const tasks = await Promise.all([...echoes.map((answer) => expectEchoed(mesh, answer)), expectWhole(mesh, spoken)])
  for (const task of tasks) expect(task.attempts.map(({ ended }) => ended?.outcome)).toEqual(['completed'])
}

/** Stops and continues `pid` again and again. */
async function stutter(pid: number): Promise<void> {
  for (let i = 0; i < STALLS; i++) {
    signalAll([pid], 'SIGSTOP')
    await sleep(STALL_MS)
    signalAll([pid], 'SIGCONT')
    await sleep(PAUSE_MS)
  }
}

describe('busy is not dead', () => {
  it('an agent whose event loop stands still again and again keeps its answers', async () => {
    await expectUnmoved(() => stutter(mesh.node('one').child.pid!))
  })

  it('a coordinator whose event loop stands still again and again loses no node', async () => {
    await expectUnmoved(() => stutter(mesh.coordinator.child.pid!))
  })

  it('an engine that stands still again and again keeps its answers', async () => {
    const engines = (await Promise.all(NODES.map((name) => mesh.engines(name)))).flat()
    expect(engines.length).toBeGreaterThan(0)
    await expectUnmoved(async () => void (await Promise.all(engines.map(stutter))))
  })

  it('processors that twice as many others want take no answer from its node', async () => {
    await expectUnmoved(async () => {
      const hogs = Array.from({ length: 2 * availableParallelism() }, () =>
        spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }),
      )
      await sleep(HOG_MS)
      for (const hog of hogs) hog.kill('SIGKILL')
    })
  })
})
