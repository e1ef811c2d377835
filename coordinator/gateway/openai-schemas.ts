/**
 * Bodies of OpenAI's two generation calls, as far as their shape goes. Members that we do not know are ignored, as OpenAI's
 * own servers do with each other's extensions; `openai-requests.ts` refuses those that we know and do not serve yet.
 */
import { Type, type Static } from 'typebox'
import { LIMITS } from '../../mesh/protocol/index.ts'

const text = (maxLength: number, minLength = 0) => Type.String({ minLength, maxLength })
const share = () => Type.Optional(Type.Number({ minimum: 0, maximum: 1 }))
const penalty = () => Type.Optional(Type.Number({ minimum: -2, maximum: 2 }))
const tokens = () => Type.Optional(Type.Integer({ minimum: 1 }))
const stopString = () => text(LIMITS.stopStringLengthMax, 1)

const common = {
  model: text(256, 1),
  stream: Type.Optional(Type.Boolean()),
  stream_options: Type.Optional(Type.Object({ include_usage: Type.Optional(Type.Boolean()) })),
  max_tokens: tokens(),
  temperature: Type.Optional(Type.Number({ minimum: 0, maximum: 2 })),
  top_p: share(),
  min_p: share(),
  /** 0 and -1 both keep all: OpenAI has no such member, and its imitators disagree. */
  top_k: Type.Optional(Type.Integer({ minimum: -1 })),
  seed: Type.Optional(Type.Integer()),
  stop: Type.Optional(Type.Union([stopString(), Type.Array(stopString(), { maxItems: LIMITS.stopStringsMax })])),
  presence_penalty: penalty(),
  frequency_penalty: penalty(),
  n: Type.Optional(Type.Integer({ minimum: 1 })),
  logit_bias: Type.Optional(Type.Object({})),
}

const MessageSchema = Type.Object({
  role: Type.Enum(['system', 'developer', 'user', 'assistant', 'tool']),
  content: Type.Optional(Type.Union([Type.String(), Type.Array(Type.Object({ type: Type.String() })), Type.Null()])),
  name: Type.Optional(text(64)),
})
export type MessageBody = Static<typeof MessageSchema>

export const ChatBodySchema = Type.Object({
  ...common,
  messages: Type.Array(MessageSchema, { minItems: 1, maxItems: LIMITS.messagesMax }),
  max_completion_tokens: tokens(),
  logprobs: Type.Optional(Type.Boolean()),
  top_logprobs: Type.Optional(Type.Integer({ minimum: 0 })),
  tools: Type.Optional(Type.Array(Type.Unknown())),
  functions: Type.Optional(Type.Array(Type.Unknown())),
  modalities: Type.Optional(Type.Array(Type.String())),
  response_format: Type.Optional(Type.Object({ type: Type.String() })),
})
export type ChatBody = Static<typeof ChatBodySchema>

export const CompletionBodySchema = Type.Object({
  ...common,
  prompt: Type.Union([Type.String(), Type.Array(Type.Unknown(), { minItems: 1 })]),
  echo: Type.Optional(Type.Boolean()),
  best_of: Type.Optional(Type.Integer({ minimum: 1 })),
  logprobs: Type.Optional(Type.Integer({ minimum: 0 })),
  suffix: Type.Optional(Type.String()),
})
export type CompletionBody = Static<typeof CompletionBodySchema>
