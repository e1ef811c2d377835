/**
 * JSONL of a client that may be hostile, line by line: no line is held that is longer than a request may be, and what is
 * wrong is told with the number of its line. Lines that are blank are none.
 */
import { LIMITS, SkeinError } from '../../mesh/protocol/index.ts'
import type { BatchEndpoint, BatchProblem } from '../ledger/index.ts'

/** A line as it stands in its file. */
export interface RawLine {
  /** From 1. */
  readonly number: number
  /** Of its first byte. */
  readonly offset: number
  /** Without its end; nothing of one that is too long. */
  readonly bytes: Buffer | undefined
}

/** One request of a batch. */
export interface BatchLine {
  readonly customId: string
  readonly model: string
  readonly body: Readonly<Record<string, unknown>>
}

const NEW_LINE = 0x0a
const isBlank = (bytes: Buffer): boolean => bytes.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d)

/** The lines of `source`; those that have nothing but white space are counted and left out. */
export async function* rawLines(
  source: AsyncIterable<Uint8Array>,
  lineBytesMax: number,
): AsyncGenerator<RawLine, void, undefined> {
  let number = 1
  let offset = 0
  let pieces: Uint8Array[] = []
  let length = 0
  const take = (): RawLine | undefined => {
    const bytes = length > lineBytesMax ? undefined : Buffer.concat(pieces)
    const line = bytes && isBlank(bytes) ? undefined : { number, offset, bytes }
    number++
    // the end of the line is one more
    offset += length + 1
    pieces = []
    length = 0
    return line
  }
  for await (const chunk of source) {
    for (let from = 0; from < chunk.length;) {
      const found = chunk.indexOf(NEW_LINE, from)
      const to = found < 0 ? chunk.length : found
      length += to - from
      if (length <= lineBytesMax) pieces.push(chunk.subarray(from, to))
      else pieces = []
      from = to + 1
      const line = found < 0 ? undefined : take()
      if (line) yield line
    }
  }
  const last = length > 0 ? take() : undefined
  if (last) yield last
}

const problem = (code: string, message: string, param?: string): BatchProblem => ({
  code,
  message,
  ...(param !== undefined && { param }),
})

/**
 * The request in a line, or what is wrong with it. What its body says is not looked at, beyond the model.
 *
 * @param parse gives the value of JSON. It throws a SkeinError INVALID_JSON.
 */
export function readLine(
  bytes: Buffer | undefined,
  endpoint: BatchEndpoint,
  parse: (bytes: Buffer) => unknown,
): BatchLine | BatchProblem {
  if (bytes === undefined)
    return problem('line_too_long', `This line is longer than ${LIMITS.batchLineBytesMax} bytes.`)
  let value: unknown
  try {
    value = parse(bytes)
  } catch (error) {
    const why = error instanceof SkeinError ? error.message.replace('the body', 'it') : ''
    return problem('invalid_json_line', `This line is not parseable as valid JSON: ${why}.`)
  }
  if (!isObject(value)) return problem('invalid_json_line', 'This line is not a JSON object.')
  return requestOf(value, endpoint)
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

function requestOf(
  { custom_id: customId, method, url, body }: Readonly<Record<string, unknown>>,
  endpoint: BatchEndpoint,
): BatchLine | BatchProblem {
  if (typeof customId !== 'string' || customId === '' || customId.length > LIMITS.batchCustomIdLengthMax)
    return problem(
      'invalid_request',
      `custom_id must be a string of 1 to ${LIMITS.batchCustomIdLengthMax} characters.`,
      'custom_id',
    )
  if (method !== 'POST') return problem('invalid_request', 'method must be POST.', 'method')
  if (url !== endpoint)
    return problem('url_mismatch', `The URL of this request is not the endpoint of the batch, ${endpoint}.`, 'url')
  if (!isObject(body)) return problem('invalid_request', 'body must be an object.', 'body')
  const { model } = body
  if (typeof model !== 'string' || model === '' || model.length > MODEL_LENGTH_MAX)
    return problem(
      'invalid_request',
      `body.model must be a string of 1 to ${MODEL_LENGTH_MAX} characters.`,
      'body.model',
    )
  return { customId, model, body }
}

/** As every call has it. */
const MODEL_LENGTH_MAX = 256

export const isProblem = (value: BatchLine | BatchProblem): value is BatchProblem => 'code' in value

/** What a whole input comes to. */
export interface CheckedInput {
  readonly total: number
  /** In the order of their first lines; at most `LIMITS.batchModelsMax`. */
  readonly models: readonly string[]
  /** True when there are more of them. */
  readonly hasMoreModels: boolean
  /** At most `LIMITS.batchProblemsMax`. */
  readonly problems: readonly BatchProblem[]
}

/** Reads all lines once, and tells what is wrong with them. */
export async function checkInput(
  source: AsyncIterable<Uint8Array>,
  endpoint: BatchEndpoint,
  parse: (bytes: Buffer) => unknown,
): Promise<CheckedInput> {
  const customIds = new Set<string>()
  const models = new Set<string>()
  const problems: BatchProblem[] = []
  let hasMoreModels = false
  let total = 0
  const tell = (found: BatchProblem, line?: number): void => {
    if (problems.length < LIMITS.batchProblemsMax) problems.push({ ...found, ...(line !== undefined && { line }) })
  }
  for await (const { number, bytes } of rawLines(source, LIMITS.batchLineBytesMax)) {
    if (++total > LIMITS.batchLinesMax) {
      tell(problem('too_many_tasks', `The input file has more than ${LIMITS.batchLinesMax} requests.`))
      break
    }
    const line = readLine(bytes, endpoint, parse)
    if (isProblem(line)) tell(line, number)
    else if (customIds.has(line.customId))
      tell(
        problem('duplicate_custom_id', 'The custom_id of this request is that of an earlier one.', 'custom_id'),
        number,
      )
    else {
      customIds.add(line.customId)
      if (models.size < LIMITS.batchModelsMax) models.add(line.model)
      else hasMoreModels ||= !models.has(line.model)
    }
    if (problems.length >= LIMITS.batchProblemsMax) break
  }
  if (total === 0) tell(problem('empty_file', 'The input file has no request.'))
  return { total, models: [...models], hasMoreModels, problems }
}
