/**
 * What a route says of itself, beside the schemas that it validates with: the rest of what `/openapi.json` tells. It stands
 * where the route is registered, as its `config`; nothing here changes what a route does.
 */
import type { TSchema } from 'typebox'
import type { ErrorCode } from '../../mesh/protocol/index.ts'

export const ROUTE_TAGS = {
  OpenAI: 'Answers and embeddings as OpenAI has them.',
  Anthropic: "Anthropic's messages.",
  Ollama: "Ollama's own API.",
  MCP: 'Models of the mesh as tools of the Model Context Protocol.',
  Mesh: 'The mesh itself: members, models, tasks, and work that is no text.',
  Devices: 'Devices behind bridges: what they say, and calls of them.',
  Access: 'Keys and what was used.',
  Service: 'The gateway itself: health, and this document.',
} as const
export type RouteTag = keyof typeof ROUTE_TAGS

/** What is in a body of one media type. */
export interface ContentDoc {
  readonly schema: TSchema
  /** Of a stream: what each event, or each line, holds. The body as a whole is a text then. */
  readonly items?: TSchema
}

export interface AnswerDoc {
  readonly description: string
  /** By media type; without a body when absent. */
  readonly content?: Readonly<Record<string, ContentDoc>>
}

export interface RouteDoc {
  readonly tag: RouteTag
  /** One line, as a sentence without its full stop. */
  readonly summary: string
  /** Its body, where the route reads one that is no JSON: by media type. It must be there. */
  readonly body?: Readonly<Record<string, ContentDoc>>
  /** By HTTP status; errors are told apart from these. */
  readonly answers: Readonly<Record<number, AnswerDoc>>
  /** Codes that it may answer with, beyond those that follow from what it is: a body, a parameter, a key. */
  readonly errors?: readonly ErrorCode[]
  /** Headers of the request that mean something to it, by name. */
  readonly headers?: Readonly<Record<string, { readonly schema: TSchema; readonly description: string }>>
}

declare module 'fastify' {
  interface FastifyContextConfig {
    doc?: RouteDoc
    /** Needs no key: it tells nothing of this mesh or of anybody in it. */
    isOpen?: boolean
  }
}

export const JSON_TYPE = 'application/json'
export const EVENTS_TYPE = 'text/event-stream'

/** One body of JSON. */
export const jsonAnswer = (description: string, schema: TSchema): AnswerDoc => ({
  description,
  content: { [JSON_TYPE]: { schema } },
})

/** What a generation may end with before its first word, in all APIs. */
export const GENERATION_ERRORS: readonly ErrorCode[] = [
  'UNSUPPORTED_PARAMETER',
  'CONTEXT_LENGTH_EXCEEDED',
  'MODEL_NOT_FOUND',
  'BUDGET_EXCEEDED',
  'ANSWER_DIVERGED',
  'IDEMPOTENCY_MISMATCH',
  'DEADLINE_UNREACHABLE',
  'ATTEMPTS_EXHAUSTED',
  'ENGINE_FAILED',
  'NO_NODE',
  'NO_ELIGIBLE_NODE',
  'NOT_SERVED',
  'LOCAL_ONLY',
  'CLOUD_NOT_ALLOWED',
  'HOPS_EXCEEDED',
  'SATURATED',
  'LEDGER_UNAVAILABLE',
  'SHUTTING_DOWN',
  'TASK_EXPIRED',
  // someone else cancelled the task that the client waits for
  'CLIENT_CLOSED',
  'NOT_CACHED',
]

/** What work that is no text may end with. */
export const WORK_ERRORS: readonly ErrorCode[] = GENERATION_ERRORS.filter(
  (code) => !['ANSWER_DIVERGED', 'IDEMPOTENCY_MISMATCH', 'NOT_CACHED'].includes(code),
)
