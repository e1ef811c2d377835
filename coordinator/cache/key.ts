/**
 * What an answer is kept under: a digest of everything that decides it, and of whose it is. Two requests of one key have
 * the same answer, whatever API they came by and however they were spelled. Pure.
 */
import { createHash } from 'node:crypto'
import type { TaskSpec } from '../ledger/index.ts'

/** 64 hexadecimal digits. */
export type AnswerKey = string & { readonly __brand: 'AnswerKey' }

/** The part of a task that decides its answer, and whose it is. */
export type Asked = Pick<
  TaskSpec,
  | 'tenant'
  | 'localOnly'
  | 'route'
  | 'digest'
  | 'prompt'
  | 'sampling'
  | 'stop'
  | 'maxTokens'
  | 'logprobs'
  | 'format'
  | 'thought'
>

/** Grows when the same fields come to mean another answer: what was kept before is not found any more. */
const KEY_VERSION = 1

/**
 * Whether asking twice gives the same answer: it is greedy, or its client named the seed. Log probabilities differ in their
 * last bits with the company that an answer had in its batches, so that answers with them are not the same.
 *
 * @param namedSeed whether the client named the seed, and not admission.
 */
export const isRepeatable = (
  { sampling, logprobs }: Pick<Asked, 'sampling' | 'logprobs'>,
  namedSeed: boolean,
): boolean => logprobs === undefined && (sampling.temperature === 0 || namedSeed)

/** The key of what `asked` will be answered. A seed decides nothing where nothing is drawn, and is left out there. */
export function answerKey(asked: Asked): AnswerKey {
  const { tenant, localOnly, route, digest, prompt, sampling, stop, maxTokens, logprobs, format, thought } = asked
  const { seed, ...drawnBy } = sampling
  const decides = {
    ...{ tenant, localOnly, route, digest, prompt, stop, maxTokens, logprobs, format, thought },
    sampling: sampling.temperature === 0 ? drawnBy : { ...drawnBy, seed },
  }
  return createHash('sha256')
    .update(`skein-answer ${KEY_VERSION}\n${canonical(decides)}`)
    .digest('hex') as AnswerKey
}

/** JSON in which equal values are equal texts. A member that is `undefined` is none. */
function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value ?? null)
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join(',')}}`
}
