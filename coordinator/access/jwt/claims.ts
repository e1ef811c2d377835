/** What the claims of a token grant, and whose it is. Pure. A claim that cannot be read lets nobody in. */
import { createHash } from 'node:crypto'
import { DEVICE_LEVELS, LIMITS, SkeinError } from '../../../mesh/protocol/index.ts'
import { ROUTE_CLASSES, type KeyGrant, type RouteClass } from '../../ledger/index.ts'
import { GRANT_BOUNDS, GRANT_PRIORITIES, type ClaimName, type JwtProvider } from './settings.ts'

export type Claims = Readonly<Record<string, unknown>>

/** Tenants of tokens begin with this; those of keys with `key:`. */
export const JWT_TENANT = 'jwt:'
/** 96 bits: nobody finds a second subject for a tenant. */
const TENANT_DIGITS = 24
const SUBJECT_LENGTH_MAX = 1024

const refused = (what: string): SkeinError => new SkeinError('UNAUTHENTICATED', `the token ${what}`)

/** The claim of that name; else by the path that its dots make, since some providers nest theirs (`realm_access.roles`). */
export function claimOf(claims: Claims, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name]
  let value: unknown = claims
  for (const part of name.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined
    value = (value as Claims)[part]
  }
  return value
}

/**
 * Whose share a token counts against: of its issuer and subject together, so that no provider can name a tenant of another.
 *
 * @throws SkeinError UNAUTHENTICATED when it names none.
 */
export function jwtTenant({ name, issuer, claims: names }: JwtProvider, claims: Claims): string {
  const subject = claimOf(claims, names.tenant)
  if (typeof subject !== 'string' || subject === '' || subject.length > SUBJECT_LENGTH_MAX)
    throw refused(`has no claim '${names.tenant}' that says whose it is`)
  // of JSON, so that no issuer and subject run into others
  const digest = createHash('sha256')
    .update(JSON.stringify([issuer, subject]))
    .digest('hex')
  return `${JWT_TENANT}${name}:${digest.slice(0, TENANT_DIGITS)}`
}

/** @throws SkeinError UNAUTHENTICATED when a claim is not what the provider's settings require. */
export function checkRequired({ required }: JwtProvider, claims: Claims): void {
  for (const { claim, values } of required) {
    const has: unknown[] = [claimOf(claims, claim)].flat()
    if (!values.some((value) => has.includes(value))) throw refused(`does not have the '${claim}' that is required`)
  }
}

/** @throws SkeinError UNAUTHENTICATED when a claim that says what may be done cannot be read. */
export function jwtGrant(provider: JwtProvider, claims: Claims): KeyGrant {
  const { grant } = provider
  const read = <T>(name: ClaimName, of: (value: unknown) => T | undefined): T | undefined => {
    const claim = provider.claims[name]
    const value = claim === undefined ? undefined : claimOf(claims, claim)
    if (value === undefined) return undefined
    const taken = of(value)
    if (taken === undefined) throw refused(`has a claim '${claim}' that is no ${WORDS[name]}`)
    return taken
  }
  const devices = read('devices', (value) => DEVICE_LEVELS.find((each) => each === value)) ?? grant.devices
  const requestsPerMinute =
    read('requests_per_minute', whole(GRANT_BOUNDS.requestsPerMinute)) ?? grant.requestsPerMinute
  const tokensPerMinute = read('tokens_per_minute', whole(GRANT_BOUNDS.tokens)) ?? grant.tokensPerMinute
  const tokensPerDay = read('tokens_per_day', whole(GRANT_BOUNDS.tokens)) ?? grant.tokensPerDay
  return {
    routes: routesOf(provider, () => read('scopes', words) ?? []),
    models: read('models', patterns) ?? grant.models,
    priority: read('priority', (value) => GRANT_PRIORITIES.find((each) => each === value)) ?? grant.priority,
    // what its settings keep at home no token takes out
    localOnly:
      (read('local_only', (value) => (typeof value === 'boolean' ? value : undefined)) ?? false) || grant.localOnly,
    ...(grant.noCache && { noCache: true }),
    ...(devices !== undefined && { devices }),
    ...(requestsPerMinute !== undefined && { requestsPerMinute }),
    ...(tokensPerMinute !== undefined && { tokensPerMinute }),
    ...(tokensPerDay !== undefined && { tokensPerDay }),
  }
}

const WORDS: Readonly<Record<ClaimName, string>> = {
  tenant: 'text',
  scopes: 'list of scopes',
  models: `list of at most ${LIMITS.apiKeyModelsMax} names of models`,
  priority: `priority (${GRANT_PRIORITIES.join(', ')})`,
  local_only: 'boolean',
  devices: `level of devices (${DEVICE_LEVELS.join(', ')})`,
  requests_per_minute: `whole number from 1 to ${GRANT_BOUNDS.requestsPerMinute}`,
  tokens_per_minute: 'whole number from 1',
  tokens_per_day: 'whole number from 1',
}

function routesOf({ scopes, grant }: JwtProvider, has: () => readonly string[]): readonly RouteClass[] {
  if (scopes === undefined) return grant.routes
  const held = has()
  return ROUTE_CLASSES.filter((route) => scopes[route] !== undefined && held.includes(scopes[route]))
}

const whole =
  (max: number) =>
  (value: unknown): number | undefined =>
    Number.isInteger(value) && (value as number) >= 1 && (value as number) <= max ? (value as number) : undefined

/** As OAuth writes scopes, with spaces between; or as a list. */
function words(value: unknown): readonly string[] | undefined {
  if (typeof value === 'string') return value.split(' ').filter((word) => word !== '')
  return Array.isArray(value) && value.every((word) => typeof word === 'string') ? value : undefined
}

function patterns(value: unknown): readonly string[] | undefined {
  const models = words(value)
  if (models === undefined || models.length > LIMITS.apiKeyModelsMax) return undefined
  return models.every(({ length }) => length > 0 && length <= GRANT_BOUNDS.modelLength) ? models : undefined
}
