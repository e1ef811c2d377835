/**
 * The blind mailboxes over HTTP: by them somebody's own devices keep their chats one. What is sealed in an entry is not
 * looked at here, nor logged; who shows the token of a mailbox has it.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Type, type Static } from 'typebox'
import { LIMITS, SkeinError } from '../../mesh/protocol/index.ts'
import type { Entry, Mailboxes, MailboxKey } from '../mailbox/index.ts'
import { SYNC_APPEND_DOC, SYNC_DELETE_DOC, SYNC_MAKE_DOC, SYNC_READ_DOC, SYNC_TRIM_DOC } from './sync-answer-schemas.ts'

const TOKEN_HEADER = 'x-skein-mailbox-token'
const TOKEN = /^[0-9a-f]{64}$/
/** Base64url of the longest entry. */
const DATA_LENGTH_MAX = Math.ceil((LIMITS.syncEntryBytesMax * 4) / 3)
/** The rest of an entry's body. */
const ENVELOPE_BYTES_MAX = 1024
const PAGE_USUAL = 50

const index = (minimum: 0 | 1) => Type.Integer({ minimum, maximum: Number.MAX_SAFE_INTEGER })

const ParamsSchema = Type.Object({ mailbox: Type.String({ pattern: '^[0-9a-f]{32}$' }) })
type Params = Static<typeof ParamsSchema>

const MakeBodySchema = Type.Union([Type.Object({}, { additionalProperties: false }), Type.Null()])

const EntryBodySchema = Type.Object(
  {
    device: Type.String({ pattern: '^[0-9a-f]{16}$' }),
    seq: index(1),
    data: Type.String({ minLength: 1, maxLength: DATA_LENGTH_MAX, pattern: '^[A-Za-z0-9_-]+$' }),
  },
  { additionalProperties: false },
)
type EntryBody = Static<typeof EntryBodySchema>

const TrimBodySchema = Type.Object({ through: index(0) }, { additionalProperties: false })
type TrimBody = Static<typeof TrimBodySchema>

const ReadQuerySchema = Type.Object(
  {
    after: Type.Optional(Type.String({ pattern: '^[0-9]{1,15}$' })),
    limit: Type.Optional(Type.String({ pattern: '^[0-9]{1,3}$' })),
    waitMs: Type.Optional(Type.String({ pattern: '^[0-9]{1,5}$' })),
  },
  { additionalProperties: false },
)
type ReadQuery = Static<typeof ReadQuerySchema>

export function syncRoutes(app: FastifyInstance, mailboxes: Mailboxes): void {
  app.put<{ Params: Params }>(
    '/mesh/v1/sync/:mailbox',
    { schema: { params: ParamsSchema, body: MakeBodySchema }, config: { doc: SYNC_MAKE_DOC } },
    async (request, reply) => {
      const key = keyOf(request)
      const { isNew, ...state } = await mailboxes.make(key)
      return reply.code(isNew ? 201 : 200).send({ mailbox: key.mailbox, ...state, bytesMax: mailboxes.bytesMax })
    },
  )

  app.post<{ Params: Params; Body: EntryBody }>(
    '/mesh/v1/sync/:mailbox/entries',
    {
      bodyLimit: DATA_LENGTH_MAX + ENVELOPE_BYTES_MAX,
      schema: { params: ParamsSchema, body: EntryBodySchema },
      config: { doc: SYNC_APPEND_DOC },
    },
    async (request, reply) => {
      const { device, seq, data } = request.body
      const { isNew, ...appended } = await mailboxes.append(keyOf(request), { device, seq, data: bytesOf(data) })
      return reply.code(isNew ? 201 : 200).send(appended)
    },
  )

  app.get<{ Params: Params; Querystring: ReadQuery }>(
    '/mesh/v1/sync/:mailbox/entries',
    { schema: { params: ParamsSchema, querystring: ReadQuerySchema }, config: { doc: SYNC_READ_DOC } },
    async (request, reply) => {
      const key = keyOf(request)
      const query = readOf(request.query)
      const left = new AbortController()
      reply.raw.once('close', () => left.abort())
      const { entries, ...state } = await mailboxes.read(key, { ...query, signal: left.signal })
      return { ...state, entries: entries.map(entryBody) }
    },
  )

  app.post<{ Params: Params; Body: TrimBody }>(
    '/mesh/v1/sync/:mailbox/trim',
    { schema: { params: ParamsSchema, body: TrimBodySchema }, config: { doc: SYNC_TRIM_DOC } },
    async (request) => {
      const { generation: _, ...state } = await mailboxes.trim(keyOf(request), request.body.through)
      return state
    },
  )

  app.delete<{ Params: Params }>(
    '/mesh/v1/sync/:mailbox',
    { schema: { params: ParamsSchema }, config: { doc: SYNC_DELETE_DOC } },
    async (request, reply) => {
      await mailboxes.remove(keyOf(request))
      return reply.code(204).send()
    },
  )
}

/** @throws SkeinError INVALID_REQUEST for a token that is none. */
function keyOf({ params, headers }: FastifyRequest<{ Params: Params }>): MailboxKey {
  const token = headers[TOKEN_HEADER]
  if (typeof token === 'string' && TOKEN.test(token)) return { mailbox: params.mailbox, token }
  throw new SkeinError('INVALID_REQUEST', `${TOKEN_HEADER} must be 64 hex digits in lower case`, {
    param: TOKEN_HEADER,
  })
}

/** @throws SkeinError INVALID_REQUEST for a text that no bytes have: two texts of the same bytes would be two entries. */
function bytesOf(data: string): Buffer {
  const bytes = Buffer.from(data, 'base64url')
  if (bytes.toString('base64url') === data && bytes.length <= LIMITS.syncEntryBytesMax) return bytes
  throw new SkeinError('INVALID_REQUEST', 'data must be base64url without padding', { param: 'data' })
}

/** @throws SkeinError INVALID_REQUEST. */
function readOf(query: ReadQuery): { after: number; limit: number; waitMs: number } {
  const { after = '0', limit = String(PAGE_USUAL), waitMs = '0' } = query
  if (Number(limit) < 1 || Number(limit) > LIMITS.syncPageMax)
    throw new SkeinError('INVALID_REQUEST', `limit must be 1 to ${LIMITS.syncPageMax}`, { param: 'limit' })
  if (Number(waitMs) > LIMITS.syncWaitMs)
    throw new SkeinError('INVALID_REQUEST', `waitMs must be 0 to ${LIMITS.syncWaitMs}`, { param: 'waitMs' })
  return { after: Number(after), limit: Number(limit), waitMs: Number(waitMs) }
}

const entryBody = ({ index, device, seq, atMs, data }: Entry): object => ({
  ...{ index, device, seq, atMs },
  data: Buffer.from(data.buffer, data.byteOffset, data.length).toString('base64url'),
})
