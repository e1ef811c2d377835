/**
 * Bodies of Anthropic's messages API, as far as their shape goes. As of OpenAI's: members that we do not know are ignored,
 * and `anthropic-requests.ts` refuses what we know and do not serve.
 */
import { Type, type Static } from 'typebox'
import { LIMITS } from '../../mesh/protocol/index.ts'
import { share, temperature, text } from './openai-schemas.ts'
import { orNull } from './openai-tools.ts'
import { SkeinBodySchema } from './request-options.ts'

/** Of which members there are more, each block's type decides. */
const BlockSchema = Type.Object({ type: Type.String() })
export type Block = Static<typeof BlockSchema>

const TurnSchema = Type.Object({
  role: Type.Enum(['user', 'assistant', 'system']),
  content: Type.Union([Type.String(), Type.Array(BlockSchema, { minItems: 1 })]),
})
export type Turn = Static<typeof TurnSchema>

const ToolSchema = Type.Object({
  /** Tools that Anthropic brings along have types of their own. */
  type: Type.Optional(orNull(Type.String())),
  name: Type.String(),
  description: Type.Optional(orNull(Type.String())),
  input_schema: Type.Optional(orNull(Type.Object({}))),
})
export type AnthropicTool = Static<typeof ToolSchema>

const ToolChoiceSchema = Type.Object({
  type: Type.Enum(['auto', 'any', 'tool', 'none']),
  name: Type.Optional(Type.String()),
  disable_parallel_tool_use: Type.Optional(Type.Boolean()),
})
export type ToolChoice = Static<typeof ToolChoiceSchema>

const ThinkingSchema = Type.Object({
  type: Type.Enum(['enabled', 'disabled', 'adaptive']),
  budget_tokens: Type.Optional(Type.Integer({ minimum: 1 })),
  display: Type.Optional(orNull(Type.Enum(['summarized', 'omitted']))),
})
export type Thinking = Static<typeof ThinkingSchema>

const OutputConfigSchema = Type.Object({
  effort: Type.Optional(orNull(Type.Enum(['low', 'medium', 'high', 'xhigh', 'max']))),
  format: Type.Optional(orNull(Type.Object({ type: Type.String() }))),
})

const common = {
  model: text(256, 1),
  // one message fewer than a chat may have: the system prompt is another
  messages: Type.Array(TurnSchema, { minItems: 1, maxItems: LIMITS.messagesMax - 1 }),
  system: Type.Optional(Type.Union([Type.String(), Type.Array(BlockSchema)])),
  tools: Type.Optional(Type.Array(ToolSchema)),
  tool_choice: Type.Optional(ToolChoiceSchema),
  thinking: Type.Optional(ThinkingSchema),
  output_config: Type.Optional(OutputConfigSchema),
  skein: Type.Optional(SkeinBodySchema),
}

export const CountBodySchema = Type.Object(common)
export type CountBody = Static<typeof CountBodySchema>

export const MessagesBodySchema = Type.Object({
  ...common,
  max_tokens: Type.Integer({ minimum: 1 }),
  stream: Type.Optional(Type.Boolean()),
  stop_sequences: Type.Optional(Type.Array(text(LIMITS.stopStringLengthMax, 1), { maxItems: LIMITS.stopStringsMax })),
  temperature: temperature(),
  top_p: share(),
  top_k: Type.Optional(Type.Integer({ minimum: 0 })),
  metadata: Type.Optional(Type.Object({ user_id: Type.Optional(orNull(Type.String())) })),
})
export type MessagesBody = Static<typeof MessagesBodySchema>
