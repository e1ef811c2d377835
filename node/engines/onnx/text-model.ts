/**
 * Texts through an ONNX model: tokens, batches with padding, and vectors or classes of what comes out. Texts of alike
 * length go together, and a batch is so small that it computes for well under a second: a run cannot be interrupted, so
 * cancelling waits for one batch, and no neighbour waits longer.
 */
import { readFile } from 'node:fs/promises'
import { Tokenizer } from '@huggingface/tokenizers'
import { asSkeinError, LIMITS, SkeinError, type ClassScore, type WorkResult } from '../../../mesh/protocol/index.ts'
import { unitVector } from '../unit-vector.ts'
import type { OnnxModel, Pooling, TextRole } from './onnx-model.ts'

/** Rows of equal length for one run: row-major, `rows * length` numbers each. */
export interface Batch {
  readonly rows: number
  readonly length: number
  readonly inputs: Readonly<Record<string, readonly number[]>>
}

export interface Output {
  readonly shape: readonly number[]
  readonly data: Float32Array
}

/** Runs a batch and gives the one output named. @throws SkeinError ENGINE_FAILED. */
export type RunBatch = (batch: Batch, output: string) => Promise<Output>

interface Row {
  /** Place of its text in the request. */
  readonly index: number
  readonly ids: readonly number[]
}

const TEXTS_PER_BATCH_MAX = 64
const TOKENS_PER_BATCH_MAX = 8192
/** In UTF-16 code units: tokens of longer texts take long enough for others to be let in between. */
const LONG_TEXT_LENGTH = 4096
/** Multiplications of one batch: about half a second of one slow core. A single long text may take more. */
const WORK_PER_BATCH = 1e10

export class TextModel {
  readonly #role: TextRole
  readonly #tokenizer: Tokenizer
  readonly #inputs: readonly string[]
  readonly #tokensPerBatch: number
  readonly #run: RunBatch

  private constructor(model: OnnxModel, role: TextRole, tokenizer: Tokenizer, run: RunBatch) {
    this.#role = role
    this.#tokenizer = tokenizer
    this.#inputs = model.summary.inputs.map(({ name }) => name)
    this.#tokensPerBatch = Math.min(TOKENS_PER_BATCH_MAX, WORK_PER_BATCH / Math.max(1, model.summary.parameters))
    this.#run = run
  }

  /** @throws SkeinError MODEL_FILE_INVALID when the tokenizer cannot be used. */
  static async open(model: OnnxModel, role: TextRole, run: RunBatch): Promise<TextModel> {
    const { tokenizerPath, tokenizerConfigPath } = role
    try {
      const definition = JSON.parse(await readFile(tokenizerPath, 'utf8')) as object
      const config =
        tokenizerConfigPath === undefined ? {} : (JSON.parse(await readFile(tokenizerConfigPath, 'utf8')) as object)
      const tokenizer = new Tokenizer(definition, config)
      tokenizer.encode('a')
      return new TextModel(model, role, tokenizer, run)
    } catch (cause) {
      const why = asSkeinError(cause).message
      throw new SkeinError('MODEL_FILE_INVALID', `${tokenizerPath}: not a tokenizer that can be used: ${why}`, {
        cause,
      })
    }
  }

