/** Where an answer was made and what it took, put together from what the stream, the answer and the task's record say. */
import type { ChatAnswer, Made as SdkMade, Task } from '../../sdk/index.ts'
import type { Made, Move } from './types.ts'

const MS_PER_S = 1000

/** With what the headers and comments of the stream say. */
export function madeOnTheWay(before: Made, made: SdkMade): Made {
  const { taskId, node, route, attempts, cloudReason, standIn, isKept, cost } = made
  return {
    ...before,
    ...(taskId !== undefined && { taskId }),
    ...(node !== undefined && { node }),
    ...(route !== undefined && { route }),
    ...(attempts !== undefined && { attempts }),
    ...(cloudReason !== undefined && { cloudReason }),
    ...(standIn !== undefined && { standIn }),
    ...(isKept !== undefined && { isKept }),
    ...(cost !== undefined && { cost }),
  }
}

export interface SeenTimes {
  readonly firstTokenMs?: number | undefined
  readonly decodeMs?: number | undefined
}

/** Of a whole answer. `task` knows better than what was seen from here, which a break may have spoilt. */
export function madeAtEnd(before: Made, answer: ChatAnswer, seen: SeenTimes, task?: Task): Made {
  const { usage, finishReason, resumed } = answer
  const decodeMs = task?.timing?.decodeMs ?? seen.decodeMs
  const firstTokenMs = task?.timing ? task.timing.queuedMs + task.timing.firstTokenMs : seen.firstTokenMs
  const speed = usage && decodeMs !== undefined ? speedOf(usage.completionTokens, decodeMs) : undefined
  const moves = task ? movesOf(task) : before.moves
  const last = task?.attempts.at(-1)
  return {
    ...madeOnTheWay(before, answer),
    finish: finishReason,
    ...(usage && {
      promptTokens: usage.promptTokens,
      cachedTokens: usage.cachedTokens,
      completionTokens: usage.completionTokens,
    }),
    ...(speed !== undefined && { tokensPerS: speed }),
    ...(firstTokenMs !== undefined && { firstTokenMs: Math.round(firstTokenMs) }),
    ...(resumed > 0 && { resumed }),
    ...(task && task.attempts.length > 0 && { attempts: task.attempts.length }),
    ...(moves && moves.length > 0 && { moves }),
    ...(last && { node: last.node, route: last.route }),
  }
}

/** To one digit behind the point; undefined for an answer that is too short to tell. */
function speedOf(tokens: number, decodeMs: number): number | undefined {
  if (tokens < 2 || decodeMs <= 0) return undefined
  return Math.round((10 * MS_PER_S * (tokens - 1)) / decodeMs) / 10
}

function movesOf({ attempts }: Task): Move[] {
  return attempts
    .slice(1)
    .map(({ node, reason, atMs }, index) => ({ from: attempts[index]!.node, to: node, reason, atMs }))
}
