/**
 * The keys of clients in memory, and whose a secret is. A key is durable before its secret is told, and what is looked up
 * waits for nothing. A secret that was made durable and could not be told any more is of no use to anybody: its key is
 * there, by its name, and is rotated or revoked.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { LIMITS, mintId, SkeinError } from '../../mesh/protocol/index.ts'
import type { Clock, Random } from '../../mesh/runtime/index.ts'
import type { AccessEvent, KeyGrant, KeySecret, Ledger } from '../ledger/index.ts'
import { applyKey, type ApiKey } from './keys.ts'

export type KeyStore = Pick<Ledger, 'recordAccess' | 'accessEvents'>

export interface KeyBookComponents {
  readonly clock: Clock
  readonly random: Random
  readonly store: KeyStore
}

/** What a key is to be. */
export interface KeyRequest {
  /** How people call it: 1 to `LIMITS.keyNameLengthMax` printable characters, of no other key that is good. */
  readonly name: string
  readonly grant: KeyGrant
  /** Wall clock; never when absent. */
  readonly expiresAtMs?: number
}

/** A key with its secret, which nobody can be told a second time. */
export interface IssuedKey {
  readonly key: ApiKey
  readonly secret: string
}

/** 256 bits: nobody guesses it, and its digest needs no salt. */
const SECRET_BYTES = 32
const SECRET_PREFIX = 'sk-skein-'
const HINT_CHARACTERS = 4

export const newSecret = (random: Random): string =>
  SECRET_PREFIX + Buffer.from(random.bytes(SECRET_BYTES)).toString('base64url')

export const digestOf = (secret: string): Buffer => createHash('sha256').update(secret).digest()

/** In a time that tells nothing of where they differ. */
export const isDigest = (digest: Buffer, expected: Buffer): boolean => timingSafeEqual(digest, expected)

export class KeyBook {
  readonly #components: KeyBookComponents
  /** In the order of their making. */
  readonly #keys = new Map<string, ApiKey>()
  /** Ids of keys by the digest of each of their secrets. */
  readonly #owners = new Map<string, string>()
  /** Changes are made one after the other: each is checked against what the one before has made. */
  #changing: Promise<unknown> = Promise.resolve()

  constructor(components: KeyBookComponents) {
    this.#components = components
  }

  /** Reads what is recorded. @throws SkeinError LEDGER_UNAVAILABLE, LEDGER_CORRUPT. */
  async load(): Promise<void> {
    for (const event of await this.#components.store.accessEvents()) this.#apply(event)
  }

  /** True until the first key is made; a book of revoked keys is not empty. */
  get isEmpty(): boolean {
    return this.#keys.size === 0
  }

  /** All that were ever made, in that order. */
  list(): readonly ApiKey[] {
    return [...this.#keys.values()]
  }

  /** The key of that id, whatever became of it. */
  key(id: string): ApiKey | undefined {
    return this.#keys.get(id)
  }

  /** Whose secret it is. @throws SkeinError UNAUTHENTICATED saying whether it is unknown, was rotated or is over. */
  authenticate(secret: string): ApiKey {
    const digest = digestOf(secret)
    const key = this.#keys.get(this.#owners.get(digest.toString('hex')) ?? '')
    const own = key?.secrets.find((each) => isDigest(digest, Buffer.from(each.digest, 'hex')))
    if (key === undefined || own === undefined)
      throw new SkeinError('UNAUTHENTICATED', 'the key is wrong, or was revoked')
    const nowMs = this.#components.clock.wallMs()
    if ((own.expiresAtMs ?? Infinity) <= nowMs)
      throw new SkeinError('UNAUTHENTICATED', `the key '${key.name}' was rotated, and this is its old secret`)
    if ((key.expiresAtMs ?? Infinity) <= nowMs)
      throw new SkeinError('UNAUTHENTICATED', `the key '${key.name}' has expired`)
    return key
  }

  /**
   * Makes a key. Resolves when it is durable.
   *
   * @throws SkeinError KEY_NAME_TAKEN; INVALID_REQUEST when it is over already, or there are `LIMITS.apiKeysMax`;
   *   LEDGER_UNAVAILABLE.
   */
  add({ name, grant, expiresAtMs }: KeyRequest): Promise<IssuedKey> {
    const { clock, random } = this.#components
    return this.#change(async () => {
      const atMs = clock.wallMs()
      const good = this.list().filter((key) => isGood(key, atMs))
      if (good.some((key) => key.name === name))
        throw new SkeinError(
          'KEY_NAME_TAKEN',
          `there is a key '${name}'; rotate or revoke that one, or choose another name`,
        )
      if (good.length >= LIMITS.apiKeysMax)
        throw new SkeinError('INVALID_REQUEST', `there are ${LIMITS.apiKeysMax} keys; revoke one`)
      if (expiresAtMs !== undefined && expiresAtMs <= atMs)
        throw new SkeinError('INVALID_REQUEST', 'the key would be over already', { param: 'expires_ms' })
      // as owners of nodes name the tenants that are keys: `key:*`
      const id = mintId('key', (length) => random.bytes(length)).replace('_', ':')
      const { secret, kept } = this.#mint()
      const end = expiresAtMs === undefined ? {} : { expiresAtMs }
      const key = await this.#record({ type: 'key.made', atMs, id, name, grant, secret: kept, ...end })
      return { key, secret }
    })
  }

