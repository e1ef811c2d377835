/** I11: orders for replicas are few, and of nobody who does not want them. */
import { LIMITS, type ModelDigest } from '../../../mesh/protocol/index.ts'
import type { NodePlan } from '../scenario.ts'
import type { Checker, Fail } from './checker.ts'

interface Flight {
  readonly order: number
  readonly node: string
  readonly atMs: number
  isAccepted: boolean
}

/** One order in flight for a model and for a node; none of a node whose owner refuses, that is rented, or billed. */
export function orderedChecker(fail: Fail, nodes: readonly NodePlan[], nowMs: () => number): Checker {
  const inFlight = new Map<ModelDigest, Flight>()
  const numbers = new Set<number>()
  const isOver = ({ atMs, isAccepted }: Flight): boolean =>
    nowMs() - atMs >= (isAccepted ? LIMITS.replicaLoadMs : LIMITS.replicaAnswerMs)
  return {
    on: (seen) => {
      if (seen.type === 'ordered') {
        const { node, frame } = seen
        const plan = nodes.find(({ name }) => name === node)
        if (plan?.refusesOrders !== false) fail(`${node} is ordered ${frame.digest}, and its owner takes no orders`)
        if (plan?.isCloud !== false || plan.price) fail(`${node} is ordered ${frame.digest}, and is rented`)
        if (numbers.has(frame.order)) fail(`order ${frame.order} is given twice`)
        numbers.add(frame.order)
        for (const [digest, flight] of inFlight)
          if ((digest === frame.digest || flight.node === node) && !isOver(flight))
            fail(`order ${frame.order} of ${node} is sent while ${flight.order} of ${flight.node} is in flight`)
        inFlight.set(frame.digest, { order: frame.order, node, atMs: nowMs(), isAccepted: false })
      } else if (seen.type === 'outcome') {
        for (const [digest, flight] of inFlight) {
          if (flight.order !== seen.frame.order || flight.node !== seen.node) continue
          if (seen.frame.state === 'accepted') flight.isAccepted = true
          else inFlight.delete(digest)
        }
      } else if (seen.type === 'node lost') {
        for (const [digest, flight] of inFlight) if (flight.node === seen.node) inFlight.delete(digest)
      } else if (seen.type === 'life' && seen.who === 'coordinator' && seen.what === 'dies') inFlight.clear()
    },
  }
}
