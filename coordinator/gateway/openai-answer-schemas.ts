/** Answers in OpenAI's form, as `/openapi.json` tells them. Members beyond OpenAI's own are in `modelBody` alone. */
import { Type, type TProperties, type TSchema } from 'typebox'
import { CALL_OPS, CALL_OUTCOMES, LIMITS } from '../../mesh/protocol/index.ts'
import { AnthropicModelSchema, AnthropicModelsSchema } from './anthropic-models.ts'
import { ErrorBodySchema } from './openai-errors.ts'
import { orNull } from './openai-tools.ts'
import {
  EVENTS_TYPE,
  GENERATION_ERRORS,
  JSON_TYPE,
  jsonAnswer,
  WORK_ERRORS,
  type AnswerDoc,
  type RouteDoc,
} from './route-doc.ts'

const count = () => Type.Integer({ minimum: 0 })

/** `{object: "list", data: [item]}`. */
export const listSchema = (item: TSchema): TSchema =>
  Type.Object({ object: Type.Literal('list'), data: Type.Array(item) })

export const CompletionUsageSchema = Type.Object(
  {
    prompt_tokens: count(),
    completion_tokens: count(),
    total_tokens: count(),
    prompt_tokens_details: Type.Optional(Type.Object({ cached_tokens: count() })),
    completion_tokens_details: Type.Optional(Type.Object({ reasoning_tokens: Type.Optional(count()) })),
  },
  { title: 'CompletionUsage' },
)

const share = {
  token: Type.String(),
  logprob: Type.Number(),
  bytes: orNull(Type.Array(Type.Integer({ minimum: 0, maximum: 255 }))),
}
const TokenLogprobBodySchema = Type.Object(
  { ...share, top_logprobs: Type.Array(Type.Object(share)) },
  { title: 'TokenLogprob' },
)
const chatLogprobs = () =>
  orNull(
    Type.Object({
      content: orNull(Type.Array(TokenLogprobBodySchema)),
      refusal: orNull(Type.Array(TokenLogprobBodySchema)),
    }),
  )
const textLogprobs = () =>
  orNull(
    Type.Object({
      tokens: Type.Array(Type.String()),
      token_logprobs: Type.Array(Type.Number()),
      top_logprobs: orNull(Type.Array(Type.Record(Type.String(), Type.Number()))),
      text_offset: Type.Array(count()),
    }),
  )
const finishReason = () => Type.Enum(['stop', 'length', 'tool_calls'])

const head = {
  id: Type.String(),
  created: count(),
  model: Type.String(),
  /** Equal ones mean the same model file. */
  system_fingerprint: Type.Optional(Type.String()),
}

/** Of an answer with devices: the calls that were made for it. */
export const CarriedCallsSchema = Type.Object(
  {
    calls: Type.Array(
      Type.Object({
        tool: Type.String(),
        arguments: Type.String(),
        call: Type.Optional(Type.String()),
        op: Type.Enum([...CALL_OPS]),
        outcome: Type.Enum([...CALL_OUTCOMES]),
        value: Type.Optional(Type.Unknown()),
        unit: Type.Optional(Type.String()),
        fresh: Type.Optional(Type.Boolean()),
        ageMs: Type.Optional(Type.Number({ minimum: 0 })),
        error: Type.Optional(Type.String()),
      }),
    ),
  },
  { title: 'CarriedCalls' },
)
const carried = { skein: Type.Optional(CarriedCallsSchema) }

const AnsweredCallSchema = Type.Object({
  id: Type.String(),
  type: Type.Literal('function'),
  function: Type.Object({ name: Type.String(), arguments: Type.String() }),
})

