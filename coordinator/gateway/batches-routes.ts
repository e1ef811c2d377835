/** OpenAI's batches: many requests in a file, answered when nobody else needs the mesh. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Type, type Static } from 'typebox'
import { LIMITS, SkeinError } from '../../mesh/protocol/index.ts'
import { BATCH_ENDPOINTS, isEnded, pageOf, type Batch, type Batches } from '../batches/index.ts'
import {
  BATCH_DOC,
  BATCHES_DOC,
  CANCEL_BATCH_DOC,
  CREATE_BATCH_DOC,
  RETENTION_SECONDS,
} from './files-answer-schemas.ts'
import { checkAfter, limitOf, ownFile, pageBody, shownTo, type FilesComponents } from './files-routes.ts'

const METADATA_MEMBERS_MAX = 16
const PAGE_DEFAULT = 20
const PAGE_MAX = 100
const UNIT_MS = { h: 3_600_000, d: 86_400_000 } as const

const BatchBodySchema = Type.Object({
  input_file_id: Type.String({ minLength: 1, maxLength: 64 }),
  endpoint: Type.Enum([...BATCH_ENDPOINTS]),
  completion_window: Type.String({ pattern: '^[1-9][0-9]{0,2}[hd]$' }),
  metadata: Type.Optional(
    Type.Record(Type.String({ pattern: '^.{1,64}$' }), Type.String({ maxLength: 512 }), {
      additionalProperties: false,
      maxProperties: METADATA_MEMBERS_MAX,
    }),
  ),
  output_expires_after: Type.Optional(
    Type.Object({ anchor: Type.Literal('created_at'), seconds: Type.Integer({ ...RETENTION_SECONDS }) }),
  ),
})
type BatchBody = Static<typeof BatchBodySchema>

const BatchesQuerySchema = Type.Object({
  limit: Type.Optional(Type.String({ pattern: '^[0-9]{1,3}$' })),
  after: Type.Optional(Type.String({ maxLength: 64 })),
})
type BatchesQuery = Static<typeof BatchesQuerySchema>

interface OneBatch {
  Params: { id: string }
}

export function batchesRoutes(app: FastifyInstance, { batches }: FilesComponents): void {
  const bodyOf = (batch: Batch): BatchView => batchBody(batches, batch)

  app.post<{ Body: BatchBody }>(
    '/v1/batches',
    { schema: { body: BatchBodySchema }, config: { doc: CREATE_BATCH_DOC } },
    async (request) => {
      const { endpoint, completion_window: window, metadata, output_expires_after: expiry } = request.body
      const { tenant, grant } = request.caller
      const batch = await batches.create({
        ...{ tenant, grant, endpoint, inputFileId: inputOf(batches, request), window, windowMs: windowMs(window) },
        outputRetentionMs: expiry ? 1000 * expiry.seconds : LIMITS.fileRetentionMs,
        ...(metadata && { metadata }),
      })
      return bodyOf(batch)
    },
  )

  app.get<{ Querystring: BatchesQuery }>(
    '/v1/batches',
    { schema: { querystring: BatchesQuerySchema }, config: { doc: BATCHES_DOC } },
    (request) => {
      const { limit, after } = request.query
      checkAfter(after, after === undefined ? undefined : batches.get(after), request)
      const query = { limit: limitOf(limit, PAGE_DEFAULT, PAGE_MAX), ...(after !== undefined && { after }) }
      const { items, hasMore } = pageOf(batches.list(), { ...query, ...shownTo(request) })
      return pageBody(items.map(bodyOf), hasMore)
    },
  )

  app.get<OneBatch>('/v1/batches/:id', { config: { doc: BATCH_DOC } }, (request) => bodyOf(ownBatch(batches, request)))

  app.post<OneBatch>('/v1/batches/:id/cancel', { config: { doc: CANCEL_BATCH_DOC } }, async (request) =>
    bodyOf(await batches.cancel(ownBatch(batches, request))),
  )
}

/** A batch of the caller's, or any for an admin. @throws SkeinError NOT_FOUND, for one of others as for none. */
function ownBatch(batches: Batches, { caller, params }: FastifyRequest<OneBatch>): Batch {
  const batch = batches.get(params.id)
  if (batch && (caller.isAdmin || batch.tenant === caller.tenant)) return batch
  throw new SkeinError('NOT_FOUND', `there is no batch '${params.id.slice(0, 64)}'`)
}

/** The file, which must be the caller's own, whoever that is: its lines are asked in the caller's name. @throws SkeinError INVALID_REQUEST. */
function inputOf(batches: Batches, request: FastifyRequest<{ Body: BatchBody }>): string {
  const param = 'input_file_id'
  const { input_file_id: id } = request.body
  try {
    const file = ownFile(batches, request, id)
    if (file.purpose === 'batch' && file.tenant === request.caller.tenant) return file.id
  } catch (error) {
    if (!(error instanceof SkeinError) || error.code !== 'NOT_FOUND') throw error
  }
  throw new SkeinError('INVALID_REQUEST', `there is no file '${id.slice(0, 64)}' with the purpose batch`, { param })
}

/** @throws SkeinError INVALID_REQUEST. */
function windowMs(window: string): number {
  const ms = Number(window.slice(0, -1)) * UNIT_MS[window.at(-1) as keyof typeof UNIT_MS]
  if (ms <= LIMITS.batchWindowMs) return ms
  throw new SkeinError('INVALID_REQUEST', `completion_window must be ${LIMITS.batchWindowMs / UNIT_MS.h}h at most`, {
    param: 'completion_window',
  })
}

const seconds = (ms: number | undefined): number | null => (ms === undefined ? null : Math.floor(ms / 1000))

/** A batch as OpenAI has it. */
export type BatchView = ReturnType<typeof batchBody>

function batchBody(batches: Batches, batch: Batch) {
  const { status, problems, endedAtMs } = batch
  const endedAs = (wanted: Batch['status']): number | null => (status === wanted ? seconds(endedAtMs) : null)
  return {
    id: batch.id,
    object: 'batch' as const,
    endpoint: batch.endpoint,
    ...(batch.model !== undefined && { model: batch.model }),
    errors: problems.length === 0 ? null : { object: 'list' as const, data: problems.map(problemBody) },
    input_file_id: batch.inputFileId,
    completion_window: batch.window,
    status,
    output_file_id: batch.hasOutput ? batch.outputFileId : null,
    error_file_id: batch.hasErrors ? batch.errorFileId : null,
    created_at: seconds(batch.createdAtMs),
    in_progress_at: seconds(batch.begunAtMs),
    expires_at: seconds(batch.expiresAtMs),
    finalizing_at: seconds(batch.finalizingAtMs),
    completed_at: endedAs('completed'),
    failed_at: endedAs('failed'),
    expired_at: endedAs('expired'),
    cancelling_at: seconds(batch.cancellingAtMs),
    cancelled_at: endedAs('cancelled'),
    request_counts: batches.countsOf(batch),
    ...(isEnded(batch) && { usage: usageBody(batch) }),
    metadata: batch.metadata ?? null,
  }
}

const problemBody = ({ code, message, param, line }: Batch['problems'][number]) => ({
  code,
  message,
  param: param ?? null,
  line: line ?? null,
})

const usageBody = ({ tokens }: Batch): object => ({
  input_tokens: tokens.inputTokens,
  input_tokens_details: { cached_tokens: tokens.cachedTokens },
  output_tokens: tokens.outputTokens,
  output_tokens_details: { reasoning_tokens: tokens.thoughtTokens },
  total_tokens: tokens.inputTokens + tokens.outputTokens,
})
