/** Answers in Ollama's form, as `/openapi.json` tells them. */
import { Type } from 'typebox'
import { NDJSON } from './ollama-answers.ts'
import { OllamaErrorSchema } from './ollama-errors.ts'
import { CarriedCallsSchema, generationDoc, streamable, workDoc } from './openai-answer-schemas.ts'
import { jsonAnswer, JSON_TYPE, type RouteDoc } from './route-doc.ts'

const count = () => Type.Integer({ minimum: 0 })
const logprob = { token: Type.String(), logprob: Type.Number(), bytes: Type.Array(count()) }

const common = {
  model: Type.String(),
  created_at: Type.String(),
  done: Type.Boolean(),
  done_reason: Type.Optional(Type.Enum(['stop', 'length', 'load', 'unload'])),
  total_duration: Type.Optional(count()),
  prompt_eval_count: Type.Optional(count()),
  prompt_eval_duration: Type.Optional(count()),
  eval_count: Type.Optional(count()),
  eval_duration: Type.Optional(count()),
  logprobs: Type.Optional(Type.Array(Type.Object({ ...logprob, top_logprobs: Type.Array(Type.Object(logprob)) }))),
}

const OllamaChatAnswerSchema = Type.Object(
  {
    ...common,
    message: Type.Object({
      role: Type.Literal('assistant'),
      content: Type.String(),
      thinking: Type.Optional(Type.String()),
      tool_calls: Type.Optional(
        Type.Array(
          Type.Object({
            id: Type.String(),
            function: Type.Object({ index: count(), name: Type.String(), arguments: Type.Object({}) }),
          }),
        ),
      ),
    }),
    skein: Type.Optional(CarriedCallsSchema),
  },
  { title: 'OllamaChatAnswer' },
)

const OllamaGenerateAnswerSchema = Type.Object(
  { ...common, response: Type.String(), thinking: Type.Optional(Type.String()) },
  { title: 'OllamaGenerateAnswer' },
)

/** A line of a stream may be the error that ends it. */
const line = <T extends Parameters<typeof Type.Union>[0][number]>(schema: T) => Type.Union([schema, OllamaErrorSchema])

const details = Type.Object({
  parent_model: Type.String(),
  format: Type.String(),
  family: Type.String(),
  families: Type.Array(Type.String()),
  parameter_size: Type.String(),
  quantization_level: Type.String(),
})
const listed = { name: Type.String(), model: Type.String(), size: count(), digest: Type.String(), details }
const TagsSchema = Type.Object(
  {
    models: Type.Array(Type.Object({ ...listed, modified_at: Type.String(), capabilities: Type.Array(Type.String()) })),
  },
  { title: 'OllamaTags' },
)
const RunningSchema = Type.Object(
  { models: Type.Array(Type.Object({ ...listed, context_length: count() })) },
  { title: 'OllamaRunning' },
)
const ShownSchema = Type.Object(
  {
    modelfile: Type.String(),
    parameters: Type.String(),
    template: Type.String(),
    details,
    model_info: Type.Record(Type.String(), Type.Union([Type.String(), Type.Number()])),
    capabilities: Type.Array(Type.String()),
    modified_at: Type.String(),
  },
  { title: 'OllamaModel' },
)
const PulledSchema = Type.Object({ status: Type.Literal('success') })
const PullLineSchema = Type.Object(
  {
    /** The last is `success`. */
    status: Type.String(),
    digest: Type.Optional(Type.String()),
    total: Type.Optional(count()),
    completed: Type.Optional(count()),
  },
  { title: 'OllamaPullLine' },
)
const EmbedSchema = Type.Object(
  {
    model: Type.String(),
    embeddings: Type.Array(Type.Array(Type.Number())),
    total_duration: count(),
    prompt_eval_count: count(),
  },
  { title: 'OllamaEmbeddings' },
)

const doc = (summary: string, ok: RouteDoc['answers'][number], errors: RouteDoc['errors'] = []): RouteDoc => ({
  tag: 'Ollama',
  summary,
  answers: { 200: ok },
  errors,
})

export const OLLAMA_CHAT_DOC = generationDoc(
  'Ollama',
  'Answers a chat; as lines of JSON unless `stream` is false',
  streamable(OllamaChatAnswerSchema, line(OllamaChatAnswerSchema), NDJSON),
)
export const OLLAMA_GENERATE_DOC = generationDoc(
  'Ollama',
  'Answers a prompt; as lines of JSON unless `stream` is false',
  streamable(OllamaGenerateAnswerSchema, line(OllamaGenerateAnswerSchema), NDJSON),
)
export const OLLAMA_EMBED_DOC = workDoc('Ollama', 'Makes a vector of each text', EmbedSchema)
export const OLLAMA_EMBEDDINGS_DOC = workDoc(
  'Ollama',
  'Makes a vector of one text, as older clients ask for it',
  Type.Object({ embedding: Type.Array(Type.Number()) }),
)
export const OLLAMA_TAGS_DOC = doc('Lists the models of the mesh', jsonAnswer('The models.', TagsSchema))
export const OLLAMA_RUNNING_DOC = doc('Lists the models in memory', jsonAnswer('The models.', RunningSchema))
export const OLLAMA_SHOW_DOC = doc('Shows a model', jsonAnswer('The model.', ShownSchema), ['MODEL_NOT_FOUND'])
export const OLLAMA_VERSION_DOC = doc(
  'The version of Ollama whose documents are followed',
  jsonAnswer('The version.', Type.Object({ version: Type.String() })),
)
export const OLLAMA_PULL_DOC = doc(
  'Has the node of this machine pull a model and serve it, for an admin; as lines of JSON unless `stream` is false',
  {
    description: 'It is there.',
    content: {
      [JSON_TYPE]: { schema: PulledSchema },
      [NDJSON]: { schema: Type.String(), items: line(PullLineSchema) },
    },
  },
  [
    ...(['UNSUPPORTED_PARAMETER', 'FORBIDDEN', 'MODEL_NOT_FOUND', 'SATURATED', 'SHUTTING_DOWN'] as const),
    ...(['MODEL_REFERENCE_INVALID', 'MODEL_NAME_TAKEN', 'MODEL_SOURCE_REFUSED', 'MODEL_SOURCE_CHANGED'] as const),
    ...(['MODEL_PULL_FAILED', 'MODEL_FILE_INVALID', 'MODEL_DIGEST_MISMATCH', 'DISK_FULL'] as const),
  ],
)
export const OLLAMA_DELETE_DOC = doc(
  'Removes a model from this machine, for an admin; what another node keeps is for its owner to say',
  { description: 'It is removed.' },
  ['UNSUPPORTED_PARAMETER', 'FORBIDDEN', 'MODEL_NOT_FOUND', 'MODEL_IN_USE'],
)
export const ROOT_DOC: RouteDoc = {
  tag: 'Ollama',
  summary: 'For tools that look whether somebody is there',
  answers: { 200: { description: 'Somebody is.', content: { 'text/plain': { schema: Type.String() } } } },
}
