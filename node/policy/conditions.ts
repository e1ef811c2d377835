/**
 * The conditions under which an owner lets a machine serve: each a pure function of settings and facts, none of which
 * knows of the others. A condition that closed the node is asked with `wasClosed`, and opens a little later than it closes.
 */
import { clockText, isWithin, localTime, nextMidnight, nextOpening } from './hours.ts'
import type { Pause } from './pause-file.ts'
import type { PolicySettings } from './settings.ts'
import type { Observations, Sense } from './senses/senses.ts'

/** Used since midnight. */
export interface Usage {
  readonly requests: number
  readonly tokens: number
  readonly wattHours: number
}

export interface Facts {
  /** The clock on the wall, in ms since 1970. */
  readonly wallMs: number
  readonly observations: Observations
  readonly usage: Usage
  readonly pause: Pause | undefined
}

export type Finding =
  | { readonly state: 'open' }
  | {
      readonly state: 'closing'
      /** For people: why the node does not serve. */
      readonly reason: string
      /** When it will be over, in ms since 1970, where that is known. */
      readonly untilMs?: number
      /** Answers that run may end here. */
      readonly finishes?: boolean
    }
  | { readonly state: 'unknown'; readonly what: string }

export interface Condition {
  readonly name: string
  /** What it looks at, under these settings; nothing when they do not ask for it. */
  readonly senses: (settings: PolicySettings) => readonly Sense[]
  /** Sensed, not reckoned: it must be gone for a while before the node serves again. */
  readonly isSensed: boolean
  readonly judge: (settings: PolicySettings, facts: Facts, wasClosed: boolean) => Finding
}

const OPEN: Finding = { state: 'open' }
const unknown = (what: string): Finding => ({ state: 'unknown', what })
const closing = (reason: string, untilMs?: number): Finding => ({
  state: 'closing',
  reason,
  ...(untilMs !== undefined && { untilMs }),
})

/** A battery must be charged this much further than the bound before the node serves again, in percent. */
const CHARGE_MARGIN = 5
/** Degrees below `max` where `resume_below` is not given. */
const TEMPERATURE_MARGIN = 10
/** Share of the bound that others must fall below. */
const USE_MARGIN = 0.7

const { round } = Math

const none = (): readonly Sense[] => []

function paused({ zone }: PolicySettings, { pause, wallMs }: Facts): Finding {
  if (pause === undefined || (pause.untilMs !== undefined && pause.untilMs <= wallMs)) return OPEN
  const { untilMs } = pause
  if (untilMs === undefined) return closing('paused by its owner')
  return closing(`paused by its owner until ${clockText(untilMs, wallMs, zone)}`, untilMs)
}

function hours({ windows, zone }: PolicySettings, { wallMs }: Facts): Finding {
  if (windows.length === 0 || isWithin(windows, localTime(wallMs, zone))) return OPEN
  const untilMs = nextOpening(windows, wallMs, zone)
  return closing(
    `outside its hours${untilMs === undefined ? '' : ` until ${clockText(untilMs, wallMs, zone)}`}`,
    untilMs,
  )
}

function quota(settings: PolicySettings, { usage, observations, wallMs }: Facts): Finding {
  const { requestsPerDay, tokensPerDay, wattHoursPerDay, whenUsedUp, zone } = settings
  const usedUp: string[] = []
  if (requestsPerDay > 0 && usage.requests >= requestsPerDay) usedUp.push(`${requestsPerDay} requests`)
  if (tokensPerDay > 0 && usage.tokens >= tokensPerDay) usedUp.push(`${tokensPerDay} tokens`)
  if (wattHoursPerDay > 0 && usage.wattHours >= wattHoursPerDay) usedUp.push(`${wattHoursPerDay} watt-hours`)
  if (usedUp.length > 0)
    return {
      ...closing(`today's ${usedUp.join(' and ')} are used up`, nextMidnight(wallMs, zone)),
      ...(whenUsedUp === 'finish' && { finishes: true }),
    } as Finding
  return wattHoursPerDay > 0 && observations.watts === 'unknown' ? unknown('what the machine takes') : OPEN
}

function power({ powerSource }: PolicySettings, { observations }: Facts): Finding {
  if (powerSource === 'any') return OPEN
  if (observations.power === 'unknown') return unknown('the power source')
  return observations.power === 'battery' ? closing('on battery') : OPEN
}

