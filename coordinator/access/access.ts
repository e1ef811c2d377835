/**
 * Who asks, and how much they may. The gateway asks it before it reads a body; dispatch tells it what answers took. Of a
 * secret nothing is kept but its digest.
 */
import { SkeinError } from '../../mesh/protocol/index.ts'
import type { Clock, Random, Startable } from '../../mesh/runtime/index.ts'
import {
  USAGE_DAY_MS,
  type AccessEvent,
  type KeyGrant,
  type Ledger,
  type UsageQuery,
  type UsageSum,
} from '../ledger/index.ts'
import { digestOf, isDigest, KeyBook, type IssuedKey, type KeyRequest, type KeyStore } from './key-book.ts'
import { JWT_TENANT, looksLikeJwt, type JwtBook } from './jwt/index.ts'
import { JwtRates } from './jwt-rates.ts'
import { matchesModel, type ApiKey } from './keys.ts'
import { KeyRates, type RateMoment, type RateName, type RateState, type UsedBefore } from './limiter.ts'

export type AccessStore = KeyStore & Pick<Ledger, 'usage'>

export interface AccessComponents {
  readonly clock: Clock
  readonly random: Random
  readonly store: AccessStore
  /** Where the tokens of other providers are taken. */
  readonly jwt?: JwtBook
}

/** A secret with every right, and whose share it counts against. */
export interface OwnerSecret {
  readonly secret: string
  readonly tenant: string
}

export interface AccessInit {
  readonly owners: readonly OwnerSecret[]
  /** Whoever shows no key is the owner, as long as no key was ever made and no tokens are taken: a gateway on loopback. */
  readonly isOpen: boolean
}

/** Who asks. */
export interface Caller {
  /** Whose share it counts against: the key's id, or a name of the owner. What one tenant has, no other sees. */
  readonly tenant: string
  readonly grant: KeyGrant
  /** True for whoever has the route class `admin`: sees what all tenants have. */
  readonly isAdmin: boolean
}

/** What happened to a key; nothing of its secrets. */
export interface KeyEvent {
  readonly type: AccessEvent['type']
  readonly id: string
  readonly name: string
}

const MINUTE_MS = 60_000

/** The owner's: everything, without a limit. */
const OWNER_GRANT: KeyGrant = { routes: ['admin'], models: ['*'], priority: 'interactive', localOnly: false }
/** Whose share requests without a key count against. */
export const LOCAL_TENANT = 'local'
/** What tenants of devices begin with. */
export const DEVICE_TENANT = 'device:'

const ownerOf = (tenant: string): Caller => ({ tenant, grant: OWNER_GRANT, isAdmin: true })

/** Whether `caller` may ask something of a model that has all of `names`. */
export const mayUseModel = ({ grant }: Caller, names: readonly string[]): boolean => matchesModel(grant.models, names)

/** For people, in refusals. */
const LIMIT_WORDS: Readonly<Record<RateName, (limit: number) => string>> = {
  requests: (limit) => `${limit} requests a minute`,
  tokens: (limit) => `${limit} tokens a minute`,
  'tokens-day': (limit) => `${limit} tokens a day`,
}

/** Whose share requests count against that show the coordinator's own key: a digest that does not give it away. */
const tenantOf = (apiKey: string): string => `key:${digestOf(apiKey).toString('hex').slice(0, 12)}`

/**
 * The owner by the coordinator's key; without one, as whoever asks until a key is made.
 *
 * @param own a secret for commands of this machine, which the owner never sees.
 */
export function ownersOf(apiKey: string | undefined, own?: string): AccessInit {
  if (apiKey !== undefined) return { owners: [{ secret: apiKey, tenant: tenantOf(apiKey) }], isOpen: false }
  return { owners: own === undefined ? [] : [{ secret: own, tenant: LOCAL_TENANT }], isOpen: true }
}

/** Of whom no key is kept: who is named by a token, and devices, in whose name a bridge asks. */
const isGuest = (tenant: string): boolean => tenant.startsWith(JWT_TENANT) || tenant.startsWith(DEVICE_TENANT)

const tokensOf = (sum: UsageSum | undefined): number => (sum ? sum.promptTokens + sum.completionTokens : 0)

export class Access implements Startable {
  readonly name = 'access'
  readonly #components: AccessComponents
  readonly #owners: readonly { readonly digest: Buffer; readonly caller: Caller }[]
  /** Whoever shows no key may be let in. */
  readonly isOpen: boolean
  readonly #book: KeyBook
  readonly #listeners = new Set<(event: KeyEvent) => void>()
  /** Of keys that were used since the start or shortly before it, by tenant. */
  readonly #rates = new Map<string, KeyRates>()
  readonly #jwtRates = new JwtRates()

