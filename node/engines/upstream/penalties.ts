/** Penalties of an answer that goes on at a server which counts its own part alone. */
import { LIMITS } from '../../../mesh/protocol/index.ts'
import type { Sampling } from '../../../mesh/protocol/index.ts'
import type { Question } from './dialects.ts'
import type { ServerKind } from './probe.ts'

/** Tokens of the answer so far that a server does not count by itself: asked for only where they matter. */
export async function countedBy(
  { presencePenalty, frequencyPenalty }: Sampling,
  kind: ServerKind,
  ids: () => Promise<readonly number[] | undefined>,
): Promise<readonly number[]> {
  const isOwn = kind === 'vllm' && (presencePenalty !== 0 || frequencyPenalty !== 0)
  return isOwn ? ((await ids()) ?? []) : []
}

/** vLLM refuses more. */
const BIASED_MAX = 1024
const BIAS_MAX = 100

/**
 * Its penalties count what it has made itself, in this request. For what was made before, they are put on the logits: exact
 * for frequency, unless repeats are penalised as well; a token that comes again is penalised for its presence twice.
 */
export function biasFor({ counted, sampling }: Pick<Question, 'counted' | 'sampling'>): object {
  const { presencePenalty, frequencyPenalty } = sampling
  if (counted.length === 0 || (presencePenalty === 0 && frequencyPenalty === 0)) return {}
  const counts = new Map<number, number>()
  for (const id of counted) if (id < LIMITS.vocabularyTokensMax) counts.set(id, (counts.get(id) ?? 0) + 1)
  const biases = [...counts].map(([id, count]) => [id, -(presencePenalty + count * frequencyPenalty)] as const)
  const largest = biases.toSorted(([, a], [, b]) => Math.abs(b) - Math.abs(a)).slice(0, BIASED_MAX)
  const clamped = (bias: number): number => Math.max(-BIAS_MAX, Math.min(BIAS_MAX, bias))
  return { logit_bias: Object.fromEntries(largest.map(([id, bias]) => [String(id), clamped(bias)])) }
}