  /**
   * Gives a key, by id or name, a new secret; the old ones hold for `graceMs` more. Resolves when that is durable.
   *
   * @throws SkeinError NOT_FOUND, LEDGER_UNAVAILABLE.
   */
  rotate(name: string, graceMs: number): Promise<IssuedKey> {
    return this.#change(async () => {
      const { id } = this.#named(name)
      const atMs = this.#components.clock.wallMs()
      const { secret, kept } = this.#mint()
      const key = await this.#record({ type: 'key.rotated', atMs, id, secret: kept, graceUntilMs: atMs + graceMs })
      return { key, secret }
    })
  }

  /** Voids a key, by id or name, for good. Resolves when that is durable. @throws SkeinError NOT_FOUND, LEDGER_UNAVAILABLE. */
  revoke(name: string): Promise<ApiKey> {
    return this.#change(() => {
      const { id } = this.#named(name)
      return this.#record({ type: 'key.revoked', atMs: this.#components.clock.wallMs(), id })
    })
  }

  /** The one that is good, of several with a name; or one that has expired. */
  #named(name: string): ApiKey {
    const nowMs = this.#components.clock.wallMs()
    const found = this.list().filter((key) => key.revokedAtMs === undefined && (key.id === name || key.name === name))
    const key = found.find((each) => isGood(each, nowMs)) ?? found.at(-1)
    if (key === undefined)
      throw new SkeinError('NOT_FOUND', `there is no key '${name.slice(0, 100)}'; see: skein keys list`)
    return key
  }

  #mint(): { readonly secret: string; readonly kept: KeySecret } {
    const secret = newSecret(this.#components.random)
    return { secret, kept: { digest: digestOf(secret).toString('hex'), hint: secret.slice(-HINT_CHARACTERS) } }
  }

  #change<T>(change: () => Promise<T>): Promise<T> {
    const changed = this.#changing.then(change)
    this.#changing = changed.catch(() => undefined)
    return changed
  }

  async #record(event: AccessEvent): Promise<ApiKey> {
    await this.#components.store.recordAccess(event)
    const key = this.#apply(event)
    if (key === undefined) throw new SkeinError('INTERNAL', `the key ${event.id} was changed before it was made`)
    return key
  }

  #apply(event: AccessEvent): ApiKey | undefined {
    const before = this.#keys.get(event.id)
    const key = applyKey(before, event)
    if (key === undefined) return undefined
    const kept = new Set(key.secrets.map(({ digest }) => digest))
    for (const { digest } of before?.secrets ?? []) if (!kept.has(digest)) this.#owners.delete(digest)
    for (const digest of kept) this.#owners.set(digest, key.id)
    this.#keys.set(key.id, key)
    return key
  }
}

const isGood = (key: ApiKey, nowMs: number): boolean =>
  key.revokedAtMs === undefined && (key.expiresAtMs ?? Infinity) > nowMs
