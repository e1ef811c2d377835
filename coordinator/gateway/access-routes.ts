/** The mesh API on who may ask and what was used: keys for the admin, usage for everyone's own. */
import type { FastifyInstance, FastifyReply } from 'fastify'
import { Type, type Static } from 'typebox'
import { DEVICE_LEVELS, LIMITS, SkeinError } from '../../mesh/protocol/index.ts'
import type { Clock } from '../../mesh/runtime/index.ts'
import {
  ROUTE_CLASSES,
  USAGE_AXES,
  USAGE_DAY_MS,
  type Access,
  type ApiKey,
  type IssuedKey,
  type KeyGrant,
  type UsageAxis,
  type UsageSum,
} from '../access/index.ts'
import { KEY_ADD_DOC, KEY_REVOKE_DOC, KEY_ROTATE_DOC, KEYS_DOC, USAGE_DOC } from './access-answer-schemas.ts'
import { listOf } from './mesh-routes.ts'

const COUNT_MAX = 1e12
const count = () => Type.Optional(Type.Integer({ minimum: 1, maximum: COUNT_MAX }))

/** A member that is misspelt must not be ignored: `localonly` would make a key that may more than was meant. */
const KeyBodySchema = Type.Object(
  {
    name: Type.String({
      minLength: 1,
      maxLength: LIMITS.apiKeyNameLengthMax,
      // printable, without white space at its ends
      pattern: '^[^\\s\\p{C}]([^\\p{C}]*[^\\s\\p{C}])?$',
    }),
    routes: Type.Optional(Type.Array(Type.Enum([...ROUTE_CLASSES]), { minItems: 1, uniqueItems: true })),
    models: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 256 }), { minItems: 1, maxItems: LIMITS.apiKeyModelsMax }),
    ),
    priority: Type.Optional(Type.Enum(['interactive', 'default', 'bulk'])),
    local_only: Type.Optional(Type.Boolean()),
    no_cache: Type.Optional(Type.Boolean()),
    devices: Type.Optional(Type.Enum([...DEVICE_LEVELS])),
    requests_per_minute: Type.Optional(Type.Integer({ minimum: 1, maximum: 60_000 })),
    tokens_per_minute: count(),
    tokens_per_day: count(),
    valid_ms: count(),
  },
  { additionalProperties: false },
)
type KeyBody = Static<typeof KeyBodySchema>

const RotateBodySchema = Type.Union([
  Type.Object(
    { grace_ms: Type.Optional(Type.Integer({ minimum: 0, maximum: LIMITS.apiKeyLongestGraceMs })) },
    { additionalProperties: false },
  ),
  // no body: the usual grace
  Type.Null(),
])
type RotateBody = Static<typeof RotateBodySchema>

const UsageQuerySchema = Type.Object(
  {
    since_ms: Type.Optional(Type.String({ pattern: '^[0-9]{1,15}$' })),
    until_ms: Type.Optional(Type.String({ pattern: '^[0-9]{1,15}$' })),
    by: Type.Optional(Type.String({ maxLength: 64 })),
  },
  { additionalProperties: false },
)
type UsageQuery = Static<typeof UsageQuerySchema>

interface OneKey {
  Params: { key: string }
}

/** A key as its admin sees it; its secret is not in it. */
export interface KeyView extends KeyGrant {
  readonly id: string
  readonly name: string
  /** The last characters of its newest secret. */
  readonly hint?: string
  readonly state: 'good' | 'expired' | 'revoked'
  readonly createdAtMs: number
  readonly expiresAtMs?: number
  readonly revokedAtMs?: number
  /** Until then the secret before the newest holds too. */
  readonly oldUntilMs?: number
}

/** A key with its secret, which is told once. */
export interface IssuedKeyView extends KeyView {
  readonly secret: string
}

/** What was used, of one combination of what was asked for. */
export interface UsageView extends Omit<UsageSum, 'tenant' | 'day'> {
  /** Whose it was: the id of a key, `local`, or the owner's. */
  readonly key?: string
  /** What people call that key. */
  readonly name?: string
  /** A day of UTC: `2026-01-31`. */
  readonly day?: string
}

export interface AccessRoutesComponents {
  readonly access: Access
  readonly clock: Clock
}

