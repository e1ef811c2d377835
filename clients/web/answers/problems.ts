/** What went wrong, as what a person can do about it. */
import { DivergedError, SkeinApiError } from '../../sdk/index.ts'
import type { Problem, ProblemAction, ProblemKind } from './types.ts'

const MESSAGE_LENGTH_MAX = 1000

/** By the codes of `docs/ERRORS.md`. */
const KINDS: Readonly<Record<string, ProblemKind>> = {
  unauthenticated: 'key-needed',
  forbidden: 'forbidden',
  model_not_found: 'no-model',
  no_node: 'no-node',
  no_eligible_node: 'no-node',
  cloud_no_capacity: 'no-node',
  attempts_exhausted: 'failed',
  saturated: 'saturated',
  deadline_unreachable: 'saturated',
  preempted: 'saturated',
  shutting_down: 'no-node',
  local_only: 'local-only',
  cloud_not_allowed: 'policy',
  hops_exceeded: 'policy',
  budget_exceeded: 'budget',
  quota_exceeded: 'budget',
  rate_limited: 'budget',
  context_length_exceeded: 'too-long',
  body_too_large: 'too-long',
  answer_diverged: 'interrupted',
  client_closed: 'interrupted',
  client_stalled: 'interrupted',
  not_continuable: 'interrupted',
  coordinator_restarted: 'interrupted',
  unreachable: 'interrupted',
  task_expired: 'interrupted',
  invalid_request: 'request',
  unsupported_parameter: 'request',
  idempotency_mismatch: 'request',
}

const ACTIONS: Readonly<Record<ProblemKind, readonly ProblemAction[]>> = {
  'key-needed': ['key', 'retry'],
  forbidden: ['key', 'settings'],
  'no-model': ['model', 'retry'],
  'no-node': ['retry', 'model'],
  saturated: ['retry'],
  'local-only': ['retry', 'model', 'settings'],
  policy: ['settings', 'model'],
  budget: ['retry', 'model'],
  'too-long': ['settings', 'model'],
  interrupted: ['continue', 'retry'],
  request: ['settings', 'retry'],
  failed: ['retry'],
}

/** @param taskId of the task, once there is one: what became of it can be looked at. */
export function problemOf(thrown: unknown, taskId?: string): Problem {
  const isKnown = thrown instanceof SkeinApiError
  const code = isKnown ? thrown.code : 'unknown'
  const kind = isKnown ? (KINDS[code] ?? kindByStatus(thrown.status)) : 'failed'
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  return {
    kind,
    code,
    message: message.slice(0, MESSAGE_LENGTH_MAX),
    ...(isKnown && thrown.retryAfterMs !== undefined && { retryAfterMs: thrown.retryAfterMs }),
    ...(taskId !== undefined && { taskId }),
    actions: taskId === undefined ? ACTIONS[kind] : [...ACTIONS[kind], 'explain'],
  }
}

function kindByStatus(status: number | undefined): ProblemKind {
  if (status === 401) return 'key-needed'
  if (status === 403) return 'forbidden'
  if (status === 402 || status === 429) return 'budget'
  return status !== undefined && status < 500 ? 'request' : 'failed'
}

const PATIENCE_MS = 30_000
/** Refusals that mend themselves seldom, or soon: a node that is just joining. */
const PATIENCE_BY_CODE_MS: Readonly<Record<string, number>> = {
  local_only: 3000,
  no_node: 8000,
  no_eligible_node: 12_000,
  attempts_exhausted: 0,
  task_expired: 0,
  // days, and not seconds
  quota_exceeded: 0,
}

/** How long the same refusal is asked again for, in ms. */
export const patienceWith = (code: string): number => PATIENCE_BY_CODE_MS[code] ?? PATIENCE_MS

/** The task is no longer there to be come back to, while its answer is still wanted: it is asked for anew, with the same seed. */
export const isGone = (thrown: unknown): boolean =>
  thrown instanceof SkeinApiError && ['client_closed', 'client_stalled', 'coordinator_restarted'].includes(thrown.code)

/** What came went another way than before: it is read from its start. */
export const isDiverged = (thrown: unknown): boolean => thrown instanceof DivergedError

/** Nobody answers: the answer waits until somebody does. */
export const isAway = (thrown: unknown): boolean => thrown instanceof SkeinApiError && thrown.code === 'unreachable'