  /**
   * @throws SkeinError INVALID_REQUEST when the model gives no vectors, or not so many numbers; CONTEXT_LENGTH_EXCEEDED,
   *   ENGINE_FAILED; the signal's reason.
   */
  async embed(
    texts: readonly string[],
    dimensions: number | undefined,
    signal: AbortSignal,
  ): Promise<WorkResult & { kind: 'embed' }> {
    const { embed } = this.#role
    if (embed === undefined)
      throw new SkeinError('INVALID_REQUEST', 'the model makes no embeddings', { param: 'model' })
    const rows = await this.#tokenize(texts, signal)
    const vectors: Uint8Array[] = []
    await this.#each(rows, embed.output, signal, (row, place, batch, output) => {
      vectors[row.index] = unitVector(pool(embed.pooling, row, place, batch, output), dimensions)
    })
    return { kind: 'embed', vectors, promptTokens: tokensOf(rows) }
  }

  /** @throws SkeinError as `embed`. */
  async classify(texts: readonly string[], signal: AbortSignal): Promise<WorkResult & { kind: 'classify' }> {
    const { classify } = this.#role
    if (classify === undefined) throw new SkeinError('INVALID_REQUEST', 'the model has no classes', { param: 'model' })
    const rows = await this.#tokenize(texts, signal)
    const classes: ClassScore[][] = []
    await this.#each(rows, classify.output, signal, (row, place, _batch, { shape, data }) => {
      const width = classify.labels.length
      if (shape.length !== 2 || shape[1] !== width) throw failed(`it gave ${shape[1]} numbers for ${width} classes`)
      const scores = probabilities(data.subarray(place * width, (place + 1) * width), classify.scores)
      const told = classify.labels.map((label, i) => ({ label, score: scores[i]! }))
      classes[row.index] = told.sort((a, b) => b.score - a.score).slice(0, LIMITS.workClassesMax)
    })
    return { kind: 'classify', classes, promptTokens: tokensOf(rows) }
  }

  /** @throws SkeinError CONTEXT_LENGTH_EXCEEDED with both numbers. */
  async #tokenize(texts: readonly string[], signal: AbortSignal): Promise<Row[]> {
    const { tokensMax } = this.#role
    const rows: Row[] = []
    for (const [index, text] of texts.entries()) {
      if (text.length > LONG_TEXT_LENGTH) await nextTurn()
      signal.throwIfAborted()
      const { ids } = this.#tokenizer.encode(text)
      if (ids.length > tokensMax)
        throw new SkeinError(
          'CONTEXT_LENGTH_EXCEEDED',
          `text ${index + 1} of ${texts.length} has ${ids.length} tokens, and the model takes ${tokensMax}`,
          { param: 'input' },
        )
      // of nothing at all the models make no vector: one empty place stands for it
      rows.push({ index, ids: ids.length === 0 ? [this.#role.padId] : ids })
    }
    return rows
  }

  async #each(
    rows: readonly Row[],
    name: string,
    signal: AbortSignal,
    take: (row: Row, place: number, batch: Batch, output: Output) => void,
  ): Promise<void> {
    for (const some of batchesOf(rows, this.#tokensPerBatch)) {
      signal.throwIfAborted()
      const batch = this.#batch(some)
      const output = await this.#run(batch, name)
      signal.throwIfAborted()
      if (output.shape[0] !== some.length) throw failed(`it gave ${output.shape[0]} results for ${some.length} texts`)
      some.forEach((row, place) => take(row, place, batch, output))
    }
  }

  #batch(rows: readonly Row[]): Batch {
    const length = Math.max(...rows.map(({ ids }) => ids.length))
    const padded = (value: (id: number) => number, padding: number): number[] =>
      rows.flatMap(({ ids }) => Array.from({ length }, (_, i) => (i < ids.length ? value(ids[i]!) : padding)))
    const all: Readonly<Record<string, () => number[]>> = {
      input_ids: () => padded((id) => id, this.#role.padId),
      attention_mask: () => padded(() => 1, 0),
      // one sentence: all tokens are of the first kind
      token_type_ids: () => padded(() => 0, 0),
    }
    return { rows: rows.length, length, inputs: Object.fromEntries(this.#inputs.map((name) => [name, all[name]!()])) }
  }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const failed = (why: string): SkeinError =>
  new SkeinError('ENGINE_FAILED', `the model does not do as its file says: ${why}`)

const tokensOf = (rows: readonly Row[]): number => rows.reduce((sum, { ids }) => sum + ids.length, 0)

/** The shortest first, so that little is padding; each batch within the bound, or of one text. */
export function batchesOf<T extends { readonly ids: readonly number[] }>(rows: readonly T[], tokensMax: number): T[][] {
  const batches: T[][] = []
  for (const row of [...rows].sort((a, b) => a.ids.length - b.ids.length)) {
    const last = batches.at(-1)
    const fits =
      last !== undefined && last.length < TEXTS_PER_BATCH_MAX && (last.length + 1) * row.ids.length <= tokensMax
    if (fits) last.push(row)
    else batches.push([row])
  }
  return batches
}

/** The vector of a text. @throws SkeinError ENGINE_FAILED when the output has another shape. */
function pool(pooling: Pooling, { ids }: Row, place: number, batch: Batch, { shape, data }: Output): Float64Array {
  const size = shape.at(-1) ?? 0
  const isRight = pooling === 'given' ? shape.length === 2 : shape.length === 3 && shape[1] === batch.length
  if (!isRight) throw failed(`it gave an output of [${shape.join(', ')}]`)
  const rowSize = pooling === 'given' ? size : size * batch.length
  const row = data.subarray(place * rowSize, (place + 1) * rowSize)
  if (pooling === 'given' || pooling === 'cls') return Float64Array.from(row.subarray(0, size))
  if (pooling === 'last') return Float64Array.from(row.subarray((ids.length - 1) * size, ids.length * size))
  const sum = new Float64Array(size)
  for (let token = 0; token < ids.length; token++) for (let i = 0; i < size; i++) sum[i]! += row[token * size + i]!
  return sum
}

/** @throws SkeinError ENGINE_FAILED when they are none. */
function probabilities(numbers: Float32Array, kind: 'softmax' | 'sigmoid' | 'given'): number[] {
  const most = numbers.reduce((a, b) => Math.max(a, b), -Infinity)
  const powers = Array.from(numbers, (each) => Math.exp(each - most))
  const sum = powers.reduce((a, b) => a + b, 0)
  const scores =
    kind === 'softmax'
      ? powers.map((each) => each / sum)
      : Array.from(numbers, (each) => (kind === 'given' ? each : 1 / (1 + Math.exp(-each))))
  if (scores.every((score) => score >= 0 && score <= 1)) return scores
  throw failed('its classes have scores that are not from 0 to 1')
}
