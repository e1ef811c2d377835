/**
 * Whose a JSON Web Token is, and what it may do. Its issuer is read from it unverified, to know whose keys to hold it
 * against; nothing else of it is believed before its signature is. The key never comes from the token itself.
 */
import { decodeJwt, decodeProtectedHeader, errors, jwtVerify } from 'jose'
import { LIMITS, SkeinError } from '../../../mesh/protocol/index.ts'
import type { KeyGrant } from '../../ledger/index.ts'
import { checkRequired, jwtGrant, jwtTenant } from './claims.ts'
import { KeySource, type KeySourceComponents } from './key-source.ts'
import type { JwtProvider } from './settings.ts'

/** What a good token says. */
export interface JwtCaller {
  readonly tenant: string
  readonly grant: KeyGrant
}

/** Three parts of base64url. No key that we make has a dot. */
const JWT = /^[\w-]+\.[\w-]+\.[\w-]*$/
/** An ID token or an access token; not one that logs out, proves possession, or tells an event. */
const USUAL_TYPES: ReadonlySet<string> = new Set(['jwt', 'at+jwt'])

export const looksLikeJwt = (secret: string): boolean => JWT.test(secret)

interface Known {
  readonly provider: JwtProvider
  readonly source: KeySource
}

export class JwtBook {
  readonly #components: KeySourceComponents
  readonly #known: ReadonlyMap<string, Known>

  constructor(components: KeySourceComponents, providers: readonly JwtProvider[]) {
    this.#components = components
    this.#known = new Map(
      providers.map((provider) => [provider.issuer, { provider, source: new KeySource(components, provider) }]),
    )
  }

  /** Asks for all keys, so that the log says at once which provider does not answer. Never rejects. */
  async warm(): Promise<void> {
    await Promise.all([...this.#known.values()].map(({ source }) => source.refresh()))
  }

  /**
   * Whose token it is. Judged when a request comes: an answer that has begun is not cut when its token expires.
   *
   * @throws SkeinError UNAUTHENTICATED; PROVIDER_UNREACHABLE when the keys to judge it by cannot be had.
   */
  async identify(token: string): Promise<JwtCaller> {
    if (token.length > LIMITS.jwtLengthMax) throw refused(`is longer than ${LIMITS.jwtLengthMax} characters`)
    const { provider, source } = this.#issuerOf(token)
    try {
      const { payload } = await jwtVerify(token, source.key, {
        algorithms: [...provider.algorithms],
        issuer: provider.issuer,
        audience: [...provider.audience],
        clockTolerance: provider.leewayS,
        currentDate: new Date(this.#components.clock.wallMs()),
        requiredClaims: ['exp'],
      })
      checkRequired(provider, payload)
      return { tenant: jwtTenant(provider, payload), grant: jwtGrant(provider, payload) }
    } catch (error) {
      throw asRefusal(error)
    }
  }

  #issuerOf(token: string): Known {
    const { issuer, type } = headOf(token)
    const known = typeof issuer === 'string' ? this.#known.get(issuer) : undefined
    if (known === undefined) throw refused('is of no issuer that is known here')
    const wanted = known.provider.type
    const isGood = wanted === undefined ? USUAL_TYPES.has(type) : type === typeName(wanted)
    if (!isGood) throw refused('is of another type (typ)')
    return known
  }
}

const refused = (what: string): SkeinError => new SkeinError('UNAUTHENTICATED', `the token ${what}`)

/** In small letters, without what stands before every media type. */
const typeName = (type: string): string => type.toLowerCase().replace(/^application\//, '')

/** @throws SkeinError UNAUTHENTICATED. */
function headOf(token: string): { readonly issuer: unknown; readonly type: string } {
  try {
    const { typ = 'JWT' } = decodeProtectedHeader(token)
    return { issuer: decodeJwt(token).iss, type: typeName(String(typ)) }
  } catch {
    throw refused('is malformed')
  }
}

/** Why a token is refused, in words that quote nothing of it. */
function asRefusal(error: unknown): SkeinError {
  if (error instanceof SkeinError) return error
  if (error instanceof errors.JWTExpired) return refused('has expired')
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.reason === 'missing') return refused(`has no claim '${error.claim}'`)
    return refused(error.claim === 'nbf' ? 'is not good yet (nbf)' : `has a wrong '${error.claim}'`)
  }
  if (error instanceof errors.JOSEAlgNotAllowed) return refused('is signed with an algorithm that is not taken')
  if (error instanceof errors.JWKSMultipleMatchingKeys)
    return refused('names no key (kid), and several of its issuer would fit')
  return refused('is malformed, or its signature is wrong')
}