const ChatCompletionSchema = Type.Object(
  {
    ...head,
    object: Type.Literal('chat.completion'),
    choices: Type.Array(
      Type.Object({
        index: count(),
        message: Type.Object({
          role: Type.Literal('assistant'),
          content: orNull(Type.String()),
          refusal: orNull(Type.String()),
          reasoning_content: Type.Optional(Type.String()),
          tool_calls: Type.Optional(Type.Array(AnsweredCallSchema)),
        }),
        logprobs: chatLogprobs(),
        finish_reason: finishReason(),
      }),
    ),
    usage: CompletionUsageSchema,
    ...carried,
  },
  { title: 'ChatCompletion' },
)

/** A chunk, or the error that ends the stream in place of `[DONE]`. */
const chunk = (title: string, object: string, choice: TProperties) =>
  Type.Union(
    [
      Type.Object({
        ...head,
        object: Type.Literal(object),
        choices: Type.Array(Type.Object({ index: count(), ...choice, finish_reason: orNull(finishReason()) })),
        usage: Type.Optional(orNull(CompletionUsageSchema)),
        ...carried,
      }),
      ErrorBodySchema,
    ],
    { title },
  )

const ChatChunkSchema = chunk('ChatChunk', 'chat.completion.chunk', {
  delta: Type.Object({
    role: Type.Optional(Type.Literal('assistant')),
    content: Type.Optional(orNull(Type.String())),
    refusal: Type.Optional(orNull(Type.String())),
    reasoning_content: Type.Optional(Type.String()),
    tool_calls: Type.Optional(
      Type.Array(
        Type.Object({
          index: count(),
          id: Type.Optional(Type.String()),
          type: Type.Optional(Type.Literal('function')),
          function: Type.Object({ name: Type.Optional(Type.String()), arguments: Type.Optional(Type.String()) }),
        }),
      ),
    ),
  }),
  logprobs: Type.Optional(chatLogprobs()),
})

const textChoice = { text: Type.String(), logprobs: textLogprobs() }
const TextCompletionSchema = Type.Object(
  {
    ...head,
    object: Type.Literal('text_completion'),
    choices: Type.Array(Type.Object({ index: count(), ...textChoice, finish_reason: finishReason() })),
    usage: CompletionUsageSchema,
  },
  { title: 'TextCompletion' },
)
const TextChunkSchema = chunk('TextChunk', 'text_completion', textChoice)

const ModelSchema = Type.Object(
  {
    id: Type.String(),
    object: Type.Literal('model'),
    created: count(),
    owned_by: Type.String(),
    digest: Type.String(),
    aliases: Type.Array(Type.String()),
    context_length: count(),
    features: Type.Array(Type.String()),
  },
  { title: 'Model' },
)

const WorkUsageSchema = Type.Object({ prompt_tokens: count(), total_tokens: count() })
const EmbeddingsSchema = Type.Object(
  {
    object: Type.Literal('list'),
    data: Type.Array(
      Type.Object({
        object: Type.Literal('embedding'),
        index: count(),
        /** Numbers, or base64 of little-endian float32. */
        embedding: Type.Union([Type.Array(Type.Number()), Type.String()]),
      }),
    ),
    model: Type.String(),
    usage: WorkUsageSchema,
  },
  { title: 'Embeddings' },
)

const ClassesSchema = Type.Object(
  {
    object: Type.Literal('list'),
    data: Type.Array(
      Type.Object({
        index: count(),
        classes: Type.Array(Type.Object({ label: Type.String(), score: Type.Number() })),
      }),
    ),
    model: Type.String(),
    usage: WorkUsageSchema,
  },
  { title: 'Classes' },
)

const TensorsSchema = Type.Object(
  {
    outputs: Type.Record(
      Type.String(),
      Type.Object({ type: Type.String(), shape: Type.Array(count()), data: Type.Unknown() }),
    ),
    model: Type.String(),
  },
  { title: 'Tensors' },
)

