/** Answers of the mesh API, as `/openapi.json` tells them. What the protocol has a schema of is told with that. */
import { Type, type TSchema } from 'typebox'
import {
  AccessSchema,
  CLOUD_REASONS,
  HardwareSchema,
  LoadReportSchema,
  ModelEnergySchema,
  ModelSpeedSchema,
  TierSchema,
  UsageSchema,
} from '../../mesh/protocol/index.ts'
import { LimitStateSchema } from './budget-answer-schemas.ts'
import { listSchema } from './openai-answer-schemas.ts'
import { CacheStatsSchema } from './cache-answer-schemas.ts'
import { EVENT_TYPES } from './event-views.ts'
import { EVENTS_TYPE, jsonAnswer, type RouteDoc } from './route-doc.ts'

const count = () => Type.Integer({ minimum: 0 })
const amount = () => Type.Number({ minimum: 0 })
const optional = <T extends TSchema>(schema: T) => Type.Optional(schema)
const counts = () => Type.Record(Type.String(), count())

const nodeName = { peerId: Type.String(), name: Type.String() }

const NodeSchema = Type.Object(
  {
    ...nodeName,
    roles: Type.Array(Type.String()),
    state: Type.Enum(['initializing', 'ready', 'suspect', 'disconnected']),
    eligible: Type.Boolean(),
    /** Why it is not eligible. */
    reasons: Type.Array(Type.String()),
    isSelf: Type.Boolean(),
    certificateExpiresAtMs: count(),
    hardware: optional(HardwareSchema),
    power: optional(Type.Enum(['mains', 'battery', 'unknown'])),
    tier: optional(TierSchema),
    link: optional(Type.Object({ roundTripMs: optional(amount()), bytesPerSecond: optional(amount()) })),
    access: optional(AccessSchema),
    labels: Type.Record(Type.String(), Type.String()),
    models: Type.Array(
      Type.Object({
        digest: Type.String(),
        name: Type.String(),
        residency: Type.Enum(['resident', 'loading', 'disk']),
        contextTokens: count(),
        slots: count(),
        slotsInUse: count(),
        speed: optional(ModelSpeedSchema),
      }),
    ),
    load: optional(LoadReportSchema),
  },
  { title: 'Node' },
)

const ReplicaOrderSchema = Type.Object(
  {
    order: count(),
    digest: Type.String(),
    node: Type.Object(nodeName),
    fetch: Type.Boolean(),
    cause: Type.Enum(['demand', 'peak']),
    reason: Type.String(),
    state: Type.Enum(['sent', 'accepted', 'done', 'refused', 'failed', 'lost']),
    message: optional(Type.String()),
    atMs: amount(),
    endedAtMs: optional(amount()),
  },
  { title: 'ReplicaOrder' },
)

const MeshModelSchema = Type.Object(
  {
    id: Type.String(),
    digest: Type.String(),
    aliases: Type.Array(Type.String()),
    engine: Type.Enum(['llama', 'onnx', 'upstream', 'echo']),
    quantization: Type.String(),
    parameters: count(),
    sizeBytes: count(),
    contextTokens: count(),
    features: Type.Array(Type.String()),
    nodes: Type.Array(Type.Object({ ...nodeName, energy: optional(ModelEnergySchema) })),
    resident: Type.Boolean(),
    replicas: Type.Object({
      resident: count(),
      loading: count(),
      onDisk: count(),
      requestsPerMinute: amount(),
      loadShare: optional(amount()),
      waitMs: optional(amount()),
      order: optional(ReplicaOrderSchema),
      hindrance: optional(Type.String()),
    }),
  },
  { title: 'MeshModel' },
)

const state = () => Type.Enum(['queued', 'running', 'completed', 'failed', 'cancelled', 'expired', 'rejected'])
const priority = () => Type.Enum(['system', 'interactive', 'default', 'bulk'])

const TaskSummarySchema = Type.Object(
  {
    taskId: Type.String(),
    model: Type.String(),
    priority: priority(),
    tenant: Type.String(),
    state: state(),
    admittedAtMs: amount(),
    endedAtMs: optional(amount()),
    attempts: count(),
    node: optional(Type.Object(nodeName)),
    tokens: count(),
    code: optional(Type.String()),
  },
  { title: 'TaskSummary' },
)

const ResultSchema = Type.Object({
  outcome: Type.String(),
  finishReason: optional(Type.Enum(['stop', 'length'])),
  stopIndex: optional(count()),
  error: optional(Type.Object({ code: Type.String(), message: Type.String() })),
  usage: optional(UsageSchema),
  timing: optional(Type.Object({ queuedMs: Type.Number(), firstTokenMs: Type.Number(), decodeMs: Type.Number() })),
  tail: Type.String(),
})

/** Parts of a prediction, in ms. */
const prediction = () => Type.Record(Type.String(), Type.Unknown())
const observed = () => Type.Record(Type.String(), Type.Number())
/** How sure the model was of an answer that was judged, in nats. */
const confidence = () =>
  Type.Object({ tokens: count(), meanLogprob: Type.Number(), minLogprob: Type.Number(), isLow: Type.Boolean() })

