/** What a board asks, checked and completed: all that the making of its answer depends on, hence all that has to be kept. */
import { createHash } from 'node:crypto'
import { LIMITS } from '../../mesh/protocol/index.ts'
import type { AnswerShape, Charset, CompactError, MessageOf } from '../messages/index.ts'
import type { SessionView } from '../ports/index.ts'
import { wireBytes } from './charset.ts'
import type { ShapeInit } from './shapes.ts'

export type Infer = MessageOf<'infer'>

export interface Question {
  readonly prompt: string
  readonly as: AnswerShape
  readonly options: readonly string[]
  readonly schema?: Readonly<Record<string, unknown>>
  readonly bytesMax: number
  readonly charset: Charset
  readonly oneLine: boolean
  /** As the device named it; the bridge's own choice when absent. */
  readonly model?: string
  readonly tokensMax?: number
  readonly localOnly: boolean
}

/** Bytes of an answer to a device that names no `max`. */
const ANSWER_BYTES = 1024

/** `undefined` where a question can be answered; else what the device is told. */
export function questionOf(
  infer: Infer,
  prompt: string,
  { charset, grantsCredit, policy }: SessionView,
): Question | CompactError {
  if (!policy.ask) return 'not_permitted'
  if (prompt.trim() === '') return 'malformed'
  if (wireBytes(prompt) > LIMITS.askPromptBytesMax) return 'too_large'
  const { of = [], sch, m, tok, max = ANSWER_BYTES } = infer
  const as = infer.as ?? (sch !== undefined ? 'json' : of.length > 0 ? 'choice' : 'text')
  const bytesMax = Math.min(max, LIMITS.askAnswerBytesMax)
  if (as === 'choice') {
    if (of.length === 0 || of.some((option) => option.trim() === '')) return 'malformed'
    if (of.every((option) => wireBytes(option) > bytesMax)) return 'too_large'
  }
  return {
    ...{ prompt, as, bytesMax, charset, localOnly: policy.local_only },
    options: as === 'choice' ? of : [],
    // without credits there are lines
    oneLine: !grantsCredit,
    ...(as === 'json' && sch !== undefined && { schema: sch }),
    ...(m !== undefined && { model: m }),
    ...(tok !== undefined && { tokensMax: tok }),
  }
}

export const shapeOf = ({ as, options, schema, bytesMax, charset, oneLine }: Question): ShapeInit => ({
  ...{ as, options, schema, bytesMax, charset, oneLine },
})

/** What makes two messages one question. */
export const digestOf = (question: Question, ttl: number): string =>
  createHash('sha256')
    .update(JSON.stringify([question, ttl]))
    .digest('hex')
