/**
 * Rates of tenants that tokens name. Unlike keys they are known only when they ask, and there may be any number of them:
 * what is kept is bounded, and the one that asked longest ago is forgotten first.
 */
import { LIMITS } from '../../mesh/protocol/index.ts'
import type { KeyGrant } from '../ledger/index.ts'
import { KeyRates, type RateMoment, type UsedBefore } from './limiter.ts'

export interface JwtTenant {
  readonly rates: KeyRates
  /** That of the token that was shown last. */
  readonly grant: KeyGrant
}

export class JwtRates {
  /** The one that asked longest ago first. */
  readonly #tenants = new Map<string, JwtTenant>()
  #usedBefore: ReadonlyMap<string, UsedBefore> = new Map()
  #beganAt: RateMoment = { nowMs: 0, wallMs: 0 }

  /** What the ledger has of those that have not asked yet. */
  restore(usedBefore: ReadonlyMap<string, UsedBefore>, at: RateMoment): void {
    this.#usedBefore = usedBefore
    this.#beganAt = at
  }

  /** Those of a tenant that asks with `grant`. */
  asked(tenant: string, grant: KeyGrant): KeyRates {
    const rates = this.#tenants.get(tenant)?.rates ?? this.#begin(tenant, grant)
    this.#tenants.delete(tenant)
    this.#tenants.set(tenant, { rates, grant })
    if (this.#tenants.size > LIMITS.jwtTenantsMax) this.#tenants.delete(this.#tenants.keys().next().value!)
    return rates
  }

  /** One that has asked, and was not forgotten. */
  find(tenant: string): JwtTenant | undefined {
    return this.#tenants.get(tenant)
  }

  #begin(tenant: string, grant: KeyGrant): KeyRates {
    const rates = new KeyRates()
    const used = this.#usedBefore.get(tenant)
    if (used) rates.restore(grant, used, this.#beganAt)
    return rates
  }
}