const assigned = {
  attempt: count(),
  atMs: amount(),
  node: Type.Object(nodeName),
  route: Type.Enum(['local', 'mesh', 'cloud']),
  reason: Type.String(),
  from: count(),
  predicted: optional(prediction()),
}
/** Of an attempt at a cloud node. */
const left = {
  leave: optional(Type.Enum([...CLOUD_REASONS])),
  estimateMicros: optional(amount()),
  redactions: optional(count()),
}
const ended = {
  code: optional(Type.String()),
  message: optional(Type.String()),
}

const TaskSchema = Type.Object(
  {
    taskId: Type.String(),
    responseId: Type.String(),
    requestId: Type.String(),
    model: Type.String(),
    digest: Type.String(),
    priority: priority(),
    tenant: Type.String(),
    attachment: Type.Enum(['attached', 'resumable', 'background']),
    stored: optional(Type.Boolean()),
    localOnly: Type.Boolean(),
    state: state(),
    seed: count(),
    thought: optional(Type.Unknown()),
    admittedAtMs: amount(),
    deadlineAtMs: amount(),
    endedAtMs: optional(amount()),
    attempts: Type.Array(
      Type.Object({
        assigned: Type.Object({
          ...assigned,
          fence: count(),
          price: optional(Type.Unknown()),
          reservedMicros: optional(amount()),
          reservedDay: optional(count()),
          ...left,
        }),
        ended: optional(
          Type.Object({
            ...ended,
            attempt: count(),
            outcome: Type.String(),
            atMs: amount(),
            to: count(),
            observed: observed(),
            confidence: optional(confidence()),
            costMicros: optional(amount()),
            energy: optional(
              Type.Object({ joules: amount(), isEstimated: Type.Boolean(), costMicros: optional(amount()) }),
            ),
          }),
        ),
      }),
    ),
    tokens: count(),
    text: Type.String(),
    isPurged: Type.Boolean(),
    result: optional(ResultSchema),
    position: optional(count()),
  },
  { title: 'Task' },
)

const ExplanationSchema = Type.Object(
  {
    taskId: Type.String(),
    model: Type.String(),
    priority: priority(),
    localOnly: Type.Boolean(),
    state: state(),
    tokens: count(),
    result: optional(ResultSchema),
    position: optional(count()),
    attempts: Type.Array(
      Type.Object({
        ...assigned,
        ...ended,
        reservedMicros: optional(amount()),
        reservedDay: optional(count()),
        ...left,
        candidates: Type.Array(
          Type.Object({ ...nodeName, prediction: optional(prediction()), rejected: optional(Type.String()) }),
        ),
        endedAtMs: optional(amount()),
        outcome: optional(Type.String()),
        to: optional(count()),
        observed: optional(observed()),
        confidence: optional(confidence()),
      }),
    ),
  },
  { title: 'TaskExplanation' },
)

const EstimatedPlaceSchema = Type.Object({
  ...nodeName,
  route: Type.Enum(['local', 'mesh', 'cloud']),
  leave: optional(Type.Enum([...CLOUD_REASONS])),
  cost: optional(Type.Object({ expectedMicros: count(), maxMicros: count() })),
  predicted: prediction(),
})

const EstimateSchema = Type.Object(
  {
    object: Type.Literal('estimate'),
    model: Type.String(),
    digest: Type.String(),
    verdict: Type.Enum(['starts', 'waits', 'stands-in', 'refused']),
    place: optional(EstimatedPlaceSchema),
    cascade: optional(EstimatedPlaceSchema),
    standIn: optional(Type.String()),
    error: optional(Type.Object({ code: Type.String(), message: Type.String() })),
    tokens: Type.Object({ prompt: count(), promptMax: count(), completion: count(), completionMax: count() }),
    mayLeaveFor: Type.Array(Type.Enum([...CLOUD_REASONS])),
    candidates: Type.Array(
      Type.Object({ ...nodeName, prediction: optional(prediction()), rejected: optional(Type.String()) }),
    ),
  },
  { title: 'Estimate' },
)

const StatsSchema = Type.Object(
  {
    dispatch: Type.Object({
      running: count(),
      waiting: counts(),
      migrations: counts(),
      droppedFrames: counts(),
      handovers: Type.Object({ ok: count(), failed: count() }),
      attempts: count(),
      cloud: Type.Object({
        left: counts(),
        kept: Type.Array(Type.Object({ gate: Type.String(), why: Type.String(), count: count() })),
        cascades: counts(),
      }),
      ledger: Type.Object({ events: count(), ms: amount() }),
      budget: Type.Object({
        short: Type.Object({ refuse: count(), wait: count(), local: count() }),
        periods: Type.Array(LimitStateSchema),
      }),
    }),
    work: Type.Object({
      running: count(),
      requests: counts(),
      completed: count(),
      failed: count(),
      cancelled: count(),
      parts: count(),
      retries: count(),
    }),
    replicas: Type.Object({ mode: Type.Enum(['auto', 'off']), orders: counts() }),
    prediction: Type.Record(
      Type.String(),
      Type.Object({ count: count(), medianError: Type.Number(), p90Error: Type.Number() }),
    ),
    cache: Type.Optional(CacheStatsSchema),
  },
  { title: 'Stats' },
)

