/** One history, line by line: `node --import ./test/simulation/hooks.ts test/simulation/replay.ts SEED`. */
import { runHistory } from './history.ts'
import { scenarioOf } from './scenario.ts'

const seed = Number(process.argv[2])
const lines: string[] = [JSON.stringify(scenarioOf(seed), null, 1)]
const { violation, steps } = await runHistory(seed, { print: (line) => lines.push(line) })
lines.push(
  violation ? `${violation.invariant} at ${violation.atMs} ms: ${violation.message}` : `no violation in ${steps} steps`,
)
process.stdout.write(`${lines.join('\n')}\n`)
process.exitCode = violation ? 1 : 0
