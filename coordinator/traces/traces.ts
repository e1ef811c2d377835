/**
 * Spans of requests and attempts, made of what the gateway and the mesh tell as it happens. A request's span is open until its
 * client has the answer and all that was made of it has ended; an attempt's is made when it has. Ids of attempts' spans are
 * functions of task and fence, so that nothing has to be kept to link an attempt to the one before it.
 */
import { attemptSpanId, LIMITS, readTraceparent, traceparentOf, type TraceContext } from '../../mesh/protocol/index.ts'
import type { Clock, Random, SpanSink } from '../../mesh/runtime/index.ts'
import type { MeshEvent, MeshService, TaskTrace } from '../admission/index.ts'
import type { RequestTrace, RequestTraces, TracedRequest } from '../gateway/index.ts'
import { attemptAttributes } from './attributes.ts'
import { OpenRequest } from './open-request.ts'

export interface TracesComponents {
  readonly clock: Clock
  readonly random: Random
  /** Tells what happens. */
  readonly service: Pick<MeshService, 'watch'>
  readonly spans: SpanSink
}

export interface TracesInit {
  /** Of the requests that bring no trace of their own, the share whose spans are made: 0 to 1. */
  readonly ratio: number
}

type AttemptEnded = Extract<MeshEvent, { type: 'attempt.ended' }>

/** Of 56 random bits, which every number holds. */
const SHARE_DIGITS = 14

export const createTraces = (components: TracesComponents, init: TracesInit): RequestTraces =>
  new Traces(components, init)

class Traces implements RequestTraces {
  readonly #components: TracesComponents
  readonly #ratio: number
  /** By the id of their span. */
  readonly #open = new Map<string, OpenRequest>()

  constructor(components: TracesComponents, { ratio }: TracesInit) {
    this.#components = components
    this.#ratio = ratio
    components.service.watch((event) => this.#take(event))
  }

  begin(request: TracedRequest): RequestTrace {
    const { clock } = this.#components
    const { parent } = request
    const traceId = parent?.traceId ?? this.#id(16)
    const context = { traceId, spanId: this.#id(8), isSampled: this.#isWanted(traceId, parent) }
    const parentSpanId = parent && { parentSpanId: parent.spanId }
    const task = { traceparent: traceparentOf(context), isOwn: true, ...parentSpanId }
    if (!context.isSampled) return { task, failed: () => undefined, ended: () => undefined }
    const open = new OpenRequest({ context, beganAtMs: clock.wallMs(), ...parentSpanId }, request)
    this.#open.set(context.spanId, open)
    return {
      task,
      failed: (code) => open.failed(code),
      ended: (answer) => {
        open.answered(answer)
        this.#settle(context.spanId, open)
      },
    }
  }

  /** As the client has decided, where it has; and never more than may be open. */
  #isWanted(traceId: string, parent: TraceContext | undefined): boolean {
    if (this.#open.size >= LIMITS.openTracesMax) return false
    if (parent) return parent.isSampled
    return Number.parseInt(traceId.slice(-SHARE_DIGITS), 16) / 16 ** SHARE_DIGITS < this.#ratio
  }

  #id(bytes: number): string {
    const id = Buffer.from(this.#components.random.bytes(bytes)).toString('hex')
    // all zeros is no id
    return /[1-9a-f]/.test(id) ? id : this.#id(bytes)
  }

  #take(event: MeshEvent): void {
    switch (event.type) {
      case 'task.queued':
        return this.#of(event.task.trace, true)?.open.queued(event.task)
      case 'attempt.ended':
        return this.#attempt(event)
      case 'task.ended': {
        const found = this.#of(event.task.trace, false)
        found?.open.ended(event)
        return found && this.#settle(found.spanId, found.open)
      }
      case 'work.ended':
        return this.#of(event.work.trace, false)?.open.worked(event)
      default:
        return
    }
  }

  /** @param mayBegin a task that is not known was begun by an earlier life of the coordinator. */
  #of(trace: TaskTrace | undefined, mayBegin: boolean): { spanId: string; open: OpenRequest } | undefined {
    const context = contextOf(trace)
    if (context === undefined) return undefined
    const { spanId } = context
    const known = this.#open.get(spanId)
    if (known) return { spanId, open: known }
    if (!mayBegin || this.#open.size >= LIMITS.openTracesMax) return undefined
    const parent = trace?.parentSpanId
    const parentSpanId = parent !== undefined && { parentSpanId: parent }
    const open = new OpenRequest({ context, beganAtMs: this.#components.clock.wallMs(), ...parentSpanId })
    this.#open.set(spanId, open)
    return { spanId, open }
  }

  #settle(spanId: string, open: OpenRequest): void {
    if (!open.isOver) return
    this.#open.delete(spanId)
    const span = open.span(this.#components.clock.wallMs())
    if (span) this.#components.spans.record(span)
  }

  #attempt(event: AttemptEnded): void {
    const { task, attempt, ended, before } = event
    const context = contextOf(task.trace)
    if (context === undefined) return
    const { taskId } = task
    const { acceptMs, firstTokenMs } = ended.observed
    const at = (name: string, ms: number | undefined) =>
      ms === undefined ? [] : [{ name, atMs: attempt.atMs + Math.round(ms) }]
    const isFault = ended.outcome === 'lost' || ended.outcome === 'failed'
    this.#components.spans.record({
      context: { ...context, spanId: attemptSpanId(taskId, attempt.fence, 'coordinator') },
      parentSpanId: context.spanId,
      name: 'skein.attempt',
      kind: 'client',
      beganAtMs: attempt.atMs,
      endedAtMs: ended.atMs,
      attributes: attemptAttributes(event),
      events: [...at('accepted', acceptMs), ...at('first_token', firstTokenMs)],
      links:
        before === undefined
          ? []
          : [
              {
                spanId: attemptSpanId(taskId, before, 'coordinator'),
                attributes: { 'skein.reason': attempt.reason },
              },
            ],
      ...(isFault && { error: ended.code ?? ended.outcome }),
    })
  }
}

/** Of spans that are ours and wanted. */
function contextOf(trace: TaskTrace | undefined): TraceContext | undefined {
  const context = trace?.isOwn === true ? readTraceparent(trace.traceparent) : undefined
  return context?.isSampled === true ? context : undefined
}
