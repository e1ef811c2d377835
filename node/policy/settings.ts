/**
 * What an owner may set, in one table: from it come the checks, the commented file of the first start and what
 * `skein config show` lists. Every default lets the node serve.
 */
import { Type, type Static, type TSchema } from 'typebox'
import { checker, LIMITS, type ReplicaConsent } from '../../mesh/protocol/index.ts'
import { isZone, parseWindow, type Window } from './hours.ts'

/** The policy in force. */
export interface PolicySettings {
  /** When the node serves; always when empty. */
  readonly windows: readonly Window[]
  /** IANA time zone of `windows` and of the quotas' midnight; the machine's when empty. */
  readonly zone: string
  /** Quotas of a day; 0 is none. */
  readonly requestsPerDay: number
  readonly tokensPerDay: number
  readonly wattHoursPerDay: number
  /** What the machine takes more while it answers; 0 when its owner does not say. */
  readonly watts: number
  readonly whenUsedUp: 'finish' | 'hand-over'
  readonly powerSource: 'any' | 'mains'
  /** Percent; 0 is no bound. */
  readonly batteryAbove: number
  /** Degrees Celsius; 0 is no bound. */
  readonly temperatureMax: number
  readonly temperatureResume: number
  /** 0 when use of keyboard and mouse does not matter. */
  readonly inputIdleMs: number
  /** Percent of all processors; 100 is no bound. */
  readonly cpuByOthers: number
  /** Percent of a GPU; 100 is no bound. */
  readonly gpuByOthers: number
  readonly metered: 'serve' | 'no-pulls' | 'pause'
  /** Names and peer ids of those that are served; everyone when empty. */
  readonly coordinators: readonly string[]
  /** Names of tenants, and beginnings of them with a `*`; everyone when empty. */
  readonly tenants: readonly string[]
  /** Names, digests, and beginnings of them with a `*`; all models when empty. */
  readonly models: readonly string[]
  /** What coordinators may order when a model is in demand. */
  readonly replicas: ReplicaConsent
  readonly reopenAfterMs: number
  readonly whenUnknown: 'serve' | 'pause'
}

type Field = keyof PolicySettings

/** One line of the file. */
export interface Setting {
  readonly table: string
  readonly key: string
  readonly field: Field
  /** As it stands in the file. */
  readonly byDefault: string | number | readonly string[]
  readonly allowed: string
  readonly comment: string
  /** The value of the field, or `undefined` when `raw` is none. */
  readonly read: (raw: unknown) => PolicySettings[Field] | undefined
}

const HOUR_MS = 3_600_000
const DURATION_UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: HOUR_MS }

/** A reader of what fits `schema`, as it is. */
function as<S extends TSchema>(schema: S): (raw: unknown) => Static<S> | undefined {
  const fits = checker(schema)
  return (raw) => (fits(raw) ? raw : undefined)
}

const number = (maximum: number): ((raw: unknown) => number | undefined) => as(Type.Number({ minimum: 0, maximum }))
const whole = as(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }))
const textsOf = (maxLength: number) =>
  as(Type.Array(Type.String({ minLength: 1, maxLength }), { maxItems: LIMITS.policyListMax }))
const texts = textsOf(256)
const oneOf = <const T extends string>(...words: readonly T[]): ((raw: unknown) => T | undefined) =>
  ((fits) => (raw: unknown) => (fits(raw) ? (raw as T) : undefined))(checker(Type.Enum([...words])))

/** Milliseconds of `90s`, `15m`, `2h`, up to a day. */
function duration(raw: unknown): number | undefined {
  const match = typeof raw === 'string' ? /^(\d{1,5})(s|m|h)$/.exec(raw) : null
  const ms = match ? Number(match[1]) * DURATION_UNITS[match[2]!]! : Number.NaN
  return ms <= 24 * HOUR_MS ? ms : undefined
}

function windows(raw: unknown): readonly Window[] | undefined {
  const parsed = texts(raw)?.map(parseWindow)
  return parsed?.every((each) => each !== undefined) ? parsed : undefined
}

const zone = (raw: unknown): string | undefined =>
  typeof raw === 'string' && (raw === '' || isZone(raw)) ? raw : undefined

const PERCENT = 'a number from 0 to 100'
const COUNT = 'a whole number from 0'
const DURATION = 'a duration such as "90s", "15m" or "2h", up to "24h"'
const LIST = `a list of up to ${LIMITS.policyListMax} texts`

