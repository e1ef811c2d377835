/** `GET /mesh/v1/tasks/{id}/explain` as far as a person wants it: where each attempt ran, and why there. */
import { list, number, record, text, type Fields } from './fields.ts'

export interface Place {
  readonly node: string
  readonly route: 'local' | 'mesh' | 'cloud'
  /** `first`, or why it moved here, such as `lost`. */
  readonly reason: string
  /** Why it left the owner's devices, where it did. */
  readonly leave: string | undefined
  /** Tokens of the answer that were there when it began, and when it ended. */
  readonly from: number
  readonly to: number | undefined
  readonly outcome: string | undefined
  readonly predictedMs: number | undefined
  /** From the beginning of this attempt to its first token, in ms. */
  readonly firstTokenMs: number | undefined
  readonly others: readonly Other[]
}

/** Another node that was looked at. */
export interface Other {
  readonly node: string
  /** How much later than at the chosen node the answer would have been whole, in ms; below 0: sooner. */
  readonly laterMs: number | undefined
  /** Why it could not be taken, in the coordinator's words. */
  readonly rejected: string | undefined
}

export interface Explanation {
  readonly taskId: string
  readonly model: string
  readonly localOnly: boolean
  readonly places: readonly Place[]
}

const PLACES_MAX = 50
const OTHERS_MAX = 20

/** Of an answer of the gateway; what is no explanation has no places. */
export function explanationOf(body: unknown): Explanation {
  const fields = record(body)
  return {
    taskId: text(fields['taskId']) ?? '',
    model: text(fields['model']) ?? '',
    localOnly: fields['localOnly'] === true,
    places: list(fields['attempts'], PLACES_MAX).map(placeOf),
  }
}

function placeOf(attempt: Fields): Place {
  const node = record(attempt['node'])
  const route = attempt['route']
  const predictedMs = number(record(attempt['predicted'])['totalMs'])
  return {
    node: text(node['name']) ?? '?',
    route: route === 'local' || route === 'cloud' ? route : 'mesh',
    reason: text(attempt['reason']) ?? 'first',
    leave: text(attempt['leave']),
    from: number(attempt['from']) ?? 0,
    to: number(attempt['to']),
    outcome: text(attempt['outcome']),
    predictedMs,
    firstTokenMs: number(record(attempt['observed'])['firstTokenMs']),
    others: list(attempt['candidates'], OTHERS_MAX)
      .filter(({ peerId }) => peerId !== node['peerId'])
      .map((candidate) => otherOf(candidate, predictedMs)),
  }
}

function otherOf(candidate: Fields, chosenMs: number | undefined): Other {
  const totalMs = number(record(candidate['prediction'])['totalMs'])
  return {
    node: text(candidate['name']) ?? '?',
    laterMs: totalMs === undefined || chosenMs === undefined ? undefined : totalMs - chosenMs,
    rejected: text(candidate['rejected']),
  }
}
