/** What is compared: ours, and four that look at less. All see the same books of free slots, and none the future. */
import {
  AnswerLengths,
  PredictionAccuracy,
  schedule,
  uncachedTokens,
  type Prediction,
  type TaskDemand,
} from '../../../coordinator/scheduler/index.ts'
import type { PeerId } from '../../../mesh/protocol/index.ts'
import { SeededRandom } from '../../../mesh/runtime/index.ts'
import { DIGEST } from './machines.ts'
import type { Policy, SimNode, Task } from './simulate.ts'
import { BYTES_PER_TOKEN } from './traces.ts'

const MAX_TOKENS = 2048

interface Foreseen {
  /** When it was first told to wait, and for how long. */
  readonly wait?: { readonly atMs: number; readonly waitMs: number }
  readonly startMs: number
  readonly prediction: Prediction
}

export interface Ours extends Policy {
  readonly accuracy: PredictionAccuracy
}

export function ours(seed: number): Ours {
  const random = new SeededRandom(seed)
  const lengths = new AnswerLengths()
  const accuracy = new PredictionAccuracy()
  const claims = new Map<PeerId, number>()
  const foreseen = new Map<Task, Foreseen>()
  return {
    name: 'skein',
    accuracy,
    begin: () => claims.clear(),
    choose(task, nodes, nowMs) {
      const snapshot = { nodes: nodes.map(({ entry }) => entry.snapshot(nowMs)), claims }
      const demand = demandOf(task, lengths.expected(DIGEST, MAX_TOKENS), nowMs - task.arrivedMs)
      const found = schedule(snapshot, demand, () => random.next())
      if (found.kind === 'unschedulable') return 'stop'
      const { node: chosen, prediction } = found
      if (found.kind === 'wait') {
        const wait = { atMs: nowMs, waitMs: prediction.waitMs }
        if (!foreseen.has(task)) foreseen.set(task, { wait, startMs: nowMs, prediction })
        claims.set(chosen.peerId, (claims.get(chosen.peerId) ?? 0) + found.workMs)
        return 'wait'
      }
      foreseen.set(task, { ...foreseen.get(task), startMs: nowMs, prediction })
      const node = nodes.find(({ entry }) => entry.peerId === chosen.peerId)!
      const prefillTokens = uncachedTokens(chosen.models.get(DIGEST)!, demand)
      return { node, prefillTokens, decodeTokens: demand.decodeTokens }
    },
    ended(task) {
      lengths.learn(DIGEST, task.request.answer.tokens, MAX_TOKENS)
      const { wait, startMs, prediction } = foreseen.get(task)!
      accuracy.record(
        { ...prediction, waitMs: wait?.waitMs ?? 0 },
        {
          ...(wait && { waitMs: startMs - wait.atMs }),
          firstTokenMs: task.firstTokenMs - startMs,
          decodeMs: task.endMs - task.firstTokenMs,
        },
      )
    },
  }
}

const demandOf = ({ request }: Task, decodeTokens: number, waitedMs: number): TaskDemand => ({
  digest: DIGEST,
  prefillTokens: request.promptTokens,
  prefillTokensMin: 1,
  promptBytes: request.promptTokens * BYTES_PER_TOKEN,
  prefix: request.prefix,
  features: [],
  localOnly: false,
  budget: 0,
  inputTokensMax: 0,
  outputTokensMax: 0,
  decodeTokens,
  excluded: new Set(),
  waitedMs,
})

/** One of the nodes that have a free slot; all wait when none has. */
function simple(name: string, pick: (free: readonly SimNode[], nodes: readonly SimNode[]) => SimNode): Policy {
  return {
    name,
    choose({ request }, nodes) {
      const free = nodes.filter((node) => outstanding(node) < node.engine.machine.slots)
      if (free.length === 0) return 'stop'
      return { node: pick(free, nodes), prefillTokens: request.promptTokens, decodeTokens: 256 }
    },
  }
}

const outstanding = ({ entry }: SimNode): number => entry.running(DIGEST)

export function roundRobin(): Policy {
  let turn = 0
  return simple('round robin', (free, nodes) => {
    for (;;) {
      const node = nodes[turn++ % nodes.length]!
      if (free.includes(node)) return node
    }
  })
}

export function uniform(seed: number): Policy {
  const random = new SeededRandom(seed)
  return simple('random', (free) => free[Math.floor(random.next() * free.length)]!)
}

export function leastOutstanding(seed: number): Policy {
  const random = new SeededRandom(seed)
  return simple('least outstanding', (free) => {
    const least = Math.min(...free.map(outstanding))
    const equal = free.filter((node) => outstanding(node) === least)
    return equal[Math.floor(random.next() * equal.length)]!
  })
}

export function powerOfTwo(seed: number): Policy {
  const random = new SeededRandom(seed)
  return simple('power of two', (free) => {
    const a = free[Math.floor(random.next() * free.length)]!
    const b = free[Math.floor(random.next() * free.length)]!
    return outstanding(a) <= outstanding(b) ? a : b
  })
}
