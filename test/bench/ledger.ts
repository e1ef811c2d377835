/** Commits and latency of the ledger with one and many callers, on a disk: `node test/bench/ledger.ts [--dir DIRECTORY]`. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { openLedger, type Ledger } from '../../coordinator/ledger/index.ts'
import { silentLogger, SystemClock } from '../../mesh/runtime/index.ts'
import { admitted, checkpointed } from '../compliance/ledger.samples.ts'
import { machine, percentile, print, spread } from './stats.ts'

const CALLERS = [1, 64]
const WARM_UP_MS = 500
const RUN_MS = 4000
/** Tokens of a checkpoint: one second of a fast stream. */
const TOKENS = 50

const clock = new SystemClock(true)
const { values } = parseArgs({ options: { dir: { type: 'string', default: tmpdir() } } })
const directory = mkdtempSync(join(values.dir, 'skein-bench-'))

/** Calls `work` from `callers` loops at once. Returns the time of each call. */
async function measure(callers: number, work: () => Promise<unknown>): Promise<number[]> {
  const figures: number[] = []
  const beganMs = performance.now()
  const endMs = beganMs + WARM_UP_MS + RUN_MS
  await Promise.all(
    Array.from({ length: callers }, async () => {
      for (let nowMs = beganMs; nowMs < endMs;) {
        await work()
        const tookMs = performance.now() - nowMs
        nowMs += tookMs
        if (nowMs > beganMs + WARM_UP_MS) figures.push(tookMs)
      }
    }),
  )
  return figures
}

/** How late the event loop was for a timer of 1 ms while `run` went on. */
async function lateness(run: Promise<unknown>): Promise<number[]> {
  const pauses: number[] = []
  let isOver = false
  void run.finally(() => (isOver = true))
  for (let beforeMs = performance.now(); !isOver;) {
    await new Promise<void>((resolve) => void clock.timer(1, resolve))
    const nowMs = performance.now()
    pauses.push(nowMs - beforeMs - 1)
    beforeMs = nowMs
  }
  return pauses
}

async function bench(name: string, callers: number, work: () => Promise<unknown>): Promise<void> {
  const run = measure(callers, work)
  const pauses = await lateness(run)
  const figures = await run
  const rate = Math.round(figures.length / (RUN_MS / 1000))
  print(
    `${name}, ${callers} callers: ${rate}/s, ${spread(figures)}; event loop late p99 ${percentile(pauses, 0.99).toFixed(1)} ms`,
  )
}

const admitOne = (ledger: Ledger): Promise<unknown> => ledger.admit(admitted())
const checkpointOne = async (ledger: Ledger): Promise<() => Promise<unknown>> => {
  const event = admitted()
  await ledger.admit(event)
  let index = 0
  return () => ledger.append([checkpointed(event.spec.taskId, (index += TOKENS) - TOKENS, TOKENS)])
}

print(machine())
try {
  const ledger = await openLedger({ clock, log: silentLogger }, { path: join(directory, 'ledger.db') })
  for (const callers of CALLERS) await bench('admit', callers, () => admitOne(ledger))
  for (const callers of CALLERS) await bench(`checkpoint of ${TOKENS} tokens`, callers, await checkpointOne(ledger))
  await ledger.close()
} finally {
  rmSync(directory, { recursive: true })
}
