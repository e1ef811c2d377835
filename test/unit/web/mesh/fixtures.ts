/** Members and tasks for tests of the picture. */
import type { LiveTask } from '../../../../clients/web/mesh/model.ts'
import type { Bar, MeshNode, TaskSummary } from '../../../../clients/web/mesh/types.ts'

export const node = (name: string, change: Partial<MeshNode> = {}): MeshNode => ({
  peerId: `peer-${name}`,
  name,
  roles: ['node'],
  state: 'ready',
  isEligible: true,
  reasons: [],
  isSelf: false,
  isCloud: false,
  power: 'mains',
  certificateExpiresAtMs: 0,
  labels: {},
  models: [{ digest: 'sha256:a', name: 'tiny', residency: 'resident', contextTokens: 2048, slots: 4, slotsInUse: 0 }],
  ...change,
})

export const task = (taskId: string, change: Partial<TaskSummary> = {}): TaskSummary => ({
  taskId,
  model: 'tiny',
  priority: 'default',
  tenant: 'local',
  state: 'queued',
  admittedAtMs: 0,
  attempts: 0,
  tokens: 0,
  ...change,
})

export const bar = (attempt: number, name: string, fromMs: number, toMs?: number, reason = 'first'): Bar => ({
  attempt,
  node: { peerId: `peer-${name}`, name },
  fromMs,
  reason,
  ...(toMs !== undefined && { toMs }),
})

export const live = (taskId: string, bars: readonly Bar[], change: Partial<TaskSummary> = {}): LiveTask => ({
  ...task(taskId, { state: 'running', attempts: bars.length, ...change }),
  bars,
  event: 0,
})
