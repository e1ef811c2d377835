/** I1, I6, I7 and I8: which attempts run where, under which fencing tokens, at what cost. */
import {
  ERRORS,
  isErrorCode,
  LIMITS,
  unpackTokenIds,
  type AnyFrame,
  type Frame,
  type Price,
  type TaskId,
} from '../../../mesh/protocol/index.ts'
import type { TaskSpec } from '../../../coordinator/ledger/index.ts'
import { UNLAWFUL } from '../lies.ts'
import type { Observation } from '../record.ts'
import type { NodePlan, Scenario } from '../scenario.ts'
import { Table, type Checker, type Fail } from './checker.ts'

type Seen<T extends Observation['type']> = Extract<Observation, { type: T }>

/** At most one attempt of a task delivers, the newest; fencing tokens only grow, at the coordinator and at every node. */
export function fenceChecker(fail: Fail): Checker {
  const used = new Table<TaskId, Set<number>>(() => new Set())
  /** Of those that deliver: a target that is prepared beside the source has its token early. */
  const newest = new Table<TaskId, number>(() => -1)
  const delivering = new Map<TaskId, { readonly stream: number; readonly fence: number }>()
  const openStreams = new Map<number, TaskId>()
  const atNode = new Table<string, Map<TaskId, number>>(() => new Map())
  const gotAtNode = new Table<string, Map<TaskId, number>>(() => new Map())
  const nodeStreams = new Map<string, { readonly taskId: TaskId; readonly fence: number }>()

  const begins = (stream: number, taskId: TaskId, fence: number, mayDeliver: boolean): void => {
    if (used.of(taskId).has(fence)) fail(`${taskId}: fence ${fence} is used twice`)
    used.of(taskId).add(fence)
    openStreams.set(stream, taskId)
    if (mayDeliver) delivers(stream, taskId, fence)
  }
  const delivers = (stream: number, taskId: TaskId, fence: number): void => {
    if (fence <= newest.of(taskId)) fail(`${taskId}: fence ${fence} delivers after ${newest.of(taskId)}`)
    newest.set(taskId, fence)
    const before = delivering.get(taskId)
    if (before) fail(`${taskId}: fence ${fence} is to deliver while ${before.fence} does`)
    delivering.set(taskId, { stream, fence })
  }
  const over = (stream: number): void => {
    const taskId = openStreams.get(stream)
    if (taskId !== undefined && delivering.get(taskId)?.stream === stream) delivering.delete(taskId)
  }
  const onSent = ({ stream, frame }: Seen<'sent'>): void => {
    if (frame.type === 'attempt.start') {
      // the source, whose answer was taken back, is told to stop in the same turn
      if (frame.leave?.reason === 'low-confidence') delivering.delete(frame.taskId)
      begins(stream, frame.taskId, frame.fence, frame.hold !== true)
    } else if (frame.type === 'attempt.attach') begins(stream, frame.taskId, frame.fence, true)
    else if (frame.type === 'attempt.commit') {
      // the source is told to stop in the same turn
      delivering.delete(openStreams.get(stream)!)
      delivers(stream, openStreams.get(stream)!, frame.fence)
    } else if (frame.type === 'attempt.cancel') over(stream)
  }
  const onNode = (seen: Seen<'node got'> | Seen<'node sent'>): void => {
    const key = `${seen.node} ${seen.stream}`
    const first = firstOf(seen.frame)
    if (seen.type === 'node got' && first) {
      const got = gotAtNode.of(`${seen.node} ${seen.life}`)
      got.set(first.taskId, Math.max(got.get(first.taskId) ?? -1, first.fence))
      return void nodeStreams.set(key, first)
    }
    const attempt = nodeStreams.get(key)
    if (seen.type !== 'node sent' || attempt === undefined || !('fence' in seen.frame)) return
    const fences = atNode.of(`${seen.node} ${seen.life}`)
    const highest = fences.get(attempt.taskId) ?? -1
    const isWork = seen.frame.type === 'attempt.accepted' || seen.frame.type === 'attempt.tokens'
    const isStale = seen.frame.type === 'attempt.failed' && seen.frame.code === 'STALE_FENCING_TOKEN'
    if (isStale && gotAtNode.of(`${seen.node} ${seen.life}`).get(attempt.taskId)! <= attempt.fence)
      fail(`${seen.node} gives ${attempt.taskId} under ${attempt.fence} up for an older one`)
    if (isWork && attempt.fence < highest)
      fail(`${seen.node} sends ${seen.frame.type} of ${attempt.taskId} under ${attempt.fence} after ${highest}`)
    if (seen.frame.type === 'attempt.accepted') fences.set(attempt.taskId, Math.max(highest, attempt.fence))
  }
  return {
    on: (seen) => {
      if (seen.type === 'sent') onSent(seen)
      else if (seen.type === 'got' && (seen.frame.type === 'attempt.end' || seen.frame.type === 'attempt.failed'))
        over(seen.stream)
      else if (seen.type === 'stream over') over(seen.stream)
      else if (seen.type === 'life' && seen.who === 'coordinator' && seen.what === 'dies') delivering.clear()
      else if (seen.type === 'node got' || seen.type === 'node sent') onNode(seen)
    },
  }
}

