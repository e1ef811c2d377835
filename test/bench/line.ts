/** Time of one walk of a full line in which nobody gets a slot, and of a newcomer to it: `node test/bench/line.ts`. */
import { Shares } from '../../coordinator/dispatch/shares.ts'
import { WaitingLine, type Waiter } from '../../coordinator/dispatch/waiting-line.ts'
import { PRIORITIES } from '../../coordinator/ledger/index.ts'
import { asModelDigest, LIMITS } from '../../mesh/protocol/index.ts'
import { ManualClock } from '../../mesh/runtime/index.ts'
import { machine, median, percentile, print } from './stats.ts'

const WARM_UP = 100
const WALKS = 500
const never = new AbortController().signal

function waiter(i: number, models: number, tenants: number): Waiter<never> {
  return {
    digest: asModelDigest(`sha256:${String(i % models).padStart(64, '0')}`),
    priority: PRIORITIES[i % PRIORITIES.length]!,
    tenant: `tenant ${i % tenants}`,
    cost: 100 + (i % 900),
    deadlineAtMs: i,
    isResumed: i % 16 === 0,
    // the costliest answer: everybody is asked
    mayUse: () => true,
    attempt: () => 'not yet',
    moved: () => {},
  }
}

/** Fires what was set for the next turn at once, so that a walk can be timed alone. */
class TurnClock extends ManualClock {
  #next: (() => void) | undefined
  override timer(_delayMs: number, fire: () => void): () => void {
    this.#next = fire
    return () => {}
  }
  turn(): void {
    this.#next?.()
  }
}

async function measure(models: number, tenants: number): Promise<void> {
  const clock = new TurnClock()
  const line = new WaitingLine<never>({ clock, shares: new Shares() })
  const join = (i: number): Promise<void> => line.wait(waiter(i, models, tenants), never).catch(() => {})
  for (let i = 0; line.length < LIMITS.queuedTasksMax; i++) void join(i)
  const walks: number[] = []
  const joins: number[] = []
  for (let i = -WARM_UP; i < WALKS; i++) {
    line.wake()
    const beganMs = performance.now()
    clock.turn()
    const walkedMs = performance.now()
    void join(3 + 4 * (i + WARM_UP))
    const joinedMs = performance.now()
    if (i >= 0) walks.push(1000 * (walkedMs - beganMs))
    if (i >= 0) joins.push(1000 * (joinedMs - walkedMs))
    // overdue ones are ordered apart: a part of the line is, as time goes on
    await clock.advance(1000)
  }
  const figures = (of: number[]): string => `p50 ${median(of).toFixed(0)} µs, p99 ${percentile(of, 0.99).toFixed(0)} µs`
  print(
    `${line.length} waiting, ${models} models, ${tenants} tenants: walk ${figures(walks)}; newcomer ${figures(joins)}`,
  )
}

print(machine())
await measure(1, 1)
await measure(1, 1024)
await measure(8, 32)
