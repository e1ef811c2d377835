/**
 * The sections `providers` and `flavours` of the cloud settings: where machines can be had, and what is launched there. Keys
 * are named by their environment variables and never in the file; prices are the owner's figures, or the provider's list
 * where the owner says so.
 */
import { Type, type Static, type TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import { AwsFlavourSchema, AwsSchema, type AwsFlavour, type AwsSettings } from './aws/settings.ts'
import {
  ScalewayFlavourSchema,
  ScalewaySchema,
  type ScalewayFlavour,
  type ScalewaySettings,
} from './scaleway/settings.ts'
import { SshFlavourSchema, SshSchema, type SshFlavour, type SshSettings } from './ssh/settings.ts'

const NAMED_MAX = 64

export type ProviderSettings = SshSettings | AwsSettings | ScalewaySettings
export type FlavourSettings = SshFlavour | AwsFlavour | ScalewayFlavour
export type ProviderKind = ProviderSettings['kind']

const KINDS: readonly ProviderKind[] = ['ssh', 'aws', 'scaleway']

/** Names of anything whose members depend on its kind: the rest is checked by kind, so that a message names what is wrong. */
const NamedSchema = Type.Record(
  Type.String({ pattern: '^[a-z0-9][a-z0-9-]{0,62}$' }),
  Type.Object({ kind: Type.String({ enum: [...KINDS] }) }, { additionalProperties: true }),
  { maxProperties: NAMED_MAX, additionalProperties: false },
)
export const ProvidersSchema = NamedSchema
export const FlavoursSchema = NamedSchema
type Named = Readonly<Record<string, { readonly kind: string }>>

const compiledOf = <T extends TSchema>(schema: T) => Compile(schema)
const providers = { ssh: compiledOf(SshSchema), aws: compiledOf(AwsSchema), scaleway: compiledOf(ScalewaySchema) }
const flavours = {
  ssh: compiledOf(SshFlavourSchema),
  aws: compiledOf(AwsFlavourSchema),
  scaleway: compiledOf(ScalewayFlavourSchema),
}

interface Checker {
  Check(value: unknown): boolean
  Errors(value: unknown): readonly { keyword: string; instancePath: string; message: string; params: unknown }[]
}

/**
 * The section `providers`, each checked by its kind.
 *
 * @param invalid makes the error of what is wrong with the file.
 * @throws what `invalid` makes, naming the member.
 */
export function providersOf(
  read: Static<typeof ProvidersSchema> | undefined,
  invalid: (what: string) => Error,
): Readonly<Record<string, ProviderSettings>> {
  return checkedByKind(read ?? {}, providers, '/providers', invalid) as Record<string, ProviderSettings>
}

/**
 * The section `flavours`, each checked by its kind.
 *
 * @param invalid makes the error of what is wrong with the file.
 * @throws what `invalid` makes, naming the member.
 */
export function flavoursOf(
  read: Static<typeof FlavoursSchema> | undefined,
  invalid: (what: string) => Error,
): Readonly<Record<string, FlavourSettings>> {
  const checked = checkedByKind(read ?? {}, flavours, '/flavours', invalid) as Record<string, FlavourSettings>
  for (const [name, flavour] of Object.entries(checked))
    if (flavour.kind === 'scaleway' && (flavour.pricePerHour === undefined) === (flavour.extrasPerHour === undefined))
      throw invalid(`/flavours/${name} has one of pricePerHour and extrasPerHour`)
  return checked
}

function checkedByKind(
  named: Named,
  checkers: Readonly<Record<ProviderKind, Checker>>,
  path: string,
  invalid: (what: string) => Error,
): Named {
  for (const [name, value] of Object.entries(named)) {
    const checker = checkers[value.kind as ProviderKind]
    if (checker.Check(value)) continue
    const errors = checker.Errors(value)
    const at = `${path}/${name}`
    const unknown = errors.find(({ keyword }) => keyword === 'additionalProperties')
    if (unknown) {
      const [key] = (unknown.params as { additionalProperties: string[] }).additionalProperties
      throw invalid(`${at}${unknown.instancePath} has no member ${JSON.stringify(key)}`)
    }
    throw invalid(`${at}${errors[0]?.instancePath ?? ''} ${errors[0]?.message ?? 'does not fit'}`)
  }
  return named
}
