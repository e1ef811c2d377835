/** What a seed stands for in the simulation of a fleet: its pools, its money, its work and its bad luck. Plain data. */
import type { PoolSettings, Quote } from '../../../coordinator/cloud/index.ts'
import type { Call, CallFault } from '../../fixtures/providers/memory-provider.ts'
import { Choices } from '../world.ts'
import type { LoadInit } from './load.ts'

export const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS

export interface ProviderPlan {
  readonly name: string
  readonly quote: Quote
  readonly bootMs: number
  readonly settleMs: number
  readonly answerMs: number
}

export type FleetFault =
  /** Calls of that kind, or of every kind, fail in that way as often as `share` says. */
  | {
      readonly kind: 'calls'
      readonly provider: number
      readonly call: Call | 'all'
      readonly fault: CallFault
      readonly share: number
    }
  | { readonly kind: 'stuck machines' }
  | { readonly kind: 'interruption'; readonly noticeMs: number }
  | { readonly kind: 'worker cut' }
  /** The process dies, and comes back after the time of the fault. */
  | { readonly kind: 'crash' }
  /** The process dies with the next call of a provider, before or behind it. */
  | { readonly kind: 'crash at a call'; readonly isBehind: boolean }
  | { readonly kind: 'clock jump'; readonly byMs: number }
  | { readonly kind: 'disk full' }
  /** Somebody launches a machine with our tag: no lease knows of it, and no worker runs on it. */
  | { readonly kind: 'orphan'; readonly provider: number }
  | { readonly kind: 'owner ends one' }

export interface PlannedFleetFault {
  readonly atMs: number
  readonly forMs: number
  readonly fault: FleetFault
}

export interface FleetScenario {
  readonly seed: number
  readonly providers: readonly ProviderPlan[]
  readonly pools: readonly PoolSettings[]
  readonly capMicros: number
  readonly load: LoadInit
  readonly workerLoadMs: number
  /** Times of arrivals, and how long each takes a worker. */
  readonly jobs: readonly { readonly atMs: number; readonly workMs: number }[]
  readonly faults: readonly PlannedFleetFault[]
  /** From here on nothing fails any more, and nobody wants a machine. */
  readonly healAtMs: number
}

const KINDS = [
  'calls',
  'calls',
  'stuck machines',
  'interruption',
  'worker cut',
  'crash',
  'crash at a call',
  'clock jump',
  'disk full',
  'orphan',
  'owner ends one',
] as const

export function fleetScenarioOf(seed: number): FleetScenario {
  const choices = new Choices(seed, 'fleet')
  const activeMs = choices.whole(40, 150) * MINUTE_MS
  const providers = Array.from({ length: choices.pick([1, 1, 2]) }, (_, i) => providerPlan(choices, i))
  const kinds = KINDS.filter(() => choices.chance(0.5))
  // a machine that nothing inside can end must not meet a provider that cannot end it for hours: nobody could
  const isStuckWorld = kinds.includes('stuck machines') || kinds.includes('orphan')
  const faults = Array.from({ length: kinds.length === 0 ? 0 : choices.whole(0, 12) }, () => ({
    atMs: choices.whole(0, activeMs),
    forMs: choices.whole(1, isStuckWorld ? 4 : 40) * MINUTE_MS,
    fault: faultOf(choices, choices.pick(kinds), providers.length),
  }))
  const pools = Array.from({ length: choices.pick([1, 1, 2]) }, (_, i) => poolPlan(choices, i, providers))
  return {
    seed,
    providers,
    pools,
    capMicros: choices.pick([0, 300_000, 1_500_000, 5_000_000, 50_000_000]),
    load: {
      houseSlots: choices.pick([0, 1, 2]),
      houseSlowness: 3,
      workerSlots: choices.pick([1, 4, 8]),
      patienceMs: choices.pick([5, 20]) * MINUTE_MS,
    },
    workerLoadMs: choices.whole(10, 120) * 1000,
    jobs: jobsOf(choices, activeMs),
    faults: faults.sort((a, b) => a.atMs - b.atMs),
    healAtMs: activeMs + 5 * MINUTE_MS,
  }
}

function providerPlan(choices: Choices, index: number): ProviderPlan {
  const billedStepMs = choices.pick([1000, 1000, MINUTE_MS, HOUR_MS])
  return {
    name: `p${index}`,
    quote: {
      microsPerHour: choices.pick([0, 400_000, 2_000_000]),
      billedStepMs,
      billedLeastMs: choices.pick([0, MINUTE_MS]),
      readyMs: choices.whole(1, 6) * MINUTE_MS,
      isSpot: choices.chance(0.5),
    },
    bootMs: choices.whole(5, 90) * 1000,
    settleMs: choices.pick([0, 2000, 20_000]),
    answerMs: choices.pick([1, 50, 3000]),
  }
}

function poolPlan(choices: Choices, index: number, providers: readonly ProviderPlan[]): PoolSettings {
  const min = choices.pick([0, 0, 0, 1])
  return {
    name: `pool-${index}`,
    provider: choices.pick(providers).name,
    flavour: 'gpu',
    serves: choices.chance(0.5) ? ['big'] : [`big-${index}`],
    min,
    max: Math.max(min, choices.whole(1, 3)),
    idleMinutes: choices.pick([1, 5, 15]),
    aloneMinutes: choices.pick([3, 10]),
  }
}

function jobsOf(choices: Choices, activeMs: number): FleetScenario['jobs'] {
  const bursts = choices.whole(1, 4)
  return Array.from({ length: bursts }, () => {
    const atMs = choices.whole(0, activeMs)
    const everyMs = choices.pick([0, 5000, 30_000])
    return Array.from({ length: choices.whole(1, 25) }, (_, i) => ({
      atMs: atMs + i * everyMs,
      workMs: choices.whole(5, 300) * 1000,
    }))
  })
    .flat()
    .filter(({ atMs }) => atMs < activeMs)
}

function faultOf(choices: Choices, kind: (typeof KINDS)[number], providers: number): FleetFault {
  switch (kind) {
    case 'calls': {
      const call = choices.pick(['all', 'launch', 'launch', 'terminate', 'terminate', 'list', 'get', 'quote'] as const)
      const lasting: readonly CallFault[] = ['throttled', 'unreachable', 'lost', 'hangs']
      const launch: readonly CallFault[] = ['no capacity', 'refused', 'lost', 'lost', 'hangs', 'throttled']
      const fault = choices.pick(call === 'launch' ? launch : lasting)
      return { kind, provider: choices.whole(0, providers - 1), call, fault, share: choices.pick([0.3, 0.7, 1]) }
    }
    case 'interruption':
      return { kind, noticeMs: choices.pick([0, 30_000, 120_000]) }
    case 'crash at a call':
      return { kind, isBehind: choices.chance(0.5) }
    case 'clock jump':
      return { kind, byMs: choices.whole(-24 * HOUR_MS, 24 * HOUR_MS) }
    case 'orphan':
      return { kind, provider: choices.whole(0, providers - 1) }
    default:
      return { kind }
  }
}
