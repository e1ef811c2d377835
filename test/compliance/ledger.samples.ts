/** Tasks and events for tests of ledgers: whole in every field, so that nothing gets lost unseen. */
import type { AnswerPart, LedgerEventOf, TaskResult, TaskSpec } from '../../coordinator/ledger/index.ts'
import {
  asModelDigest,
  asPeerId,
  asRequestId,
  asTaskId,
  GREEDY,
  mintId,
  packTokenIds,
  type TaskId,
} from '../../mesh/protocol/index.ts'
import { SeededRandom } from '../../mesh/runtime/index.ts'

const random = new SeededRandom(1)

export const NODE = { peerId: asPeerId('12D3KooWnode'), name: 'desk-pc' }
export const SECRET = 'Whoever tires falls back'

export const newTaskId = (): TaskId => asTaskId(mintId('task', (length) => random.bytes(length)))

export const spec = (overrides: Partial<TaskSpec> = {}): TaskSpec => ({
  taskId: newTaskId(),
  requestId: asRequestId('req_aaaaaaaaaaaaaaaaaaaaaaaa'),
  model: 'tiny',
  digest: asModelDigest(`sha256:${'a'.repeat(64)}`),
  prompt: { kind: 'chat', messages: [{ role: 'user', content: SECRET }] },
  sampling: { ...GREEDY, temperature: 0.7, seed: 7 },
  stop: ['\n'],
  maxTokens: 40,
  logprobs: 1,
  format: { kind: 'json-schema', schema: '{}' },
  priority: 'default',
  tenant: 'local',
  localOnly: false,
  attachment: 'resumable',
  stored: false,
  deadlineAtMs: 1_800_000_060_000,
  shape: '{"api":"chat"}',
  ...overrides,
})

export const admitted = (
  overrides: Partial<TaskSpec> = {},
  atMs = 1_800_000_000_000,
): LedgerEventOf<'task.admitted'> => ({
  type: 'task.admitted',
  atMs,
  spec: spec(overrides),
})

export const assigned = (taskId: TaskId, attempt = 1, from = 0): LedgerEventOf<'attempt.assigned'> => ({
  type: 'attempt.assigned',
  atMs: 1_800_000_000_001.5,
  taskId,
  attempt,
  fence: 2 ** 20 + attempt,
  node: NODE,
  route: 'mesh',
  reason: attempt === 1 ? 'first' : 'lost',
  from,
  predicted: { waitMs: 0, loadMs: 0, prefillMs: 10.5, decodeMs: 100, linkMs: 1, penaltyMs: 0, totalMs: 111.5 },
  candidates: [{ ...NODE }, { ...NODE, name: 'laptop', rejected: 'it is cordoned' }],
})

export const attemptEnded = (taskId: TaskId, attempt = 1, to = 0): LedgerEventOf<'attempt.ended'> => ({
  type: 'attempt.ended',
  atMs: 1_800_000_000_500,
  taskId,
  attempt,
  outcome: 'lost',
  code: 'NODE_LOST',
  message: 'the connection closed',
  to,
  observed: { acceptMs: 2.5, firstTokenMs: 20 },
})

/** `count` tokens from `index` on. */
export const part = (index: number, count: number): AnswerPart => ({
  index,
  ids: packTokenIds(Array.from({ length: count }, (_, i) => index + i)),
  text: `${SECRET} `.repeat(count),
  cuts: [[count, count * (SECRET.length + 1)]],
  logprobs: [{ bytes: new Uint8Array([1, 2]), logprob: -0.25, top: [{ bytes: new Uint8Array([1]), logprob: -0.25 }] }],
})

export const checkpointed = (taskId: TaskId, index: number, count: number): LedgerEventOf<'task.checkpointed'> => ({
  type: 'task.checkpointed',
  atMs: 1_800_000_000_100,
  taskId,
  part: part(index, count),
})

export const ended = (
  taskId: TaskId,
  more: { part?: AnswerPart; atMs?: number; result?: Partial<TaskResult> } = {},
): LedgerEventOf<'task.ended'> => ({
  type: 'task.ended',
  atMs: more.atMs ?? 1_800_000_001_000,
  taskId,
  ...(more.part && { part: more.part }),
  result: {
    outcome: 'completed',
    finishReason: 'stop',
    usage: { promptTokens: 9, cachedTokens: 0, completionTokens: 12 },
    timing: { queuedMs: 1, firstTokenMs: 20.5, decodeMs: 100 },
    tail: SECRET,
    ...more.result,
  },
})
