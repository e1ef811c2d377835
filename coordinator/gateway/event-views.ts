/**
 * What happens in the mesh as its clients are told of it: of tasks who, where, how and how much, and never a word of a prompt
 * or an answer. An event of a task, of work or of a call belongs to the key that asked for it; those of nodes and replicas are
 * for who may read the mesh, those of devices for who may read devices; all others are the admin's.
 */
import type { ErrorCode, FinishReason, ModelDigest, Route, WorkKind } from '../../mesh/protocol/index.ts'
import type { KeyEvent } from '../access/index.ts'
import type { DeviceEvent } from '../devices/index.ts'
import type { LimitState, MeshEvent, NodeName, Priority, ReplicaOrder, TaskTiming } from '../admission/index.ts'

interface OfTask {
  readonly taskId: string
  /** Whose share it counts against: the id of a key, `local`, or the owner's. */
  readonly key: string
  /** As the client wrote it. */
  readonly model: string
}
interface OfAttempt extends OfTask {
  readonly attempt: number
  readonly node: NodeName
  readonly route: Route
}
interface Ended {
  readonly outcome: string
  /** Why it was not completed. */
  readonly code?: ErrorCode
  readonly tookMs: number
  readonly promptTokens: number
}

/** Without the time at which it happened. */
type View =
  | ({ readonly type: 'task.queued'; readonly priority: Priority } & OfTask)
  | ({ readonly type: 'task.started'; readonly waitedMs: number } & OfAttempt)
  | ({ readonly type: 'task.moved'; readonly reason: string } & OfAttempt)
  | ({
      readonly type: 'task.ended'
      readonly finishReason?: FinishReason
      readonly cachedTokens: number
      readonly completionTokens: number
      readonly attempts: number
      readonly timing?: TaskTiming
    } & OfTask &
      Ended)
  | ({
      readonly type: 'work.ended'
      readonly workId: string
      readonly key: string
      readonly kind: WorkKind
      readonly digest: ModelDigest
    } & Ended)
  | ({ readonly type: `node.${Extract<MeshEvent, { type: 'node.changed' }>['what']}` } & NodeName)
  | ({ readonly type: `replica.${ReplicaOrder['state']}` } & Pick<
      ReplicaOrder,
      'order' | 'digest' | 'node' | 'cause' | 'reason' | 'message'
    >)
  | DeviceEvent
  | { readonly type: KeyEvent['type']; readonly id: string; readonly name: string }
  | {
      readonly type: 'budget.spent'
      readonly costMicros: number
      readonly period: 'day' | 'month'
      readonly day: string
      readonly limitMicros: number
      readonly spentMicros: number
      readonly reservedMicros: number
      readonly leftMicros: number
    }
  | ({ readonly type: 'budget.exhausted'; readonly key?: string; readonly neededMicros: number } & Pick<
      LimitState,
      'period' | 'from' | 'turnsAtMs' | 'limitMicros' | 'spentMicros' | 'reservedMicros' | 'leftMicros'
    >)
  | {
      readonly type: 'budget.set'
      readonly by: string
      readonly key?: string
      readonly dayMicros?: number
      readonly monthMicros?: number
      readonly atLimit?: string
      readonly localModel?: string
    }

export type EventType = View['type']
export type EventView = View & {
  /** Wall clock in ms since 1970. */
  readonly atMs: number
}

const TYPES: Readonly<Record<EventType, true>> = {
  'task.queued': true,
  'task.started': true,
  'task.moved': true,
  'task.ended': true,
  'work.ended': true,
  'node.joined': true,
  'node.left': true,
  'node.lost': true,
  'node.draining': true,
  'node.serving': true,
  'replica.sent': true,
  'replica.accepted': true,
  'replica.done': true,
  'replica.refused': true,
  'replica.failed': true,
  'replica.lost': true,
  'key.made': true,
  'key.rotated': true,
  'key.revoked': true,
  'budget.spent': true,
  'budget.exhausted': true,
  'budget.set': true,
  'device.joined': true,
  'device.changed': true,
  'device.gone': true,
  'device.state': true,
  'device.bridge': true,
  'device.reading': true,
  'device.call': true,
  'device.task': true,
  'device.rule': true,
  'device.claim': true,
}
export const EVENT_TYPES = Object.keys(TYPES) as readonly EventType[]

