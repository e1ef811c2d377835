/**
 * What the owner wants of the cloud: `cloud.json` in the data directory. Read whole or not at all; a member that is misspelt
 * must not be ignored, since it might be the one that keeps something in the house.
 */
import { Type, type Static } from 'typebox'
import { Compile } from 'typebox/compile'
import { LIMITS, SkeinError } from '../../mesh/protocol/index.ts'
import { PoolsSchema, poolProblem, type PoolSettings } from './fleet-settings.ts'
import {
  flavoursOf,
  FlavoursSchema,
  providersOf,
  ProvidersSchema,
  type FlavourSettings,
  type ProviderSettings,
} from './providers/settings.ts'
import { checkPatterns } from './redaction.ts'
import { EndpointsSchema, type EndpointSettings } from './settings-endpoints.ts'
import { PolicySchema, policyOf, type PolicySettings } from './settings-policy.ts'

export const CLOUD_FILE = 'cloud.json'

const SettingsSchema = Type.Object(
  {
    policy: Type.Optional(PolicySchema),
    endpoints: Type.Optional(EndpointsSchema),
    providers: Type.Optional(ProvidersSchema),
    flavours: Type.Optional(FlavoursSchema),
    pools: Type.Optional(PoolsSchema),
  },
  { additionalProperties: false },
)
const compiled = Compile(SettingsSchema)

/** All sections; what the file leaves out has its defaults. */
export interface CloudSettings {
  readonly policy: PolicySettings
  readonly endpoints: readonly EndpointSettings[]
  /** By their names. */
  readonly providers: Readonly<Record<string, ProviderSettings>>
  readonly flavours: Readonly<Record<string, FlavourSettings>>
  readonly pools: readonly PoolSettings[]
}

/**
 * The settings of a file's text; those of an empty one are the defaults.
 *
 * @param file its name, for messages.
 * @throws SkeinError CONFIG_INVALID naming the member at fault, and what is allowed there.
 */
export function readCloudSettings(text: string, file: string = CLOUD_FILE): CloudSettings {
  if (Buffer.byteLength(text) > LIMITS.cloudFileBytesMax)
    throw invalid(file, `it is larger than ${LIMITS.cloudFileBytesMax} bytes`)
  const read = checked(text.trim() === '' ? {} : parsed(text, file), file)
  const wrong = (what: string): SkeinError => invalid(file, what)
  const settings: CloudSettings = {
    policy: policyOf(read.policy),
    endpoints: read.endpoints ?? [],
    providers: providersOf(read.providers, wrong),
    flavours: flavoursOf(read.flavours, wrong),
    pools: read.pools ?? [],
  }
  checkPatterns(settings.policy.redact, (index, why) => invalid(file, `/policy/redact/${index}/pattern ${why}`))
  if (settings.policy.cascade.length > 0 && !settings.policy.reasons.includes('low-confidence'))
    throw wrong("/policy/cascade is never asked: /policy/reasons does not have 'low-confidence'")
  checkEndpoints(settings.endpoints, file)
  const problem = poolProblem(settings)
  if (problem !== undefined) throw wrong(problem)
  return settings
}

function parsed(text: string, file: string): unknown {
  try {
    return JSON.parse(text)
  } catch (thrown) {
    throw invalid(file, `it is no JSON: ${(thrown as Error).message}`)
  }
}

function checked(value: unknown, file: string): Static<typeof SettingsSchema> {
  if (compiled.Check(value)) return value as Static<typeof SettingsSchema>
  const errors = compiled.Errors(value)
  const unknown = errors.find(({ keyword }) => keyword === 'additionalProperties')
  if (unknown) {
    const { additionalProperties: keys } = unknown.params as { additionalProperties: string[] }
    throw invalid(file, `${unknown.instancePath || 'the file'} has no member ${JSON.stringify(keys[0])}`)
  }
  const [first] = errors
  const allowed = (first?.params as { allowedValues?: string[] } | undefined)?.allowedValues
  const what = allowed ? `must be one of ${allowed.join(', ')}` : (first?.message ?? 'does not fit')
  throw invalid(file, `${first?.instancePath || 'the file'} ${what}`)
}

function checkEndpoints(endpoints: readonly EndpointSettings[], file: string): void {
  const names = endpoints.map(({ name }) => name.toLowerCase())
  const twice = names.findIndex((name, index) => names.indexOf(name) < index)
  if (twice >= 0) throw invalid(file, `/endpoints/${twice}/name is another endpoint's name already`)
  const unclear = endpoints.findIndex(({ price, free }) => (price === undefined) !== (free === true))
  if (unclear < 0) return
  const { name, price } = endpoints[unclear]!
  throw invalid(
    file,
    price === undefined
      ? `/endpoints/${unclear} ('${name}') has no price: no budget could bound it. Say what a million tokens cost, or "free": true`
      : `/endpoints/${unclear} ('${name}') has a price and is free`,
  )
}

const invalid = (file: string, what: string): SkeinError => new SkeinError('CONFIG_INVALID', `${file}: ${what}`)