  /** @throws SkeinError CONFIG_INVALID when a secret of an owner cannot be sent in a header. */
  constructor(components: AccessComponents, { owners, isOpen }: AccessInit) {
    this.#components = components
    if (!owners.every(({ secret }) => /^[\x21-\x7e]{1,512}$/.test(secret)))
      throw new SkeinError('CONFIG_INVALID', 'the key must be 1 to 512 printable ASCII characters without spaces')
    this.#owners = owners.map(({ secret, tenant }) => ({ digest: digestOf(secret), caller: ownerOf(tenant) }))
    this.isOpen = isOpen && components.jwt === undefined
    this.#book = new KeyBook(components)
  }

  /** Reads the keys, and what they have used of their quotas. @throws SkeinError LEDGER_UNAVAILABLE, LEDGER_CORRUPT. */
  async start(): Promise<void> {
    await this.#book.load()
    await this.#restore()
    // a provider that does not answer keeps nobody else waiting
    void this.#components.jwt?.warm()
  }

  stop(): Promise<void> {
    return Promise.resolve()
  }

  /**
   * Whose secret or token it is. At once, unless it is a token.
   *
   * @param secret as the client sent it; `undefined` when it sent none.
   * @throws SkeinError UNAUTHENTICATED; PROVIDER_UNREACHABLE when a token cannot be judged now.
   */
  callerOf(secret: string | undefined): Caller | Promise<Caller> {
    const { jwt } = this.#components
    if (jwt === undefined || secret === undefined || !looksLikeJwt(secret) || this.#ownerBy(secret))
      return this.identify(secret)
    return jwt.identify(secret).then((known) => ({ ...known, isAdmin: known.grant.routes.includes('admin') }))
  }

  /**
   * Whose secret it is.
   *
   * @param secret as the client sent it; `undefined` when it sent none.
   * @throws SkeinError UNAUTHENTICATED.
   */
  identify(secret: string | undefined): Caller {
    const isOpen = this.isOpen && this.#book.isEmpty
    if (secret === undefined) {
      if (isOpen) return ownerOf(LOCAL_TENANT)
      throw new SkeinError('UNAUTHENTICATED', 'a key is needed: send it as "Authorization: Bearer KEY"')
    }
    const owner = this.#ownerBy(secret)
    if (owner) return owner
    // clients that cannot do without a key are given any
    if (isOpen) return ownerOf(LOCAL_TENANT)
    const { id, grant } = this.#book.authenticate(secret)
    return { tenant: id, grant, isAdmin: grant.routes.includes('admin') }
  }

  /**
   * Who a tenant is now, for what it asked to be done later: a key as it stands today, anybody else as it was then.
   *
   * @throws SkeinError UNAUTHENTICATED when the key was revoked, or is over.
   */
  standing(tenant: string, then: KeyGrant): Caller {
    const key = this.#book.key(tenant)
    const grant = key?.grant ?? then
    const isOver = key?.revokedAtMs !== undefined || (key?.expiresAtMs ?? Infinity) <= this.#components.clock.wallMs()
    if (isOver) throw new SkeinError('UNAUTHENTICATED', 'the key was revoked, or has expired')
    return { tenant, grant, isAdmin: grant.routes.includes('admin') }
  }

  /**
   * Counts one request of `caller`.
   *
   * @throws SkeinError RATE_LIMITED, QUOTA_EXCEEDED, with the time after which it would be let in.
   */
  admit(caller: Caller): void {
    const rates = this.#ratesOf(caller)
    const verdict = rates?.admit(caller.grant, this.#moment())
    if (verdict === undefined || verdict.isAllowed) return
    const { name, waitMs } = verdict
    const { requestsPerMinute, tokensPerMinute, tokensPerDay } = caller.grant
    const limit = { requests: requestsPerMinute, tokens: tokensPerMinute, 'tokens-day': tokensPerDay }[name] ?? 0
    const retryAfterSeconds = Math.ceil(waitMs / 1000)
    throw new SkeinError(
      name === 'tokens-day' ? 'QUOTA_EXCEEDED' : 'RATE_LIMITED',
      `the key has ${LIMIT_WORDS[name](limit)}; try again in ${retryAfterSeconds} s`,
      { retryAfterSeconds },
    )
  }

  /** Counts `requests` more that one request of `caller` comes to. Who comes next waits until they are paid off. */
  countFurther(caller: Caller, requests: number): void {
    this.#ratesOf(caller)?.count(caller.grant, requests, this.#moment())
  }

  /** What is left of each limit of `caller`. */
  limitsOf(caller: Caller): Partial<Record<RateName, RateState>> {
    return this.#ratesOf(caller)?.states(caller.grant, this.#moment()) ?? {}
  }

  /** Counts tokens that were made for a tenant, or read. */
  charge(tenant: string, tokens: number): void {
    const key = this.#book.key(tenant)
    if (key) this.#ratesOf({ tenant, grant: key.grant })?.charge(key.grant, tokens, this.#moment())
    const guest = this.#jwtRates.find(tenant)
    guest?.rates.charge(guest.grant, tokens, this.#moment())
  }

  keys(): readonly ApiKey[] {
    return this.#book.list()
  }

  /** The tenant that people mean by `name`: a key by its name or id, an owner, or one of whom no key is kept; if any. */
  tenantNamed(name: string): string | undefined {
    const keys = this.#book.list().filter((key) => key.revokedAtMs === undefined && key.name === name)
    const id = keys.at(-1)?.id ?? this.#book.key(name)?.id
    if (id !== undefined || isGuest(name) || name === LOCAL_TENANT) return id ?? name
    return this.#owners.find(({ caller }) => caller.tenant === name)?.caller.tenant
  }

  /** @throws SkeinError as `KeyBook.add`. */
  async add(request: KeyRequest): Promise<IssuedKey> {
    const issued = await this.#book.add(request)
    this.#tell('key.made', issued.key)
    return issued
  }

  /** @throws SkeinError as `KeyBook.rotate`. */
  async rotate(name: string, graceMs: number): Promise<IssuedKey> {
    const issued = await this.#book.rotate(name, graceMs)
    this.#tell('key.rotated', issued.key)
    return issued
  }

  /** @throws SkeinError as `KeyBook.revoke`. */
  async revoke(name: string): Promise<ApiKey> {
    const key = await this.#book.revoke(name)
    this.#rates.delete(key.id)
    this.#tell('key.revoked', key)
    return key
  }

  /** Tells of keys that are made, rotated and revoked from now on. Returns how to stop that. */
  watch(listener: (event: KeyEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** What was used, of all tenants. @throws SkeinError LEDGER_UNAVAILABLE. */
  usage(query: UsageQuery): Promise<UsageSum[]> {
    return this.#components.store.usage(query)
  }

  #ownerBy(secret: string): Caller | undefined {
    const digest = digestOf(secret)
    return this.#owners.find((each) => isDigest(digest, each.digest))?.caller
  }

  /** Those of a key that has limits, or of a token: the next one of its tenant may have some. */
  #ratesOf({ tenant, grant }: Pick<Caller, 'tenant' | 'grant'>): KeyRates | undefined {
    if (isGuest(tenant)) return this.#jwtRates.asked(tenant, grant)
    const { requestsPerMinute, tokensPerMinute, tokensPerDay } = grant
    if (requestsPerMinute === undefined && tokensPerMinute === undefined && tokensPerDay === undefined) return undefined
    let rates = this.#rates.get(tenant)
    if (rates === undefined) this.#rates.set(tenant, (rates = new KeyRates()))
    return rates
  }

  async #restore(): Promise<void> {
    const at = this.#moment()
    const usedSince = async (sinceMs: number): Promise<Map<string, UsageSum>> => {
      const untilMs = Number.MAX_SAFE_INTEGER
      const sums = await this.usage({ sinceMs, untilMs, by: ['tenant'], limit: Number.MAX_SAFE_INTEGER })
      return new Map(sums.map((sum) => [sum.tenant ?? '', sum]))
    }
    const ofDay = await usedSince(Math.floor(at.wallMs / USAGE_DAY_MS) * USAGE_DAY_MS)
    const ofMinute = await usedSince(at.wallMs - MINUTE_MS)
    const used = (tenant: string): UsedBefore => ({
      minuteRequests: ofMinute.get(tenant)?.requests ?? 0,
      minuteTokens: tokensOf(ofMinute.get(tenant)),
      dayTokens: tokensOf(ofDay.get(tenant)),
    })
    for (const { id, grant } of this.#book.list()) this.#ratesOf({ tenant: id, grant })?.restore(grant, used(id), at)
    // a minute may have begun in the day before
    const guests = [...ofDay.keys(), ...ofMinute.keys()].filter(isGuest)
    this.#jwtRates.restore(new Map(guests.map((tenant) => [tenant, used(tenant)])), at)
  }

  #tell(type: KeyEvent['type'], { id, name }: ApiKey): void {
    for (const listener of this.#listeners) listener({ type, id, name })
  }

  #moment(): RateMoment {
    const { clock } = this.#components
    return { nowMs: clock.nowMs(), wallMs: clock.wallMs() }
  }
}
