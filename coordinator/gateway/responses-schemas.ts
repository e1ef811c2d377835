/** Bodies and queries of OpenAI's responses API, as far as their shape goes. Members that we do not know are ignored. */
import { Type, type Static } from 'typebox'
import { LIMITS } from '../../mesh/protocol/index.ts'
import { EffortSchema, share, temperature, text, tokenCount } from './openai-schemas.ts'
import { SkeinBodySchema } from './request-options.ts'

/** OpenAI's bounds of metadata. */
const METADATA_MEMBERS_MAX = 16
const METADATA_VALUE_LENGTH_MAX = 512

const orNull = <T extends Parameters<typeof Type.Union>[0][number]>(schema: T) =>
  Type.Optional(Type.Union([schema, Type.Null()]))

const ContentSchema = Type.Union([Type.String(), Type.Array(Type.Object({ type: Type.String() })), Type.Null()])

/** One item; which members it must have follows from its `type`. */
const InputItemSchema = Type.Object({
  type: orNull(Type.String()),
  id: orNull(Type.String()),
  role: Type.Optional(Type.Enum(['system', 'developer', 'user', 'assistant'])),
  content: Type.Optional(ContentSchema),
  call_id: orNull(text(LIMITS.toolCallIdLengthMax, 1)),
  name: orNull(Type.String()),
  arguments: orNull(Type.String()),
  output: Type.Optional(ContentSchema),
})
export type InputItem = Static<typeof InputItemSchema>

/** A tool; those of another `type` than `function` have other members. */
const FlatToolSchema = Type.Object({
  type: Type.String(),
  name: orNull(Type.String()),
  description: orNull(Type.String()),
  parameters: orNull(Type.Object({})),
  // arguments are held to their schema as far as it can be held to, whatever this says
  strict: orNull(Type.Boolean()),
})
export type FlatTool = Static<typeof FlatToolSchema>

export const ResponseBodySchema = Type.Object({
  model: text(256, 1),
  input: Type.Union([
    Type.String(),
    // one message fewer than a chat may have: the instructions are another
    Type.Array(InputItemSchema, { minItems: 1, maxItems: LIMITS.messagesMax - 1 }),
  ]),
  instructions: Type.Optional(Type.String()),
  previous_response_id: Type.Optional(text(64, 1)),
  max_output_tokens: tokenCount(),
  temperature: temperature(),
  top_p: share(),
  text: Type.Optional(Type.Object({ format: Type.Optional(Type.Object({ type: Type.String() })) })),
  reasoning: Type.Optional(
    Type.Object({
      effort: Type.Optional(Type.Union([EffortSchema, Type.Null()])),
      summary: Type.Optional(Type.Union([Type.String(), Type.Null()])),
      generate_summary: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    }),
  ),
  tools: Type.Optional(Type.Array(FlatToolSchema)),
  tool_choice: Type.Optional(Type.Unknown()),
  parallel_tool_calls: Type.Optional(Type.Boolean()),
  include: Type.Optional(Type.Array(Type.String())),
  top_logprobs: Type.Optional(Type.Integer({ minimum: 0, maximum: LIMITS.topLogprobsMax })),
  truncation: Type.Optional(Type.Enum(['auto', 'disabled'])),
  stream: Type.Optional(Type.Boolean()),
  background: Type.Optional(Type.Boolean()),
  store: Type.Optional(Type.Boolean()),
  metadata: Type.Optional(
    Type.Record(Type.String({ pattern: '^.{1,64}$' }), text(METADATA_VALUE_LENGTH_MAX), {
      additionalProperties: false,
      maxProperties: METADATA_MEMBERS_MAX,
    }),
  ),
  skein: Type.Optional(SkeinBodySchema),
})
export type ResponseBody = Static<typeof ResponseBodySchema>

export const ResponseQuerySchema = Type.Object({
  stream: Type.Optional(Type.Enum(['true', 'false'])),
  starting_after: Type.Optional(Type.String({ pattern: '^[0-9]{1,15}$' })),
})
export type ResponseQuery = Static<typeof ResponseQuerySchema>

/** Items of a page, as OpenAI has them. */
export const ITEMS_PAGE_DEFAULT = 20
export const ITEMS_PAGE_MAX = 100

export const ItemsQuerySchema = Type.Object({
  limit: Type.Optional(Type.String({ pattern: '^[0-9]{1,3}$' })),
  order: Type.Optional(Type.Enum(['asc', 'desc'])),
  after: Type.Optional(text(128, 1)),
})
export type ItemsQuery = Static<typeof ItemsQuerySchema>
