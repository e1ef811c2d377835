/**
 * Bodies of OpenAI's two generation calls, as far as their shape goes. Members that we do not know are ignored, as OpenAI's
 * own servers do with each other's extensions; `openai-requests.ts` refuses those that we know and do not serve yet.
 */
import { Type, type Static, type TInteger, type TNumber, type TOptional, type TString } from 'typebox'
import { LIMITS } from '../../mesh/protocol/index.ts'
import { ToolBodySchema, ToolCallBodySchema } from './openai-tools.ts'
import { SkeinBodySchema } from './request-options.ts'

/** Text of so many UTF-16 code units. */
export const text = (maxLength: number, minLength = 0): TString => Type.String({ minLength, maxLength })
export const share = (): TOptional<TNumber> => Type.Optional(Type.Number({ minimum: 0, maximum: 1 }))
const penalty = () => Type.Optional(Type.Number({ minimum: -2, maximum: 2 }))
export const tokenCount = (): TOptional<TInteger> => Type.Optional(Type.Integer({ minimum: 1 }))
export const temperature = (): TOptional<TNumber> => Type.Optional(Type.Number({ minimum: 0, maximum: 2 }))
/** 1 changes nothing. */
export const repeatPenalty = (): TOptional<TNumber> => Type.Optional(Type.Number({ minimum: 0.1, maximum: 2 }))
const stopString = () => text(LIMITS.stopStringLengthMax, 1)

/** How much to think, as OpenAI has it. */
export const EffortSchema = Type.Enum(['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'])
export type Effort = Static<typeof EffortSchema>

/** Sampling options that Ollama has under the same names. */
export const samplingMembers = {
  temperature: temperature(),
  top_p: share(),
  min_p: share(),
  seed: Type.Optional(Type.Integer()),
  stop: Type.Optional(Type.Union([stopString(), Type.Array(stopString(), { maxItems: LIMITS.stopStringsMax })])),
  presence_penalty: penalty(),
  frequency_penalty: penalty(),
}

const common = {
  ...samplingMembers,
  model: text(256, 1),
  stream: Type.Optional(Type.Boolean()),
  stream_options: Type.Optional(Type.Object({ include_usage: Type.Optional(Type.Boolean()) })),
  max_tokens: tokenCount(),
  /** 0 and -1 both keep all: OpenAI has no such member, and its imitators disagree. */
  top_k: Type.Optional(Type.Integer({ minimum: -1 })),
  n: Type.Optional(Type.Integer({ minimum: 1, maximum: LIMITS.choicesMax })),
  logit_bias: Type.Optional(
    Type.Record(Type.String({ pattern: '^[0-9]{1,10}$' }), Type.Number({ minimum: -100, maximum: 100 }), {
      additionalProperties: false,
      maxProperties: LIMITS.logitBiasMax,
    }),
  ),
  /** vLLM's name; OpenAI has none. */
  repetition_penalty: repeatPenalty(),
  skein: Type.Optional(SkeinBodySchema),
}

const MessageSchema = Type.Object({
  role: Type.Enum(['system', 'developer', 'user', 'assistant', 'tool']),
  content: Type.Optional(Type.Union([Type.String(), Type.Array(Type.Object({ type: Type.String() })), Type.Null()])),
  name: Type.Optional(text(64)),
  // the one name is DeepSeek's and llama.cpp's, the other that of newer vLLMs
  reasoning_content: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  reasoning: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  /** Of an assistant: what it said in place of an answer. */
  refusal: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  tool_calls: Type.Optional(Type.Union([Type.Array(ToolCallBodySchema), Type.Null()])),
  tool_call_id: Type.Optional(Type.Union([text(LIMITS.toolCallIdLengthMax, 1), Type.Null()])),
})
export type MessageBody = Static<typeof MessageSchema>

export const ChatBodySchema = Type.Object({
  ...common,
  messages: Type.Array(MessageSchema, { minItems: 1, maxItems: LIMITS.messagesMax }),
  max_completion_tokens: tokenCount(),
  logprobs: Type.Optional(Type.Boolean()),
  top_logprobs: Type.Optional(Type.Integer({ minimum: 0, maximum: LIMITS.topLogprobsMax })),
  tools: Type.Optional(Type.Array(ToolBodySchema)),
  tool_choice: Type.Optional(Type.Unknown()),
  parallel_tool_calls: Type.Optional(Type.Boolean()),
  functions: Type.Optional(Type.Array(Type.Unknown())),
  modalities: Type.Optional(Type.Array(Type.String())),
  response_format: Type.Optional(Type.Object({ type: Type.String(), json_schema: Type.Optional(Type.Unknown()) })),
  reasoning_effort: Type.Optional(EffortSchema),
  chat_template_kwargs: Type.Optional(Type.Object({})),
})
export type ChatBody = Static<typeof ChatBodySchema>

export const CompletionBodySchema = Type.Object({
  ...common,
  prompt: Type.Union([Type.String(), Type.Array(Type.Unknown(), { minItems: 1 })]),
  echo: Type.Optional(Type.Boolean()),
  best_of: Type.Optional(Type.Integer({ minimum: 1 })),
  logprobs: Type.Optional(Type.Integer({ minimum: 0, maximum: LIMITS.topLogprobsMax })),
  suffix: Type.Optional(Type.String()),
})
export type CompletionBody = Static<typeof CompletionBodySchema>