export function accessRoutes(app: FastifyInstance, { access, clock }: AccessRoutesComponents): void {
  const view = (key: ApiKey): KeyView => keyView(key, clock.wallMs())
  const issued = (reply: FastifyReply, { key, secret }: IssuedKey): FastifyReply =>
    reply.header('cache-control', 'no-store').send({ ...view(key), secret } satisfies IssuedKeyView)

  app.get('/mesh/v1/keys', { config: { doc: KEYS_DOC } }, () => listOf(access.keys().map(view)))

  app.post<{ Body: KeyBody }>(
    '/mesh/v1/keys',
    { schema: { body: KeyBodySchema }, config: { doc: KEY_ADD_DOC } },
    async ({ body }, reply) => {
      const { name, valid_ms } = body
      const end = valid_ms === undefined ? {} : { expiresAtMs: clock.wallMs() + valid_ms }
      return issued(reply.code(201), await access.add({ name, grant: grantOf(body), ...end }))
    },
  )

  app.post<OneKey & { Body: RotateBody | undefined }>(
    '/mesh/v1/keys/:key/rotate',
    { schema: { body: RotateBodySchema }, config: { doc: KEY_ROTATE_DOC } },
    async ({ params, body }, reply) =>
      issued(reply, await access.rotate(params.key, body?.grace_ms ?? LIMITS.apiKeyGraceMs)),
  )

  app.delete<OneKey>('/mesh/v1/keys/:key', { config: { doc: KEY_REVOKE_DOC } }, async ({ params }) =>
    view(await access.revoke(params.key)),
  )

  app.get<{ Querystring: UsageQuery }>(
    '/mesh/v1/usage',
    { schema: { querystring: UsageQuerySchema }, config: { doc: USAGE_DOC } },
    async ({ query, caller }) => {
      const sums = await access.usage({
        sinceMs: Number(query.since_ms ?? 0),
        untilMs: Number(query.until_ms ?? Number.MAX_SAFE_INTEGER),
        by: axesOf(query.by ?? 'key,model'),
        limit: LIMITS.usageSumsMax + 1,
        ...(caller.isAdmin ? {} : { tenant: caller.tenant }),
      })
      if (sums.length > LIMITS.usageSumsMax)
        throw new SkeinError('INVALID_REQUEST', `these are more than ${LIMITS.usageSumsMax} sums; ask for less time`, {
          param: 'since_ms',
        })
      const names = new Map(access.keys().map(({ id, name }) => [id, name]))
      return listOf(sums.map((sum) => usageView(sum, names)))
    },
  )
}

function grantOf(body: KeyBody): KeyGrant {
  const { requests_per_minute: requests, tokens_per_minute: tokens, tokens_per_day: dayTokens } = body
  return {
    routes: body.routes ?? ['inference', 'mesh'],
    models: body.models ?? ['*'],
    priority: body.priority ?? 'interactive',
    localOnly: body.local_only ?? false,
    ...(body.no_cache && { noCache: true }),
    ...(body.devices !== undefined && { devices: body.devices }),
    ...(requests !== undefined && { requestsPerMinute: requests }),
    ...(tokens !== undefined && { tokensPerMinute: tokens }),
    ...(dayTokens !== undefined && { tokensPerDay: dayTokens }),
  }
}

function keyView({ grant, secrets, ...key }: ApiKey, nowMs: number): KeyView {
  const hint = secrets.at(-1)?.hint
  const oldUntilMs = Math.max(...secrets.slice(0, -1).map(({ expiresAtMs = 0 }) => expiresAtMs))
  const isOver = (key.expiresAtMs ?? Infinity) <= nowMs
  return {
    ...key,
    ...grant,
    state: key.revokedAtMs === undefined ? (isOver ? 'expired' : 'good') : 'revoked',
    ...(hint !== undefined && { hint }),
    ...(oldUntilMs > nowMs && { oldUntilMs }),
  }
}

/** @throws SkeinError INVALID_REQUEST. */
function axesOf(text: string): UsageAxis[] {
  const known: ReadonlyMap<string, UsageAxis> = new Map(
    USAGE_AXES.map((axis) => [axis === 'tenant' ? 'key' : axis, axis]),
  )
  const axes = text.split(',').map((name) => known.get(name))
  if (axes.some((axis) => axis === undefined) || new Set(axes).size < axes.length)
    throw new SkeinError(
      'INVALID_REQUEST',
      `by must be some of these, with commas between: ${[...known.keys()].join(', ')}`,
      {
        param: 'by',
      },
    )
  return axes as UsageAxis[]
}

function usageView({ tenant, day, ...sum }: UsageSum, names: ReadonlyMap<string, string>): UsageView {
  const name = names.get(tenant ?? '')
  return {
    ...(tenant !== undefined && { key: tenant }),
    ...(name !== undefined && { name }),
    ...(day !== undefined && { day: new Date(day * USAGE_DAY_MS).toISOString().slice(0, 10) }),
    ...sum,
  }
}
