/** Keys as the page sees them, and what is asked for when one is made. */
import { fieldsOf, listOf, numberOf, oneOf, rowsOf, textOf } from './reading.ts'

export const SCOPES = ['inference', 'mesh', 'admin', 'bridge'] as const
export type Scope = (typeof SCOPES)[number]
export const DEVICE_LEVELS = ['none', 'read', 'act'] as const
export type DeviceLevel = (typeof DEVICE_LEVELS)[number]
export const PRIORITIES = ['interactive', 'default', 'bulk'] as const
export type Priority = (typeof PRIORITIES)[number]
const STATES = ['good', 'expired', 'revoked'] as const

export interface KeyShown {
  readonly id: string
  readonly name: string
  readonly state: (typeof STATES)[number]
  readonly hint: string | undefined
  readonly scopes: readonly Scope[]
  readonly models: readonly string[]
  readonly devices: DeviceLevel
  readonly priority: Priority
  readonly isLocalOnly: boolean
  readonly requestsPerMinute: number | undefined
  readonly tokensPerMinute: number | undefined
  readonly tokensPerDay: number | undefined
  readonly createdAtMs: number
  readonly expiresAtMs: number | undefined
  readonly oldUntilMs: number | undefined
}

/** `undefined` for what is no key. */
export function keyOf(body: unknown): KeyShown | undefined {
  const fields = fieldsOf(body)
  const [id, state] = [textOf(fields['id']), oneOf(fields['state'], STATES)]
  if (id === undefined || state === undefined) return undefined
  return {
    ...{ id, state, name: textOf(fields['name']) ?? id, hint: textOf(fields['hint']) },
    scopes: listOf(fields['routes']).flatMap((each) => oneOf(each, SCOPES) ?? []),
    models: listOf(fields['models']).flatMap((each) => textOf(each) ?? []),
    devices: oneOf(fields['devices'], DEVICE_LEVELS) ?? 'none',
    priority: oneOf(fields['priority'], PRIORITIES) ?? 'default',
    isLocalOnly: fields['localOnly'] === true,
    requestsPerMinute: numberOf(fields['requestsPerMinute']),
    tokensPerMinute: numberOf(fields['tokensPerMinute']),
    tokensPerDay: numberOf(fields['tokensPerDay']),
    createdAtMs: numberOf(fields['createdAtMs']) ?? 0,
    expiresAtMs: numberOf(fields['expiresAtMs']),
    oldUntilMs: numberOf(fields['oldUntilMs']),
  }
}

export const keysOf = (answer: unknown): KeyShown[] => rowsOf(answer, keyOf)

export interface IssuedKey {
  readonly key: KeyShown
  readonly secret: string
}

/** `undefined` for what has no secret. */
export function issuedOf(answer: unknown): IssuedKey | undefined {
  const [key, secret] = [keyOf(answer), textOf(fieldsOf(answer)['secret'])]
  return key === undefined || secret === undefined ? undefined : { key, secret }
}

const DAY_MS = 24 * 3_600_000
export const VALIDITIES = {
  ever: undefined,
  day: DAY_MS,
  week: 7 * DAY_MS,
  month: 30 * DAY_MS,
  year: 365 * DAY_MS,
} as const
export type Validity = keyof typeof VALIDITIES
const SHORT: Readonly<Record<Validity, string | undefined>> = {
  ever: undefined,
  day: '1d',
  week: '7d',
  month: '30d',
  year: '365d',
}

/** What stands in the form of a new key. */
export interface KeyDraft {
  readonly name: string
  readonly scopes: readonly Scope[]
  readonly models: string
  readonly devices: DeviceLevel
  readonly priority: Priority
  readonly isLocalOnly: boolean
  readonly isUncached: boolean
  readonly requestsPerMinute: string
  readonly tokensPerMinute: string
  readonly tokensPerDay: string
  readonly validity: Validity
}

export const FIRST_DRAFT: KeyDraft = {
  ...{ name: '', scopes: ['inference', 'mesh'], models: '', devices: 'none', priority: 'interactive' },
  ...{ isLocalOnly: false, isUncached: false, requestsPerMinute: '', tokensPerMinute: '', tokensPerDay: '' },
  validity: 'ever',
}

/** A whole number above 0, nothing for an empty field, or `undefined` for what is none. */
export function countOf(text: string): number | null | undefined {
  if (text.trim() === '') return null
  return /^[1-9]\d{0,11}$/.test(text.trim()) ? Number(text.trim()) : undefined
}

const modelsOf = ({ models }: KeyDraft): string[] => models.split(',').flatMap((each) => each.trim() || [])

export const isComplete = (draft: KeyDraft): boolean =>
  draft.name.trim() !== '' &&
  draft.scopes.length > 0 &&
  [draft.requestsPerMinute, draft.tokensPerMinute, draft.tokensPerDay].every((text) => countOf(text) !== undefined)

/** The body of `POST /mesh/v1/keys`. */
export function bodyOf(draft: KeyDraft): Readonly<Record<string, unknown>> {
  const models = modelsOf(draft)
  const limit = (name: string, text: string) => {
    const count = countOf(text)
    return typeof count === 'number' ? { [name]: count } : {}
  }
  const validMs = VALIDITIES[draft.validity]
  return {
    ...{ name: draft.name.trim(), routes: draft.scopes, priority: draft.priority },
    ...(models.length > 0 && { models }),
    ...(draft.isLocalOnly && { local_only: true }),
    ...(draft.isUncached && { no_cache: true }),
    ...(draft.devices !== 'none' && { devices: draft.devices }),
    ...limit('requests_per_minute', draft.requestsPerMinute),
    ...limit('tokens_per_minute', draft.tokensPerMinute),
    ...limit('tokens_per_day', draft.tokensPerDay),
    ...(validMs !== undefined && { valid_ms: validMs }),
  }
}

/** A word of a command line, quoted where a shell would take it apart. */
const word = (text: string): string =>
  /^[\w./:+-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`

/** The command that makes the same key. */
export function commandOf(draft: KeyDraft): string {
  const limit = (flag: string, text: string) => (typeof countOf(text) === 'number' ? `${flag} ${text.trim()}` : '')
  const valid = SHORT[draft.validity]
  return [
    `skein keys add ${word(draft.name.trim() || 'phone')}`,
    ...draft.scopes.map((scope) => `--route ${scope}`),
    ...modelsOf(draft).map((model) => `--model ${word(model)}`),
    draft.priority !== 'interactive' && `--priority ${draft.priority}`,
    draft.isLocalOnly && '--local-only',
    draft.isUncached && '--no-cache',
    draft.devices !== 'none' && `--devices ${draft.devices}`,
    limit('--requests', draft.requestsPerMinute),
    limit('--tokens', draft.tokensPerMinute),
    limit('--tokens-per-day', draft.tokensPerDay),
    valid !== undefined && `--valid ${valid}`,
  ]
    .filter(Boolean)
    .join(' ')
}
