/** What the mesh knows of an answer: where it went, why it moved, and how it ended. */
import type { CallOptions } from './chat.ts'
import { ProtocolError } from './errors.ts'
import type { Gateways } from './gateways.ts'

export interface TaskAttempt {
  readonly node: string
  readonly route: 'local' | 'mesh' | 'cloud'
  /** Why it went there, of a second one why the first was left: `lost`, `drain`, `rebalance`, `preempted`. */
  readonly reason: string
  /** Wall clock of the coordinator, ms since 1970. */
  readonly atMs: number
  /** Of what it ended with, if that was an error. */
  readonly code: string | undefined
}

export interface Task {
  readonly id: string
  readonly state: 'queued' | 'running' | 'completed' | 'failed' | 'cancelled' | 'expired' | 'rejected'
  /** In their order. */
  readonly attempts: readonly TaskAttempt[]
  /** Of one that was completed, in ms. */
  readonly timing: TaskTiming | undefined
}

export interface TaskTiming {
  readonly queuedMs: number
  readonly firstTokenMs: number
  readonly decodeMs: number
}

type Options = Pick<CallOptions, 'signal'>

const STATES = ['queued', 'running', 'completed', 'failed', 'cancelled', 'expired', 'rejected'] as const
const ROUTES = ['local', 'mesh', 'cloud'] as const

export class Tasks {
  readonly #gateways: Gateways

  constructor(gateways: Gateways) {
    this.#gateways = gateways
  }

  /** @throws SkeinApiError `not_found`, and its kinds. */
  async get(id: string, options: Options = {}): Promise<Task> {
    return taskOf(await this.#gateways.json({ method: 'GET', path: pathOf(id), ...options }))
  }

  /** Ends it; one that has ended stays as it is. @throws as `get`. */
  async cancel(id: string, options: Options = {}): Promise<void> {
    await this.#gateways.json({ method: 'POST', path: `${pathOf(id)}/cancel`, ...options }, true)
  }
}

const pathOf = (id: string): string => `/mesh/v1/tasks/${encodeURIComponent(id)}`

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null
const recordOf = (value: unknown): Record<string, unknown> => (isRecord(value) ? value : {})

/** @throws ProtocolError. */
function taskOf(body: unknown): Task {
  const { taskId, state: told, attempts, result } = recordOf(body)
  const state = STATES.find((each) => each === told)
  if (typeof taskId !== 'string' || state === undefined || !Array.isArray(attempts)) throw new ProtocolError('no task')
  return { id: taskId, state, attempts: attempts.map(attemptOf), timing: timingOf(recordOf(result)['timing']) }
}

/** @throws ProtocolError. */
function attemptOf(attempt: unknown): TaskAttempt {
  const { assigned, ended } = recordOf(attempt)
  const { node, route: told, reason, atMs } = recordOf(assigned)
  const { name } = recordOf(node)
  const route = ROUTES.find((each) => each === told)
  if (typeof name !== 'string' || route === undefined || typeof reason !== 'string' || typeof atMs !== 'number')
    throw new ProtocolError('no attempt of a task')
  const { code } = recordOf(ended)
  return { node: name, route, reason, atMs, code: typeof code === 'string' ? code : undefined }
}

function timingOf(timing: unknown): TaskTiming | undefined {
  const { queuedMs, firstTokenMs, decodeMs } = recordOf(timing)
  if (typeof queuedMs !== 'number' || typeof firstTokenMs !== 'number' || typeof decodeMs !== 'number') return undefined
  return { queuedMs, firstTokenMs, decodeMs }
}
