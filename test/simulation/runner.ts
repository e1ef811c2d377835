/** Histories over all cores, each core a process of its own: a history that hangs or dies costs one seed, not the run. */
import { fork, type ChildProcess } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { HistoryResult } from './history.ts'

const WORKER = fileURLToPath(new URL('./worker.ts', import.meta.url))
const HOOKS = new URL('./hooks.ts', import.meta.url).href
/** Real time in which one history must end; it takes some 0.1 s. */
const HANG_MS = 120_000

export interface RunnerInit {
  /** Which histories; those of the whole mesh when absent. */
  readonly world?: 'fleet' | undefined
  /** The guard that is taken out. */
  readonly mutation?: string
  /** Called for each history; `true` ends the run. */
  readonly onResult: (result: HistoryResult) => boolean | void
}

/** Runs the histories of `seeds`. @throws RangeError when a worker cannot start. */
export async function runSeeds(seeds: Iterable<number>, init: RunnerInit): Promise<void> {
  const left = seeds[Symbol.iterator]()
  let isOver = false
  const work = async (): Promise<void> => {
    let worker: ChildProcess | undefined
    for (let next = left.next(); !isOver && !next.done; next = left.next()) {
      worker ??= await start(init)
      const result = await ask(worker, next.value)
      if (result.violation?.invariant === 'process') worker = undefined
      if (init.onResult(result)) isOver = true
    }
    worker?.kill()
  }
  await Promise.all(Array.from({ length: availableParallelism() }, work))
}

/** Code that does not even load says so once, instead of in every history. */
function start({ mutation, world }: RunnerInit): Promise<ChildProcess> {
  const { SKEIN_SIM_MUTATION: _, ...env } = process.env
  const worker = fork(WORKER, world === undefined ? [] : [world], {
    execArgv: ['--import', HOOKS],
    env: mutation === undefined ? env : { ...env, SKEIN_SIM_MUTATION: mutation },
  })
  return new Promise((resolve, reject) => {
    const died = (code: number | null): void =>
      reject(new RangeError(`a worker ended with ${code} before its first history`))
    worker.once('exit', died)
    worker.once('message', () => {
      worker.off('exit', died)
      resolve(worker)
    })
  })
}

function ask(worker: ChildProcess, seed: number): Promise<HistoryResult> {
  return new Promise((resolve) => {
    const settle = (result: HistoryResult): void => {
      clearTimeout(limit)
      worker.removeAllListeners()
      resolve(result)
    }
    const died = (message: string): void => {
      worker.kill('SIGKILL')
      const violation = { invariant: 'process', message, atMs: 0 }
      settle({ seed, steps: 0, tasks: 0, faults: 0, migrations: {}, violation })
    }
    const limit = setTimeout(() => died(`no end within ${HANG_MS} ms`), HANG_MS)
    worker.once('message', (result) => settle(result as HistoryResult))
    worker.once('exit', (code, signal) => died(`the process ended with ${signal ?? code}`))
    // one that has just ended is told by this alone
    worker.send(seed, (error) => error && died(`the process cannot be reached: ${error.message}`))
  })
}
