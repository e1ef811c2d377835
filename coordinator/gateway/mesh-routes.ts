/** The mesh API: members, models, tasks and what the owner may do with them, in the mesh's own words. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Type, type Static } from 'typebox'
import {
  asTaskId,
  LIMITS,
  PROTOCOL_VERSION,
  responseIdOf,
  SkeinError,
  taskIdOfResponse,
  type TaskId,
} from '../../mesh/protocol/index.ts'
import type { LedgerAttempt, NodeDirective, TaskView } from '../admission/index.ts'
import { ownTask } from './callers.ts'
import type { GenerationComponents } from './exchange.ts'
import { taskOf } from './generation.ts'
import {
  DIRECT_DOC,
  ESTIMATE_DOC,
  EXPLAIN_DOC,
  INVITE_DOC,
  MESH_MODELS_DOC,
  NODES_DOC,
  REPLICAS_DOC,
  REVOKE_DOC,
  SELF_DOC,
  STATS_DOC,
  TASK_CANCEL_DOC,
  TASK_DOC,
  TASKS_DOC,
} from './mesh-answer-schemas.ts'
import { identified } from './named-models.ts'
import { chatCall } from './openai-requests.ts'
import { ChatBodySchema, type ChatBody } from './openai-schemas.ts'

/** Shortest life of an invite: less than this cannot be carried to another machine. */
const INVITE_VALID_MS_MIN = 1000

/** Tasks of a page that names no number. */
const TASKS_DEFAULT = 20

const DIRECTIVES: readonly NodeDirective[] = ['cordon', 'uncordon', 'drain']

const InviteBodySchema = Type.Union([
  Type.Object({
    uses: Type.Optional(Type.Integer({ minimum: 1, maximum: LIMITS.membersMax })),
    valid_ms: Type.Optional(Type.Integer({ minimum: INVITE_VALID_MS_MIN, maximum: LIMITS.certificateValidityMs })),
  }),
  // no body: one use, the usual life
  Type.Null(),
])
type InviteBody = Static<typeof InviteBodySchema>

const TasksQuerySchema = Type.Object({
  limit: Type.Optional(Type.String({ pattern: '^[0-9]{1,3}$' })),
  before: Type.Optional(Type.String()),
  open: Type.Optional(Type.Enum(['true', 'false'])),
})
type TasksQuery = Static<typeof TasksQuerySchema>

interface OneTask {
  Params: { id: string }
}

export const listOf = <T>(data: T[]): { object: 'list'; data: T[] } => ({ object: 'list', data })

/** A task by its own id or as a response. @throws SkeinError NOT_FOUND. */
function taskIdOf(text: string): TaskId {
  const taskId = taskIdOfResponse(text.replace(/^task_/, 'resp_'))
  if (taskId === undefined) throw new SkeinError('NOT_FOUND', `there is no task '${text.slice(0, 64)}'`)
  return asTaskId(taskId)
}

export function meshRoutes(app: FastifyInstance, { service }: GenerationComponents): void {
  app.get('/mesh/v1/nodes', { config: { doc: NODES_DOC } }, () => listOf(service.nodes()))

  app.get('/mesh/v1/models', { config: { doc: MESH_MODELS_DOC } }, () =>
    listOf([...identified(service.models())].map(([id, model]) => ({ id, ...model }))),
  )

  app.get('/mesh/v1/replicas', { config: { doc: REPLICAS_DOC } }, () => listOf(service.replicaOrders()))

  app.get('/mesh/v1/self', { config: { doc: SELF_DOC } }, () => ({
    ...service.self(),
    protocolVersion: PROTOCOL_VERSION,
  }))

  app.get('/mesh/v1/stats', { config: { doc: STATS_DOC } }, () => service.stats())

  app.delete<{ Params: { member: string } }>(
    '/mesh/v1/nodes/:member',
    { config: { doc: REVOKE_DOC } },
    async ({ params }) => {
      const { peerId, name } = await service.revoke(params.member)
      return { peerId, name, revoked: true }
    },
  )

  for (const directive of DIRECTIVES)
    app.post<{ Params: { member: string } }>(
      `/mesh/v1/nodes/:member/${directive}`,
      { config: { doc: DIRECT_DOC } },
      async ({ params }) => {
        const { peerId, name } = await service.direct(params.member, directive)
        return { peerId, name, directive }
      },
    )

  app.post<{ Body: InviteBody | undefined }>(
    '/mesh/v1/invites',
    { schema: { body: InviteBodySchema }, config: { doc: INVITE_DOC } },
    async ({ body }, reply) => {
      const invite = await service.invite({
        uses: body?.uses ?? 1,
        validMs: body?.valid_ms ?? LIMITS.inviteValidityMs,
      })
      return reply.code(201).send(invite)
    },
  )
}

