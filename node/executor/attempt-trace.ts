/** What is told elsewhere of an attempt here: ids on its log lines, its span, and the context for whoever is asked for it. */
import {
  attemptSpanId,
  readTraceparent,
  traceIdOf,
  traceparentOf,
  type AttemptStart,
} from '../../mesh/protocol/index.ts'
import { attributesOf, type Clock, type Span, type SpanEvent, type SpanSink } from '../../mesh/runtime/index.ts'
import type { FinalFrame } from './answer-log.ts'

/** Those by which a line here is joined with the coordinator's. */
export const logIdsOf = ({ taskId, attempt, requestId, traceparent }: AttemptStart): object => ({
  task: taskId,
  attempt,
  ...(requestId !== undefined && { request: requestId }),
  ...(traceparent !== undefined && { trace: traceIdOf(traceparent) }),
})

export interface AttemptTraceComponents {
  readonly clock: Clock
  /** Where spans go; there is none without it. */
  readonly spans?: SpanSink | undefined
}

export class AttemptTrace {
  /** For every line of the log about it. */
  readonly ids: object
  /** Context for servers that are asked for the answer; absent where the attempt belongs to no trace. */
  readonly traceparent: string | undefined
  readonly #components: AttemptTraceComponents
  readonly #span: Omit<Span, 'endedAtMs'> | undefined
  readonly #events: SpanEvent[] = []
  readonly #marks = new Set<string>()

  constructor(components: AttemptTraceComponents, start: AttemptStart) {
    const { taskId, attempt, fence, requestId, traceparent } = start
    const { clock, spans } = components
    this.#components = components
    this.ids = logIdsOf(start)
    this.traceparent = traceparent
    const parent = traceparent === undefined ? undefined : readTraceparent(traceparent)
    if (spans === undefined || parent?.isSampled !== true) return
    const context = { ...parent, spanId: attemptSpanId(taskId, fence, 'node') }
    this.traceparent = traceparentOf(context)
    this.#span = {
      context,
      parentSpanId: parent.spanId,
      name: 'skein.node.attempt',
      kind: 'server',
      beganAtMs: clock.wallMs(),
      attributes: attributesOf({
        'gen_ai.operation.name': start.prompt.kind === 'chat' ? 'chat' : 'text_completion',
        'gen_ai.provider.name': 'skein',
        'gen_ai.request.max_tokens': start.maxTokens,
        'gen_ai.response.model': start.digest,
        'skein.request.id': requestId,
        'skein.task.id': taskId,
        'skein.attempt': attempt,
        'skein.fence': fence,
      }),
    }
  }

  /** Something happened for the first time. */
  mark(name: 'prefill' | 'decode' | 'prepared' | 'committed' | 'attached'): void {
    if (this.#span === undefined || this.#marks.has(name)) return
    this.#marks.add(name)
    this.#events.push({ name, atMs: this.#components.clock.wallMs() })
  }

  /** @param tokens of its own. */
  end(final: FinalFrame, tokens: number): void {
    const span = this.#span
    if (span === undefined) return
    const isWhole = final.type === 'attempt.end'
    const attributes = attributesOf({
      ...span.attributes,
      'gen_ai.usage.output_tokens': tokens,
      ...(isWhole && {
        'gen_ai.usage.input_tokens': final.usage.promptTokens,
        'gen_ai.usage.cache_read.input_tokens': final.usage.cachedTokens,
        'gen_ai.response.finish_reasons': [final.finishReason],
        'skein.wait_ms': final.timing.waitMs,
        'skein.prefill_ms': final.timing.prefillMs,
        'skein.decode_ms': final.timing.decodeMs,
      }),
      'error.type': isWhole ? undefined : final.code,
    })
    // who cancels, or has moved the answer elsewhere, wants this end
    const isWanted = isWhole || final.code === 'CLIENT_CLOSED' || final.code === 'STALE_FENCING_TOKEN'
    const endedAtMs = this.#components.clock.wallMs()
    const error = isWanted ? {} : { error: final.code }
    this.#components.spans?.record({ ...span, endedAtMs, attributes, events: this.#events, ...error })
  }
}
