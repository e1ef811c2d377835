/**
 * What a client asks for beside OpenAI's parameters: how urgent its task is and where it may run, by the `skein` member or
 * by headers (for clients that cannot add a member), and how it comes back to a task that it had begun.
 */
import { createHash } from 'node:crypto'
import { Type, type Static } from 'typebox'
import { DEVICE_LEVELS, HOPS_HEADER, LIMITS, SkeinError, VIA_HEADER, VIA_MARK } from '../../mesh/protocol/index.ts'
import type { Priority, TaskRequest } from '../admission/index.ts'
import { CACHE_MODES } from './cache-control.ts'

export type RequestHeaders = Readonly<Record<string, string | string[] | undefined>>

/** `system` is known, so that asking for it is refused by its name. */
const PRIORITIES = ['system', 'interactive', 'default', 'bulk'] as const satisfies readonly Priority[]

/** In units of the owner's currency; nobody means more. */
export const COST_MAX = 1_000_000

/** A member that is misspelt must not be ignored: `localonly` would let a private prompt leave the house. */
export const SkeinBodySchema = Type.Object(
  {
    priority: Type.Optional(Type.Enum([...PRIORITIES])),
    deadline_ms: Type.Optional(Type.Integer({ minimum: 1, maximum: LIMITS.taskMs })),
    local_only: Type.Optional(Type.Boolean()),
    route: Type.Optional(Type.Enum(['cloud'])),
    max_cost: Type.Optional(Type.Number({ minimum: 0, maximum: COST_MAX })),
    cache: Type.Optional(Type.Enum([...CACHE_MODES])),
    devices: Type.Optional(Type.Enum([...DEVICE_LEVELS])),
  },
  { additionalProperties: false },
)
type SkeinBody = Static<typeof SkeinBodySchema>

export type SkeinOptions = Pick<
  TaskRequest,
  'priority' | 'deadlineMs' | 'localOnly' | 'route' | 'costMax' | 'hops' | 'via'
>

const invalid = (param: string, message: string): SkeinError =>
  new SkeinError('INVALID_REQUEST', `${param} ${message}`, { param })

/** The header, read by `read`, which gives `undefined` for what it does not take. */
function headerOf<T>(headers: RequestHeaders, name: string, values: string, read: (text: string) => T | undefined) {
  const text = headers[name]
  if (text === undefined) return undefined
  const value = typeof text === 'string' ? read(text) : undefined
  if (value === undefined) throw invalid(name, `must be ${values}`)
  return value
}

/** A whole number of at most nine digits: enough for `LIMITS.taskMs`. */
const wholeNumber = (text: string): number | undefined => (/^\d{1,9}$/.test(text) ? Number(text) : undefined)

function headerOptions(headers: RequestHeaders): SkeinBody {
  const priority = headerOf(headers, 'x-skein-priority', PRIORITIES.join(', '), (text) =>
    PRIORITIES.find((each) => each === text),
  )
  const deadline_ms = headerOf(headers, 'x-skein-deadline-ms', `1 to ${LIMITS.taskMs}`, (text) => {
    const ms = wholeNumber(text)
    return ms === undefined || ms < 1 || ms > LIMITS.taskMs ? undefined : ms
  })
  const local_only = headerOf(headers, 'x-skein-local-only', 'true or false', (text) =>
    text === 'true' ? true : text === 'false' ? false : undefined,
  )
  const route = headerOf(headers, 'x-skein-route', 'cloud', (text) => (text === 'cloud' ? text : undefined))
  const max_cost = headerOf(
    headers,
    'x-skein-max-cost',
    `0 to ${COST_MAX}, with a point as the decimal sign`,
    (text) => (/^\d{1,7}(?:\.\d{1,9})?$/.test(text) && Number(text) <= COST_MAX ? Number(text) : undefined),
  )
  return {
    ...(priority === undefined ? {} : { priority }),
    ...(deadline_ms === undefined ? {} : { deadline_ms }),
    ...(local_only === undefined ? {} : { local_only }),
    ...(route === undefined ? {} : { route }),
    ...(max_cost === undefined ? {} : { max_cost }),
  }
}

/**
 * Meshes that a request has left before it came here: another coordinator has this one as an endpoint of its cloud.
 *
 * @throws SkeinError INVALID_REQUEST; HOPS_EXCEEDED when it goes in a circle.
 */
