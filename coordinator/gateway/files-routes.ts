/** OpenAI's files: what batches read and write. Content goes from the socket to the disk and back without being held. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Type, type Static } from 'typebox'
import { LIMITS, SkeinError } from '../../mesh/protocol/index.ts'
import { pageOf, type Batches, type StoredFile, type Upload } from '../batches/index.ts'
import { takeReply, toClient } from './client-writer.ts'
import type { GenerationComponents } from './exchange.ts'
import {
  CONTENT_DOC,
  DELETE_FILE_DOC,
  FILE_DOC,
  FILES_DOC,
  RETENTION_SECONDS,
  UPLOAD_DOC,
} from './files-answer-schemas.ts'
import { answering } from './generation.ts'
import { checkBodyEncoding } from './json-body.ts'
import { boundaryOf, readMultipart } from './multipart.ts'

export interface FilesComponents extends GenerationComponents {
  readonly batches: Batches
}

/** One field of the form that is no file. */
const FIELD_BYTES_MAX = 1024
const PAGE_MAX = 10_000

const FilesQuerySchema = Type.Object({
  limit: Type.Optional(Type.String({ pattern: '^[0-9]{1,5}$' })),
  after: Type.Optional(Type.String({ maxLength: 64 })),
  order: Type.Optional(Type.Enum(['asc', 'desc'])),
  purpose: Type.Optional(Type.String({ maxLength: 64 })),
})
type FilesQuery = Static<typeof FilesQuerySchema>

interface OneFile {
  Params: { id: string }
}

/** OpenAI's list with the ids that a client pages by. */
export const pageBody = <T extends { readonly id: string }>(data: readonly T[], hasMore: boolean): object => ({
  object: 'list',
  data,
  first_id: data[0]?.id ?? null,
  last_id: data.at(-1)?.id ?? null,
  has_more: hasMore,
})

/**
 * The number of a page's entries.
 *
 * @throws SkeinError INVALID_REQUEST.
 */
export function limitOf(text: string | undefined, usual: number, max: number): number {
  const limit = Number(text ?? usual)
  if (limit >= 1 && limit <= max) return limit
  throw new SkeinError('INVALID_REQUEST', `limit must be 1 to ${max}`, { param: 'limit' })
}

/** Whose things a caller is shown: an admin those of all. */
export const shownTo = ({ caller }: FastifyRequest): { tenant?: string } =>
  caller.isAdmin ? {} : { tenant: caller.tenant }

/** @throws SkeinError INVALID_REQUEST when a page is to begin behind something that the caller does not have. */
export function checkAfter(
  after: string | undefined,
  known: { readonly tenant: string } | undefined,
  request: FastifyRequest,
): void {
  if (after === undefined || (known && isShown(known, request))) return
  throw new SkeinError('INVALID_REQUEST', `after: there is no '${after.slice(0, 64)}'`, { param: 'after' })
}

const isShown = ({ tenant }: { readonly tenant: string }, { caller }: FastifyRequest): boolean =>
  caller.isAdmin || tenant === caller.tenant

/** A file of the caller's, or any for an admin. @throws SkeinError NOT_FOUND, for one of others as for none. */
export function ownFile(batches: Batches, request: FastifyRequest, id: string): StoredFile {
  const file = batches.files.get(id)
  if (file && isShown(file, request)) return file
  throw new SkeinError('NOT_FOUND', `there is no file '${id.slice(0, 64)}'`)
}

function fileBody(file: StoredFile) {
  return {
    id: file.id,
    object: 'file' as const,
    bytes: file.bytes,
    created_at: Math.floor(file.createdAtMs / 1000),
    expires_at: Math.floor(file.expiresAtMs / 1000),
    filename: file.name,
    purpose: file.purpose,
    status: 'processed' as const,
    status_details: null,
  }
}

export function filesRoutes(app: FastifyInstance, components: FilesComponents): void {
  const { batches } = components
  uploadRoute(app, components)

  app.get<{ Querystring: FilesQuery }>(
    '/v1/files',
    { schema: { querystring: FilesQuerySchema }, config: { doc: FILES_DOC } },
    (request) => {
      const { limit, after, order = 'desc', purpose } = request.query
      checkAfter(after, after === undefined ? undefined : batches.files.get(after), request)
      const all = batches.files.list().filter((file) => purpose === undefined || file.purpose === purpose)
      const query = { limit: limitOf(limit, PAGE_MAX, PAGE_MAX), ...(after !== undefined && { after }) }
      const { items, hasMore } = pageOf(order === 'asc' ? all : all.toReversed(), { ...query, ...shownTo(request) })
      return pageBody(items.map(fileBody), hasMore)
    },
  )

  app.get<OneFile>('/v1/files/:id', { config: { doc: FILE_DOC } }, (request) =>
    fileBody(ownFile(batches, request, request.params.id)),
  )

  app.delete<OneFile>('/v1/files/:id', { config: { doc: DELETE_FILE_DOC } }, async (request) => {
    const { id } = ownFile(batches, request, request.params.id)
    await batches.deleteFile(id)
    return { id, object: 'file', deleted: true }
  })

  app.get<OneFile>('/v1/files/:id/content', { config: { doc: CONTENT_DOC } }, async (request, reply) => {
    await sendContent(components, request, reply, ownFile(batches, request, request.params.id))
    return reply
  })
}