function battery(
  { batteryAbove }: PolicySettings,
  { observations: { power, charge } }: Facts,
  wasClosed: boolean,
): Finding {
  if (batteryAbove === 0 || power === 'mains') return OPEN
  if (power === 'unknown' || charge === 'unknown') return unknown('the charge of the battery')
  const bound = wasClosed ? Math.min(100, batteryAbove + CHARGE_MARGIN) : batteryAbove
  return charge > bound || charge >= 100 ? OPEN : closing(`battery at ${round(charge)} %`)
}

function temperature(
  { temperatureMax, temperatureResume }: PolicySettings,
  { observations }: Facts,
  wasClosed: boolean,
): Finding {
  if (temperatureMax === 0) return OPEN
  if (observations.temperature === 'unknown') return unknown('the temperature')
  const resume = temperatureResume > 0 ? temperatureResume : temperatureMax - TEMPERATURE_MARGIN
  const isHot = observations.temperature > temperatureMax || (wasClosed && observations.temperature >= resume)
  return isHot ? closing(`${round(observations.temperature)} °C hot`) : OPEN
}

function input({ inputIdleMs }: PolicySettings, { observations }: Facts): Finding {
  if (inputIdleMs === 0) return OPEN
  if (observations.inputIdleMs === 'unknown') return unknown('whether keyboard and mouse are used')
  return observations.inputIdleMs < inputIdleMs ? closing('its owner uses it') : OPEN
}

/** Percent that others take of something, against its bound. */
const useBy =
  (field: 'cpuByOthers' | 'gpuByOthers', thing: string) =>
  (settings: PolicySettings, { observations }: Facts, wasClosed: boolean): Finding => {
    const bound = settings[field]
    if (bound === 100) return OPEN
    const percent = observations[field]
    if (percent === 'unknown') return unknown(`what others take of ${thing}`)
    return percent > (wasClosed ? bound * USE_MARGIN : bound)
      ? closing(`others take ${round(percent)} % of ${thing}`)
      : OPEN
  }

function metered({ metered: wish }: PolicySettings, { observations }: Facts): Finding {
  if (wish !== 'pause') return OPEN
  if (observations.metered === 'unknown') return unknown('whether the link is metered')
  return observations.metered ? closing('on a metered link') : OPEN
}

/** In the order in which their reasons are told. */
export const CONDITIONS: readonly Condition[] = [
  { name: 'pause', senses: none, isSensed: false, judge: paused },
  { name: 'hours', senses: none, isSensed: false, judge: hours },
  {
    name: 'quota',
    senses: ({ wattHoursPerDay }) => (wattHoursPerDay > 0 ? ['watts'] : []),
    isSensed: false,
    judge: quota,
  },
  {
    name: 'power',
    senses: ({ powerSource }) => (powerSource === 'any' ? [] : ['power']),
    isSensed: true,
    judge: power,
  },
  {
    name: 'battery',
    senses: ({ batteryAbove }) => (batteryAbove === 0 ? [] : ['power', 'charge']),
    isSensed: true,
    judge: battery,
  },
  {
    name: 'temperature',
    senses: ({ temperatureMax }) => (temperatureMax === 0 ? [] : ['temperature']),
    isSensed: true,
    judge: temperature,
  },
  {
    name: 'input',
    senses: ({ inputIdleMs }) => (inputIdleMs === 0 ? [] : ['inputIdleMs']),
    isSensed: true,
    judge: input,
  },
  {
    name: 'cpu',
    senses: ({ cpuByOthers }) => (cpuByOthers === 100 ? [] : ['cpuByOthers']),
    isSensed: true,
    judge: useBy('cpuByOthers', 'the processors'),
  },
  {
    name: 'gpu',
    senses: ({ gpuByOthers }) => (gpuByOthers === 100 ? [] : ['gpuByOthers']),
    isSensed: true,
    judge: useBy('gpuByOthers', 'a GPU'),
  },
  {
    name: 'metered',
    // who lets models be fetched wants none fetched over such a link, whether it may serve or not
    senses: ({ metered: wish, replicas }) => (wish === 'pause' || replicas === 'fetch' ? ['metered'] : []),
    isSensed: true,
    judge: metered,
  },
]

/** Everything that these settings ask for. */
export const sensesOf = (settings: PolicySettings): ReadonlySet<Sense> =>
  new Set(CONDITIONS.flatMap(({ senses }) => senses(settings)))
