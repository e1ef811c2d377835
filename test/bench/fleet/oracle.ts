/**
 * What could have been had: a placement that knows the true state of every node, its true speed and the length of every
 * answer. Each request is placed as it arrives, where an exact run of each node on a copy of it says that it costs least:
 * its own time and that by which it makes the others there later. It queues at the node. Variants weigh these apart, and
 * each figure is that of the variant, or of ours, which hindsight says was best for it: no one policy has them all, and no
 * proof says that none could have more.
 */
import { EngineModel, type Job } from './engine-model.ts'
import { FLEET } from './machines.ts'
import { isGood } from './objective.ts'
import type { Task } from './simulate.ts'
import type { Request, Trace } from './traces.ts'

export interface Variant {
  /** What it minimises of the request itself; `good` maximises the answers within the objective, others' included. */
  readonly own: 'firstToken' | 'completion' | 'good'
  /** Weight of others' delay. */
  readonly others: number
}

export const VARIANTS: readonly Variant[] = [
  { own: 'firstToken', others: 0 },
  { own: 'firstToken', others: 1 },
  { own: 'completion', others: 0 },
  { own: 'completion', others: 1 },
  { own: 'completion', others: 2 },
  { own: 'good', others: 1 },
  { own: 'good', others: 0.1 },
]
/** An answer that misses its objective weighs as much as this delay. */
const MISSED_MS = 60_000
const LATE_WEIGHT = 0.01

/** All that is on `engine`, run to its end; the times as the client sees them. */
function outcomes(engine: EngineModel, stretch: number): Map<Request, Task> {
  const copy = engine.clone()
  const jobs = [...copy.jobs, ...copy.queue]
  while (copy.jobs.length > 0) copy.advance(copy.nextMs())
  const { linkMs } = engine.machine
  const seen = ({ request, firstTokenMs, endMs }: Job): Task => ({
    request,
    arrivedMs: request.atMs * stretch,
    firstTokenMs: firstTokenMs + linkMs,
    endMs: endMs + linkMs,
  })
  return new Map(jobs.map((job) => [job.request, seen(job)]))
}

/** @param stretch by which the trace's times are multiplied. */
export function foresee(trace: Trace, stretch: number, variant: Variant): Task[] {
  const engines = FLEET.map((machine) => new EngineModel(machine))
  const ahead = engines.map((engine) => outcomes(engine, stretch))
  const done = new Map<Request, Task>()
  for (const request of trace.requests) {
    const nowMs = request.atMs * stretch
    let best = { cost: Number.POSITIVE_INFINITY, index: 0, after: ahead[0]!, engine: engines[0]! }
    for (const [index, engine] of engines.entries()) {
      while (engine.nextMs() <= nowMs) engine.advance(engine.nextMs())
      engine.advance(nowMs)
      const tried = engine.clone()
      tried.add(request, nowMs)
      const after = outcomes(tried, stretch)
      const cost = costOf(request, nowMs, ahead[index]!, after, variant)
      if (cost < best.cost) best = { cost, index, after, engine: tried }
    }
    engines[best.index] = best.engine
    ahead[best.index] = best.after
    for (const [each, outcome] of best.after) done.set(each, outcome)
  }
  return trace.requests.map((request) => done.get(request)!)
}

function costOf(
  request: Request,
  nowMs: number,
  before: ReadonlyMap<Request, Task>,
  after: ReadonlyMap<Request, Task>,
  { own, others }: Variant,
): number {
  let cost = 0
  for (const [each, outcome] of after) {
    const known = before.get(each)
    if (own === 'good') {
      if (!isGood(outcome) && (known === undefined || isGood(known))) cost += MISSED_MS
      // What is late already may wait for what is not.
      cost += (isGood(outcome) ? others : LATE_WEIGHT) * (outcome.endMs - (known?.endMs ?? nowMs))
    } else if (each === request) cost += (own === 'firstToken' ? outcome.firstTokenMs : outcome.endMs) - nowMs
    else if (own === 'firstToken') cost += others * Math.max(outcome.firstTokenMs - known!.firstTokenMs, 0)
    else cost += others * (outcome.endMs - known!.endMs)
  }
  return cost
}