export function taskRoutes(app: FastifyInstance, components: GenerationComponents): void {
  const { service } = components
  app.post<{ Body: ChatBody }>(
    '/mesh/v1/estimate',
    { schema: { body: ChatBodySchema }, config: { doc: ESTIMATE_DOC } },
    (request) => {
      const call = chatCall(request.body)
      const created = Math.floor(components.clock.wallMs() / 1000)
      return {
        object: 'estimate',
        model: call.task.model,
        ...service.estimate(taskOf(components, request, call, created)),
      }
    },
  )

  app.get<{ Querystring: TasksQuery }>(
    '/mesh/v1/tasks',
    { schema: { querystring: TasksQuerySchema }, config: { doc: TASKS_DOC } },
    async ({ query, caller }) => {
      const limit = Number(query.limit ?? TASKS_DEFAULT)
      if (limit < 1 || limit > LIMITS.tasksPageMax)
        throw new SkeinError('INVALID_REQUEST', `limit must be 1 to ${LIMITS.tasksPageMax}`, { param: 'limit' })
      const before = query.before === undefined ? {} : { before: taskIdOf(query.before) }
      const open = query.open === 'true' ? { isOpen: true } : {}
      const own = caller.isAdmin ? {} : { tenant: caller.tenant }
      return listOf(await service.tasks({ limit, ...before, ...open, ...own }))
    },
  )

  const own = (request: FastifyRequest<OneTask>): Promise<TaskView> =>
    ownTask(service, request, taskIdOf(request.params.id))

  app.get<OneTask>('/mesh/v1/tasks/:id', { config: { doc: TASK_DOC } }, async (request) => taskBody(await own(request)))

  app.get<OneTask>('/mesh/v1/tasks/:id/explain', { config: { doc: EXPLAIN_DOC } }, async (request) =>
    explainBody(await own(request)),
  )

  app.post<OneTask>('/mesh/v1/tasks/:id/cancel', { config: { doc: TASK_CANCEL_DOC } }, async (request) => {
    const { taskId } = await own(request)
    return taskBody(await service.cancel(taskId))
  })
}

/** Without what only the gateway reads, and without the candidates, which `explain` tells. */
function taskBody({ shape: _, logprobs: _logprobs, attempts, ...view }: TaskView): object {
  const withoutCandidates = attempts.map(({ assigned: { candidates: _candidates, ...assigned }, ended }) => ({
    assigned,
    ...(ended ? { ended } : {}),
  }))
  return { ...view, responseId: responseIdOf(view.taskId), attempts: withoutCandidates }
}

/** Where each attempt was placed and why, and what came of it, predicted beside observed. */
export interface TaskExplanation extends Pick<
  TaskView,
  'taskId' | 'model' | 'priority' | 'localOnly' | 'state' | 'tokens' | 'result' | 'position'
> {
  readonly attempts: readonly AttemptExplanation[]
}

/** What an attempt's members mean is said where the ledger's events are. */
export type AttemptExplanation = Pick<
  LedgerAttempt['assigned'],
  | 'attempt'
  | 'atMs'
  | 'node'
  | 'route'
  | 'reason'
  | 'from'
  | 'leave'
  | 'estimateMicros'
  | 'redactions'
  | 'predicted'
  | 'candidates'
> &
  Partial<
    Pick<NonNullable<LedgerAttempt['ended']>, 'outcome' | 'code' | 'message' | 'to' | 'observed' | 'confidence'>
  > & {
    readonly endedAtMs?: number
  }

function explainBody(view: TaskView): TaskExplanation {
  const { taskId, model, priority, localOnly, state, tokens, result, position } = view
  return {
    taskId,
    model,
    priority,
    localOnly,
    state,
    tokens,
    ...(result ? { result } : {}),
    ...(position === undefined ? {} : { position }),
    attempts: view.attempts.map(explainAttempt),
  }
}

function explainAttempt({ assigned, ended }: LedgerAttempt): AttemptExplanation {
  const { fence: _, price: _price, ...placed } = assigned
  if (!ended) return placed
  const { outcome, code, message, to, observed, atMs, confidence } = ended
  const error = { ...(code === undefined ? {} : { code }), ...(message === undefined ? {} : { message }) }
  return { ...placed, endedAtMs: atMs, outcome, ...error, to, observed, ...(confidence && { confidence }) }
}
