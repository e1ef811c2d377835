/**
 * Which tasks may leave the owner's nodes, and what of them does. The policy is the owner's (`coordinator/cloud`); a plan that
 * names a cloud node is held against it once more when it is committed, and what is to be taken out of a prompt is taken out
 * before the attempt is made.
 */
import {
  LIMITS,
  SkeinError,
  type CloudReason,
  type ErrorCode,
  type ModelDigest,
  type Prompt,
  type Work,
} from '../../mesh/protocol/index.ts'
import type { Clock } from '../../mesh/runtime/index.ts'
import type { Directory } from '../directory/index.ts'
import { costOf, type LeaveDemand, type NodeSnapshot, type TaskDemand } from '../scheduler/index.ts'
import type { CascadeRule } from './confidence.ts'
import { LeaveCounts, type LeaveGate } from './leave-counts.ts'
import type { Task } from './task.ts'

/** A text with what was to be taken out of it, and how often that was there. */
export interface Redacted<T> {
  readonly value: T
  readonly count: number
}

/** What the owner lets leave. Immutable: another policy is another object. */
export interface CloudRules {
  /** For which reasons a request of `tenant` for the model of these names may leave. */
  reasonsFor(asked: { readonly names: readonly string[]; readonly tenant: string }): ReadonlySet<CloudReason>
  /** What is asked of answers of the model of these names that are given as they are; nothing when `undefined`. */
  cascadeFor(names: readonly string[]): CascadeRule | undefined
  /** @throws SkeinError LOCAL_ONLY when what is to be taken out cannot be. */
  prompt(prompt: Prompt): Redacted<Prompt>
  /** @throws SkeinError LOCAL_ONLY. */
  work(work: Work): Redacted<Work>
  /** Whether something in `text` would be taken out. @throws SkeinError LOCAL_ONLY. */
  finds(text: string): boolean
}

/** Where no owner has said anything: a node in the cloud is there because its owner put it there. Nothing is judged there. */
const USUAL: ReadonlySet<CloudReason> = new Set(['too-big', 'deadline', 'name', 'lost'])
const USUAL_RULES: CloudRules = {
  reasonsFor: () => USUAL,
  cascadeFor: () => undefined,
  prompt: (prompt) => ({ value: prompt, count: 0 }),
  work: (work) => ({ value: work, count: 0 }),
  finds: () => false,
}

const NONE: ReadonlySet<CloudReason> = new Set()

/** What an attempt at a cloud node was given to go there. */
export interface LeavePaper {
  readonly reason: CloudReason
  /** As it leaves. */
  readonly prompt: Prompt
  /** Matches that were taken out of it. */
  readonly redactions: number
  /** Marks of the meshes that it has left, this one the last; absent where this one has none. */
  readonly via?: readonly string[]
  /** What it is expected to cost there, in micro-units; absent where nothing is billed. */
  readonly estimateMicros?: number
  /** Whether the answer, as far as it is made now, may leave as well. */
  readonly maySay: () => boolean
}

export interface LeavingComponents {
  readonly clock: Clock
  readonly directory: Directory
  /** The rules in force; the usual ones when absent. */
  readonly cloudRules?: (() => CloudRules) | undefined
  /** Of this mesh, in what leaves it; none when absent. */
  readonly mark?: string | undefined
}

export interface AskedWork {
  readonly digest: ModelDigest
  readonly tenant: string
  readonly localOnly: boolean
  readonly route?: 'cloud'
}

/** What a request says of its way before it is let in. */
export interface AskedRoute {
  readonly digest: ModelDigest
  readonly tenant: string
  /** As the client wrote it. */
  readonly model: string
  readonly route?: 'cloud' | undefined
  readonly localOnly?: boolean | undefined
}

/** What was found out of a task under one policy. */
interface Known {
  readonly rules: CloudRules
  readonly reasons: ReadonlySet<CloudReason>
  /** Absent until asked for; `undefined` where it may not leave. */
  prompt?: { readonly redacted: Redacted<Prompt> | undefined }
  said?: { readonly length: number; readonly isClean: boolean }
}

