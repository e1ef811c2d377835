/** The tool that asks a model of the mesh: a task as any other, whose answer is held until it is whole. */
import { Type, type Static } from 'typebox'
import { asRequestId, LIMITS, SkeinError } from '../../mesh/protocol/index.ts'
import type { ModelView, TaskHandle, TaskRequest } from '../admission/index.ts'
import type { StoredShape } from './answer-form.ts'
import { readWhole, textOf } from './answer-reader.ts'
import { granted, visibleTo } from './callers.ts'
import type { GenerationComponents } from './exchange.ts'
import { WHOLE_ANSWER_BYTES_MAX } from './limits.ts'
import { toolOf, type McpTool, type ToolContext, type ToolResult } from './mcp-tools.ts'
import { identified } from './named-models.ts'
import { chatCall } from './openai-requests.ts'
import { EffortSchema } from './openai-schemas.ts'
import { COST_MAX, skeinOptions } from './request-options.ts'
import { TaskInbox, type EndEvent } from './task-inbox.ts'

/** Progress is told this often at most. */
const PROGRESS_MS = 250

const say = (description: string): { readonly description: string } => ({ description })

const AskSchema = Type.Object(
  {
    model: Type.Optional(
      Type.String({
        ...say('Name of a model, as list_models tells. May be left out where there is one alone.'),
        maxLength: 256,
      }),
    ),
    prompt: Type.Optional(Type.String(say('What to ask. Either this or messages.'))),
    messages: Type.Optional(
      Type.Array(
        Type.Object(
          { role: Type.Enum(['system', 'user', 'assistant']), content: Type.String() },
          { additionalProperties: false },
        ),
        { ...say('A conversation to answer, the oldest message first.'), minItems: 1, maxItems: LIMITS.messagesMax },
      ),
    ),
    system: Type.Optional(Type.String(say('How the model is to behave; goes before all else.'))),
    max_tokens: Type.Optional(
      Type.Integer({ ...say('Longest answer, in tokens. As much as the model can hold, when absent.'), minimum: 1 }),
    ),
    temperature: Type.Optional(
      Type.Number({ ...say('0 for the likeliest answer, to 2 for the wildest.'), minimum: 0, maximum: 2 }),
    ),
    seed: Type.Optional(Type.Integer(say('Draws the same answer again from the same model.'))),
    stop: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: LIMITS.stopStringLengthMax }), {
        ...say('Texts that end the answer.'),
        maxItems: LIMITS.stopStringsMax,
      }),
    ),
    schema: Type.Optional(Type.Object({}, say('A JSON schema that the answer is held to.'))),
    effort: Type.Optional(EffortSchema),
    local_only: Type.Optional(Type.Boolean(say("Keeps it on the owner's own devices, or fails."))),
    deadline_ms: Type.Optional(
      Type.Integer({ ...say('Longest time to the end, in ms.'), minimum: 1, maximum: LIMITS.taskMs }),
    ),
    max_cost: Type.Optional(
      Type.Number({ ...say("The most that it may cost, in the owner's currency."), minimum: 0, maximum: COST_MAX }),
    ),
  },
  { additionalProperties: false },
)
type Ask = Static<typeof AskSchema>

const AskedSchema = Type.Object({
  model: Type.String(),
  task: Type.String(),
  node: Type.Optional(Type.String()),
  route: Type.Optional(Type.String()),
  finish_reason: Type.String(),
  thought: Type.Optional(Type.String()),
  prompt_tokens: Type.Integer(),
  completion_tokens: Type.Integer(),
})

export const askTool = (components: GenerationComponents): McpTool =>
  toolOf({
    name: 'ask_model',
    title: 'Ask a model',
    description:
      "Asks a language model that runs on the user's own devices, and returns its answer. Give a prompt, or messages of a conversation.",
    inputSchema: AskSchema,
    outputSchema: AskedSchema,
    isWork: true,
    call: (input, context) => ask(components, input, context),
  })

/**
 * The model that is meant where none is named.
 *
 * @throws SkeinError INVALID_REQUEST when there are several, naming them; NO_NODE.
 */
export function onlyModel(models: readonly ModelView[], feature: ModelView['features'][number]): string {
  const able = [...identified(models)].filter(([, { features }]) => features.includes(feature)).map(([id]) => id)
  if (able.length === 1) return able[0]!
  if (able.length === 0) throw new SkeinError('NO_NODE', `no model of the mesh has the feature '${feature}'`)
  const names = able.slice(0, 20).join(', ')
  throw new SkeinError('INVALID_REQUEST', `model is required, one of: ${names}`, { param: 'model' })
}

