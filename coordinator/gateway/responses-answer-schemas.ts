/** Answers of the responses API, as `/openapi.json` tells them. Items and events say by their type which members they have. */
import { Type } from 'typebox'
import { generationDoc, streamable } from './openai-answer-schemas.ts'
import { orNull } from './openai-tools.ts'
import { jsonAnswer, type RouteDoc } from './route-doc.ts'

/** There are members beyond these, by the type of what has them. */
const MORE = { additionalProperties: true }

const Item = Type.Object({ type: Type.String() }, MORE)

const count = () => Type.Integer({ minimum: 0 })

const ResponseSchema = Type.Object(
  {
    id: Type.String({ pattern: '^resp_' }),
    object: Type.Literal('response'),
    created_at: count(),
    completed_at: orNull(count()),
    status: Type.Enum(['queued', 'in_progress', 'completed', 'incomplete', 'failed', 'cancelled']),
    error: orNull(Type.Object({ code: Type.String(), message: Type.String(), type: Type.String() })),
    incomplete_details: orNull(Type.Object({ reason: Type.String() })),
    model: Type.String(),
    output: Type.Array(Item),
    usage: orNull(
      Type.Object({
        input_tokens: count(),
        input_tokens_details: Type.Object({ cached_tokens: count(), cache_write_tokens: Type.Optional(count()) }),
        output_tokens: count(),
        output_tokens_details: Type.Object({ reasoning_tokens: count() }),
        total_tokens: count(),
      }),
    ),
  },
  { title: 'Response', ...MORE },
)

const ResponseEventSchema = Type.Object(
  { type: Type.String(), sequence_number: count(), response: Type.Optional(ResponseSchema) },
  { title: 'ResponseEvent', ...MORE },
)

const answer = streamable(ResponseSchema, ResponseEventSchema)

export const RESPONSE_DOC = generationDoc('OpenAI', 'Makes an answer that is kept', answer)
export const RESPONSE_GET_DOC: RouteDoc = {
  tag: 'OpenAI',
  summary: 'Shows a response as it is now, or its events from some place on',
  answers: { 200: answer },
  errors: ['ANSWER_DIVERGED', 'LEDGER_UNAVAILABLE', 'SHUTTING_DOWN'],
}
export const RESPONSE_CANCEL_DOC: RouteDoc = {
  tag: 'OpenAI',
  summary: 'Ends a response; one that has ended stays as it is',
  answers: { 200: jsonAnswer('The response.', ResponseSchema) },
  errors: ['LEDGER_UNAVAILABLE'],
}
export const RESPONSE_DELETE_DOC: RouteDoc = {
  tag: 'OpenAI',
  summary: 'Deletes a response',
  answers: {
    200: jsonAnswer(
      'It is gone.',
      Type.Object({ id: Type.String(), object: Type.String(), deleted: Type.Literal(true) }),
    ),
  },
  errors: ['LEDGER_UNAVAILABLE'],
}
export const RESPONSE_ITEMS_DOC: RouteDoc = {
  tag: 'OpenAI',
  summary: 'Lists the items that a response was made from',
  answers: {
    200: jsonAnswer(
      'A page of items.',
      Type.Object({
        object: Type.Literal('list'),
        data: Type.Array(Item),
        first_id: orNull(Type.String()),
        last_id: orNull(Type.String()),
        has_more: Type.Boolean(),
      }),
    ),
  },
  errors: ['LEDGER_UNAVAILABLE'],
}