function firstOf(frame: AnyFrame | Frame): { taskId: TaskId; fence: number } | undefined {
  const first = frame as Frame
  const isFirst = first.type === 'attempt.start' || first.type === 'attempt.attach'
  return isFirst ? { taskId: first.taskId, fence: first.fence } : undefined
}

/** Specs of all tasks that were ever to be recorded. */
class Specs extends Map<TaskId, TaskSpec> {
  on(seen: Observation): void {
    if (seen.type !== 'offered') return
    for (const event of seen.events) if (event.type === 'task.admitted') this.set(event.spec.taskId, event.spec)
  }
}

/** An honest node goes on with an attempt from the token that was asked for, or says that it cannot. */
export function attachChecker(fail: Fail, nodes: readonly NodePlan[]): Checker {
  const honest = new Set(nodes.filter((node) => node.lies.length === 0).map((node) => node.name))
  const asked = new Map<string, number>()
  return {
    on: (seen) => {
      if ((seen.type !== 'node got' && seen.type !== 'node sent') || !honest.has(seen.node)) return
      const key = `${seen.node} ${seen.stream}`
      const frame = seen.frame as Frame
      if (seen.type === 'node got' && frame.type === 'attempt.attach') asked.set(key, frame.from)
      const from = asked.get(key)
      if (seen.type !== 'node sent' || frame.type !== 'attempt.tokens' || from === undefined) return
      asked.delete(key)
      if (frame.index !== from) fail(`${seen.node} goes on from token ${frame.index} where ${from} was asked for`)
    },
  }
}

/** Local-only work is never sent to a rented machine. */
export function localityChecker(fail: Fail, nodes: readonly NodePlan[]): Checker {
  const specs = new Specs()
  const cloud = new Set(nodes.filter((node) => node.isCloud).map((node) => node.name))
  return {
    on: (seen) => {
      specs.on(seen)
      const first = seen.type === 'sent' && firstOf(seen.frame)
      if (first && cloud.has((seen as Seen<'sent'>).node) && specs.get(first.taskId)?.localOnly)
        fail(`${first.taskId} is local-only and is sent to ${(seen as Seen<'sent'>).node}`)
    },
  }
}

/**
 * Money: what nodes with a price have done never costs more than a budget, in all and of a tenant. Counted low: only what the
 * coordinator asked or got, and a token that a node holds and sends again once.
 */
export function moneyChecker(
  fail: Fail,
  nodes: readonly NodePlan[],
  { budgetMicros, tenantMicros }: Pick<Scenario, 'budgetMicros' | 'tenantMicros'>,
): Checker {
  const specs = new Specs()
  const prices = new Map(nodes.flatMap((node) => (node.price ? [[node.name, node.price] as const] : [])))
  /** By fencing token: one that is attached to another counts on from where that was. */
  const counted = new Table<string, { toIndex: number }>(() => ({ toIndex: 0 }))
  const streams = new Map<number, { taskId: TaskId; input: number; isAccepted: boolean; at: { toIndex: number } }>()
  const spent = new Table<string, number>(() => 0)
  const spend = (taskId: TaskId, amount: number): void => {
    const tenant = specs.get(taskId)?.tenant ?? ''
    for (const [who, limit] of [
      ['all', budgetMicros],
      [tenant, tenantMicros[tenant] ?? Number.POSITIVE_INFINITY],
    ] as const) {
      spent.set(who, spent.of(who) + amount)
      if (spent.of(who) > limit) fail(`${spent.of(who)} micro-units are spent of ${limit} (${who})`)
    }
  }
  const onFrame = ({ stream: number, frame: any }: Seen<'sent'> | Seen<'got'>, price: Price): void => {
    const frame = any as Frame
    const stream = streams.get(number)
    if (frame.type === 'attempt.start' && frame.prompt.kind === 'text') {
      const at = counted.of(`${frame.taskId} ${frame.fence}`)
      at.toIndex = frame.generated.length / 4
      const input = frame.prompt.text.split(' ').length + at.toIndex
      streams.set(number, { taskId: frame.taskId, input, isAccepted: false, at })
    } else if (frame.type === 'attempt.attach') {
      const at = counted.of(`${frame.taskId} ${frame.heldFence}`)
      counted.set(`${frame.taskId} ${frame.fence}`, at)
      streams.set(number, { taskId: frame.taskId, input: 0, isAccepted: false, at })
    } else if (frame.type === 'attempt.cancel') streams.delete(number)
    else if (stream === undefined) return
    else if (frame.type === 'attempt.accepted' && !stream.isAccepted) {
      stream.isAccepted = true
      spend(stream.taskId, stream.input * price.inputPerMillion)
    } else if (frame.type === 'attempt.tokens' && stream.isAccepted && !frame.text.includes(UNLAWFUL)) {
      const toIndex = frame.index + (unpackTokenIds(frame.ids)?.length ?? 0)
      const fresh = Math.max(0, toIndex - Math.max(stream.at.toIndex, frame.index))
      stream.at.toIndex = Math.max(stream.at.toIndex, toIndex)
      spend(stream.taskId, fresh * price.outputPerMillion)
    }
  }
  return {
    on: (seen) => {
      specs.on(seen)
      if (seen.type === 'stream over') streams.delete(seen.stream)
      if (seen.type !== 'sent' && seen.type !== 'got') return
      const price = prices.get(seen.node)
      if (price !== undefined) onFrame(seen, price)
    },
  }
}