async function sendContent(
  components: FilesComponents,
  request: FastifyRequest,
  reply: FastifyReply,
  { id, bytes }: StoredFile,
): Promise<void> {
  const { clock, counters, limits, batches } = components
  await answering(components, request, reply, async (active) => {
    const content = await batches.files.read(id)
    reply.headers({
      // nothing of a client's is ever shown as a page of this site
      'content-type': 'application/octet-stream',
      'x-content-type-options': 'nosniff',
      'content-disposition': `attachment; filename="${id}.jsonl"`,
      'content-length': String(bytes),
    })
    if (!takeReply(reply)) return
    const onStall = (): void => {
      counters.clientsStalled++
      active.abort(new SkeinError('CLIENT_STALLED', 'the client does not read the file'))
      reply.raw.destroy()
    }
    await toClient(reply.raw, { clock, stallMs: limits.clientStallMs, onStall })(content)
  })
}

/** In a scope of its own: no other route takes forms. */
function uploadRoute(app: FastifyInstance, components: FilesComponents): void {
  void app.register((scope, _options, done) => {
    // the handler reads the body itself
    scope.addContentTypeParser('multipart/form-data', (_request, _payload, parsed) => parsed(null))
    scope.post('/v1/files', { config: { bodyMs: LIMITS.uploadMs, doc: UPLOAD_DOC } }, async (request) => {
      const upload = await components.batches.files.upload()
      try {
        return fileBody(await receive(components, request, upload))
      } finally {
        await upload.discard()
      }
    })
    done()
  })
}

interface Form {
  readonly fields: Map<string, string>
  name: string | undefined
}

/** @throws SkeinError INVALID_REQUEST, UNSUPPORTED_MEDIA_TYPE; what `Upload` throws; CLIENT_CLOSED. */
async function receive(
  { log }: FilesComponents,
  { raw, headers, caller, id }: FastifyRequest,
  upload: Upload,
): Promise<StoredFile> {
  const boundary = boundaryOf(headers['content-type'])
  checkBodyEncoding(undefined, headers['content-encoding'])
  const form: Form = { fields: new Map(), name: undefined }
  // what is not read is for the error handler to read away: the connection must live until the error is told
  const body = raw.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>
  await readMultipart(body, boundary, async (head, content) => {
    if (head.name !== 'file') return void form.fields.set(head.name, await fieldOf(head.name, content))
    if (form.name !== undefined) throw new SkeinError('INVALID_REQUEST', 'the form has two files', { param: 'file' })
    form.name = fileName(head.filename ?? upload.id)
    for await (const chunk of content) await upload.write(chunk)
  }).catch((error: unknown) => {
    if (error instanceof SkeinError) throw error
    throw new SkeinError('CLIENT_CLOSED', 'the client hung up in the middle of a file', { cause: error })
  })
  const retentionMs = retentionOf(form.fields)
  if (form.name === undefined) throw new SkeinError('INVALID_REQUEST', 'file is required', { param: 'file' })
  if (upload.bytes === 0) throw new SkeinError('INVALID_REQUEST', 'the file is empty', { param: 'file' })
  const file = await upload.finish({ tenant: caller.tenant, name: form.name, retentionMs })
  log.debug({ request: id, file: file.id, bytes: file.bytes }, 'a file was uploaded')
  return file
}

async function fieldOf(name: string, content: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of content) {
    bytes += chunk.length
    if (bytes > FIELD_BYTES_MAX)
      throw new SkeinError(
        'INVALID_REQUEST',
        `the field '${name.slice(0, 64)}' is longer than ${FIELD_BYTES_MAX} bytes`,
      )
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** Of a path the last part, as it can be shown. */
function fileName(given: string): string {
  const last = given.split(/[/\\]/).at(-1) ?? ''
  const shown = last.replace(/[\p{C}]/gu, '').slice(0, LIMITS.fileNameLengthMax)
  return shown.toWellFormed() || 'file'
}

/** @throws SkeinError INVALID_REQUEST, UNSUPPORTED_PARAMETER. */
function retentionOf(fields: ReadonlyMap<string, string>): number {
  const purpose = fields.get('purpose')
  if (purpose === undefined) throw new SkeinError('INVALID_REQUEST', 'purpose is required', { param: 'purpose' })
  if (purpose !== 'batch')
    throw new SkeinError('UNSUPPORTED_PARAMETER', `purpose must be 'batch': files are for nothing else here`, {
      param: 'purpose',
    })
  const anchor = fields.get('expires_after[anchor]')
  const text = fields.get('expires_after[seconds]')
  if (anchor === undefined && text === undefined) return LIMITS.fileRetentionMs
  const seconds = /^\d{1,9}$/.test(text ?? '') ? Number(text) : 0
  const { minimum, maximum } = RETENTION_SECONDS
  if (anchor !== 'created_at' || seconds < minimum || seconds > maximum)
    throw new SkeinError(
      'INVALID_REQUEST',
      `expires_after must have the anchor created_at and ${minimum} to ${maximum} seconds`,
      { param: 'expires_after' },
    )
  return 1000 * seconds
}
