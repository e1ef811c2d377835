/** One admitted task: what was asked, what was delivered so far, and where it stands. */
import {
  LIMITS,
  SkeinError,
  stepTask,
  toolCallText,
  type CloudReason,
  type FinishReason,
  type TaskId,
  type TaskState,
  type Usage,
} from '../../mesh/protocol/index.ts'
import type { AnswerPart, JudgedConfidence, LedgerTask, TaskSpec, TaskTiming } from '../ledger/index.ts'
import { exclusionKey, promptPrefix, type NodeSnapshot, type PromptPrefix } from '../scheduler/index.ts'
import { Answer } from './answer.ts'
import type { ConfidenceMeter } from './confidence.ts'
import type { Receipt } from './events.ts'

/** Attempts of one opening of the ledger; a fencing token is `epoch × this + attempt`. */
const FENCES_PER_EPOCH = 2 ** 20

/** How an attempt ended well. */
export interface Completion {
  readonly finishReason: FinishReason
  /** Of the stop string that ended it, as its node says. */
  readonly stopIndex?: number
  readonly text: string
  readonly usage: Usage
}

export interface TaskInit {
  readonly spec: TaskSpec
  /** Of the ledger's opening. */
  readonly epoch: number
  readonly nowMs: number
  readonly wallMs: number
}

export class Task {
  readonly spec: TaskSpec
  readonly answer: Answer
  /** UTF-8 bytes of the prompt's text. */
  readonly promptBytes: number
  readonly prefix: PromptPrefix
  readonly admittedAtMs: number
  /** On the monotonic clock. */
  readonly deadlineMs: number
  /** Attempts begun, moves included. */
  attempts = 0
  /** Attempts in a row that ended without a token. */
  fruitless = 0
  /** Who was asked last has found that it goes in a circle, before anything of its answer was made. */
  circle: SkeinError | undefined
  firstAssignedAtMs: number | undefined
  /** Since when it waits in the line. */
  waitingSinceMs: number | undefined
  firstTokenAtMs: number | undefined
  /** In micro-units: what its attempts cost, and what is set aside for those that run. */
  costMicros = 0
  /** Fencing tokens of attempts of an earlier life of the coordinator that count with all that was set aside for them. */
  readonly paidFences = new Set<number>()
  /** Why it left the owner's nodes, if it ever did. */
  leftFor: CloudReason | undefined
  /** Measures its answer while that is held back to be judged. */
  meter: ConfidenceMeter | undefined
  /** How sure the model was of it, once that is known. */
  confidence: JudgedConfidence | undefined
  /** A place is looked for because that was not enough. */
  isUnsure = false
  /** It waits, and would not if it were not local-only. */
  isKeptHome = false
  /** Token whose frames are delivered; those of any other are dropped (invariant I1). */
  deliveringFence = -1
  #state: TaskState = 'queued'
  readonly #fenceBase: number
  readonly #excludedUntilMs = new Map<string, number>()

  constructor({ spec, epoch, nowMs, wallMs }: TaskInit) {
    this.spec = spec
    this.answer = new Answer(spec.logprobs !== undefined)
    this.promptBytes = promptBytes(spec)
    this.prefix = promptPrefix(spec.prompt)
    this.admittedAtMs = nowMs
    this.deadlineMs = nowMs + Math.min(spec.deadlineAtMs - wallMs, LIMITS.taskMs)
    this.#fenceBase = epoch * FENCES_PER_EPOCH
  }

  /** A task that an earlier life of the coordinator had begun. */
  static restore(from: LedgerTask, init: Omit<TaskInit, 'spec'>): Task {
    const task = new Task({ ...init, spec: from.spec })
    const remake = (): void => {
      for (const { assigned } of from.attempts)
        if (assigned.reason === 'recovered' && assigned.from === task.answer.length) task.answer.remake()
    }
    for (const part of from.parts) {
      remake()
      task.answer.restore(part)
    }
    remake()
    task.leftFor = from.attempts.findLast(({ assigned }) => assigned.leave !== undefined)?.assigned.leave
    task.attempts = Math.max(0, ...from.attempts.map(({ assigned }) => assigned.attempt))
    // what an attempt cost whose end is not on record is not known: it was no more than was set aside
    for (const { assigned, ended } of from.attempts) {
      task.costMicros += ended?.costMicros ?? assigned.reservedMicros ?? 0
      if (ended?.costMicros === undefined && assigned.reservedMicros !== undefined) task.paidFences.add(assigned.fence)
    }
    return task
  }