function hopsOf(headers: RequestHeaders): number | undefined {
  const hops = headerOf(headers, HOPS_HEADER, 'a whole number', wholeNumber)
  if (hops !== undefined && hops > LIMITS.hopsMax)
    throw new SkeinError('HOPS_EXCEEDED', `the request has left ${hops} meshes, each for the next`)
  return hops === 0 ? undefined : hops
}

/** Marks of those meshes, oldest first. @throws SkeinError INVALID_REQUEST. */
const viaOf = (headers: RequestHeaders): string[] | undefined =>
  headerOf(headers, VIA_HEADER, `1 to ${LIMITS.hopsMax} marks of meshes, with commas between`, (text) => {
    const marks = text.split(',', LIMITS.hopsMax + 1).map((mark) => mark.trim())
    return marks.length <= LIMITS.hopsMax && marks.every((mark) => VIA_MARK.test(mark)) ? marks : undefined
  })

/**
 * @throws SkeinError INVALID_REQUEST when a header is wrong or says other than the body; FORBIDDEN for `system`; HOPS_EXCEEDED.
 */
export function skeinOptions(body: SkeinBody | undefined, headers: RequestHeaders): SkeinOptions {
  const byHeader = headerOptions(headers)
  for (const name of ['priority', 'deadline_ms', 'local_only', 'route', 'max_cost'] as const)
    if (body?.[name] !== undefined && byHeader[name] !== undefined && body[name] !== byHeader[name])
      throw invalid(`skein.${name}`, `says other than the header x-skein-${name.replace('_', '-')}`)
  const { priority, deadline_ms, local_only, route, max_cost } = { ...byHeader, ...body }
  const hops = hopsOf(headers)
  const via = viaOf(headers)
  if (priority === 'system')
    throw new SkeinError('FORBIDDEN', 'the priority system is for the mesh itself', { param: 'skein.priority' })
  return {
    ...(priority === undefined ? {} : { priority }),
    ...(deadline_ms === undefined ? {} : { deadlineMs: deadline_ms }),
    ...(local_only === undefined ? {} : { localOnly: local_only }),
    ...(route === undefined ? {} : { route }),
    ...(max_cost === undefined ? {} : { costMax: max_cost }),
    ...(hops === undefined ? {} : { hops }),
    ...(via === undefined ? {} : { via }),
  }
}

/** JSON in which equal values are equal texts: members in the order of their names. The depth was bounded by the parser. */
export function canonicalJson(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  const members = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonicalJson(member)}`).join(',')}}`
}

const KEY = new RegExp(`^[\\x21-\\x7e](?:[\\x20-\\x7e]{0,${LIMITS.idempotencyKeyLengthMax - 2}}[\\x21-\\x7e])?$`)

/**
 * The `Idempotency-Key` with the digest of what it stands for.
 *
 * @throws SkeinError INVALID_REQUEST when it is not 1 to 255 characters of printable ASCII.
 */
export function idempotencyOf(headers: RequestHeaders, route: string, body: unknown): TaskRequest['idempotency'] {
  const values = `1 to ${LIMITS.idempotencyKeyLengthMax} characters of printable ASCII`
  const key = headerOf(headers, 'idempotency-key', values, (text) => (KEY.test(text) ? text : undefined))
  if (key === undefined) return undefined
  return {
    key,
    bodyDigest: createHash('sha256')
      .update(`${route}\n${canonicalJson(body)}`)
      .digest('hex'),
  }
}

/** Of a response with items: thousands for each token, in an answer that was made again and again. */
const EVENT_ID = /^\d{1,15}$/

/** The `id:` of the last event that the client has of this answer. @throws SkeinError INVALID_REQUEST. */
export const lastEventId = (headers: RequestHeaders): number | undefined =>
  headerOf(headers, 'last-event-id', 'the id of an event of this answer', (text) =>
    EVENT_ID.test(text) ? Number(text) : undefined,
  )

/** Of several choices the place of each, `-` for one that has not begun. */
const CHOICE_ID = /^(?:\d{1,15}|-)$/

/** The same of an answer of `count` choices. @throws SkeinError INVALID_REQUEST. */
export const lastEventIds = (headers: RequestHeaders, count: number): (number | undefined)[] | undefined =>
  headerOf(headers, 'last-event-id', `the id of an event of this answer of ${count} choices`, (text) => {
    const ids = text.split('.', count + 1)
    if (ids.length !== count || !ids.every((id) => CHOICE_ID.test(id))) return undefined
    return ids.map((id) => (id === '-' ? undefined : Number(id)))
  })
