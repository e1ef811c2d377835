/** When a process that has started may say so: when whoever then asks it for its models finds them. */
import { sleep, type Clock } from '../../mesh/runtime/index.ts'
import type { Running } from './running.ts'

/** Of files that were never served before each is read for its digest: gigabytes are not waited for. */
const LISTED_MS = 5000
const LOOK_MS = 20

/**
 * Resolves when the node's models are announced, and listed by the coordinator of this process where it has one. `false` when
 * they are not within `LISTED_MS`: they will be, one by one.
 */
export async function modelsListed(
  { agent, coordinator }: Pick<Running, 'agent' | 'coordinator'>,
  clock: Clock,
): Promise<boolean> {
  const isListed = (): boolean => {
    if (agent === undefined) return true
    const announced = agent.announced()
    if (announced === undefined || coordinator === undefined) return announced !== undefined
    const listed = new Set(coordinator.service.models().map(({ digest }) => digest))
    return announced.every((digest) => listed.has(digest))
  }
  const endMs = clock.nowMs() + LISTED_MS
  while (!isListed()) {
    if (clock.nowMs() >= endMs) return false
    await sleep(clock, LOOK_MS)
  }
  return true
}
