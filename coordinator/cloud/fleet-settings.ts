/** The owner's pools, as they stand in `cloud.json` under `pools`. */
import { Type, type Static } from 'typebox'

/** Pools at most, and models of one. */
export const POOLS_MAX = 64
const SERVES_MAX = 32
const MACHINES_OF_POOL_MAX = 100
const NAME = '^[a-z0-9][a-z0-9-]{0,31}$'

export const PoolSchema = Type.Object(
  {
    name: Type.String({ pattern: NAME }),
    /** Of `providers`, and of `flavours`. */
    provider: Type.String({ minLength: 1, maxLength: 64 }),
    flavour: Type.String({ minLength: 1, maxLength: 64 }),
    /** Aliases or digests of the models of the mesh that its workers stand in for. */
    serves: Type.Array(Type.String({ minLength: 1, maxLength: 256 }), { minItems: 1, maxItems: SERVES_MAX }),
    /** Machines that there always are, as far as the budget goes. */
    min: Type.Integer({ minimum: 0, maximum: MACHINES_OF_POOL_MAX }),
    max: Type.Integer({ minimum: 0, maximum: MACHINES_OF_POOL_MAX }),
    /** Of the model as its workers serve it; as the nodes of the house say when absent. */
    contextTokens: Type.Optional(Type.Integer({ minimum: 1, maximum: 100_000_000 })),
    /** A machine that is not needed for so long goes. */
    idleMinutes: Type.Number({ minimum: 1, maximum: 1440 }),
    /** A machine powers itself off when it has heard no coordinator for so long; 10 when absent. */
    aloneMinutes: Type.Optional(Type.Integer({ minimum: 2, maximum: 120 })),
  },
  { additionalProperties: false },
)
export type PoolSettings = Static<typeof PoolSchema>

export const PoolsSchema = Type.Array(PoolSchema, { maxItems: POOLS_MAX })

export const ALONE_MINUTES = 10
export const aloneMinutesOf = ({ aloneMinutes = ALONE_MINUTES }: PoolSettings): number => aloneMinutes

/** What is wrong with pools that fit the schema, in words; nothing when all is well. */
export function poolProblem({
  pools,
  providers,
  flavours,
}: {
  readonly pools: readonly PoolSettings[]
  readonly providers: Readonly<Record<string, { readonly kind: string }>>
  readonly flavours: Readonly<Record<string, { readonly kind: string }>>
}): string | undefined {
  const names = new Set<string>()
  for (const [index, { name, provider, flavour, min, max }] of pools.entries()) {
    const at = `/pools/${index}`
    if (names.has(name)) return `${at}/name is another pool's name already`
    names.add(name)
    if (min > max) return `${at}/min is above max`
    const kind = Object.hasOwn(providers, provider) ? providers[provider]!.kind : undefined
    if (kind === undefined) return `${at}/provider names no provider: ${provider}`
    const of = Object.hasOwn(flavours, flavour) ? flavours[flavour]!.kind : undefined
    if (of === undefined) return `${at}/flavour names no flavour: ${flavour}`
    if (of !== kind) return `${at}/flavour is of the kind ${of}, its provider of the kind ${kind}`
  }
  return undefined
}
