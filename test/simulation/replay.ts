/** One history, line by line: `node --import ./test/simulation/hooks.ts test/simulation/replay.ts SEED [fleet]`. */
const seed = Number(process.argv[2])
const lines: string[] = []
const print = (line: string): void => void lines.push(line)

async function replayFleet(): ReturnType<typeof replayMesh> {
  const [{ runFleetHistory }, { fleetScenarioOf }] = await Promise.all([
    import('./fleet/history.ts'),
    import('./fleet/scenario.ts'),
  ])
  print(JSON.stringify(fleetScenarioOf(seed), null, 1))
  return runFleetHistory(seed, { print })
}

async function replayMesh() {
  const [{ runHistory }, { scenarioOf }] = await Promise.all([import('./history.ts'), import('./scenario.ts')])
  print(JSON.stringify(scenarioOf(seed), null, 1))
  return runHistory(seed, { print })
}

const { violation, steps } = await (process.argv[3] === 'fleet' ? replayFleet() : replayMesh())
print(
  violation ? `${violation.invariant} at ${violation.atMs} ms: ${violation.message}` : `no violation in ${steps} steps`,
)
process.stdout.write(`${lines.join('\n')}\n`)
process.exitCode = violation ? 1 : 0
