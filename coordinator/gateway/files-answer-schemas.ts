/** Files and batches in OpenAI's form, as `/openapi.json` tells them. */
import { Type, type TSchema } from 'typebox'
import { BATCH_ENDPOINTS } from '../batches/index.ts'
import { orNull } from './openai-tools.ts'
import { jsonAnswer, type RouteDoc } from './route-doc.ts'

const DAY_SECONDS = 86_400
/** OpenAI's bounds of a file's life. */
export const RETENTION_SECONDS = { minimum: 3600, maximum: 30 * DAY_SECONDS } as const

const count = () => Type.Integer({ minimum: 0 })
const moment = () => orNull(count())

const FileSchema = Type.Object(
  {
    id: Type.String(),
    object: Type.Literal('file'),
    bytes: count(),
    created_at: count(),
    expires_at: count(),
    filename: Type.String(),
    purpose: Type.Enum(['batch', 'batch_output']),
    status: Type.Literal('processed'),
    status_details: Type.Null(),
  },
  { title: 'File' },
)

const ProblemSchema = Type.Object({
  code: Type.String(),
  message: Type.String(),
  param: orNull(Type.String()),
  line: orNull(count()),
})

const BatchSchema = Type.Object(
  {
    id: Type.String(),
    object: Type.Literal('batch'),
    endpoint: Type.Enum([...BATCH_ENDPOINTS]),
    model: Type.Optional(Type.String()),
    errors: orNull(Type.Object({ object: Type.Literal('list'), data: Type.Array(ProblemSchema) })),
    input_file_id: Type.String(),
    completion_window: Type.String(),
    status: Type.Enum([
      'validating',
      'failed',
      'in_progress',
      'finalizing',
      'completed',
      'expired',
      'cancelling',
      'cancelled',
    ]),
    output_file_id: orNull(Type.String()),
    error_file_id: orNull(Type.String()),
    created_at: count(),
    in_progress_at: moment(),
    expires_at: count(),
    finalizing_at: moment(),
    completed_at: moment(),
    failed_at: moment(),
    expired_at: moment(),
    cancelling_at: moment(),
    cancelled_at: moment(),
    request_counts: Type.Object({ total: count(), completed: count(), failed: count() }),
    usage: Type.Optional(
      Type.Object({
        input_tokens: count(),
        input_tokens_details: Type.Object({ cached_tokens: count() }),
        output_tokens: count(),
        output_tokens_details: Type.Object({ reasoning_tokens: count() }),
        total_tokens: count(),
      }),
    ),
    metadata: orNull(Type.Record(Type.String(), Type.String())),
  },
  { title: 'Batch' },
)

const pageSchema = (item: TSchema) =>
  Type.Object({
    object: Type.Literal('list'),
    data: Type.Array(item),
    first_id: orNull(Type.String()),
    last_id: orNull(Type.String()),
    has_more: Type.Boolean(),
  })

const doc = (summary: string, schema: TSchema, errors: RouteDoc['errors'] = []): RouteDoc => ({
  tag: 'OpenAI',
  summary,
  answers: { 200: jsonAnswer('As OpenAI has it.', schema) },
  errors,
})

/** What the form has; its content is read as it streams, and held to this there. */
const UploadSchema = Type.Object(
  {
    file: Type.String({ description: 'Lines of JSON.', contentMediaType: 'application/jsonl' }),
    purpose: Type.Literal('batch'),
    'expires_after[anchor]': Type.Optional(Type.Literal('created_at')),
    'expires_after[seconds]': Type.Optional(Type.Integer(RETENTION_SECONDS)),
  },
  { title: 'FileUpload' },
)
export const UPLOAD_DOC: RouteDoc = {
  ...doc('Upload a file for batches, as a form', FileSchema, [
    'UNSUPPORTED_PARAMETER',
    'FILE_STORE_FULL',
    'LEDGER_UNAVAILABLE',
  ]),
  body: { 'multipart/form-data': { schema: UploadSchema } },
}
export const FILES_DOC = doc('The files of the caller', pageSchema(FileSchema))
export const FILE_DOC = doc('One file, without its content', FileSchema)
export const DELETE_FILE_DOC = doc(
  'Delete a file',
  Type.Object({ id: Type.String(), object: Type.Literal('file'), deleted: Type.Literal(true) }),
  ['FILE_IN_USE', 'LEDGER_UNAVAILABLE'],
)
export const CONTENT_DOC: RouteDoc = {
  tag: 'OpenAI',
  summary: 'The content of a file',
  answers: {
    200: {
      description: 'The bytes of the file.',
      content: { 'application/octet-stream': { schema: Type.String({ format: 'binary' }) } },
    },
  },
  errors: ['SHUTTING_DOWN'],
}
export const CREATE_BATCH_DOC = doc('Answer the requests of a file when nobody else needs the mesh', BatchSchema, [
  'BATCHES_FULL',
  'LEDGER_UNAVAILABLE',
  'SHUTTING_DOWN',
])
export const BATCHES_DOC = doc('The batches of the caller', pageSchema(BatchSchema))
export const BATCH_DOC = doc('How far a batch is', BatchSchema)
export const CANCEL_BATCH_DOC = doc('End a batch before its time', BatchSchema, ['LEDGER_UNAVAILABLE'])
