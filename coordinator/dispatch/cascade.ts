/**
 * The cascade of one task: its answer is made at home first, held back until it is known how sure the model was of it, and asked
 * for in the cloud when that was less than the owner wants. Only where nothing was delivered: what a client has cannot be taken
 * back. Whatever keeps it from the cloud, the answer of the owner's node is given as it is.
 */
import { SkeinError } from '../../mesh/protocol/index.ts'
import type { AnswerPart } from '../ledger/index.ts'
import { ConfidenceMeter } from './confidence.ts'
import type { Followers } from './followers.ts'
import type { Place } from './placement.ts'
import type { Planner } from './planner.ts'
import type { Completion, Task } from './task.ts'

/** What came of answers that were judged; plain numbers for the metrics. */
export interface CascadeCounts {
  /** Given as they were: sure enough; not, but nothing in the cloud could take them; or not measured. */
  sure: number
  kept: number
  unmeasured: number
  /** Asked for in the cloud. */
  left: number
}

export interface CascadeComponents {
  readonly planner: Planner
  readonly cascades: CascadeCounts
}

/** What the owner's node had made, for when the cloud makes nothing. */
interface Kept {
  readonly part: AnswerPart | undefined
  /** Of an answer that was whole. */
  readonly completion: Completion | undefined
}

export class Cascade {
  readonly #components: CascadeComponents
  readonly #task: Task
  readonly #followers: Followers
  #isOver: boolean
  #kept: Kept | undefined

  /** @param isOver it is not judged at all. */
  constructor(components: CascadeComponents, task: Task, followers: Followers, isOver: boolean) {
    this.#components = components
    this.#task = task
    this.#followers = followers
    this.#isOver = isOver
  }

  /** An attempt is about to begin at `place`: its answer is held, where it is one that is judged. */
  begin({ node, attach }: Place): void {
    if (this.#isOver) return
    const { spec, answer } = this.#task
    const canTell = node.models.get(spec.digest)?.capability.features.includes('logprobs') === true
    const isJudged = !node.isCloud && canTell && attach === undefined
    if (this.#task.meter !== undefined) {
      if (!isJudged) this.#give('unmeasured')
      return
    }
    const rule = isJudged && answer.length === 0 ? this.#components.planner.leaving.cascade(this.#task) : undefined
    if (rule === undefined) {
      this.#isOver = true
      return
    }
    this.#task.meter = new ConfidenceMeter(rule)
    this.#followers.hold()
  }

  /** Looks at what was measured; says whether the model was less sure than the owner wants. */
  isUnsure(isWhole: boolean): boolean {
    const { meter, answer } = this.#task
    if (this.#isOver || meter === undefined) return false
    const confidence = meter.verdict(answer.length, isWhole)
    if (confidence) this.#task.confidence = confidence
    if (confidence?.isLow) return true
    if (confidence) this.#give('sure')
    else if (isWhole) this.#give('unmeasured')
    return false
  }

  /**
   * A place in the cloud for the answer, which is taken back for that; `undefined` when there is none that it may go to now,
   * and the answer is given as it is.
   */
  leave(completion?: Completion): Place | undefined {
    const { answer } = this.#task
    const part = answer.withdraw()
    const place = this.#components.planner.escalate(this.#task)
    if (place === undefined) {
      if (part) answer.restore(part)
      this.#give('kept')
      return undefined
    }
    this.#kept = { part, completion }
    this.#give('left')
    return place
  }

  /** Whether the answer of the owner's node can be given after all: of the cloud's there is nothing. */
  get hasKept(): boolean {
    return this.#kept !== undefined && this.#task.answer.length === 0
  }

  /** Whether that is the whole answer, for a task whose time is up. */
  mayEnd({ code }: SkeinError): boolean {
    return code === 'TASK_EXPIRED' && this.hasKept && this.#kept?.completion !== undefined
  }

  /** Gives the answer of the owner's node after all; its end, where it was whole. Else it is gone on with. */
  takeBack(): Completion | undefined {
    if (!this.hasKept) return undefined
    const { part, completion } = this.#kept!
    this.#kept = undefined
    if (part) this.#task.answer.restore(part)
    this.#followers.grown()
    return completion
  }

  /** The task is over: what there is of its answer is its client's. */
  end(): void {
    this.takeBack()
    this.#task.meter = undefined
    this.#isOver = true
    this.#followers.release()
  }

  #give(outcome: keyof CascadeCounts): void {
    this.#components.cascades[outcome]++
    this.#task.meter = undefined
    this.#isOver = true
    this.#followers.release()
  }
}

/** Why an attempt at home is ended in its middle. */
export const notSure = (name: string): SkeinError =>
  new SkeinError('PREEMPTED', `the model was not sure enough of its answer, and ${name} is asked`)
