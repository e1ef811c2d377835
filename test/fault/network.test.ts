/**
 * The network fails while answers run: each node has a network namespace of its own, so that a cable can be pulled without
 * anybody being told, a direction can go dead, and a link can be slow.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ensureModel } from '../fixtures/models/index.ts'
import { NamespaceNetwork } from '../fixtures/namespaces.ts'
import type { Answer } from './harness/answer.ts'
import { allBegun, busiest, expectEchoed, expectWhole } from './harness/checks.ts'
import { FaultMesh, type TaskOnRecord } from './harness/fault-mesh.ts'
import { sleep } from './harness/processes.ts'

const NODES = ['one', 'two', 'three']
const ECHO_STREAMS = 6
/** Six seconds. */
const ECHO_TOKENS = 360
const MODEL_TOKENS = 150
/** Twelve kilobytes: a fifth of a second of the slow link. */
const LONG_PROMPT = Array.from({ length: 1500 }, (_, i) => `geese${i % 100}`).join(' ')
const SLOW = { kilobitsPerSecond: 512 }
/** Above `lostAfterMs`, by which silence is a loss, and what the decision takes. */
const LOSS_MS = 3500

let network: NamespaceNetwork
let mesh: FaultMesh
let round = 0

beforeAll(async () => {
  const model = await ensureModel('m135')
  const args = ['--model', 'echo:paced?tps=60', '--model', model, '--slots', '4', '--threads', '1', '--context', '2048']
  network = await NamespaceNetwork.create('flt', NODES.length, { subnet: '10.78.0', hasGateway: true })
  mesh = await FaultMesh.start({ network, nodes: NODES.map((name) => ({ name, args })) })
})
afterAll(async () => {
  await mesh?.stop()
  await network?.remove()
})

const index = (name: string): number => NODES.indexOf(name)

/** Asks all questions; resolves when all answers have begun, those that take the same time on any machine last. */
async function askAll(): Promise<Answer[]> {
  round++
  const spoken = mesh.ask({ model: 'm135', prompt: `tell ${round} of geese`, maxTokens: MODEL_TOKENS })
  await allBegun([spoken])
  const answers = [
    spoken,
    ...Array.from({ length: ECHO_STREAMS }, (_, i) =>
      mesh.ask({
        model: 'paced',
        prompt: `round ${round} goose ${i} flies on`,
        maxTokens: ECHO_TOKENS,
        ...(i % 2 && { key: `n-${round}-${i}` }),
      }),
    ),
  ]
  await allBegun(answers)
  return answers
}

const checked = (answers: readonly Answer[]): Promise<TaskOnRecord[]> =>
  Promise.all(
    answers.map((answer) =>
      answer.question.model === 'paced' ? expectEchoed(mesh, answer) : expectWhole(mesh, answer),
    ),
  )

/** Attempts that did not bring their task to its end. */
const lost = (tasks: readonly TaskOnRecord[]): string[] =>
  tasks.flatMap((task) => task.attempts.slice(0, -1).map(({ assigned }) => assigned.node.name))

describe('the network fails while answers run', () => {
  it.each([
    [
      'its cable is pulled',
      (node: string) => network.cable(index(node), 'down'),
      (node: string) => network.cable(index(node), 'up'),
    ],
    [
      'it is not heard any more',
      (node: string) => network.outbound(index(node), 'cut'),
      (node: string) => network.outbound(index(node), 'open'),
    ],
    [
      'it hears nothing any more',
      (node: string) => network.inbound(index(node), 'cut'),
      (node: string) => network.inbound(index(node), 'open'),
    ],
  ] as const)('%s: its answers go on elsewhere, and it comes back', async (_what, fail, heal) => {
    const answers = await askAll()
    const victim = busiest(mesh, answers)
    await fail(victim)
    await sleep(LOSS_MS)
    await heal(victim)
    const tasks = await checked(answers)
    expect(lost(tasks)).toContain(victim)
    expect(new Set(lost(tasks))).toEqual(new Set([victim]))
    await mesh.eligible(victim)
  })

  it('slow links are no deaths: long prompts and many tokens arrive whole, where they began', async () => {
    for (const i of NODES.keys()) {
      await network.outbound(i, SLOW)
      await network.inbound(i, SLOW)
    }
    const long = Array.from({ length: 3 }, (_, i) =>
      mesh.ask({ model: 'paced', prompt: `${i} ${LONG_PROMPT}`, maxTokens: 200 }),
    )
    const tasks = await checked([...(await askAll()), ...long])
    for (const i of NODES.keys()) {
      await network.outbound(i, 'open')
      await network.inbound(i, 'open')
    }
    expect(lost(tasks)).toEqual([])
  })
})
