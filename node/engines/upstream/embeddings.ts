/** Embeddings of a server: brought to length 1, as all engines give them. */
import { Type } from 'typebox'
import { checker, LIMITS, SkeinError, type Work, type WorkResult } from '../../../mesh/protocol/index.ts'
import { refusal, type UpstreamClient } from './http.ts'

const TRY_MS = 10_000

const isEmbeddings = checker(
  Type.Object({
    data: Type.Array(
      Type.Object({
        index: Type.Integer({ minimum: 0 }),
        embedding: Type.Array(Type.Number(), { minItems: 1, maxItems: LIMITS.embeddingDimensionsMax }),
      }),
      { maxItems: LIMITS.workInputsPerFrameMax },
    ),
    usage: Type.Optional(Type.Object({ prompt_tokens: Type.Optional(Type.Integer({ minimum: 0 })) })),
  }),
)

/** Whether the model was seen to make an embedding. Does not throw. */
export async function embeds(client: UpstreamClient, model: string): Promise<boolean> {
  try {
    const { status, body } = await client.ask('/v1/embeddings', { body: { model, input: 'a' }, withinMs: TRY_MS })
    return status === 200 && isEmbeddings(body) && body.data.length === 1
  } catch {
    return false
  }
}

/** @throws SkeinError as the port's `work`. */
export async function embed(
  client: UpstreamClient,
  model: string,
  { texts, dimensions }: Extract<Work, { kind: 'embed' }>,
  signal: AbortSignal,
): Promise<WorkResult> {
  const init = { body: { model, input: texts }, withinMs: LIMITS.workMs, signal }
  const { status, body } = await client.ask('/v1/embeddings', init)
  if (status !== 200) throw refusal(client.url, status, body)
  if (!isEmbeddings(body)) throw new SkeinError('ENGINE_FAILED', `${client.url}: no embeddings in its answer`)
  const byIndex = new Map(body.data.map(({ index, embedding }) => [index, embedding]))
  const vectors = texts.map((_, i) => unit(byIndex.get(i), dimensions))
  return { kind: 'embed', vectors, promptTokens: body.usage?.prompt_tokens ?? 0 }
}

/** Little-endian float32 of length 1. */
function unit(numbers: readonly number[] | undefined, dimensions: number | undefined): Uint8Array {
  if (numbers === undefined) throw new SkeinError('ENGINE_FAILED', 'the server left out an embedding')
  if (dimensions !== undefined && dimensions > numbers.length)
    throw new SkeinError('INVALID_REQUEST', `the model gives ${numbers.length} numbers, and not ${dimensions}`, {
      param: 'dimensions',
    })
  const kept = numbers.slice(0, dimensions)
  const length = Math.hypot(...kept)
  if (!(length > 0 && Number.isFinite(length)))
    throw new SkeinError('ENGINE_FAILED', 'the server gave an embedding without a length')
  const bytes = new Uint8Array(4 * kept.length)
  const view = new DataView(bytes.buffer)
  kept.forEach((number, i) => view.setFloat32(4 * i, number / length, true))
  return bytes
}
