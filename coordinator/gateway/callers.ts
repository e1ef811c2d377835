/**
 * Who a request is of, and what of it that caller may ask. The caller is found before a body is read; what the body asks is
 * held against the caller's grant where it becomes a task.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { SkeinError, type TaskId } from '../../mesh/protocol/index.ts'
import { mayUseModel, type Access, type Caller, type RateState, type RouteClass } from '../access/index.ts'
import { readingsOf, type MeshService, type ModelView, type Priority, type TaskView } from '../admission/index.ts'
import type { Devices } from '../devices/index.ts'
import { inNameOf } from './device-callers.ts'
import { shownKey } from './guards.ts'
import type { SkeinOptions } from './request-options.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Found before any handler runs; of addresses under `/health/` there is none. */
    caller: Caller
  }
}

/** Addresses of the mesh API that make answers or work, or show callers what is their own. */
const OWN_ROUTES = /^\/mesh\/v1\/(calls|classify|device-tasks|devices|estimate|events|infer|sync|tasks|usage)(\/|$)/
/** Of these, what is told is a matter of the key: also who may but read the mesh finds something there. */
const EVENTS_ROUTE = '/mesh/v1/events'
/** Of these, what a bridge's rules use; whether its key may act is a matter of the key too. */
const CALLS_ROUTE = '/mesh/v1/devices/:id/calls'
/** Those of bridges. */
const BRIDGE_ROUTES = /^\/mesh\/v1\/bridge\//
/** Those that tell secrets, or of them, and what everybody has spent. */
const ADMIN_ROUTES = /^\/mesh\/v1\/(budget|keys|leases|invites|pairing)(\/|$)/
/** Requests after which something is made, and which therefore count; of MCP's each tool counts for itself. */
const MAKING_ROUTES = /^(?!.*\/cancel$|\/api\/(?:show|pull)$|\/mcp$|\/estimate$)/

/** Whether a request of the route at `url`, as it is registered, counts against rates. */
export const countsAsRequest = (method: string, url: string, needed: RouteClass): boolean =>
  needed === 'inference' && method === 'POST' && MAKING_ROUTES.test(url)

/** What the route at `url`, as it is registered, is for. What is not known to be harmless is the admin's. */
export function routeClassOf(method: string, url: string): RouteClass {
  if (BRIDGE_ROUTES.test(url)) return 'bridge'
  if ((!url.startsWith('/mesh/') && url !== '/metrics') || OWN_ROUTES.test(url)) return 'inference'
  const isReading = method === 'GET' || method === 'HEAD'
  return isReading && !ADMIN_ROUTES.test(url) ? 'mesh' : 'admin'
}

export interface LetInComponents {
  readonly access: Access
  /** In whose name a bridge may ask. */
  readonly devices?: Devices | undefined
}

/**
 * Finds the caller of `request` and counts it against the caller's rates, which the headers of the answer tell of.
 *
 * @throws SkeinError UNAUTHENTICATED, PROVIDER_UNREACHABLE; FORBIDDEN when the key is not for this route; RATE_LIMITED,
 *   QUOTA_EXCEEDED; as `inNameOf`.
 */
export async function letIn(
  { access, devices }: LetInComponents,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const shown = request.line?.caller ?? (await access.callerOf(shownKey(request.headers)))
  const { 'x-skein-device': device } = request.headers
  const caller = devices && device !== undefined ? inNameOf(shown, device, devices) : shown
  request.caller = caller
  // what there is not may be said to whoever has a key
  if (request.is404) return
  const { url = '' } = request.routeOptions
  const needed = routeClassOf(request.method, url)
  const { routes } = caller.grant
  const isFor =
    routes.includes(needed) ||
    (url === EVENTS_ROUTE && routes.includes('mesh')) ||
    (url === CALLS_ROUTE && request.method === 'POST' && routes.includes('bridge'))
  if (!caller.isAdmin && !isFor)
    throw new SkeinError('FORBIDDEN', `this key is not for ${url}: it has no routes of the class '${needed}'`)
  if (!countsAsRequest(request.method, url, needed)) return
  try {
    access.admit(caller)
  } finally {
    reply.headers(rateHeaders(access, caller))
  }
}

