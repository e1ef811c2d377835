/** The tasks of a request that wants several answers: `n` choices, of one prompt or of each of several. */
import { LIMITS, SkeinError } from '../../mesh/protocol/index.ts'
import type { TaskRequest } from '../admission/index.ts'

/**
 * Seed of a choice: a function of the request's, so that the same request has the same choices. The first has the request's
 * own, and with it the answer that a request of one choice has. The others' are mixed (MurmurHash3's finaliser), so that
 * neighbouring seeds share no choice.
 */
export function choiceSeed(seed: number, index: number): number {
  if (index === 0) return seed
  let h = seed ^ Math.imul(index, 0x9e3779b9)
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/** @throws SkeinError INVALID_REQUEST for more than `LIMITS.choicesMax` choices in all. */
export function checkChoices(prompts: number, n: number): void {
  if (prompts * n > LIMITS.choicesMax)
    throw new SkeinError(
      'INVALID_REQUEST',
      `a request has at most ${LIMITS.choicesMax} choices, over all its prompts`,
      {
        param: prompts > 1 ? 'prompt' : 'n',
      },
    )
}

/**
 * A task for each choice: `n` of the first prompt, then `n` of the next, as OpenAI numbers them.
 *
 * @param prompts each as a task of one choice; at least one.
 */
export const choicesOf = <T extends Pick<TaskRequest, 'sampling'>>(prompts: readonly T[], n: number): T[] =>
  prompts.flatMap((task) => Array.from({ length: n }, (_, index) => seeded(task, index)))

/** Who named no seed has one drawn for each task. */
function seeded<T extends Pick<TaskRequest, 'sampling'>>(task: T, index: number): T {
  const { seed } = task.sampling
  if (seed === undefined || index === 0) return task
  return { ...task, sampling: { ...task.sampling, seed: choiceSeed(seed, index) } }
}