  get id(): TaskId {
    return this.spec.taskId
  }

  get state(): TaskState {
    return this.#state
  }

  /** @throws SkeinError INTERNAL for a transition that is not legal. */
  enter(state: TaskState): void {
    this.#state = stepTask(this.#state, state)
  }

  /** Micro-units that it may still cost by its client's own limit. */
  get costLeftMicros(): number {
    return Math.max(0, (this.spec.costMicrosMax ?? Number.POSITIVE_INFINITY) - this.costMicros)
  }

  /** What its client is told of its time in the cloud; nothing where there was none. */
  get receipt(): { readonly receipt?: Receipt } {
    return this.leftFor === undefined ? {} : { receipt: { reason: this.leftFor, costMicros: this.costMicros } }
  }

  /** Takes over a part of its answer that no attempt has made. @throws SkeinError as `Answer.restore`. */
  give(part: AnswerPart, nowMs: number): void {
    this.answer.restore(part)
    this.firstAssignedAtMs ??= nowMs
    this.firstTokenAtMs ??= nowMs
    if (this.#state === 'queued') this.enter('running')
  }

  /** Begins the next attempt. Returns its fencing token: greater than any before, across restarts too. */
  nextFence(): number {
    return this.#fenceBase + ++this.attempts
  }

  /** @throws SkeinError ATTEMPTS_EXHAUSTED when another attempt would be of no use. */
  checkAttempts(cause: SkeinError | undefined): void {
    if (this.attempts < LIMITS.attemptsMax && this.fruitless < LIMITS.fruitlessAttemptsMax) return
    throw new SkeinError('ATTEMPTS_EXHAUSTED', `${this.attempts} attempts, the last failed: ${cause?.message}`, {
      cause,
    })
  }

  /** Where its time went, when it ends at `nowMs`. */
  timing(nowMs: number): TaskTiming {
    const assignedMs = this.firstAssignedAtMs ?? nowMs
    const firstTokenMs = this.firstTokenAtMs ?? nowMs
    return {
      queuedMs: assignedMs - this.admittedAtMs,
      firstTokenMs: firstTokenMs - assignedMs,
      decodeMs: nowMs - firstTokenMs,
    }
  }

  exclude(node: Pick<NodeSnapshot, 'peerId' | 'session'>, untilMs: number): void {
    this.#excludedUntilMs.set(exclusionKey(node), untilMs)
  }

  excludedAt(nowMs: number): Set<string> {
    const excluded = new Set<string>()
    for (const [key, untilMs] of this.#excludedUntilMs) if (untilMs > nowMs) excluded.add(key)
    return excluded
  }

  /** When the next exclusion ends, if any is still on that ever does. */
  nextReprieveMs(nowMs: number): number | undefined {
    const ends = [...this.#excludedUntilMs.values()].filter((untilMs) => untilMs > nowMs && Number.isFinite(untilMs))
    return ends.length === 0 ? undefined : Math.min(...ends)
  }
}

function promptBytes({ prompt }: TaskSpec): number {
  const size = (text: string): number => Buffer.byteLength(text)
  if (prompt.kind === 'text') return size(prompt.text)
  const { messages, tools = [] } = prompt
  const calls = messages.flatMap(({ toolCalls = [] }) => toolCalls)
  return (
    messages.reduce((sum, { content, thought = '' }) => sum + size(content) + size(thought), 0) +
    calls.reduce((sum, call) => sum + size(toolCallText(call)), 0) +
    tools.reduce((sum, { name, description = '', parameters }) => sum + size(name + description + parameters), 0)
  )
}
