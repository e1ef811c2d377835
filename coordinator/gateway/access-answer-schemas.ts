/** Answers about keys and usage, as `/openapi.json` tells them. */
import { Type, type TSchema } from 'typebox'
import { DEVICE_LEVELS } from '../../mesh/protocol/index.ts'
import { listSchema } from './openai-answer-schemas.ts'
import { jsonAnswer, type RouteDoc } from './route-doc.ts'

const count = () => Type.Integer({ minimum: 0 })
const amount = () => Type.Number({ minimum: 0 })

const key = {
  id: Type.String(),
  name: Type.String(),
  routes: Type.Array(Type.String()),
  models: Type.Array(Type.String()),
  priority: Type.Enum(['interactive', 'default', 'bulk']),
  localOnly: Type.Boolean(),
  noCache: Type.Optional(Type.Boolean()),
  devices: Type.Optional(Type.Enum([...DEVICE_LEVELS])),
  requestsPerMinute: Type.Optional(count()),
  tokensPerMinute: Type.Optional(count()),
  tokensPerDay: Type.Optional(count()),
  hint: Type.Optional(Type.String()),
  state: Type.Enum(['good', 'expired', 'revoked']),
  createdAtMs: amount(),
  expiresAtMs: Type.Optional(amount()),
  revokedAtMs: Type.Optional(amount()),
  oldUntilMs: Type.Optional(amount()),
}
const KeySchema = Type.Object(key, { title: 'Key' })
const IssuedKeySchema = Type.Object({ ...key, secret: Type.String() }, { title: 'IssuedKey' })

const UsageSumSchema = Type.Object(
  {
    key: Type.Optional(Type.String()),
    name: Type.Optional(Type.String()),
    model: Type.Optional(Type.String()),
    day: Type.Optional(Type.String()),
    node: Type.Optional(Type.String()),
    route: Type.Optional(Type.String()),
    kind: Type.Optional(Type.String()),
    state: Type.Optional(Type.String()),
    requests: count(),
    completed: count(),
    promptTokens: count(),
    cachedTokens: count(),
    completionTokens: count(),
    tookMs: amount(),
    costMicros: amount(),
    joules: amount(),
    estimatedJoules: amount(),
    energyMicros: amount(),
    cloudMicros: amount(),
  },
  { title: 'UsageSum' },
)

const doc = (
  summary: string,
  description: string,
  schema: TSchema,
  errors: NonNullable<RouteDoc['errors']> = [],
  status = 200,
): RouteDoc => ({
  tag: 'Access',
  summary,
  answers: { [status]: jsonAnswer(description, schema) },
  errors: [...errors, 'LEDGER_UNAVAILABLE'],
})

export const KEYS_DOC = doc('Lists the keys; never a secret', 'The keys.', listSchema(KeySchema))
export const KEY_ADD_DOC = doc(
  'Makes a key; its secret is told this once',
  'The key with its secret.',
  IssuedKeySchema,
  ['KEY_NAME_TAKEN'],
  201,
)
export const KEY_ROTATE_DOC = doc('Gives a key a new secret', 'The key with its secret.', IssuedKeySchema)
export const KEY_REVOKE_DOC = doc('Voids a key', 'The key as it is now.', KeySchema)
export const USAGE_DOC = doc('Sums what was used', 'The sums.', listSchema(UsageSumSchema))
