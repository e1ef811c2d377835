/**
 * Whose tokens are taken, and for what: the file that `--jwt` names. TOML, because its owner writes it. Read whole or not
 * at all, at the start; a member that is misspelt must not be ignored, since it might be the one that says no.
 */
import { parse, TomlError } from 'smol-toml'
import { Type, type Static } from 'typebox'
import { DEVICE_LEVELS, LIMITS, parser, SkeinError } from '../../../mesh/protocol/index.ts'
import { ROUTE_CLASSES, type KeyGrant, type RouteClass } from '../../ledger/index.ts'

/**
 * Signatures that only the holder of a private key can make. Those with a shared secret (HS256) are never among them: the
 * public key of a provider would do as that secret.
 */
export const JWT_ALGORITHMS = [
  ...['EdDSA', 'Ed25519', 'ES256', 'ES384', 'ES512'],
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
] as const
export type JwtAlgorithm = (typeof JWT_ALGORITHMS)[number]

/** Of a provider that says nothing: what current providers sign with. */
const USUAL_ALGORITHMS: readonly JwtAlgorithm[] = ['EdDSA', 'Ed25519', 'ES256', 'RS256', 'PS256']
const USUAL_LEEWAY_S = 30
/** More would make expired tokens good. */
const LEEWAY_S_MAX = 300
const DEPTH_MAX = 4

const short = () => Type.String({ minLength: 1, maxLength: 256 })
const address = () => Type.String({ minLength: 1, maxLength: 2048 })
const several = () => Type.Array(short(), { minItems: 1, maxItems: 16 })
const count = (maximum: number) => Type.Optional(Type.Integer({ minimum: 1, maximum }))

/** Bounds of what a grant may say, wherever it says it. */
export const GRANT_BOUNDS = { requestsPerMinute: 60_000, tokens: 1e12, modelLength: 256 } as const
export const GRANT_PRIORITIES = ['interactive', 'default', 'bulk'] as const

const GrantSchema = Type.Object(
  {
    routes: Type.Optional(Type.Array(Type.Enum([...ROUTE_CLASSES]), { minItems: 1, uniqueItems: true })),
    models: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: GRANT_BOUNDS.modelLength }), {
        minItems: 1,
        maxItems: LIMITS.apiKeyModelsMax,
      }),
    ),
    priority: Type.Optional(Type.Enum([...GRANT_PRIORITIES])),
    local_only: Type.Optional(Type.Boolean()),
    no_cache: Type.Optional(Type.Boolean()),
    devices: Type.Optional(Type.Enum([...DEVICE_LEVELS])),
    requests_per_minute: count(GRANT_BOUNDS.requestsPerMinute),
    tokens_per_minute: count(GRANT_BOUNDS.tokens),
    tokens_per_day: count(GRANT_BOUNDS.tokens),
  },
  { additionalProperties: false },
)

/** Names of claims, by what they say. */
const ClaimsSchema = Type.Object(
  {
    tenant: Type.Optional(short()),
    scopes: Type.Optional(short()),
    models: Type.Optional(short()),
    priority: Type.Optional(short()),
    local_only: Type.Optional(short()),
    devices: Type.Optional(short()),
    requests_per_minute: Type.Optional(short()),
    tokens_per_minute: Type.Optional(short()),
    tokens_per_day: Type.Optional(short()),
  },
  { additionalProperties: false },
)

const ProviderSchema = Type.Object(
  {
    name: Type.String({ pattern: '^[a-z0-9][a-z0-9-]{0,31}$' }),
    issuer: address(),
    audience: Type.Union([short(), several()]),
    jwks: Type.Optional(address()),
    algorithms: Type.Optional(Type.Array(Type.Enum([...JWT_ALGORITHMS]), { minItems: 1, uniqueItems: true })),
    type: Type.Optional(short()),
    leeway_s: Type.Optional(Type.Integer({ minimum: 0, maximum: LEEWAY_S_MAX })),
    require: Type.Optional(Type.Record(Type.String(), Type.Union([short(), several(), Type.Boolean()]))),
    claims: Type.Optional(ClaimsSchema),
    scopes: Type.Optional(
      Type.Object(
        { inference: Type.Optional(short()), mesh: Type.Optional(short()), admin: Type.Optional(short()) },
        { additionalProperties: false },
      ),
    ),
    grant: Type.Optional(GrantSchema),
  },
  { additionalProperties: false },
)

const SettingsSchema = Type.Object(
  { provider: Type.Array(ProviderSchema, { minItems: 1, maxItems: LIMITS.jwtProvidersMax }) },
  { additionalProperties: false },
)

export type ClaimName = keyof Static<typeof ClaimsSchema>