/** No node runs more than it has slots for, and in the end nothing is held. */
export function boundChecker(fail: Fail): Checker {
  const accepted = new Set<string>()
  /** What each node has said last that it holds. */
  const held = new Map<string, number>()
  const onNode = ({ node, stream, frame }: Seen<'node sent'>): void => {
    const key = `${node} ${stream}`
    if (frame.type === 'attempt.accepted') accepted.add(key)
    else if (frame.type === 'attempt.failed' && frame.code === 'NO_FREE_SLOT' && accepted.has(key))
      fail(`${node} accepts an attempt that it has no slot for`)
    else if (frame.type === 'control.held') held.set(node, frame.attempts.length)
  }
  return {
    on: (seen) => {
      if (seen.type === 'slots' && seen.running > seen.slots)
        fail(`${seen.node} runs ${seen.running} attempts on ${seen.slots} slots`)
      else if (seen.type === 'node sent') onNode(seen)
      else if (seen.type === 'life' && seen.what === 'dies') held.delete(seen.who)
    },
    atEnd: ({ leaks }) => {
      if (leaks.length > 0) fail(leaks.join('; '))
      for (const [node, attempts] of held)
        if (attempts > 0) fail(`${node} holds ${attempts} attempts that nobody will come for`)
    },
  }
}

/** Longest silence of a stream that is still waited on: the longest bound of an attempt, and a freeze of the coordinator. */
const SILENT_MS_MAX = LIMITS.preparedMs + 15_000
/** What a node is not left out for: it was full, it had no such attempt, or it said that it leaves. */
const FORGIVEN = new Set(['NO_FREE_SLOT', 'ATTEMPT_NOT_HELD', 'NODE_DRAINING'])
/** The shortest time that a node which failed a task is left out of its plans. */
const EXCLUDED_MS = 900

/** No attempt is waited for that says nothing, and none is made again at once where it has just failed. */
export function patienceChecker(fail: Fail, nowMs: () => number): Checker {
  const heardAtMs = new Map<number, number>()
  const announcedAtMs = new Map<string, number>()
  const failedAtMs = new Map<string, number>()
  const attempts = new Map<number, string>()
  const heard = (stream: number, isOver: boolean): void => {
    const silentMs = nowMs() - (heardAtMs.get(stream) ?? nowMs())
    if (silentMs > SILENT_MS_MAX) fail(`nothing came on stream ${stream} for ${silentMs} ms, and it was waited for`)
    if (isOver) heardAtMs.delete(stream)
    else heardAtMs.set(stream, nowMs())
  }
  const begins = (stream: number, node: string, frame: Frame): void => {
    heardAtMs.set(stream, nowMs())
    if (frame.type !== 'attempt.start' || frame.hold) return
    const attempt = `${frame.taskId} at ${node}`
    attempts.set(stream, attempt)
    const failedMs = failedAtMs.get(attempt) ?? Number.NEGATIVE_INFINITY
    const isSameLife = (announcedAtMs.get(node) ?? 0) < failedMs
    if (isSameLife && nowMs() - failedMs < EXCLUDED_MS)
      fail(`${attempt} begins again ${nowMs() - failedMs} ms after it has failed there`)
  }
  const fails = (stream: number, { code }: { readonly code: string }): void => {
    const attempt = attempts.get(stream)
    const isNodes = isErrorCode(code) && ERRORS[code].blame === 'node' && !FORGIVEN.has(code)
    if (attempt !== undefined && isNodes) failedAtMs.set(attempt, nowMs())
  }
  return {
    on: (seen) => {
      if (seen.type === 'sent' && firstOf(seen.frame)) begins(seen.stream, seen.node, seen.frame)
      else if (seen.type === 'sent' && seen.frame.type === 'attempt.cancel') attempts.delete(seen.stream)
      else if (seen.type === 'got') {
        heard(seen.stream, false)
        if (seen.frame.type === 'attempt.failed') fails(seen.stream, seen.frame as Frame & { readonly code: string })
      } else if (seen.type === 'stream over') heard(seen.stream, true)
      else if (seen.type === 'node sent' && seen.frame.type === 'control.announce')
        announcedAtMs.set(seen.node, nowMs())
      else if (seen.type === 'life' && seen.who === 'coordinator' && seen.what === 'dies') heardAtMs.clear()
    },
  }
}
