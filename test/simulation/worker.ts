/**
 * Runs the histories that `runner.ts` asks for, one after the other. Started as `node test/simulation/worker.ts`, for
 * those of a fleet with `fleet` behind it.
 */
import type { HistoryResult } from './history.ts'

// traces are for replays; making them takes a good part of the time
Error.stackTraceLimit = 0
const runHistory: (seed: number) => Promise<HistoryResult> =
  process.argv[2] === 'fleet'
    ? (await import('./fleet/history.ts')).runFleetHistory
    : (await import('./history.ts')).runHistory
process.on('message', (seed: number) => {
  void runHistory(seed).then((result) => process.send!(result))
})
process.send!('ready')
