/**
 * The scheduler in a simulated fleet, against four simpler policies and an oracle, with the same requests in one run:
 * `npm run bench fleet` (`node test/bench/fleet.ts`). What is simulated, and where the requests come from, is said in
 * `docs/SCHEDULER.md`. Ends with 1 when ours is not ahead everywhere.
 */
import { capacityPerMs } from './fleet/machines.ts'
import { bestOf, figuresOf, type Figures } from './fleet/objective.ts'
import { foresee, VARIANTS, type Variant } from './fleet/oracle.ts'
import { leastOutstanding, ours, powerOfTwo, roundRobin, uniform, type Ours } from './fleet/policies.ts'
import { simulate, type Policy, type Task } from './fleet/simulate.ts'
import { recorded, sessions, type Trace } from './fleet/traces.ts'
import { print } from './stats.ts'

const LOADS = [0.4, 0.7, 0.95]
const SEEDS = [1, 2, 3]
const PATTERNS: readonly [name: string, traces: readonly Trace[]][] = [
  ['conversation', recorded('conv')],
  ['code', recorded('code')],
  ['sessions', SEEDS.map(sessions)],
]
const RIVALS: readonly ((seed: number) => Policy)[] = [roundRobin, uniform, leastOutstanding, powerOfTwo]

/** A trace's times are multiplied by this to make the load a share of what the fleet can do. */
const stretchOf = ({ requests }: Trace, perMs: number): number => requests.length / requests.at(-1)!.atMs / perMs

const run = (traces: readonly Trace[], load: number, policyOf: (seed: number) => Policy): Task[] =>
  traces.flatMap((trace, i) => simulate(trace, stretchOf(trace, load * capacityPerMs(trace)), policyOf(SEEDS[i]!)))

/** Never worse than `own`, which it could have chosen. */
function oracle(traces: readonly Trace[], load: number, own: Figures): Figures {
  const under = (variant: Variant): Task[] =>
    traces.flatMap((trace) => foresee(trace, stretchOf(trace, load * capacityPerMs(trace)), variant))
  return bestOf([own, ...VARIANTS.map((variant) => figuresOf(under(variant)))])
}

const seconds = (ms: number): string => (ms / 1000).toFixed(2)
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`
const row = (name: string, figures: Figures): string =>
  `| ${name} | ${seconds(figures.firstToken50)} | ${seconds(figures.firstToken99)} | ${seconds(figures.completion50)} | ${seconds(figures.completion99)} | ${percent(figures.goodput)} |`

/** The figures that count in which `rival` is not behind. */
const notAhead = (own: Figures, rival: Figures): string[] => [
  ...(own.firstToken50 < rival.firstToken50 ? [] : ['p50 of the first token']),
  ...(own.firstToken99 < rival.firstToken99 ? [] : ['p99 of the first token']),
  ...(own.goodput > rival.goodput ? [] : ['goodput']),
]

function compare(pattern: string, traces: readonly Trace[], load: number): void {
  print(`\n${pattern} at ${Math.round(load * 100)} %\n`)
  print('| policy | first token p50 | p99 | completion p50 | p99 | goodput |\n|---|---|---|---|---|---|')
  const mine: Ours[] = []
  const own = figuresOf(
    run(traces, load, (seed) => {
      const policy = ours(seed)
      mine.push(policy)
      return policy
    }),
  )
  print(row('**skein**', own))
  for (const policyOf of RIVALS) {
    const { name } = policyOf(1)
    const rival = figuresOf(run(traces, load, policyOf))
    print(row(name, rival))
    for (const figure of notAhead(own, rival)) {
      print(`skein is not ahead of ${name}: ${figure}`)
      process.exitCode = 1
    }
  }
  const best = oracle(traces, load, own)
  print(row('oracle', best))
  print(`\nlost to the oracle: ${percent(1 - own.goodput / best.goodput)} of its goodput`)
  const { wait, firstToken, decode } = mine[0]!.accuracy.report()
  const error = (part: typeof wait): string => (part.median === undefined ? '–' : percent(part.median))
  print(`median error of prediction: wait ${error(wait)}, first token ${error(firstToken)}, decode ${error(decode)}`)
}

for (const [pattern, traces] of PATTERNS) for (const load of LOADS) compare(pattern, traces, load)
