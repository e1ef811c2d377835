/** One request whose span is open: what HTTP, its tasks and its work say of it, until all of them have ended. */
import type { ErrorCode } from '../../mesh/protocol/index.ts'
import { attributesOf, type AttributeValue, type Span } from '../../mesh/runtime/index.ts'
import type { MeshEvent, TaskSpec } from '../admission/index.ts'
import type { TracedRequest } from '../gateway/index.ts'
import { askedAttributes, errorOf, OPERATIONS, operationOf, PROVIDER } from './attributes.ts'

type EventOf<T extends MeshEvent['type']> = Extract<MeshEvent, { type: T }>

export class OpenRequest {
  readonly #context: Span['context']
  readonly #parentSpanId: string | undefined
  readonly #beganAtMs: number
  readonly #values: Record<string, AttributeValue | undefined> = {}
  readonly #finishReasons: string[] = []
  readonly #isQuiet: boolean
  #name: string
  #tasks = 0
  #isAnswered: boolean
  #hasMade = false
  #error: string | undefined

  /** @param request absent of a task that an earlier life of the coordinator had begun. */
  constructor(init: Pick<Span, 'context' | 'beganAtMs'> & { readonly parentSpanId?: string }, request?: TracedRequest) {
    this.#context = init.context
    this.#parentSpanId = init.parentSpanId
    this.#beganAtMs = init.beganAtMs
    this.#isAnswered = request === undefined
    this.#isQuiet = request?.isQuiet ?? false
    this.#name = request ? `${request.method} ${request.route}` : ''
    this.#values['http.request.method'] = request?.method
    this.#values['http.route'] = request?.route
    this.#values['skein.request.id'] = request?.requestId
  }

  /** Nothing more will be said of it. */
  get isOver(): boolean {
    return this.#isAnswered && this.#tasks === 0
  }

  failed(code: ErrorCode): void {
    this.#error ??= code
  }

  answered({ status, taskId }: { readonly status?: number; readonly taskId?: string }): void {
    this.#isAnswered = true
    this.#values['http.response.status_code'] = status
    this.#values['skein.task.id'] ??= taskId
  }

  queued(spec: TaskSpec): void {
    this.#tasks++
    this.#hasMade = true
    this.#name = `${operationOf(spec)} ${spec.model}`
    // of several the first: they differ in their ids and seeds alone
    for (const [name, value] of Object.entries(askedAttributes(spec))) this.#values[name] ??= value
    this.#values['skein.request.id'] ??= spec.requestId
  }

  ended({ result, tokens, attempts }: EventOf<'task.ended'>): void {
    this.#tasks--
    const { outcome, error, finishReason, timing } = result
    this.#error ??= errorOf(outcome, error?.code)
    if (finishReason) this.#finishReasons.push(finishReason)
    this.#add('gen_ai.usage.input_tokens', tokens.promptTokens)
    this.#add('gen_ai.usage.output_tokens', tokens.completionTokens)
    this.#add('gen_ai.usage.cache_read.input_tokens', tokens.cachedTokens)
    this.#add('skein.attempts', attempts)
    this.#values['skein.outcome'] = outcome
    this.#values['skein.queued_ms'] ??= timing && Math.round(timing.queuedMs)
    this.#values['skein.first_token_ms'] ??= timing && Math.round(timing.queuedMs + timing.firstTokenMs)
  }

  worked({ work, outcome, code, promptTokens }: EventOf<'work.ended'>): void {
    this.#hasMade = true
    const operation = OPERATIONS[work.kind]
    this.#name = operation
    this.#error ??= errorOf(outcome, code)
    this.#values['gen_ai.operation.name'] = operation
    this.#values['gen_ai.provider.name'] = PROVIDER
    this.#values['gen_ai.response.model'] = work.digest
    this.#values['skein.task.id'] ??= work.taskId
    this.#values['skein.outcome'] = outcome
    this.#add('gen_ai.usage.input_tokens', promptTokens)
  }

  /** The span, when it ends at `endedAtMs`; `undefined` when nobody wants it. */
  span(endedAtMs: number): Span | undefined {
    if (this.#isQuiet && !this.#hasMade) return undefined
    const parent = this.#parentSpanId
    return {
      context: this.#context,
      ...(parent !== undefined && { parentSpanId: parent }),
      name: this.#name,
      kind: 'server',
      beganAtMs: this.#beganAtMs,
      endedAtMs,
      attributes: attributesOf({
        ...this.#values,
        ...(this.#finishReasons.length > 0 && { 'gen_ai.response.finish_reasons': this.#finishReasons }),
        'error.type': this.#error,
      }),
      ...(this.#error !== undefined && { error: this.#error }),
    }
  }

  #add(name: string, count: number): void {
    this.#values[name] = Number(this.#values[name] ?? 0) + count
  }
}