const SelfSchema = Type.Object(
  {
    ...nodeName,
    meshId: Type.String(),
    isAuthority: Type.Boolean(),
    clockMs: amount(),
    currency: optional(Type.String()),
    discovery: Type.Array(Type.Object({ path: Type.String(), detail: Type.String() })),
    protocolVersion: count(),
  },
  { title: 'Self' },
)

const InviteSchema = Type.Object({ invite: Type.String(), uses: count(), expiresAtMs: amount() }, { title: 'Invite' })

export const ReadySchema = Type.Object({ ready: Type.Boolean(), reason: Type.String() }, { title: 'Ready' })

const doc = (
  summary: string,
  description: string,
  schema: TSchema,
  errors: RouteDoc['errors'] = [],
  status = 200,
): RouteDoc => ({ tag: 'Mesh', summary, answers: { [status]: jsonAnswer(description, schema) }, errors })

const LEDGER = ['LEDGER_UNAVAILABLE'] as const

export const NODES_DOC = doc('Lists the members', 'The members.', listSchema(NodeSchema))
export const MESH_MODELS_DOC = doc('Lists the models', 'The models.', listSchema(MeshModelSchema))
export const REPLICAS_DOC = doc(
  'Lists the orders for replicas',
  'Those in flight, then the last that ended.',
  listSchema(ReplicaOrderSchema),
)
export const SELF_DOC = doc('Shows this coordinator', 'The coordinator.', SelfSchema)
export const STATS_DOC = doc('Counts what was done since the start', 'The numbers.', StatsSchema)
export const REVOKE_DOC = doc(
  "Voids a member's certificates",
  'The member.',
  Type.Object({ ...nodeName, revoked: Type.Literal(true) }),
  ['MEMBER_NOT_FOUND', 'NOT_THE_AUTHORITY', ...LEDGER],
)
export const DIRECT_DOC = doc(
  'Tells a node what its owner wants',
  'The node, and what it was told.',
  Type.Object({ ...nodeName, directive: Type.Enum(['cordon', 'uncordon', 'drain']) }),
  ['MEMBER_NOT_FOUND', 'NODE_LOST'],
)
export const INVITE_DOC = doc('Makes an invite', 'The invite.', InviteSchema, ['NOT_THE_AUTHORITY'], 201)
export const TASKS_DOC = doc('Lists tasks, the newest first', 'The tasks.', listSchema(TaskSummarySchema), [
  'NOT_FOUND',
  ...LEDGER,
])
export const TASK_DOC = doc('Shows a task with its attempts and text', 'The task.', TaskSchema, LEDGER)
export const EXPLAIN_DOC = doc('Says where each attempt went, and why', 'The explanation.', ExplanationSchema, LEDGER)
export const ESTIMATE_DOC = doc(
  'Says what would become of a request, and what it would cost, without making it',
  'The estimate.',
  EstimateSchema,
  ['MODEL_NOT_FOUND', 'NO_NODE', 'CLOUD_NOT_ALLOWED'],
)
export const TASK_CANCEL_DOC = doc('Ends a task; one that has ended stays as it is', 'The task.', TaskSchema, LEDGER)

export const LIVE_DOC: RouteDoc = {
  tag: 'Service',
  summary: 'Whether the process answers',
  answers: { 200: jsonAnswer('It does.', Type.Object({ live: Type.Literal(true) })) },
}
export const READY_DOC: RouteDoc = {
  tag: 'Service',
  summary: 'Whether something can be served now, and why not',
  answers: { 200: jsonAnswer('It can.', ReadySchema), 503: jsonAnswer('Nothing can.', ReadySchema) },
}

/** Its other members are those of its type. */
const EventSchema = Type.Object(
  { type: Type.Enum([...EVENT_TYPES, 'events.missed']), atMs: count() },
  { title: 'MeshEvent' },
)
export const EVENTS_DOC: RouteDoc = {
  tag: 'Mesh',
  summary: 'Tells what happens, as it happens',
  answers: {
    200: {
      description: 'Events, until the client leaves.',
      content: { [EVENTS_TYPE]: { schema: Type.String(), items: EventSchema } },
    },
  },
  errors: ['SATURATED', 'SHUTTING_DOWN'],
  headers: {
    'last-event-id': {
      schema: Type.String(),
      description: 'The last event that the client has: what followed is told.',
    },
  },
}
export const METRICS_DOC: RouteDoc = {
  tag: 'Service',
  summary: 'Metrics as Prometheus reads them',
  answers: { 200: { description: 'The metrics.', content: { 'text/plain': { schema: Type.String() } } } },
}
