/** Answers in Anthropic's form, as `/openapi.json` tells them. */
import { Type } from 'typebox'
import { AnthropicErrorSchema } from './anthropic-errors.ts'
import { CarriedCallsSchema, generationDoc, streamable } from './openai-answer-schemas.ts'
import { orNull } from './openai-tools.ts'
import { jsonAnswer } from './route-doc.ts'

const count = () => Type.Integer({ minimum: 0 })

const BlockSchema = Type.Union([
  Type.Object({ type: Type.Literal('text'), text: Type.String(), citations: Type.Null() }),
  Type.Object({ type: Type.Literal('thinking'), thinking: Type.String(), signature: Type.String() }),
  Type.Object({
    type: Type.Literal('tool_use'),
    id: Type.String(),
    name: Type.String(),
    input: Type.Object({}),
    caller: Type.Object({ type: Type.Literal('direct') }),
  }),
])

const usage = {
  input_tokens: count(),
  output_tokens: count(),
  cache_creation_input_tokens: orNull(count()),
  cache_read_input_tokens: orNull(count()),
  output_tokens_details: Type.Optional(orNull(Type.Object({ thinking_tokens: count() }))),
  server_tool_use: Type.Optional(Type.Null()),
}

const stop = {
  stop_reason: orNull(Type.Enum(['end_turn', 'max_tokens', 'stop_sequence', 'tool_use'])),
  stop_sequence: orNull(Type.String()),
  stop_details: Type.Null(),
  container: Type.Null(),
}

const MessageSchema = Type.Object(
  {
    id: Type.String(),
    type: Type.Literal('message'),
    role: Type.Literal('assistant'),
    model: Type.String(),
    content: Type.Array(BlockSchema),
    ...stop,
    diagnostics: Type.Null(),
    usage: Type.Object({
      ...usage,
      cache_creation: Type.Null(),
      inference_geo: Type.Null(),
      service_tier: Type.Null(),
      speed: Type.Null(),
    }),
    skein: Type.Optional(CarriedCallsSchema),
  },
  { title: 'Message' },
)

const DeltaSchema = Type.Union([
  Type.Object({ type: Type.Literal('text_delta'), text: Type.String() }),
  Type.Object({ type: Type.Literal('thinking_delta'), thinking: Type.String() }),
  Type.Object({ type: Type.Literal('signature_delta'), signature: Type.String() }),
  Type.Object({ type: Type.Literal('input_json_delta'), partial_json: Type.String() }),
])

const MessageEventSchema = Type.Union(
  [
    Type.Object({ type: Type.Literal('message_start'), message: MessageSchema }),
    Type.Object({ type: Type.Literal('content_block_start'), index: count(), content_block: BlockSchema }),
    Type.Object({ type: Type.Literal('content_block_delta'), index: count(), delta: DeltaSchema }),
    Type.Object({ type: Type.Literal('content_block_stop'), index: count() }),
    Type.Object({ type: Type.Literal('message_delta'), delta: Type.Object(stop), usage: Type.Object(usage) }),
    Type.Object({ type: Type.Literal('message_stop') }),
    Type.Object({ type: Type.Literal('ping') }),
    AnthropicErrorSchema,
  ],
  { title: 'MessageEvent' },
)

export const MESSAGES_DOC = generationDoc(
  'Anthropic',
  'Answers a conversation',
  streamable(MessageSchema, MessageEventSchema),
)
export const COUNT_TOKENS_DOC = generationDoc(
  'Anthropic',
  'Counts the tokens of the prompt of such a request',
  jsonAnswer('The count.', Type.Object({ input_tokens: count() })),
)
