/**
 * How an answer that has begun goes on: behind its tokens where they mean the same, else behind its text. Tokens of a model
 * that is known by its text alone are pieces of that text; they are told by their size.
 */
import { featuresNeeded, LIMITS, SkeinError, type ModelCapability } from '../../mesh/protocol/index.ts'
import type { GoesOn } from '../scheduler/index.ts'
import type { Task } from './task.ts'

type Continues = ModelCapability['continues']

/** What a target must be able to do. @param source how the node continues that still makes the answer, of a planned move. */
export function goesOn({ answer, spec }: Task, source?: Continues): GoesOn {
  const isStrict = spec.format !== undefined || spec.logprobs !== undefined || featuresNeeded(spec).includes('tools')
  // of what nobody has read anything else may be made
  const isUnread =
    answer.textLength === 0 && (spec.logprobs === undefined || answer.length === 0) && source === undefined
  return {
    hasPieces: answer.hasPieces || source === 'text',
    canSay: (!isStrict || isUnread) && answer.textLength <= LIMITS.saidLengthMax,
  }
}

/**
 * The text behind which `task` goes on at a node, of its first `tokens`; `undefined` when it does behind the tokens themselves.
 *
 * @throws SkeinError NOT_CONTINUABLE when it cannot.
 */
export function saidFor(task: Task, continues: Continues, tokens: number): string | undefined {
  const { answer } = task
  if (tokens === 0 || (continues !== 'text' && !answer.hasPieces)) return undefined
  if (continues === undefined || !goesOn(task).canSay)
    throw new SkeinError('NOT_CONTINUABLE', 'the answer cannot go on behind its text there')
  return answer.textBefore(tokens)
}