/** What there is to tell, and whose it is; `undefined` of what is for metrics alone. */
export interface Told {
  readonly view: View
  readonly tenant?: string
}

const task = ({ taskId, tenant, model }: { taskId: string; tenant: string; model: string }): OfTask => ({
  taskId,
  key: tenant,
  model,
})

export function toldOf(event: MeshEvent | KeyEvent | DeviceEvent): Told | undefined {
  switch (event.type) {
    case 'task.queued':
    case 'attempt.began':
    case 'task.moved':
    case 'task.ended': {
      const view = taskView(event)
      return view && { view, tenant: event.task.tenant }
    }
    case 'work.ended': {
      const { work, outcome, code, tookMs, promptTokens } = event
      const { taskId: workId, tenant: key, kind, digest } = work
      const ended = { outcome, ...(code && { code }), tookMs: Math.round(tookMs), promptTokens }
      return { view: { type: event.type, workId, key, kind, digest, ...ended }, tenant: key }
    }
    case 'node.changed':
      return { view: { type: `node.${event.what}`, peerId: event.peerId, name: event.name } }
    case 'replica.changed': {
      const { order, digest, node, cause, reason, message, state } = event.order
      const why = message === undefined ? {} : { message }
      return { view: { type: `replica.${state}`, order, digest, node, cause, reason, ...why } }
    }
    case 'key.made':
    case 'key.rotated':
    case 'key.revoked':
      return { view: { type: event.type, id: event.id, name: event.name } }
    case 'budget.spent':
      return { view: { type: event.type, costMicros: event.costMicros, ...event.budget } }
    case 'budget.exhausted': {
      const { tenant, isUnset: _, ...short } = event.short
      return { view: { type: event.type, ...(tenant !== undefined && { key: tenant }), ...short } }
    }
    case 'budget.set': {
      const { type, by, tenant, terms } = event
      return { view: { type, by, ...(tenant !== undefined && { key: tenant }), ...terms } }
    }
    case 'device.call':
    case 'device.task':
      return { view: event, tenant: event.key }
    case 'device.joined':
    case 'device.changed':
    case 'device.gone':
    case 'device.state':
    case 'device.bridge':
    case 'device.reading':
    case 'device.rule':
    case 'device.claim':
      return { view: event }
    case 'attempt.ended':
    case 'ledger.answered':
      return undefined
  }
}

type TaskEvents = Extract<MeshEvent, { type: 'task.queued' | 'attempt.began' | 'task.moved' | 'task.ended' }>

function taskView(event: TaskEvents): View | undefined {
  const own = task(event.task)
  switch (event.type) {
    case 'task.queued':
      return { type: event.type, ...own, priority: event.task.priority }
    case 'attempt.began': {
      const { attempt, node, route, reason } = event.attempt
      if (reason !== 'first') return undefined
      return { type: 'task.started', ...own, attempt, node, route, waitedMs: Math.round(event.waitedMs) }
    }
    case 'task.moved':
      return { type: event.type, ...own, ...event.attempt, reason: event.reason }
    case 'task.ended': {
      const { result, tokens, attempts, tookMs } = event
      const { outcome, error, finishReason, timing } = result
      const { promptTokens, cachedTokens, completionTokens } = tokens
      return {
        ...{ type: event.type, ...own, outcome, attempts, promptTokens, cachedTokens, completionTokens },
        tookMs: Math.round(tookMs),
        ...(error && { code: error.code }),
        ...(finishReason && { finishReason }),
        ...(timing && { timing }),
      }
    }
  }
}