/** Counts what `request` comes to beyond one against the caller's rates; the headers of the answer tell of it. */
export function countFurther(access: Access, { caller }: FastifyRequest, reply: FastifyReply, requests: number): void {
  access.countFurther(caller, requests)
  reply.headers(rateHeaders(access, caller))
}

/** What a client has to show, as RFC 6750 has it: who showed nothing is told of no error. */
export const challengeOf = ({ headers }: FastifyRequest): string =>
  shownKey(headers) === undefined ? 'Bearer' : 'Bearer error="invalid_token"'

/** OpenAI's `x-ratelimit-*`, for the limits that the caller has. */
function rateHeaders(access: Access, caller: Caller): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const [name, state] of Object.entries(access.limitsOf(caller))) {
    headers[`x-ratelimit-limit-${name}`] = String(state.limit)
    headers[`x-ratelimit-remaining-${name}`] = String(state.remaining)
    headers[`x-ratelimit-reset-${name}`] = resetText(state)
  }
  return headers
}

/** As OpenAI writes durations: `120ms`, `6m0s`. */
function resetText({ resetMs }: RateState): string {
  if (resetMs < 1000) return `${Math.ceil(resetMs)}ms`
  const seconds = Math.ceil(resetMs / 1000)
  return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${seconds % 60}s`
}

/** What a task or work gets of its caller. */
export type Granted = SkeinOptions & {
  readonly tenant: string
  readonly priority: Priority
  /** Without what it said of the way. */
  readonly model?: string
}

/** Behind a model's name: from the cloud, as with `skein.route`. */
const AT_CLOUD = '@cloud'

/** Less urgent behind. */
const URGENCY: readonly Priority[] = ['interactive', 'default', 'bulk']
const isAbove = (priority: Priority, bound: Priority): boolean => URGENCY.indexOf(priority) < URGENCY.indexOf(bound)

/**
 * What `caller` is given of what it asks for.
 *
 * @param usual the priority of those who ask for none.
 * @throws SkeinError FORBIDDEN when the key is not for this model, or not for so urgent a priority.
 */
export function granted(
  caller: Caller,
  service: MeshService,
  model: string,
  usual: Priority,
  options: SkeinOptions,
): Granted {
  const { tenant, grant } = caller
  const isAtCloud = model.endsWith(AT_CLOUD)
  const named = isAtCloud ? { model: model.slice(0, -AT_CLOUD.length), route: 'cloud' as const } : {}
  checkModel(caller, service, named.model ?? model)
  if (options.priority !== undefined && isAbove(options.priority, grant.priority))
    throw new SkeinError('FORBIDDEN', `the most urgent priority of this key is ${grant.priority}`, {
      param: 'skein.priority',
    })
  const priority = options.priority ?? (isAbove(usual, grant.priority) ? grant.priority : usual)
  return { ...options, tenant, priority, ...named, ...(grant.localOnly && { localOnly: true }) }
}

/** Before a model is looked for, so that nobody learns which there are that are not theirs. @throws SkeinError FORBIDDEN. */
export function checkModel(caller: Caller, service: MeshService, model: string): void {
  if (!mayUseModel(caller, [model]) && !mayUseModel(caller, namesOf(service, model)))
    throw new SkeinError('FORBIDDEN', `this key is not for the model '${model.slice(0, 256)}'`, { param: 'model' })
}

/** Those of `models` that the caller may use. */
export const visibleTo = (caller: Caller, models: readonly ModelView[]): ModelView[] =>
  models.filter(({ digest, aliases }) => mayUseModel(caller, [digest, ...aliases]))

/** All names of the models that a client may mean by `model`. */
function namesOf(service: MeshService, model: string): string[] {
  const readings = readingsOf(model)
  const meant = service
    .models()
    .filter(({ digest, aliases }) => readings.some((name) => name === digest || aliases.includes(name)))
  return meant.flatMap(({ digest, aliases }) => [digest, ...aliases])
}

/** A task of the caller's, or any for an admin. @throws SkeinError NOT_FOUND, for one of others as for none. */
export async function ownTask(service: MeshService, { caller }: FastifyRequest, taskId: TaskId): Promise<TaskView> {
  const view = await service.task(taskId)
  if (caller.isAdmin || view.tenant === caller.tenant) return view
  throw new SkeinError('NOT_FOUND', `there is no task ${taskId}`)
}
