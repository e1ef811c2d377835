/**
 * Bodies of Ollama's calls, as far as their shape goes. Members and options that we do not know are ignored, as Ollama does;
 * `ollama-requests.ts` refuses those that we know and do not serve.
 */
import { Type, type Static } from 'typebox'
import { LIMITS } from '../../mesh/protocol/index.ts'
import { repeatPenalty, samplingMembers, text } from './openai-schemas.ts'
import { ToolBodySchema } from './openai-tools.ts'
import { SkeinBodySchema } from './request-options.ts'

const orNothing = <T extends Parameters<typeof Type.Union>[0][number]>(schema: T) =>
  Type.Optional(Type.Union([schema, Type.Null()]))

/** Of a name that is no longer asked for under its older member. */
const modelName = () => text(256, 1)

/** What is about the hardware, and what only other penalties look at, is not here. */
const OptionsSchema = Type.Object({
  ...samplingMembers,
  /** Below 1: as much as the context holds. */
  num_predict: Type.Optional(Type.Integer()),
  num_ctx: Type.Optional(Type.Integer({ minimum: 0 })),
  top_k: Type.Optional(Type.Integer()),
  repeat_penalty: repeatPenalty(),
  repeat_last_n: Type.Optional(Type.Integer()),
})
export type OllamaOptions = Static<typeof OptionsSchema>

const ThinkSchema = Type.Union([Type.Boolean(), Type.Enum(['low', 'medium', 'high', 'max'])])
export type Think = Static<typeof ThinkSchema>

/** What calls of a model have in common. */
const common = {
  model: modelName(),
  keep_alive: Type.Optional(Type.Union([Type.String(), Type.Number()])),
  options: Type.Optional(OptionsSchema),
  skein: Type.Optional(SkeinBodySchema),
}

const generation = {
  ...common,
  stream: Type.Optional(Type.Boolean()),
  format: Type.Optional(Type.Union([Type.Enum(['', 'json']), Type.Object({})])),
  think: Type.Optional(ThinkSchema),
  logprobs: Type.Optional(Type.Boolean()),
  top_logprobs: Type.Optional(Type.Integer({ minimum: 0, maximum: LIMITS.topLogprobsMax })),
}

const CallSchema = Type.Object({
  id: orNothing(text(LIMITS.toolCallIdLengthMax)),
  function: Type.Object({ name: Type.String(), arguments: orNothing(Type.Object({})) }),
})

const MessageSchema = Type.Object({
  /** In whatever case. */
  role: text(16),
  content: orNothing(Type.String()),
  thinking: orNothing(Type.String()),
  tool_calls: orNothing(Type.Array(CallSchema)),
  tool_name: orNothing(text(64)),
  tool_call_id: orNothing(text(LIMITS.toolCallIdLengthMax)),
})
export type OllamaMessage = Static<typeof MessageSchema>

export const OllamaChatSchema = Type.Object({
  ...generation,
  messages: Type.Optional(Type.Array(MessageSchema, { maxItems: LIMITS.messagesMax })),
  tools: Type.Optional(Type.Array(ToolBodySchema)),
})
export type OllamaChat = Static<typeof OllamaChatSchema>

export const OllamaGenerateSchema = Type.Object({
  ...generation,
  prompt: Type.Optional(Type.String()),
  system: Type.Optional(Type.String()),
  raw: Type.Optional(Type.Boolean()),
})
export type OllamaGenerate = Static<typeof OllamaGenerateSchema>

export const OllamaEmbedSchema = Type.Object({
  ...common,
  input: Type.Union([
    text(LIMITS.workTextLengthMax),
    Type.Array(text(LIMITS.workTextLengthMax), { minItems: 1, maxItems: LIMITS.workInputsMax }),
  ]),
  dimensions: Type.Optional(Type.Integer({ minimum: 0, maximum: LIMITS.embeddingDimensionsMax })),
})
export type OllamaEmbed = Static<typeof OllamaEmbedSchema>

export const OllamaEmbeddingsSchema = Type.Object({ ...common, prompt: text(LIMITS.workTextLengthMax) })
export type OllamaEmbeddings = Static<typeof OllamaEmbeddingsSchema>

/** `name` is the older member for `model`, which Ollama's own clients still send. */
export const OllamaNamedSchema = Type.Object({
  model: Type.Optional(text(256)),
  name: Type.Optional(text(256)),
  stream: Type.Optional(Type.Boolean()),
})
export type OllamaNamed = Static<typeof OllamaNamedSchema>
