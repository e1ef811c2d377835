/**
 * Which requests may be given an answer that was made for an equal one, and where that comes from: the cache, or a task that
 * runs just now. What is decided here is what `docs/CACHE.md` says.
 */
import { SkeinError } from '../../mesh/protocol/index.ts'
import type { Clock } from '../../mesh/runtime/index.ts'
import { answerKey, Flights, isRepeatable, type AnswerCache, type AnswerKey, type KeptAnswer } from '../cache/index.ts'
import type { Directory } from '../directory/index.ts'
import {
  sharedAnswer,
  unmade,
  wholeAnswer,
  type AnswerSource,
  type CacheOutcome,
  type TaskRun,
} from '../dispatch/index.ts'
import { PRIORITIES, type TaskSpec } from '../ledger/index.ts'
import type { CacheWish } from './service.ts'

/** Where a task's answer comes from. */
export interface AnswerOrigin {
  readonly outcome: CacheOutcome
  /** From its end, of one that was kept. */
  readonly ageMs?: number
  /** Nodes make it when absent. */
  readonly source?: AnswerSource
  /** The run of the task has begun. */
  began(run: TaskRun): void
  /** The run has begun, or none will: who asks the same is not held up any more. */
  release(): void
}

export interface AnswerSharingComponents {
  readonly clock: Clock
  readonly directory: Directory
  readonly cache: AnswerCache
}

const nothing = (): void => {}
const BYPASS: AnswerOrigin = { outcome: 'bypass', began: nothing, release: nothing }
const USUAL: CacheWish = { mode: 'use' }

export const notCached = (why: string): SkeinError => new SkeinError('NOT_CACHED', why)

export class AnswerSharing {
  readonly #components: AnswerSharingComponents
  readonly #flights = new Flights<TaskRun>()
  /** By their keys: requests that found nothing, and whose runs have not begun yet. */
  readonly #deciding = new Map<AnswerKey, Promise<void>>()

  constructor(components: AnswerSharingComponents) {
    this.#components = components
  }

  /**
   * Where the answer to `spec` comes from.
   *
   * @param namedSeed whether the client named the seed.
   * @throws SkeinError NOT_CACHED.
   */
  async originOf(spec: TaskSpec, namedSeed: boolean, wish: CacheWish = USUAL): Promise<AnswerOrigin> {
    const { cache } = this.#components
    const origin = isRepeatable(spec, namedSeed) && this.#isAlike(spec) ? await this.#find(spec, wish) : BYPASS
    if (wish.onlyKept && origin.outcome !== 'hit') {
      origin.release()
      throw notCached('no answer to this request is kept, and no other was asked for')
    }
    if (origin.outcome !== 'hit') cache.count(origin.outcome)
    return origin
  }

  /** What was kept of the answer to `spec` is deleted. */
  forget(spec: TaskSpec): void {
    this.#components.cache.forget(answerKey(spec))
  }

