/**
 * The arguments of the pure function that an attempt is: `f(model digest, prompt, sampling, seed, tokens so far)`.
 * Nothing else may matter to what it generates.
 */
import { Type, type Static } from 'typebox'
import type { ModelFeature } from './capability.ts'
import { LIMITS } from './limits.ts'
import { bytes, count, list, text } from './schema.ts'

/** OpenAI's rule, and the dot, which parts a device from what it can do. */
export const TOOL_NAME = '^[A-Za-z0-9_.-]{1,64}$'
const toolName = () => Type.String({ pattern: TOOL_NAME })

/** A function that the model may ask to be called. */
export const ToolSchema = Type.Object({
  name: toolName(),
  description: Type.Optional(text(LIMITS.promptBytesMax)),
  /** JSON Schema of the arguments, an object, as text. */
  parameters: text(LIMITS.outputSchemaLengthMax, 2),
})
export type Tool = Static<typeof ToolSchema>

/** A call that an earlier answer made. */
export const ToolCallSchema = Type.Object({
  id: text(LIMITS.toolCallIdLengthMax, 1),
  name: toolName(),
  /** A JSON object as text. */
  arguments: text(LIMITS.promptBytesMax, 2),
})
export type ToolCall = Static<typeof ToolCallSchema>

export const ChatMessageSchema = Type.Object({
  role: Type.Enum(['system', 'developer', 'user', 'assistant', 'tool']),
  content: text(LIMITS.promptBytesMax),
  name: Type.Optional(text(64)),
  /** Of an `assistant`: what it thought before its content. */
  thought: Type.Optional(text(LIMITS.promptBytesMax)),
  /** Of an `assistant`, whose content may then be empty. */
  toolCalls: Type.Optional(list(ToolCallSchema, LIMITS.toolCallsMax, 1)),
  /** Of a `tool`: the call whose result its content is. */
  toolCallId: Type.Optional(text(LIMITS.toolCallIdLengthMax, 1)),
})
export type ChatMessage = Static<typeof ChatMessageSchema>

/** What a request says of thinking: wishes, which a chat template may know. */
export const ThinkingWishSchema = Type.Object({
  /** Whether to think at all. */
  isOn: Type.Optional(Type.Boolean()),
  effort: Type.Optional(Type.Enum(['minimal', 'low', 'medium', 'high', 'xhigh'])),
})
export type ThinkingWish = Static<typeof ThinkingWishSchema>

/** A chat is rendered by the node with the model's own template; text is tokenised as it stands. */
export const PromptSchema = Type.Union([
  Type.Object({
    kind: Type.Literal('chat'),
    messages: list(ChatMessageSchema, LIMITS.messagesMax, 1),
    /** What the answer may call, each under a name of its own; calls stand in its text (`tool-calls.ts`). */
    tools: Type.Optional(list(ToolSchema, LIMITS.toolsMax, 1)),
    thinking: Type.Optional(ThinkingWishSchema),
  }),
  Type.Object({ kind: Type.Literal('text'), text: text(LIMITS.promptBytesMax) }),
])
export type Prompt = Static<typeof PromptSchema>

/** Options that came after the others. They are sent only to nodes that say that they know them (`capability.ts`). */
export const SAMPLING_OPTIONS = ['repeatPenalty', 'logitBias'] as const
export type SamplingOption = (typeof SAMPLING_OPTIONS)[number]

/**
 * Every field is always sent, but the optional ones, which are absent where they would change nothing: a default that two
 * builds disagree about would change an answer in its middle.
 */
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
  /**
   * llama.cpp's: the logit of each token among the last `LIMITS.repeatPenaltyTokens` of the answer is divided by this where
   * it is positive, and else multiplied with it.
   */
  repeatPenalty: Type.Optional(Type.Number({ minimum: 0.1, maximum: 2 })),
  /** Added to the logits of tokens of the model's own vocabulary; those that it does not have are passed over. */
  logitBias: Type.Optional(
    list(
      Type.Object({ token: count(0xffff_ffff), bias: Type.Number({ minimum: -100, maximum: 100 }) }),
      LIMITS.logitBiasMax,
      1,
    ),
  ),
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

/** Sampling options that a model's makers recommend; what a client does not name is taken from here. */
export const SamplingDefaultsSchema = Type.Partial(Type.Pick(SamplingSchema, ['temperature', 'topP', 'topK', 'minP']))
export type SamplingDefaults = Static<typeof SamplingDefaultsSchema>

export const StopSchema = list(text(LIMITS.stopStringLengthMax, 1), LIMITS.stopStringsMax)

/** Any JSON object, or JSON of a schema (JSON Schema as text). */
const JsonFormatSchemas = [
  Type.Object({ kind: Type.Literal('json') }),
  Type.Object({ kind: Type.Literal('json-schema'), schema: text(LIMITS.outputSchemaLengthMax, 2) }),
] as const
export const JsonFormatSchema = Type.Union([...JsonFormatSchemas])
export type JsonFormat = Static<typeof JsonFormatSchema>

/** How the tools of the prompt may be called. */
export const ToolFormatSchema = Type.Object({
  kind: Type.Literal('tool-calls'),
  /** `auto`: text, calls or both, as the model likes. `required`: nothing but calls, at least one. */
  choice: Type.Enum(['auto', 'required']),
  /** The one tool that may be called. */
  name: Type.Optional(toolName()),
  callsMax: count(LIMITS.answerToolCallsMax, 1),
  /** With `auto`: an answer that is no call is held to this. */
  content: Type.Optional(JsonFormatSchema),
})
export type ToolFormat = Static<typeof ToolFormatSchema>

/** What an answer is held to. */
export const OutputFormatSchema = Type.Union([...JsonFormatSchemas, ToolFormatSchema])
export type OutputFormat = Static<typeof OutputFormatSchema>

/** What a model must be able to do, beyond chat and completion, to take such a request. */
export function featuresNeeded(request: {
  readonly prompt: Prompt
  readonly format?: OutputFormat
  readonly logprobs?: number
  readonly sampling?: Pick<Sampling, SamplingOption>
}): (ModelFeature | SamplingOption)[] {
  const { prompt, format, logprobs, sampling = {} } = request
  const isJson = format !== undefined && (format.kind !== 'tool-calls' || format.content !== undefined)
  const hasTools =
    prompt.kind === 'chat' && (prompt.tools !== undefined || prompt.messages.some(({ toolCalls }) => toolCalls))
  return [
    ...(isJson ? (['json'] as const) : []),
    ...(logprobs === undefined ? [] : (['logprobs'] as const)),
    ...(hasTools || format?.kind === 'tool-calls' ? (['tools'] as const) : []),
    ...SAMPLING_OPTIONS.filter((option) => sampling[option] !== undefined),
  ]
}

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
  /** Of these, the tokens of the thought and its marks; absent of a model that shows none. */
  thoughtTokens: Type.Optional(count()),
})
export type Usage = Static<typeof UsageSchema>