function taskOf({ service, clock }: GenerationComponents, input: Ask, context: ToolContext): TaskRequest {
  const { caller, requestId, trace } = context
  const { prompt, messages = [], system, schema, effort, local_only, deadline_ms, max_cost, ...rest } = input
  const { max_tokens, ...sampling } = rest
  if ((prompt === undefined) === (messages.length === 0))
    throw new SkeinError('INVALID_REQUEST', 'either prompt or messages is required', { param: 'prompt' })
  const model = input.model ?? onlyModel(visibleTo(caller, service.models()), 'chat')
  const { task } = chatCall({
    ...sampling,
    model,
    messages: [
      ...(system === undefined ? [] : [{ role: 'system' as const, content: system }]),
      ...messages,
      ...(prompt === undefined ? [] : [{ role: 'user' as const, content: prompt }]),
    ],
    ...(max_tokens !== undefined && { max_completion_tokens: max_tokens }),
    ...(effort !== undefined && { reasoning_effort: effort }),
    ...(schema && { response_format: { type: 'json_schema', json_schema: { name: 'answer', schema } } }),
  })
  const skein = {
    ...(local_only !== undefined && { local_only }),
    ...(deadline_ms !== undefined && { deadline_ms }),
    ...(max_cost !== undefined && { max_cost }),
  }
  const shape: StoredShape = { api: 'chat', created: Math.floor(clock.wallMs() / 1000) }
  return {
    ...task,
    requestId: asRequestId(requestId),
    ...granted(caller, service, model, 'default', skeinOptions(skein, {})),
    attachment: 'attached',
    stored: false,
    shape: JSON.stringify(shape),
    ...(trace && { trace }),
  }
}

async function ask(components: GenerationComponents, input: Ask, context: ToolContext): Promise<ToolResult> {
  const task = taskOf(components, input, context)
  // the task ends with its client, and with an answer that cannot be held
  const tooLong = new AbortController()
  const signal = AbortSignal.any([context.signal, tooLong.signal])
  const handle = await components.service.submit(task, signal)
  handle.admitted.catch(() => undefined)
  components.counters.tasks++
  const { text, end, inbox } = await whole(components, handle, { context, task, signal, tooLong })
  await handle.admitted
  const { started } = inbox
  const parts = readWhole(text, { ...(handle.thought && { thought: handle.thought }), hasTools: false })
  const thought = textOf(parts, 'thought')
  return {
    text: textOf(parts, 'content'),
    structured: {
      model: task.model,
      task: handle.taskId,
      ...(started && { node: started.node.name, route: started.route }),
      finish_reason: end.finishReason,
      ...(thought !== '' && { thought }),
      prompt_tokens: end.usage.promptTokens,
      completion_tokens: end.usage.completionTokens,
    },
  }
}

interface Wholeness {
  readonly context: ToolContext
  readonly task: TaskRequest
  readonly signal: AbortSignal
  readonly tooLong: AbortController
}

/** @throws SkeinError what ended the task. */
async function whole(
  { clock, limits }: GenerationComponents,
  handle: TaskHandle,
  { context, task, signal, tooLong }: Wholeness,
): Promise<{ text: string; end: EndEvent; inbox: TaskInbox }> {
  const onOverflow = (): void =>
    tooLong.abort(new SkeinError('ENGINE_FAILED', 'the answer is too long to be held; ask for fewer tokens'))
  const inbox = new TaskInbox(handle.follow(0, signal), signal, clock, {
    after: 0,
    keepaliveMs: limits.keepaliveMs,
    backlogBytesMax: WHOLE_ANSWER_BYTES_MAX,
    onOverflow,
  })
  const total = task.maxTokens === undefined ? {} : { total: task.maxTokens }
  let text = ''
  let toldAtMs = -Infinity
  for await (const { text: piece, comments, tokens, end, failure } of inbox.batches()) {
    text += piece
    if (2 * text.length > WHOLE_ANSWER_BYTES_MAX) onOverflow()
    if (failure) throw failure
    if (end) return { text, end, inbox }
    const nowMs = clock.nowMs()
    if (comments.length === 0 && nowMs - toldAtMs < PROGRESS_MS) continue
    toldAtMs = nowMs
    context.tell({ progress: tokens, ...total, message: comments.at(-1) ?? `${tokens} tokens` })
  }
  throw new SkeinError('INTERNAL', 'the answer ended without an end')
}
