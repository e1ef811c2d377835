/**
 * `scripts/test.ts LANE… [-- VITEST OPTIONS]`: runs lanes of tests (`vitest.config.ts`). Arguments after the lanes go
 * to vitest, such as a path or `-t NAME`.
 */
import { mkdirSync } from 'node:fs'
import { runNode, TOOLS } from './tools.ts'

const LANES = ['architecture', 'unit', 'compliance', 'integration', 'system', 'simulation', 'fault', 'e2e']

const args = process.argv.slice(2)
const firstOther = args.findIndex((argument) => !LANES.includes(argument))
const lanes = firstOther === -1 ? args : args.slice(0, firstOther)
const others = firstOther === -1 ? [] : args.slice(firstOther).filter((argument) => argument !== '--')
// `.ci/run` sums the results of its stages from what is left here
const results = process.env['SKEIN_TEST_RESULTS']
if (results !== undefined) {
  mkdirSync(results, { recursive: true })
  others.push('--reporter=default', '--reporter=./scripts/no-skips-reporter.ts', '--reporter=json')
  // one test of thousands that the machine disturbed is told of, and does not hold all the others up
  others.push('--reporter=./scripts/second-try-reporter.ts', '--retry=1')
  others.push(`--outputFile.json=${results}/${lanes.join('-')}.json`)
}
/** Lanes of which a part runs otherwise (`vitest.config.ts`). */
const PARTS: Readonly<Record<string, readonly string[]>> = {
  integration: ['integration-unhurried', 'integration'],
  system: ['system-waiting', 'system'],
  fault: ['fault-lasting', 'fault'],
}
// processes of these would all have it built beside them, and take its time from what is measured
const STARTING = ['integration', 'system', 'fault', 'e2e']
if (lanes.some((lane) => STARTING.includes(lane))) runNode('scripts/web.ts', ['--quiet'])
const projects = lanes.flatMap((lane) => PARTS[lane] ?? [lane])
process.exitCode = runNode(TOOLS.vitest, ['run', ...projects.flatMap((name) => ['--project', name]), ...others])