const optional = { minLength: 1, maxLength: LIMITS.idempotencyKeyLengthMax }
const SKEIN_HEADERS: NonNullable<RouteDoc['headers']> = {
  'x-skein-priority': {
    schema: Type.Enum(['interactive', 'default', 'bulk']),
    description: 'As the member `skein.priority`.',
  },
  'x-skein-deadline-ms': {
    schema: Type.Integer({ minimum: 1, maximum: LIMITS.taskMs }),
    description: 'As the member `skein.deadline_ms`.',
  },
  'x-skein-route': { schema: Type.Enum(['cloud']), description: 'As the member `skein.route`.' },
  'x-skein-local-only': { schema: Type.Enum(['true', 'false']), description: 'As the member `skein.local_only`.' },
}
const GENERATION_HEADERS: NonNullable<RouteDoc['headers']> = {
  ...SKEIN_HEADERS,
  'cache-control': {
    schema: Type.Enum(['no-cache', 'no-store', 'only-if-cached']),
    description: 'As the member `skein.cache`; also `max-age`. It means something where answers are kept.',
  },
  'idempotency-key': {
    schema: Type.String({ ...optional, pattern: '^[\\x21-\\x7e]+$' }),
    description: 'Names the task that the request makes: the same key with the same body is the same task.',
  },
}

/** What routes that make an answer have in common, in all APIs. */
export const generationDoc = (tag: RouteDoc['tag'], summary: string, ok: AnswerDoc): RouteDoc => ({
  tag,
  summary,
  answers: { 200: ok },
  errors: GENERATION_ERRORS,
  headers: GENERATION_HEADERS,
})

/** What routes of work have in common. */
export const workDoc = (tag: RouteDoc['tag'], summary: string, schema: TSchema): RouteDoc => ({
  tag,
  summary,
  answers: { 200: jsonAnswer('The results, in the order of the inputs.', schema) },
  errors: WORK_ERRORS,
  headers: SKEIN_HEADERS,
})

/** Whole, or as the events of a stream. */
export const streamable = (whole: TSchema, items: TSchema, type = EVENTS_TYPE): AnswerDoc => ({
  description: 'The answer; a stream when it was asked for.',
  content: { [JSON_TYPE]: { schema: whole }, [type]: { schema: Type.String(), items } },
})

export const CHAT_DOC = generationDoc('OpenAI', 'Answers a chat', streamable(ChatCompletionSchema, ChatChunkSchema))
export const COMPLETION_DOC = generationDoc(
  'OpenAI',
  'Continues a text',
  streamable(TextCompletionSchema, TextChunkSchema),
)
/** Lists of models are in the form of whoever asks. */
const FORM_HEADERS: NonNullable<RouteDoc['headers']> = {
  'anthropic-version': { schema: Type.String(), description: "With any value: the answer is in Anthropic's form." },
}
export const MODELS_DOC: RouteDoc = {
  tag: 'OpenAI',
  summary: 'Lists the models that the caller may use',
  answers: {
    200: jsonAnswer(
      "The models; in Anthropic's form for a request with `anthropic-version`.",
      Type.Union([listSchema(ModelSchema), AnthropicModelsSchema]),
    ),
  },
  headers: FORM_HEADERS,
}
export const MODEL_DOC: RouteDoc = {
  tag: 'OpenAI',
  summary: 'Shows one model, by any alias or its digest; slashes in its name need no escape',
  answers: {
    200: jsonAnswer(
      "The model; in Anthropic's form for a request with `anthropic-version`.",
      Type.Union([ModelSchema, AnthropicModelSchema]),
    ),
  },
  errors: ['MODEL_NOT_FOUND'],
  headers: FORM_HEADERS,
}
export const EMBEDDINGS_DOC = workDoc('OpenAI', 'Makes a vector of each text', EmbeddingsSchema)
export const CLASSIFY_DOC = workDoc('Mesh', "Finds a model's classes for each text", ClassesSchema)
export const INFER_DOC = workDoc('Mesh', "Puts tensors through a model's own signature", TensorsSchema)
