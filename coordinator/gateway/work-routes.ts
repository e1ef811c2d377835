/** What models do in one step: embeddings in OpenAI's form, classes and tensors in the mesh's own. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { pipe } from 'it-pipe'
import { asRequestId, LIMITS, SkeinError, type Work, type WorkResult } from '../../mesh/protocol/index.ts'
import type { WorkAnswer } from '../admission/index.ts'
import { takeReply, toClient } from './client-writer.ts'
import type { GenerationComponents } from './exchange.ts'
import { answering } from './generation.ts'
import { granted } from './callers.ts'
import { CLASSIFY_DOC, EMBEDDINGS_DOC, INFER_DOC } from './openai-answer-schemas.ts'
import { skeinOptions } from './request-options.ts'
import { classesText, embeddingsText, inChunks, tensorsText } from './work-answers.ts'
import {
  ClassifyBodySchema,
  classifyWork,
  EmbeddingsBodySchema,
  embedWork,
  InferBodySchema,
  inferWork,
  type ClassifyBody,
  type EmbeddingsBody,
  type InferBody,
} from './work-requests.ts'

/** What all three bodies have. */
export interface WorkBody {
  readonly model: string
  readonly skein?: Parameters<typeof skeinOptions>[0]
}

/** One call: its work, and how its result is written. */
interface WorkCall {
  readonly work: Work
  readonly write: (result: WorkResult) => Iterable<string>
}

/** What a tensor request may come to, in vectors of the longest kind. */
const INFER_INPUTS = Math.ceil(LIMITS.workBytesMax / (4 * LIMITS.embeddingDimensionsMax))

/** Requests that are open: their results are held until their clients have read them. */
export class OpenWork {
  #inputs = 0

  /** @throws SkeinError SATURATED; what `answered` throws. */
  async whileOpen(work: Work, answered: () => Promise<void>): Promise<void> {
    const inputs = work.kind === 'infer' ? INFER_INPUTS : work.texts.length
    if (this.#inputs + inputs > LIMITS.workInputsOpenMax)
      throw new SkeinError('SATURATED', `${this.#inputs} texts are being worked on already`, { retryAfterSeconds: 10 })
    this.#inputs += inputs
    try {
      await answered()
    } finally {
      this.#inputs -= inputs
    }
  }
}

export interface WorkComponents extends GenerationComponents {
  readonly open: OpenWork
}

export function workRoutes(app: FastifyInstance, components: WorkComponents): void {
  app.post<{ Body: EmbeddingsBody }>(
    '/v1/embeddings',
    { schema: { body: EmbeddingsBodySchema }, config: { doc: EMBEDDINGS_DOC } },
    async (request, reply) => {
      const { model, encoding_format: format } = request.body
      const write = (result: WorkResult): Iterable<string> =>
        embeddingsText(model, ofKind(result, 'embed'), format === 'base64')
      await answerWork(components, request, reply, { work: embedWork(request.body), write })
      return reply
    },
  )

  app.post<{ Body: ClassifyBody }>(
    '/mesh/v1/classify',
    { schema: { body: ClassifyBodySchema }, config: { doc: CLASSIFY_DOC } },
    async (request, reply) => {
      const { model, top } = request.body
      const write = (result: WorkResult): Iterable<string> => classesText(model, ofKind(result, 'classify'), top)
      await answerWork(components, request, reply, { work: classifyWork(request.body), write })
      return reply
    },
  )

  app.post<{ Body: InferBody }>(
    '/mesh/v1/infer',
    { schema: { body: InferBodySchema }, config: { doc: INFER_DOC } },
    async (request, reply) => {
      const { model } = request.body
      const write = (result: WorkResult): Iterable<string> => tensorsText(model, ofKind(result, 'infer').tensors)
      await answerWork(components, request, reply, { work: inferWork(request.body), write })
      return reply
    },
  )
}

/** @throws SkeinError INTERNAL: dispatch has checked what it gives. */
export function ofKind<K extends WorkResult['kind']>(result: WorkResult, kind: K): Extract<WorkResult, { kind: K }> {
  if (result.kind !== kind) throw new SkeinError('INTERNAL', `a result of ${result.kind} for work of ${kind}`)
  return result as Extract<WorkResult, { kind: K }>
}

/** @throws SkeinError what kept the work from being done, when the client can still be told with an HTTP status. */
export async function answerWork(
  components: WorkComponents,
  request: FastifyRequest<{ Body: WorkBody }>,
  reply: FastifyReply,
  { work, write }: WorkCall,
): Promise<void> {
  const { open, service } = components
  const { model, skein } = request.body
  const options = granted(request.caller, service, model, 'default', skeinOptions(skein, request.headers))
  const traced = request.trace && { trace: request.trace.task }
  const asked = { requestId: asRequestId(request.id), model, work, ...options, ...traced }
  await open.whileOpen(work, () =>
    answering(components, request, reply, async (active) => {
      const done = await service.work(asked, active.signal)
      await send(components, reply, done, write(done.result), (reason) => active.abort(reason))
    }),
  )
}

async function send(
  { clock, counters, limits }: GenerationComponents,
  reply: FastifyReply,
  { nodes, route, attempts, timing }: WorkAnswer,
  pieces: Iterable<string>,
  abort: (reason: SkeinError) => void,
): Promise<void> {
  const { queuedMs, workMs } = timing
  reply.headers({
    'content-type': 'application/json; charset=utf-8',
    'x-skein-node': nodes.map(({ name }) => name).join(', '),
    'x-skein-route': route,
    'x-skein-attempts': String(attempts),
    'server-timing': `queue;dur=${queuedMs.toFixed(1)}, work;dur=${workMs.toFixed(1)}`,
  })
  const onStall = (): void => {
    counters.clientsStalled++
    abort(new SkeinError('CLIENT_STALLED', 'the client does not read its answer'))
    reply.raw.destroy()
  }
  if (!takeReply(reply)) return
  await pipe(inChunks(pieces), toClient(reply.raw, { clock, stallMs: limits.clientStallMs, onStall }))
}
