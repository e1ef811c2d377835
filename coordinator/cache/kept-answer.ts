/** One kept answer, and its bytes in a file: what was delivered, in the pieces in which it was, and how it ended. */
import { createHash } from 'node:crypto'
import { Type, type Static } from 'typebox'
import { checker, UsageSchema, type FinishReason, type Usage } from '../../mesh/protocol/index.ts'
import type { AnswerPart } from '../ledger/index.ts'
import type { AnswerKey } from './key.ts'

export interface KeptAnswer {
  /** Wall clock of its end, in ms. */
  readonly madeAtMs: number
  /** All of it but `tail`; absent of an answer without tokens. */
  readonly part?: AnswerPart
  /** Text that its end released. */
  readonly tail: string
  readonly finishReason: FinishReason
  readonly stopIndex?: number
  readonly usage: Usage
}

/** Of the file's form; a file of another one is not read. */
const FORM = 'skein-answer 1'
/** What an entry takes beside its text, roughly: the objects around it, and its place in the index. */
const ENTRY_BYTES = 512
/** Of a pair of numbers in `cuts`. */
const CUT_BYTES = 32

/** Memory that it takes, in bytes, as far as that can be told. */
export function bytesOf({ part, tail }: KeptAnswer): number {
  const { ids, text, cuts } = part ?? { ids: [], text: '', cuts: [] }
  return ENTRY_BYTES + ids.length + 2 * (text.length + tail.length) + CUT_BYTES * cuts.length
}

const Count = Type.Integer({ minimum: 0 })
const FileSchema = Type.Object(
  {
    key: Type.String({ pattern: '^[0-9a-f]{64}$' }),
    madeAtMs: Count,
    part: Type.Optional(
      Type.Object(
        { ids: Type.String(), text: Type.String(), cuts: Type.Array(Type.Tuple([Count, Count])) },
        { additionalProperties: false },
      ),
    ),
    tail: Type.String(),
    finishReason: Type.Enum(['stop', 'length']),
    stopIndex: Type.Optional(Count),
    usage: UsageSchema,
  },
  { additionalProperties: false },
)
const isFile = checker(FileSchema)

const digestOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** The bytes of a file: one line with the form and the digest of all behind it, then JSON. */
export function encodeAnswer(key: AnswerKey, { part, ...answer }: KeptAnswer): Buffer {
  const packed = part && { ids: Buffer.from(part.ids).toString('base64'), text: part.text, cuts: part.cuts }
  const body = Buffer.from(JSON.stringify({ key, ...answer, ...(packed && { part: packed }) }))
  return Buffer.concat([Buffer.from(`${FORM} ${digestOf(body)}\n`), body])
}

/** The answer in `bytes`, or `undefined` when they are not whole, are of another form or another key, or were changed. */
export function decodeAnswer(key: AnswerKey, bytes: Buffer): KeptAnswer | undefined {
  const end = bytes.indexOf('\n')
  const body = bytes.subarray(end + 1)
  if (end < 0 || bytes.toString('latin1', 0, end) !== `${FORM} ${digestOf(body)}`) return undefined
  const value = parsed(body)
  if (value === undefined || value.key !== key) return undefined
  const { key: _key, part, ...answer } = value
  if (part === undefined) return answer
  const ids = new Uint8Array(Buffer.from(part.ids, 'base64'))
  const tokens = part.cuts.reduce((sum, [count]) => sum + count, 0)
  const units = part.cuts.reduce((sum, [, count]) => sum + count, 0)
  // what its writer has cut wrongly would be read wrongly for as long as it is kept
  if (ids.length !== 4 * tokens || part.text.length !== units) return undefined
  return { ...answer, part: { index: 0, ids, text: part.text, cuts: part.cuts } }
}

function parsed(body: Buffer): Static<typeof FileSchema> | undefined {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'))
    return isFile(value) ? value : undefined
  } catch {
    return undefined
  }
}