  async #find(spec: TaskSpec, wish: CacheWish): Promise<AnswerOrigin> {
    if (wish.mode === 'off') return BYPASS
    const key = answerKey(spec)
    const landed = (run: TaskRun): void => void run.over.then(() => this.#landed(key, run))
    if (wish.mode === 'refresh') return { outcome: 'bypass', began: landed, release: nothing }
    // of two that come together one must not look while the other has found nothing and does not lead yet
    for (let other = this.#deciding.get(key); other; other = this.#deciding.get(key)) await other
    const deciding = Promise.withResolvers<void>()
    this.#deciding.set(key, deciding.promise)
    const release = (): void => {
      if (this.#deciding.get(key) === deciding.promise) this.#deciding.delete(key)
      deciding.resolve()
    }
    const given = await this.#given(key, spec, wish)
    if (given) release()
    if (given) return { ...given, began: given.outcome === 'shared' ? landed : nothing, release: nothing }
    const leads = (run: TaskRun): void => {
      this.#flights.lead(key, run)
      landed(run)
    }
    return { outcome: 'miss', began: leads, release }
  }

  /** What there is of an answer already. Does not throw. */
  async #given(
    key: AnswerKey,
    spec: TaskSpec,
    { ageMsMax }: CacheWish,
  ): Promise<Omit<AnswerOrigin, 'began' | 'release'> | undefined> {
    const { cache, clock } = this.#components
    const kept = await cache.find(key, ageMsMax)
    if (kept) return { outcome: 'hit', ageMs: clock.wallMs() - kept.madeAtMs, source: sourceOf(kept) }
    const leader = this.#flights.leader(key)
    if (!leader || isLater(leader.task.spec, spec)) return undefined
    const succeed = (failed: TaskRun, run: TaskRun): TaskRun => this.#flights.succeed(key, failed, run)
    return { outcome: 'shared', source: sharedAnswer({ leader, succeed }) }
  }

  #landed(key: AnswerKey, run: TaskRun): void {
    const answer = this.#isAlike(run.task.spec) ? this.#keptOf(run) : undefined
    if (answer) this.#components.cache.keep(key, answer)
    this.#flights.land(key, run)
  }

  #isAlike({ digest, prompt }: TaskSpec): boolean {
    return this.#components.directory.isRepeatable(digest, prompt.kind === 'chat')
  }

  /** What may be given to others of the answer of `run`: nothing unless it would be the same again. */
  #keptOf({ task, result, attempts, endedAtMs }: TaskRun): KeptAnswer | undefined {
    const { finishReason, stopIndex, usage, tail = '' } = result ?? {}
    const [first] = attempts.entries
    // one that another task began, and one that was not made at all, are not kept again
    // of a prompt that was not the one that was asked
    if (attempts.entries.some(({ assigned }) => assigned.redactions !== undefined)) return undefined
    if (!finishReason || !usage || endedAtMs === undefined || first?.assigned.from !== 0) return undefined
    // shorter than was asked for: the context of its node was full, and another one's may not be
    if (finishReason === 'length' && task.answer.length < task.spec.maxTokens) return undefined
    if (!this.#isOfOneKind(task.spec, attempts.entries)) return undefined
    const part = task.answer.part(0)
    const stopped = stopIndex === undefined ? {} : { stopIndex }
    return { madeAtMs: endedAtMs, ...(part && { part }), tail, finishReason, ...stopped, usage }
  }

  /** Whether all nodes that made a part of it compute alike. */
  #isOfOneKind({ digest }: TaskSpec, attempts: TaskRun['attempts']['entries']): boolean {
    const { directory } = this.#components
    const makers = attempts.filter(({ assigned, ended }) => ended !== undefined && ended.to > assigned.from)
    const nodes = [...new Set(makers.map(({ assigned }) => assigned.node.peerId))]
    if (nodes.length < 2) return true
    const kinds = nodes.map((peerId) => directory.numerics(peerId, digest))
    return kinds.every((kind) => kind !== undefined && isSame(kind, kinds[0]!))
  }
}

type Numerics = NonNullable<ReturnType<Directory['numerics']>>

const isSame = (a: Numerics, b: Numerics): boolean =>
  a.engineBuild === b.engineBuild &&
  a.flashAttention === b.flashAttention &&
  a.batchTokens === b.batchTokens &&
  a.threads === b.threads

/** Whether `leader` is less urgent than `spec`, which would wait for it behind others. */
const isLater = (leader: TaskSpec, spec: TaskSpec): boolean =>
  PRIORITIES.indexOf(leader.priority) > PRIORITIES.indexOf(spec.priority)

function sourceOf({ part, tail, finishReason, stopIndex, usage }: KeptAnswer): AnswerSource {
  const stopped = stopIndex === undefined ? {} : { stopIndex }
  return wholeAnswer(part, { finishReason, ...stopped, text: tail, usage: unmade(usage) })
}
