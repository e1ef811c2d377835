/** What an attempt took of its node's energy, and what is said of answers in money that nobody bills. */
import type { ModelDigest, WorkKind } from '../../mesh/protocol/index.ts'
import type { Directory } from '../directory/index.ts'
import type { CloudEstimate, UsedEnergy } from '../ledger/index.ts'
import type { Attempt } from './attempt.ts'
import type { TokenCounts } from './happened.ts'

export interface PricedModel {
  /** As it was asked for, and as its nodes call it. */
  readonly names: readonly string[]
  /** 0 when that is not known. */
  readonly parameters: number
  readonly kind: 'answer' | WorkKind
}
export type PricedTokens = TokenCounts
export type CloudCost = CloudEstimate

export interface Costs {
  /** Of all amounts: its code of ISO 4217, such as `EUR`. */
  readonly currency?: string
  /** What the owner pays for so much energy, in micro-units; `undefined` where that is not known. */
  energyMicros(joules: number): number | undefined
  /** What a cloud would have charged; `undefined` where no price is known. */
  cloud(model: PricedModel, tokens: PricedTokens): CloudCost | undefined
}

/** What `digest` is priced as; only its name is known of a model that no node has any more. */
export function pricedModel(
  directory: Directory,
  digest: ModelDigest,
  name: string,
  kind: PricedModel['kind'] = 'answer',
): PricedModel {
  const { aliases = [], parameters = 0 } = directory.capability(digest) ?? {}
  return { names: [...new Set([name, ...aliases])], parameters, kind }
}

/**
 * What the node's machine took for an attempt above being idle, by the node's own measurements of an answer that has it to
 * itself: an upper bound where it made several together. The prompt is taken to draw as much power as the answer, for the time
 * that it takes.
 *
 * @param promptTokens read for it, as far as that is known.
 */
export function energyOf(attempt: Attempt, promptTokens: number): UsedEnergy | undefined {
  const { node, init, delivered } = attempt
  const speed = node.models.get(init.task.spec.digest)?.capability.speed
  // a rented machine's energy is in its price
  if (speed?.energy === undefined || node.isCloud) return undefined
  const { joulesPerToken, source } = speed.energy
  const decodeRate = speed.decode[0]?.tokensPerSecond ?? 0
  const prefillShare = speed.prefillTokensPerSecond > 0 ? decodeRate / speed.prefillTokensPerSecond : 0
  const joules = joulesPerToken * (delivered + promptTokens * prefillShare)
  return { joules, isEstimated: source === 'estimated' }
}