export const SETTINGS: readonly Setting[] = [
  {
    table: '',
    key: 'reopen_after',
    field: 'reopenAfterMs',
    byDefault: '60s',
    allowed: DURATION,
    comment: 'A reason that was sensed (power, heat, use) must be gone this long before the node serves again.',
    read: duration,
  },
  {
    table: '',
    key: 'when_unknown',
    field: 'whenUnknown',
    byDefault: 'serve',
    allowed: '"serve" or "pause"',
    comment: 'What to do when this machine does not tell what a setting below asks for.',
    read: oneOf('serve', 'pause'),
  },
  {
    table: 'hours',
    key: 'windows',
    field: 'windows',
    byDefault: [],
    allowed: `${LIST} such as "mon-fri 18:00-08:00", "sat,sun 00:00-24:00" or "22:00-06:00"`,
    comment: 'When this machine serves; always when empty. A window may end on the day after: "mon-fri 18:00-08:00".',
    read: windows,
  },
  {
    table: 'hours',
    key: 'zone',
    field: 'zone',
    byDefault: '',
    allowed: 'a time zone such as "Europe/Berlin", or "" for that of this machine',
    comment: 'Time zone of the windows, and of the midnight at which quotas begin anew. "" is that of this machine.',
    read: zone,
  },
  {
    table: 'quota',
    key: 'requests_per_day',
    field: 'requestsPerDay',
    byDefault: 0,
    allowed: COUNT,
    comment: 'Attempts at answers that are begun in a day. 0 is no quota.',
    read: whole,
  },
  {
    table: 'quota',
    key: 'tokens_per_day',
    field: 'tokensPerDay',
    byDefault: 0,
    allowed: COUNT,
    comment: 'Tokens of prompts and answers in a day. 0 is no quota.',
    read: whole,
  },
  {
    table: 'quota',
    key: 'watt_hours_per_day',
    field: 'wattHoursPerDay',
    byDefault: 0,
    allowed: 'a number from 0 to 1000000',
    comment: 'Energy that this machine takes while it answers, in a day. 0 is no quota.',
    read: number(1_000_000),
  },
  {
    table: 'quota',
    key: 'when_used_up',
    field: 'whenUsedUp',
    byDefault: 'finish',
    allowed: '"finish" or "hand-over"',
    comment: 'Answers that run when a quota is used up: "finish" them here, or "hand-over" to another node.',
    read: oneOf('finish', 'hand-over'),
  },
  {
    table: 'energy',
    key: 'watts',
    field: 'watts',
    byDefault: 0,
    allowed: 'a number from 0 to 100000',
    comment:
      'Watts that this machine takes more while it answers. Counts where it cannot tell itself; 0 is by rule of thumb.',
    read: number(100_000),
  },
  {
    table: 'power',
    key: 'source',
    field: 'powerSource',
    byDefault: 'any',
    allowed: '"any" or "mains"',
    comment: '"mains": not on battery.',
    read: oneOf('any', 'mains'),
  },
  {
    table: 'power',
    key: 'battery_above',
    field: 'batteryAbove',
    byDefault: 0,
    allowed: PERCENT,
    comment: 'On battery only while it is charged above this many percent. 0 is no bound.',
    read: number(100),
  },
  {
    table: 'temperature',
    key: 'max',
    field: 'temperatureMax',
    byDefault: 0,
    allowed: 'degrees Celsius from 0 to 150',
    comment: 'Hottest that processor or GPU may be, in degrees Celsius. 0 is no bound.',
    read: number(150),
  },
  {
    table: 'temperature',
    key: 'resume_below',
    field: 'temperatureResume',
    byDefault: 0,
    allowed: 'degrees Celsius from 0 to 150, below `max`',
    comment: 'Serve again below this. 0 is ten degrees below `max`.',
    read: number(150),
  },
  {
    table: 'in_use',
    key: 'input_idle',
    field: 'inputIdleMs',
    byDefault: '0s',
    allowed: DURATION,
    comment: 'Serve only when keyboard and mouse were left alone this long. "0s" does not look.',
    read: duration,
  },
  {
    table: 'in_use',
    key: 'cpu_by_others',
    field: 'cpuByOthers',
    byDefault: 100,
    allowed: PERCENT,
    comment: 'Pause while other programs take more than this many percent of all processors. 100 does not look.',
    read: number(100),
  },
  {
    table: 'in_use',
    key: 'gpu_by_others',
    field: 'gpuByOthers',
    byDefault: 100,
    allowed: PERCENT,
    comment: 'Pause while other programs take more than this many percent of a GPU. 100 does not look.',
    read: number(100),
  },
  {
    table: 'network',
    key: 'metered',
    field: 'metered',
    byDefault: 'serve',
    allowed: '"serve", "no-pulls" or "pause"',
    comment: 'On a link that is billed by volume: serve; pull no model when a node starts; or not serve at all.',
    read: oneOf('serve', 'no-pulls', 'pause'),
  },
  {
    table: 'access',
    key: 'coordinators',
    field: 'coordinators',
    byDefault: [],
    allowed: `${LIST}: names or peer ids`,
    comment: 'Coordinators that are served, by name or peer id; all of the mesh when empty.',
    read: texts,
  },
  {
    table: 'access',
    key: 'tenants',
    field: 'tenants',
    byDefault: [],
    allowed: `${LIST} of up to ${LIMITS.tenantLengthMax} characters: names, or beginnings of them that end with *`,
    comment:
      'Tenants (API keys) that are served, as coordinators name them, "key:*" for all that begin so; all when empty.',
    read: textsOf(LIMITS.tenantLengthMax),
  },
  {
    table: 'access',
    key: 'models',
    field: 'models',
    byDefault: [],
    allowed: `${LIST}: names or digests, or beginnings of them that end with *`,
    comment: 'Models that others may use, by name or digest, "llama*" for all that begin so; all when empty.',
    read: texts,
  },
  {
    table: 'access',
    key: 'replicas',
    field: 'replicas',
    byDefault: 'load',
    allowed: '"off", "load" or "fetch"',
    comment:
      'A model in demand: coordinators may have nothing done about it here; have it loaded if it is on the disk; or also ' +
      'have it fetched from other members, unless the link is metered.',
    read: oneOf('off', 'load', 'fetch'),
  },
]

/** As in the file: `power.source`. */
export const pathOf = ({ table, key }: Pick<Setting, 'table' | 'key'>): string =>
  table === '' ? key : `${table}.${key}`

/** The policy of an empty file. */
export const DEFAULT_POLICY: PolicySettings = Object.fromEntries(
  SETTINGS.map(({ field, byDefault, read }) => [field, read(byDefault)!]),
) as unknown as PolicySettings
