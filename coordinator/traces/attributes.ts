/** What spans say, by OpenTelemetry's GenAI conventions where those have a name (`docs/TRACES.md`). */
import type { TaskOutcome, WorkKind } from '../../mesh/protocol/index.ts'
import { attributesOf, type Attributes, type AttributeValue } from '../../mesh/runtime/index.ts'
import type { MeshEvent, TaskSpec } from '../admission/index.ts'

type EventOf<T extends MeshEvent['type']> = Extract<MeshEvent, { type: T }>
type Values = Record<string, AttributeValue | undefined>

export const PROVIDER = 'skein'
/** The conventions' names of what is done; they have none for tensors. */
export const OPERATIONS: Readonly<Record<WorkKind, string>> = {
  embed: 'embeddings',
  classify: 'classify',
  infer: 'infer',
}
export const operationOf = ({ prompt }: Pick<TaskSpec, 'prompt'>): string =>
  prompt.kind === 'chat' ? 'chat' : 'text_completion'

/** An end that is not as it should be: cancelled by a client it is. */
export const errorOf = (outcome: TaskOutcome, code: string | undefined): string | undefined =>
  outcome === 'completed' || outcome === 'cancelled' ? undefined : (code ?? outcome)

/** What was asked, without a word of it. */
export function askedAttributes(spec: TaskSpec): Values {
  const { sampling, format } = spec
  return {
    'gen_ai.operation.name': operationOf(spec),
    'gen_ai.provider.name': PROVIDER,
    'gen_ai.request.model': spec.model,
    'gen_ai.request.max_tokens': spec.maxTokens,
    'gen_ai.request.temperature': sampling.temperature,
    'gen_ai.request.top_p': sampling.topP,
    'gen_ai.request.top_k': sampling.topK,
    'gen_ai.request.seed': sampling.seed,
    'gen_ai.request.frequency_penalty': sampling.frequencyPenalty,
    'gen_ai.request.presence_penalty': sampling.presencePenalty,
    'gen_ai.output.type': format === undefined || format.kind === 'tool-calls' ? 'text' : 'json',
    'gen_ai.response.model': spec.digest,
    'gen_ai.response.id': spec.taskId,
    'skein.task.id': spec.taskId,
    'skein.priority': spec.priority,
    'skein.local_only': spec.localOnly,
  }
}

/** What an attempt was, and what came of it. */
export function attemptAttributes({ task, attempt, ended }: EventOf<'attempt.ended'>): Attributes {
  return attributesOf({
    'gen_ai.operation.name': operationOf(task),
    'gen_ai.provider.name': PROVIDER,
    'gen_ai.request.model': task.model,
    'gen_ai.response.model': task.digest,
    'gen_ai.usage.output_tokens': Math.max(0, ended.to - attempt.from),
    'server.address': attempt.node.name,
    'skein.request.id': task.requestId,
    'skein.task.id': task.taskId,
    'skein.attempt': attempt.attempt,
    'skein.fence': attempt.fence,
    'skein.reason': attempt.reason,
    'skein.route': attempt.route,
    'skein.node.id': attempt.node.peerId,
    'skein.node.name': attempt.node.name,
    'skein.from': attempt.from,
    'skein.outcome': ended.outcome,
    'error.type': ended.code,
  })
}
