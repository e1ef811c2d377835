/** Answers and work, counted as they happen: by OpenTelemetry's GenAI conventions where those have a name. */
import type { Registry } from 'prom-client'
import type { WorkKind } from '../../mesh/protocol/index.ts'
import type { MeshEvent } from '../admission/index.ts'
import { counter, histogram } from './instruments.ts'
import type { ModelLabels } from './labels.ts'

type EventOf<T extends MeshEvent['type']> = Extract<MeshEvent, { type: T }>

/** The conventions' own buckets, in seconds; of tokens, powers of four. */
const DURATION = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
const FIRST_TOKEN = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
const PER_TOKEN = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5]
const TOKENS = Array.from({ length: 14 }, (_, power) => 4 ** power)
/** Ours: as long as a task may wait. */
const WAIT = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
const LEDGER = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

const GEN_AI = ['gen_ai_operation_name', 'gen_ai_provider_name', 'gen_ai_request_model'] as const
const PROVIDER = 'skein'
/** The conventions' names of what is done; they have none for tensors. */
const OPERATIONS: Readonly<Record<WorkKind, string>> = { embed: 'embeddings', classify: 'classify', infer: 'infer' }

const seconds = (ms: number): number => Math.max(0, ms) / 1000

export class AnswerMetrics {
  readonly #labels: ModelLabels
  readonly #duration
  readonly #firstToken
  readonly #perToken
  readonly #usage
  readonly #tokens
  readonly #ended
  readonly #wait
  readonly #failed
  readonly #nodeChanges
  readonly #ledgerWrites
  readonly #ledgerTook

  constructor(registry: Registry, labels: ModelLabels) {
    this.#labels = labels
    const r = registry
    this.#duration = histogram(
      r,
      'gen_ai_server_request_duration_seconds',
      'From the admission of an answer, or of work, to its end.',
      DURATION,
      [...GEN_AI, 'error_type'],
    )
    this.#firstToken = histogram(
      r,
      'gen_ai_server_time_to_first_token_seconds',
      'From admission to the first token, of answers that ended whole.',
      FIRST_TOKEN,
      GEN_AI,
    )
    this.#perToken = histogram(
      r,
      'gen_ai_server_time_per_output_token_seconds',
      'Mean time between the tokens of an answer after the first, of answers that ended whole.',
      PER_TOKEN,
      GEN_AI,
    )
    this.#usage = histogram(r, 'gen_ai_client_token_usage', 'Tokens that an answer, or work, took.', TOKENS, [
      ...GEN_AI,
      'gen_ai_token_type',
    ])
    this.#tokens = counter(r, 'skein_tokens_total', 'Tokens by model and type.', ['model', 'type'])
    this.#ended = counter(r, 'skein_tasks_ended_total', 'Tasks that ended.', ['outcome', 'code'])
    this.#wait = histogram(r, 'skein_queue_wait_seconds', 'From the admission of a task to its first attempt.', WAIT, [
      'priority',
    ])
    this.#failed = counter(r, 'skein_failed_attempts_total', 'Attempts that were lost or failed.', ['outcome', 'code'])
    this.#nodeChanges = counter(r, 'skein_node_changes_total', 'Nodes that came, went, or turned.', ['change'])
    this.#ledgerWrites = counter(r, 'skein_ledger_writes_total', 'Writes that the ledger has answered.', ['outcome'])
    this.#ledgerTook = histogram(
      r,
      'skein_ledger_write_duration_seconds',
      'From asking the ledger for a write to its answer.',
      LEDGER,
    )
  }

  take(event: MeshEvent): void {
    switch (event.type) {
      case 'attempt.began':
        if (event.attempt.reason === 'first')
          this.#wait.observe({ priority: event.task.priority }, seconds(event.waitedMs))
        return
      case 'attempt.ended':
        return this.#attemptEnded(event)
      case 'task.ended':
        return this.#taskEnded(event)
      case 'work.ended':
        return this.#workEnded(event)
      case 'node.changed':
        return this.#nodeChanges.inc({ change: event.what })
      case 'ledger.answered':
        this.#ledgerWrites.inc({ outcome: event.code === undefined ? 'ok' : 'failed' })
        return this.#ledgerTook.observe(seconds(event.tookMs))
      // gauges and sums of these are read where they are kept
      case 'task.queued':
      case 'task.moved':
      case 'budget.spent':
      case 'budget.exhausted':
      case 'budget.set':
      case 'replica.changed':
        return
    }
  }

  #attemptEnded({ ended: { outcome, code } }: EventOf<'attempt.ended'>): void {
    if (outcome === 'lost' || outcome === 'failed') this.#failed.inc({ outcome, code: code ?? '' })
  }

  #taskEnded({ task, result, tokens, attempts, tookMs }: EventOf<'task.ended'>): void {
    const { outcome, error, timing, usage } = result
    this.#ended.inc({ outcome, code: error?.code ?? '' })
    // it was kept, or made for another: of what nodes can do it says nothing
    if (outcome === 'completed' && attempts === 0) return
    const model = this.#labels.of(task.digest)
    const labels = {
      gen_ai_operation_name: task.prompt.kind === 'chat' ? 'chat' : 'text_completion',
      gen_ai_provider_name: PROVIDER,
      gen_ai_request_model: model,
    }
    this.#duration.observe({ ...labels, error_type: outcome === 'completed' ? '' : outcome }, seconds(tookMs))
    if (timing && tokens.completionTokens > 0)
      this.#firstToken.observe(labels, seconds(timing.queuedMs + timing.firstTokenMs))
    if (timing && tokens.completionTokens > 1)
      this.#perToken.observe(labels, seconds(timing.decodeMs) / (tokens.completionTokens - 1))
    // of what is not whole the prompt is an estimate, and a node may not have begun
    if (usage || tokens.completionTokens > 0) {
      this.#usage.observe({ ...labels, gen_ai_token_type: 'input' }, tokens.promptTokens)
      this.#usage.observe({ ...labels, gen_ai_token_type: 'output' }, tokens.completionTokens)
    }
    this.#tokens.inc({ model, type: 'input' }, Math.max(0, tokens.promptTokens))
    this.#tokens.inc({ model, type: 'cached' }, Math.max(0, tokens.cachedTokens))
    this.#tokens.inc({ model, type: 'output' }, Math.max(0, tokens.completionTokens))
  }

  #workEnded({ work, outcome, tookMs, promptTokens }: EventOf<'work.ended'>): void {
    const model = this.#labels.of(work.digest)
    const labels = {
      gen_ai_operation_name: OPERATIONS[work.kind],
      gen_ai_provider_name: PROVIDER,
      gen_ai_request_model: model,
    }
    this.#duration.observe({ ...labels, error_type: outcome === 'completed' ? '' : outcome }, seconds(tookMs))
    if (outcome !== 'completed' || work.kind === 'infer') return
    this.#usage.observe({ ...labels, gen_ai_token_type: 'input' }, promptTokens)
    this.#tokens.inc({ model, type: 'input' }, promptTokens)
  }
}
