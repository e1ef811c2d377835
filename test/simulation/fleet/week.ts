/**
 * A week with a peak on each day, three times over: machines that come when they are wanted, as many machines all the time,
 * and none at all. What it costs, and how long jobs wait for their slot.
 */
import type { PoolSettings } from '../../../coordinator/cloud/index.ts'
import { Choices } from '../world.ts'
import { FleetHistory } from './history.ts'
import { MINUTE_MS, type FleetScenario } from './scenario.ts'

const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
const DAYS = 7
const SEED = 1
/** Jobs an hour, at night and at the height of the day (15:00); on the last two days a quarter of it. */
const QUIET_PER_HOUR = 10
const PEAK_PER_HOUR = 700
const PEAK_AT_MS = 15 * HOUR_MS
/** How wide the peak is. */
const PEAK_MS = 2.5 * HOUR_MS
/** What a job takes a worker, on average. */
const WORK_MS = 30_000
const MACHINES_MAX = 3

type Mode = 'autoscaling' | 'always on' | 'never'
const POOLS: Readonly<Record<Mode, Pick<PoolSettings, 'min' | 'max'>>> = {
  autoscaling: { min: 0, max: MACHINES_MAX },
  'always on': { min: MACHINES_MAX, max: MACHINES_MAX },
  never: { min: 0, max: 0 },
}

/** Lines of a table. */
export async function runWeek(): Promise<string[]> {
  const lines = [
    `${DAYS} days, ${QUIET_PER_HOUR} to ${PEAK_PER_HOUR} jobs an hour, two slots in the house, up to ${MACHINES_MAX} machines`,
    '| machines | cost | machine hours | jobs | given up | wait p50 | wait p99 |',
    '|---|---|---|---|---|---|---|',
  ]
  for (const mode of Object.keys(POOLS) as Mode[]) lines.push(await week(mode))
  return lines
}

async function week(mode: Mode): Promise<string> {
  const history = new FleetHistory(scenarioOf(POOLS[mode]), {})
  const { violation } = await history.run()
  if (violation) return `| ${mode} | ${violation.invariant}: ${violation.message} |`
  const { load } = history
  const [provider] = history.providers
  const hours = [...provider!.machines.values()].reduce((sum, { bornMs, goneMs = 0 }) => sum + goneMs - bornMs, 0)
  const waits = load.waitedMs.toSorted((a, b) => a - b)
  const wait = (share: number): string => `${((waits[Math.floor(share * waits.length)] ?? 0) / 1000).toFixed(1)} s`
  const cost = (provider!.billedMicros() / 1e6).toFixed(2)
  const jobs = load.done + load.lost
  return `| ${mode} | ${cost} | ${(hours / HOUR_MS).toFixed(0)} | ${jobs} | ${load.lost} | ${wait(0.5)} | ${wait(0.99)} |`
}

function scenarioOf(sizes: Pick<PoolSettings, 'min' | 'max'>): FleetScenario {
  return {
    seed: SEED,
    providers: [
      {
        name: 'cloud',
        quote: {
          microsPerHour: 800_000,
          billedStepMs: 1000,
          billedLeastMs: MINUTE_MS,
          readyMs: 4 * MINUTE_MS,
          isSpot: false,
        },
        ...{ bootMs: 90_000, settleMs: 5000, answerMs: 500 },
      },
    ],
    pools: [{ name: 'week', provider: 'cloud', flavour: 'gpu', serves: ['big'], ...sizes, idleMinutes: 10 }],
    capMicros: 1_000_000_000,
    load: { houseSlots: 2, houseSlowness: 2, workerSlots: 4, patienceMs: 10 * MINUTE_MS },
    workerLoadMs: 120_000,
    jobs: arrivals(),
    faults: [],
    healAtMs: DAYS * DAY_MS,
  }
}

/** A Poisson process whose rate goes by the time of day: thinned from that of the peak. */
function arrivals(): FleetScenario['jobs'] {
  const choices = new Choices(SEED, 'arrivals')
  const jobs: { atMs: number; workMs: number }[] = []
  const between = (perHour: number): number => (-Math.log(1 - choices.next()) * HOUR_MS) / perHour
  for (let atMs = between(PEAK_PER_HOUR); atMs < DAYS * DAY_MS; atMs += between(PEAK_PER_HOUR)) {
    const isWeekend = Math.floor(atMs / DAY_MS) >= DAYS - 2
    const offPeak = ((atMs % DAY_MS) - PEAK_AT_MS) / PEAK_MS
    const rate =
      QUIET_PER_HOUR + (PEAK_PER_HOUR - QUIET_PER_HOUR) * Math.exp(-offPeak * offPeak) * (isWeekend ? 0.25 : 1)
    if (choices.next() * PEAK_PER_HOUR > rate) continue
    jobs.push({ atMs, workMs: Math.max(1000, -Math.log(1 - choices.next()) * WORK_MS) })
  }
  return jobs
}
