/**
 * Answers of one step as JSON text. They may be large (2,048 vectors), so that they are written in pieces while the client
 * reads: neither the text of the whole is held, nor the event loop for as long as it takes to make it.
 */
import type { ClassScore, Tensor, WorkResult } from '../../mesh/protocol/index.ts'
import { CHUNK_UNITS_MAX } from './limits.ts'
import { tensorText } from './tensors.ts'

type Embeddings = Extract<WorkResult, { kind: 'embed' }>
type Classes = Extract<WorkResult, { kind: 'classify' }>
type Pieces = Generator<string, void, undefined>

/** All but the data, as members that stand behind it. */
const tail = (model: string, promptTokens: number): string =>
  `],"model":${JSON.stringify(model)},"usage":{"prompt_tokens":${promptTokens},"total_tokens":${promptTokens}}}`

/** OpenAI's list of embeddings. */
export function* embeddingsText(model: string, { vectors, promptTokens }: Embeddings, isBase64: boolean): Pieces {
  yield '{"object":"list","data":['
  for (const [index, vector] of vectors.entries()) {
    const { buffer, byteOffset, byteLength } = vector
    const embedding = isBase64
      ? `"${Buffer.from(buffer, byteOffset, byteLength).toString('base64')}"`
      : `[${numbersOf(vector).join(',')}]`
    yield `${index === 0 ? '' : ','}{"object":"embedding","index":${index},"embedding":${embedding}}`
  }
  yield tail(model, promptTokens)
}

export function numbersOf(vector: Uint8Array): number[] {
  const view = new DataView(vector.buffer, vector.byteOffset, vector.byteLength)
  return Array.from({ length: vector.length / 4 }, (_, i) => view.getFloat32(4 * i, true))
}

/** @param top as many of the likeliest classes of each text; all that the node told when absent. */
export function* classesText(model: string, { classes, promptTokens }: Classes, top: number | undefined): Pieces {
  yield '{"object":"list","data":['
  for (const [index, all] of classes.entries()) {
    const shown: ClassScore[] = all.toSorted((a, b) => b.score - a.score).slice(0, top)
    yield `${index === 0 ? '' : ','}${JSON.stringify({ index, classes: shown })}`
  }
  yield tail(model, promptTokens)
}

export function* tensorsText(model: string, tensors: readonly Tensor[]): Pieces {
  yield '{"outputs":{'
  for (const [index, tensor] of tensors.entries()) {
    yield `${index === 0 ? '' : ','}${JSON.stringify(tensor.name)}:`
    yield* tensorText(tensor)
  }
  yield `},"model":${JSON.stringify(model)}}`
}

/** The same text in pieces that are worth a write of their own. */
export async function* inChunks(pieces: Iterable<string>): AsyncGenerator<string, void, undefined> {
  let chunk = ''
  for (const piece of pieces) {
    chunk += piece
    if (chunk.length < CHUNK_UNITS_MAX) continue
    yield chunk
    chunk = ''
  }
  if (chunk !== '') yield chunk
}
