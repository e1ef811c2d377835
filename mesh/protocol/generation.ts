/**
 * The arguments of the pure function that an attempt is: `f(model digest, prompt, sampling, seed, tokens so far)`.
 * Nothing else may matter to what it generates.
 */
import { Type, type Static } from 'typebox'
import { LIMITS } from './limits.ts'
import { bytes, count, list, text } from './schema.ts'

export const ChatMessageSchema = Type.Object({
  role: Type.Enum(['system', 'developer', 'user', 'assistant', 'tool']),
  content: text(LIMITS.promptBytesMax),
  name: Type.Optional(text(64)),
})
export type ChatMessage = Static<typeof ChatMessageSchema>

/** A chat is rendered by the node with the model's own template; text is tokenised as it stands. */
export const PromptSchema = Type.Union([
  Type.Object({ kind: Type.Literal('chat'), messages: list(ChatMessageSchema, LIMITS.messagesMax, 1) }),
  Type.Object({ kind: Type.Literal('text'), text: text(LIMITS.promptBytesMax) }),
])
export type Prompt = Static<typeof PromptSchema>

/** Every field is always sent: a default that two builds disagree about would change an answer in its middle. */
export const SamplingSchema = Type.Object({
  /** 0 is greedy. */
  temperature: Type.Number({ minimum: 0, maximum: 2 }),
  /** 1 keeps all. */
  topP: Type.Number({ minimum: 0, maximum: 1 }),
  /** 0 keeps all. */
  topK: count(1_000_000),
  minP: Type.Number({ minimum: 0, maximum: 1 }),
  /** OpenAI's: subtracted once from the logit of each token that was generated. */
  presencePenalty: Type.Number({ minimum: -2, maximum: 2 }),
  /** OpenAI's: subtracted for each time that the token was generated. */
  frequencyPenalty: Type.Number({ minimum: -2, maximum: 2 }),
  /** Draws are keyed by (seed, position in the answer), never taken from a running generator. */
  seed: count(0xffff_ffff),
})
export type Sampling = Static<typeof SamplingSchema>

export const GREEDY: Omit<Sampling, 'seed'> = {
  temperature: 0,
  topP: 1,
  topK: 0,
  minP: 0,
  presencePenalty: 0,
  frequencyPenalty: 0,
}

export const StopSchema = list(text(LIMITS.stopStringLengthMax, 1), LIMITS.stopStringsMax)

/** What an answer is held to: any JSON object, or JSON of a schema (JSON Schema as text). */
export const OutputFormatSchema = Type.Union([
  Type.Object({ kind: Type.Literal('json') }),
  Type.Object({ kind: Type.Literal('json-schema'), schema: text(LIMITS.outputSchemaLengthMax, 2) }),
])
export type OutputFormat = Static<typeof OutputFormatSchema>

const tokenShare = {
  /** The token's own bytes; part of a character, maybe. */
  bytes: bytes(LIMITS.tokenBytesMax),
  /** Natural logarithm of the probability before sampling options were applied. */
  logprob: Type.Number({ minimum: -1e9, maximum: 0 }),
}
/** One token of an answer with its log probability, and the likeliest at its place. */
export const TokenLogprobSchema = Type.Object({
  ...tokenShare,
  top: list(Type.Object(tokenShare), LIMITS.topLogprobsMax),
})
export type TokenLogprob = Static<typeof TokenLogprobSchema>

/** Why a generation ended by itself. */
export const FinishReasonSchema = Type.Enum(['stop', 'length'])
export type FinishReason = Static<typeof FinishReasonSchema>

/** Token ids travel as little-endian uint32, four bytes each: a tenth of the cost of a CBOR array of numbers. */
export const TokenIdsSchema = bytes(4 * LIMITS.generatedTokensMax)

export function packTokenIds(ids: readonly number[]): Uint8Array {
  const packed = new Uint8Array(ids.length * 4)
  const view = new DataView(packed.buffer)
  for (let i = 0; i < ids.length; i++) view.setUint32(i * 4, ids[i]!, true)
  return packed
}

/** `undefined` when the length is no multiple of four. */
export function unpackTokenIds(packed: Uint8Array): number[] | undefined {
  if (packed.length % 4 !== 0) return undefined
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength)
  return Array.from({ length: packed.length / 4 }, (_, i) => view.getUint32(i * 4, true))
}

export const UsageSchema = Type.Object({
  promptTokens: count(),
  /** Of the prompt tokens, those found in the node's prefix cache. */
  cachedTokens: count(),
  /** Of all attempts up to now, tokens given as `generated` included. */
  completionTokens: count(),
})
export type Usage = Static<typeof UsageSchema>