export class Leaving {
  readonly counts = new LeaveCounts()
  readonly #components: LeavingComponents
  readonly #known = new WeakMap<Task, Known>()

  constructor(components: LeavingComponents) {
    this.#components = components
  }

  get rules(): CloudRules {
    return this.#components.cloudRules?.() ?? USUAL_RULES
  }

  /** For which reasons a request may leave. */
  reasonsFor(digest: ModelDigest, tenant: string, model?: string): ReadonlySet<CloudReason> {
    return this.rules.reasonsFor({ names: this.#namesOf(digest, model), tenant })
  }

  /**
   * By which rule the answer of `task` is judged before anybody gets it; `undefined` when it is not. Tools and schemas are left
   * out: what a form forces upon an answer says nothing of how sure the model is.
   */
  cascade(task: Task): CascadeRule | undefined {
    const { digest, model, localOnly, route, prompt, format } = task.spec
    const isForced = format !== undefined || (prompt.kind === 'chat' && (prompt.tools?.length ?? 0) > 0)
    if (localOnly || route !== undefined || isForced || !this.#of(task).reasons.has('low-confidence')) return undefined
    return this.rules.cascadeFor(this.#namesOf(digest, model))
  }

  #namesOf(digest: ModelDigest, model: string | undefined): string[] {
    const aliases = this.#components.directory.capability(digest)?.aliases ?? []
    return [...(model === undefined ? [] : [model]), digest, ...aliases]
  }

  /** Counts that `of` was refused with `code`, where that kept it from the cloud. */
  refused(gate: LeaveGate, code: ErrorCode, of: object): void {
    if (code === 'LOCAL_ONLY' || code === 'CLOUD_NOT_ALLOWED')
      this.counts.kept(gate, code === 'LOCAL_ONLY' ? 'local-only' : 'policy', of)
  }

  /** What asks for the cloud is told at once that it may not go there. @throws SkeinError CLOUD_NOT_ALLOWED. */
  checkRoute(asked: AskedRoute): void {
    const { digest, tenant, model, route, localOnly = false } = asked
    if (route === undefined || (!localOnly && this.reasonsFor(digest, tenant, model).has('name'))) return
    this.counts.kept('admission', localOnly ? 'local-only' : 'policy', asked)
    const why = localOnly
      ? 'it is local-only: by its own word, or by that of its key, its device or its conversation'
      : "the owner's policy does not let requests for this model leave by name"
    throw new SkeinError('CLOUD_NOT_ALLOWED', `the request asks for the cloud, and ${why}`, { param: 'skein.route' })
  }

  /** @param aheadMs as `LeaveDemand.aheadMs`. */
  demand(task: Task, aheadMs = 0): LeaveDemand | undefined {
    const { spec, waitingSinceMs, deadlineMs, leftFor, circle } = task
    if (spec.localOnly) return undefined
    const nowMs = this.#components.clock.nowMs()
    const leftMs = Math.max(0, deadlineMs - nowMs)
    // what went in a circle is no further than before; by name it may go home now
    const hasBegun = task.attempts > 0 && (circle === undefined || spec.route !== undefined)
    const waitedMs = waitingSinceMs === undefined ? 0 : nowMs - waitingSinceMs
    const isPatient = spec.attachment === 'background' || hasBegun
    return {
      reasons: this.#of(task).reasons,
      isNamed: spec.route === 'cloud',
      ...(task.isUnsure && { isUnsure: true }),
      hasBegun,
      ...(leftFor && { earlier: leftFor }),
      leftMs,
      waitLeftMs: isPatient ? leftMs : Math.min(leftMs, LIMITS.queuedMs - waitedMs),
      aheadMs,
    }
  }

  /** Of work. */
  workDemand(
    { digest, tenant, localOnly, route }: AskedWork,
    at: { readonly leftMs: number; readonly waitedMs: number; readonly hasBegun: boolean },
  ): LeaveDemand | undefined {
    if (localOnly) return undefined
    const { leftMs, waitedMs, hasBegun } = at
    const reasons = this.reasonsFor(digest, tenant)
    const waitLeftMs = Math.min(leftMs, LIMITS.queuedMs - waitedMs)
    return { reasons, isNamed: route === 'cloud', hasBegun, leftMs, waitLeftMs, aheadMs: 0 }
  }

  /** Whether work may go to a cloud node for `reason`, as it stands now. */
  mayWork(asked: AskedWork, reason: CloudReason | undefined): boolean {
    const { digest, tenant, localOnly } = asked
    if (!localOnly && reason !== undefined && this.reasonsFor(digest, tenant).has(reason)) return true
    this.counts.kept('commit', localOnly ? 'local-only' : 'policy', asked)
    return false
  }

  /** Whether a task that finds all slots of the owner's nodes taken may go where others are. */
  mayPassBy(task: Task): boolean {
    const { directory } = this.#components
    if (task.spec.localOnly || !directory.snapshot().nodes.some(({ isCloud }) => isCloud)) return false
    const { reasons } = this.#of(task)
    return reasons.has('deadline') || (task.spec.route === 'cloud' && reasons.has('name'))
  }

  /** Whether prompt and answer so far may be told to a cloud node, as they are or with what is taken out. */
  mayBeSaid(task: Task): boolean {
    return this.#prompt(task) !== undefined && this.#isClean(task)
  }

  /**
   * Lets an attempt at `node` leave for `reason`; `undefined` when it may not: the task is local-only, the policy has changed
   * since it was planned, or there is no reason.
   */
  paper(task: Task, node: NodeSnapshot, reason: CloudReason | undefined, demand: TaskDemand): LeavePaper | undefined {
    const { mark } = this.#components
    const isAllowed = reason !== undefined && !task.spec.localOnly && this.#of(task).reasons.has(reason)
    const redacted = isAllowed ? this.#prompt(task) : undefined
    if (!isAllowed || redacted === undefined || !this.#isClean(task)) {
      const why = task.spec.localOnly ? 'local-only' : isAllowed ? 'redaction' : 'policy'
      this.counts.kept('commit', why, task)
      return undefined
    }
    return {
      reason,
      prompt: redacted.value,
      redactions: redacted.count,
      ...(mark !== undefined && { via: [...(task.spec.via ?? []), mark] }),
      ...(node.price && { estimateMicros: Math.ceil(costOf(node.price, demand) * 1e6) }),
      maySay: () => this.#isClean(task),
    }
  }

  #of(task: Task): Known {
    const { rules } = this
    const known = this.#known.get(task)
    if (known?.rules === rules) return known
    const { digest, tenant, model } = task.spec
    const found: Known = { rules, reasons: task.spec.localOnly ? NONE : this.reasonsFor(digest, tenant, model) }
    this.#known.set(task, found)
    return found
  }

  #prompt(task: Task): Redacted<Prompt> | undefined {
    const known = this.#of(task)
    known.prompt ??= { redacted: orNothing(() => known.rules.prompt(task.spec.prompt)) }
    return known.prompt.redacted
  }

  /** What was made here may have said again what is to be taken out, and cannot be changed any more. */
  #isClean(task: Task): boolean {
    const { answer } = task
    if (answer.length === 0) return true
    const known = this.#of(task)
    if (known.said?.length !== answer.length)
      known.said = { length: answer.length, isClean: orNothing(() => !known.rules.finds(answer.text)) ?? false }
    return known.said.isClean
  }
}

/** `undefined` where it throws: what cannot be judged does not leave. */
function orNothing<T>(made: () => T): T | undefined {
  try {
    return made()
  } catch {
    return undefined
  }
}
