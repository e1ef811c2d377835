/**
 * The simulation's command line: `npm run sim`, which is `node test/simulation/main.ts`.
 *
 *   --seeds N [--from S]    runs N histories over all cores (default 100, from seed 1), those that once failed first
 *   --seed S                replays one, line by line
 *   --mutations [--seeds N] takes out each guard in turn; every one must be missed within N histories (default 2000);
 *                           --guard TEXT takes those alone whose name has TEXT in it
 *   --fleet                 of machines that come and go, instead of the whole mesh: with --seeds or --seed
 *   --week                  a week of a fleet with daily peaks: what it costs and how long people wait, with autoscaling,
 *                           with machines that are always on, and with none
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { runWeek } from './fleet/week.ts'
import type { HistoryResult } from './history.ts'
import { MUTATIONS, type Mutation } from './mutations.ts'
import { runSeeds } from './runner.ts'
import { keepSeeds, keptSeeds } from './seeds.ts'
import { Summary } from './summary.ts'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
    mutations: { type: 'boolean', default: false },
    guard: { type: 'string', default: '' },
    fleet: { type: 'boolean', default: false },
    week: { type: 'boolean', default: false },
  },
})
const world = values.fleet ? 'fleet' : undefined
const print = (line: string): void => void process.stdout.write(`${line}\n`)

function* range(from: number, count: number): Generator<number> {
  for (let seed = from; seed < from + count; seed++) yield seed
}

async function explore(count: number): Promise<number> {
  const summary = new Summary()
  const failed: number[] = []
  const kept = values.fleet ? [] : keptSeeds()
  const seeds = [...kept, ...[...range(Number(values.from), count)].filter((seed) => !kept.includes(seed))]
  await runSeeds(seeds, {
    world,
    onResult: (result) => {
      summary.add(result)
      if (result.violation === undefined) return
      const { invariant, atMs, message } = result.violation
      failed.push(result.seed)
      print(`seed ${result.seed}: ${invariant} at ${atMs} ms: ${message}`)
    },
  })
  if (!values.fleet) keepSeeds(failed)
  print(summary.line())
  return failed.length > 0 ? 1 : 0
}

/** In a process of its own, since the simulated disk must be there before any other code. */
function replay(seed: string): number {
  const file = fileURLToPath(new URL('./replay.ts', import.meta.url))
  const hooks = new URL('./hooks.ts', import.meta.url).href
  const args = ['--import', hooks, file, seed, ...(world ? [world] : [])]
  return spawnSync(process.execPath, args, { stdio: 'inherit' }).status ?? 1
}

/** What misses the guard `name`: a history that is red without it and green with it. */
async function missed(mutation: Mutation, seeds: readonly number[]): Promise<string | undefined> {
  const { name, world } = mutation
  let caught: HistoryResult | undefined
  const left = new Set(seeds)
  const onResult = (result: HistoryResult): boolean => {
    left.delete(result.seed)
    if (result.violation) caught ??= result
    return caught !== undefined
  }
  await runSeeds(seeds, { mutation: name, world, onResult })
  if (caught?.violation === undefined) return undefined
  let isRedAnyway = false
  await runSeeds([caught.seed], { world, onResult: ({ violation }) => void (isRedAnyway = violation !== undefined) })
  return isRedAnyway ? missed(mutation, [...left]) : `${caught.violation.invariant}, seed ${caught.seed}`
}

async function mutate(count: number): Promise<number> {
  let survivors = 0
  const guards = MUTATIONS.filter(({ name }) => name.includes(values.guard))
  for (const mutation of guards) {
    const { name } = mutation
    const by = await missed(mutation, [...range(mutation.from ?? Number(values.from), count)])
    if (by === undefined) survivors++
    print(`${name.padEnd(64)} ${by ?? `SURVIVES ${count} histories`}`)
  }
  print(`${guards.length} guards, ${survivors} not missed`)
  return survivors > 0 ? 1 : 0
}

if (values.week) for (const line of await runWeek()) print(line)
else if (values.seed !== undefined) process.exitCode = replay(values.seed)
else if (values.mutations) process.exitCode = await mutate(Number(values.seeds ?? 2000))
else process.exitCode = await explore(Number(values.seeds ?? 100))
