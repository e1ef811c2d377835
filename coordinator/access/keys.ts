/** A key as a fold over its events, and which models a grant is for. Pure. */
import type { AccessEvent, KeyGrant, KeySecret } from '../ledger/index.ts'

export interface ApiKey {
  /** `key:` and 24 base32 characters; also its tenant. */
  readonly id: string
  readonly name: string
  readonly grant: KeyGrant
  /** Those that may still be good; none once it is revoked. */
  readonly secrets: readonly KeySecret[]
  readonly createdAtMs: number
  readonly expiresAtMs?: number
  readonly revokedAtMs?: number
}

/** The state after `event`; `undefined` before the first. An event that does not fit changes nothing. */
export function applyKey(key: ApiKey | undefined, event: AccessEvent): ApiKey | undefined {
  if (event.type === 'key.made') {
    const { id, name, grant, secret, atMs, expiresAtMs } = event
    const end = expiresAtMs === undefined ? {} : { expiresAtMs }
    return key ?? { id, name, grant, secrets: [secret], createdAtMs: atMs, ...end }
  }
  if (key === undefined || key.revokedAtMs !== undefined) return key
  if (event.type === 'key.revoked') return { ...key, revokedAtMs: event.atMs, secrets: [] }
  const earlier = key.secrets
    .filter(({ expiresAtMs = Infinity }) => expiresAtMs > event.atMs)
    .map((secret) => ({ ...secret, expiresAtMs: Math.min(secret.expiresAtMs ?? Infinity, event.graceUntilMs) }))
  return { ...key, secrets: [...earlier, event.secret] }
}

/** Whether one of `names`, all of one model, fits one of the patterns. */
export const matchesModel = (patterns: readonly string[], names: readonly string[]): boolean =>
  patterns.some((pattern) => names.some((name) => matches(pattern.split('*'), name)))

/** No regular expression is made of what an owner writes: this takes time linear in the name for each star. */
function matches(parts: readonly string[], name: string): boolean {
  const [head = '', ...rest] = parts
  const tail = rest.pop()
  if (tail === undefined) return name === head
  if (!name.startsWith(head)) return false
  let at = head.length
  for (const part of rest) {
    const found = name.indexOf(part, at)
    if (found < 0) return false
    at = found + part.length
  }
  return name.length - tail.length >= at && name.endsWith(tail)
}