/** One that issues tokens. */
export interface JwtProvider {
  /** Stands in the tenants of its tokens: `jwt:NAME:…`. */
  readonly name: string
  readonly issuer: string
  /** A token must be for one of these. */
  readonly audience: readonly string[]
  /** Where its keys are; when absent, where its `/.well-known/openid-configuration` says. */
  readonly jwks?: URL
  readonly algorithms: readonly JwtAlgorithm[]
  /** What the header `typ` must be; when absent `JWT`, `at+jwt` or nothing. */
  readonly type?: string
  /** By which clocks may differ. */
  readonly leewayS: number
  /** What claims must be, or have among theirs. */
  readonly required: readonly { readonly claim: string; readonly values: readonly (string | boolean)[] }[]
  readonly claims: Readonly<Partial<Record<ClaimName, string>>> & { readonly tenant: string; readonly scopes: string }
  /** The scope that each class of routes needs; when absent, routes are those of `grant`. */
  readonly scopes?: Readonly<Partial<Record<RouteClass, string>>>
  /** Of a token whose claims say nothing else. */
  readonly grant: KeyGrant
}

/**
 * The providers of a settings file.
 *
 * @param file its name, for messages.
 * @throws SkeinError CONFIG_INVALID naming the member at fault.
 */
export function readJwtSettings(text: string, file: string): JwtProvider[] {
  if (Buffer.byteLength(text) > LIMITS.policyFileBytesMax)
    throw invalid(file, `it is larger than ${LIMITS.policyFileBytesMax} bytes`)
  const { provider } = parser(SettingsSchema, file, 'CONFIG_INVALID')(tableOf(text, file))
  const providers = provider.map((each) => providerOf(each, file))
  for (const member of ['name', 'issuer'] as const)
    if (new Set(providers.map((each) => each[member])).size < providers.length)
      throw invalid(file, `two providers have the same ${member}`)
  return providers
}

function tableOf(text: string, file: string): unknown {
  try {
    return parse(text, { maxDepth: DEPTH_MAX, unsafeKeyBehaviour: 'throw' })
  } catch (thrown) {
    if (!(thrown instanceof TomlError)) throw invalid(file, 'it is no TOML')
    throw invalid(file, `line ${thrown.line}: ${thrown.message.split('\n')[0]}`)
  }
}

function providerOf(read: Static<typeof ProviderSchema>, file: string): JwtProvider {
  const { name, issuer, audience, jwks, algorithms, type, leeway_s, require = {}, claims = {}, scopes, grant } = read
  const where = `provider ${name}`
  checkedUrl(issuer, `${file}: the issuer of ${where}`)
  return {
    name,
    issuer,
    audience: [audience].flat(),
    ...(jwks !== undefined && { jwks: checkedUrl(jwks, `${file}: the jwks of ${where}`) }),
    algorithms: algorithms ?? USUAL_ALGORITHMS,
    ...(type !== undefined && { type }),
    leewayS: leeway_s ?? USUAL_LEEWAY_S,
    required: Object.entries(require).map(([claim, values]) => ({ claim, values: [values].flat() })),
    claims: { tenant: 'sub', scopes: 'scope', ...claims },
    ...(scopes && { scopes }),
    grant: grantOf(grant ?? {}),
  }
}

function grantOf(read: Static<typeof GrantSchema>): KeyGrant {
  const { requests_per_minute: requests, tokens_per_minute: tokens, tokens_per_day: dayTokens } = read
  return {
    routes: read.routes ?? ['inference'],
    models: read.models ?? ['*'],
    priority: read.priority ?? 'default',
    localOnly: read.local_only ?? false,
    ...(read.no_cache && { noCache: true }),
    ...(read.devices !== undefined && { devices: read.devices }),
    ...(requests !== undefined && { requestsPerMinute: requests }),
    ...(tokens !== undefined && { tokensPerMinute: tokens }),
    ...(dayTokens !== undefined && { tokensPerDay: dayTokens }),
  }
}

/**
 * An address that nobody on the way can answer for: https, or this machine itself.
 *
 * @throws SkeinError CONFIG_INVALID.
 */
export function checkedUrl(text: string, what: string): URL {
  const url = URL.parse(text)
  const isHere = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(url?.hostname ?? '')
  if (url === null || !(url.protocol === 'https:' || (url.protocol === 'http:' && isHere)) || url.username !== '')
    throw new SkeinError('CONFIG_INVALID', `${what} must be an https address (http on this machine alone)`)
  return url
}

const invalid = (file: string, what: string): SkeinError => new SkeinError('CONFIG_INVALID', `${file}: ${what}`)
