/** Runs the histories that `runner.ts` asks for, one after the other. Started as `node test/simulation/worker.ts`. */
import { runHistory } from './history.ts'

// traces are for replays; making them takes a good part of the time
Error.stackTraceLimit = 0
process.on('message', (seed: number) => {
  void runHistory(seed).then((result) => process.send!(result))
})
process.send!('ready')
