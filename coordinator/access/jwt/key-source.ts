/**
 * The public keys of one provider. Asked for when a token needs one that is not here, at most once in `jwtKeysCooldownMs`
 * whatever is shown to us: a storm of invented key ids is no storm at the provider. Keys that are known serve on while it
 * does not answer, for `jwtKeysStaleMs`.
 */
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey, type LocalJWKSet } from 'jose'
import { LIMITS, SkeinError } from '../../../mesh/protocol/index.ts'
import { withDeadline, type Clock, type Logger } from '../../../mesh/runtime/index.ts'
import { checkedUrl, type JwtProvider } from './settings.ts'

export interface KeySourceComponents {
  readonly clock: Clock
  readonly log: Logger
}

interface Fetched {
  readonly keys: LocalJWKSet
  readonly atMs: number
}

export class KeySource {
  readonly #components: KeySourceComponents
  readonly #provider: JwtProvider
  #fetched: Fetched | undefined
  #askedAtMs = -Infinity
  #asking: Promise<void> | undefined
  /** Why the last try brought no keys. */
  #failure: string | undefined
  /** Where the provider's own description says that its keys are. */
  #discovered: URL | undefined

  constructor(components: KeySourceComponents, provider: JwtProvider) {
    this.#components = components
    this.#provider = provider
  }

  /**
   * The key for a token.
   *
   * @throws SkeinError UNAUTHENTICATED when the provider has none such; PROVIDER_UNREACHABLE when it cannot be asked.
   */
  readonly key: JWTVerifyGetKey = async (header, token) => {
    const known = this.#usable()
    if (known) {
      if (this.#components.clock.nowMs() - known.atMs >= LIMITS.jwtKeysFreshMs) void this.refresh()
      const key = await found(known, header, token)
      if (key) return key
    }
    await this.refresh()
    const now = this.#usable()
    const key = now && (await found(now, header, token))
    if (key) return key
    if (this.#failure === undefined && now)
      throw new SkeinError('UNAUTHENTICATED', 'the token is signed with no key of its issuer')
    throw this.#unreachable()
  }

  /** Asks the provider, unless that was tried within the cooldown. Never rejects. */
  async refresh(): Promise<void> {
    const { clock, log } = this.#components
    if (this.#asking === undefined && clock.nowMs() - this.#askedAtMs >= LIMITS.jwtKeysCooldownMs) {
      this.#askedAtMs = clock.nowMs()
      this.#asking = this.#fetch()
        .catch((error: unknown) => {
          this.#failure = (error as Error).message
          // it may have moved
          this.#discovered = undefined
          log.warn(
            { provider: this.#provider.name, cause: this.#failure },
            'the keys of a token provider cannot be had',
          )
        })
        .finally(() => (this.#asking = undefined))
    }
    await this.#asking
  }

  #usable(): Fetched | undefined {
    const fetched = this.#fetched
    if (fetched === undefined) return undefined
    return this.#components.clock.nowMs() - fetched.atMs < LIMITS.jwtKeysStaleMs ? fetched : undefined
  }

  #unreachable(): SkeinError {
    const leftMs = this.#askedAtMs + LIMITS.jwtKeysCooldownMs - this.#components.clock.nowMs()
    return new SkeinError(
      'PROVIDER_UNREACHABLE',
      `the keys of the token provider '${this.#provider.name}' cannot be had now; try again later`,
      { retryAfterSeconds: Math.max(1, Math.ceil(leftMs / 1000)) },
    )
  }

  async #fetch(): Promise<void> {
    const { clock, log } = this.#components
    const url = this.#provider.jwks ?? (this.#discovered ??= await this.#discover())
    const set = await this.#json(url)
    const { length } = (set as Partial<JSONWebKeySet> | null)?.keys ?? []
    if (length > LIMITS.jwtKeysMax) throw invalid(`${url.href} has more than ${LIMITS.jwtKeysMax} keys`)
    this.#fetched = { keys: createLocalJWKSet(set as JSONWebKeySet), atMs: clock.nowMs() }
    this.#failure = undefined
    log.info({ provider: this.#provider.name, keys: length }, 'has the keys of a token provider')
  }

  /** OpenID Connect Discovery 1.0. */
  async #discover(): Promise<URL> {
    const { issuer } = this.#provider
    const url = new URL(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`)
    const about = (await this.#json(url)) as { issuer?: unknown; jwks_uri?: unknown } | null
    // or one provider could speak for another
    if (about?.issuer !== issuer) throw invalid(`${url.href} is not of the issuer ${issuer}`)
    return checkedUrl(String(about.jwks_uri), `jwks_uri of ${url.href}`)
  }

  /** A redirect is not followed: it could lead to a place that the owner has not named. */
  #json(url: URL): Promise<unknown> {
    const late = (): SkeinError => new SkeinError('PROVIDER_UNREACHABLE', `${url.href} does not answer in time`)
    return withDeadline(this.#components.clock, LIMITS.jwtKeysAnswerMs, late, undefined, async (signal) => {
      const response = await fetch(url, { signal, redirect: 'error', headers: { accept: 'application/json' } })
      if (response.status !== 200 || response.body === null) {
        await response.body?.cancel()
        throw invalid(`${url.href} answers with status ${response.status}`)
      }
      const chunks: Uint8Array[] = []
      let bytes = 0
      for await (const chunk of response.body) {
        bytes += chunk.length
        if (bytes > LIMITS.jwtKeysBytesMax) throw invalid(`${url.href} is larger than ${LIMITS.jwtKeysBytesMax} bytes`)
        chunks.push(chunk)
      }
      return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown
    })
  }
}

const invalid = (message: string): SkeinError => new SkeinError('PROVIDER_UNREACHABLE', message)

/** The one key that fits; `undefined` when none does. */
async function found(
  { keys }: Fetched,
  ...[header, token]: Parameters<JWTVerifyGetKey>
): Promise<Awaited<ReturnType<LocalJWKSet>> | undefined> {
  try {
    return await keys(header, token)
  } catch (error) {
    if (error instanceof errors.JWKSNoMatchingKey) return undefined
    throw error
  }
}
