/**
 * The one loop that drives all sequences of a model in lock step: per step it gathers each sequence's next token and a
 * part of the prompts that wait, evaluates them as one native batch, delivers, and admits newcomers. Generators per
 * sequence fall out of step with each other, and each native batch of its own costs a whole pass over the weights: that
 * halves the throughput. Prompts go in chunks, since a native call cannot be interrupted: a chunk bounds how long a
 * cancellation and the neighbours wait.
 */
import { SkeinError } from '../../../mesh/protocol/index.ts'
import type { CancelTimer, Clock, Logger } from '../../../mesh/runtime/index.ts'
import { PROGRESS_INTERVAL_MS } from '../attempt-run.ts'
import { commonLength, type KvState, type KvStates } from './kv-states.ts'
import type { LlamaAttempt, SequenceSlot, SlotStep } from './sequence-slot.ts'
import { chooseSlot } from './slot-choice.ts'

export interface DecodeLoopInit {
  /** Prompt tokens of one step, all sequences together. */
  readonly chunkTokens: number
}

export interface DecodeLoopComponents {
  /** In the order of their sequence ids: a batch whose ids are not ascending is split. */
  readonly slots: readonly SequenceSlot[]
  readonly clock: Clock
  readonly log: Logger
  /** Where the state of a sequence goes that another attempt needs. */
  readonly kvStates?: KvStates
}

/** What an attempt that waits would take in instead of prefilling it. */
interface Restore {
  readonly state: KvState
  outcome: 'checking' | 'good' | 'bad'
}

/** A step that prefills fewer tokens says little of the rate. */
const MEASURED_TOKENS_MIN = 32

export class DecodeLoop {
  readonly #slots: readonly SequenceSlot[]
  readonly #clock: Clock
  readonly #log: Logger
  readonly #chunkTokens: number
  readonly #kvStates: KvStates | undefined
  readonly #restores = new WeakMap<LlamaAttempt, Restore>()
  #waiting: LlamaAttempt[] = []
  #uses = 0
  #running: Promise<void> | undefined
  #closed = false

  constructor(init: DecodeLoopInit, components: DecodeLoopComponents) {
    this.#slots = components.slots
    this.#clock = components.clock
    this.#log = components.log
    this.#chunkTokens = init.chunkTokens
    this.#kvStates = components.kvStates
    for (const slot of this.#slots) slot.onCommit = () => this.#wake()
  }

  /** Attempts that hold or wait for a sequence; ended ones, whose sequence is freed at the end of the step, do not count. */
  get running(): number {
    return this.#live().length
  }

  get prefillTokensPending(): number {
    const waiting = this.#waiting.reduce((sum, attempt) => sum + (attempt.run.ended ? 0 : attempt.input.length), 0)
    return this.#slots.reduce((sum, slot) => sum + slot.prefillTokensPending, waiting)
  }

  /** An attempt leaves the loop when its run has ended, however it did. */
  add(attempt: LlamaAttempt): void {
    this.#waiting.push(attempt)
    this.#wake()
  }

  /** Ends all attempts with `error`, and resolves when no native call runs. */
  async close(error: SkeinError): Promise<void> {
    this.#closed = true
    for (const attempt of this.#live()) attempt.run.fail(error)
    await this.#running
  }

  #live(): LlamaAttempt[] {
    const held = this.#slots.flatMap((slot) => slot.attempt ?? [])
    return [...held, ...this.#waiting].filter((attempt) => !attempt.run.ended)
  }

  #wake(): void {
    if (this.#hasWork()) this.#running ??= this.#run()
  }

  /** False while all attempts are held, or there is none. */
  #hasWork(): boolean {
    if (this.#closed) return false
    const isFree = (slot: SequenceSlot): boolean => slot.attempt?.run.ended ?? true
    return (
      this.#slots.some((slot) => !isFree(slot) && slot.tokensDue > 0) ||
      (this.#waiting.some((attempt) => this.#isDue(attempt)) && this.#slots.some(isFree))
    )
  }

  /** Whether it waits for nothing but a sequence. */
  #isDue(attempt: LlamaAttempt): boolean {
    return !attempt.run.ended && this.#restores.get(attempt)?.outcome !== 'checking'
  }

  async #run(): Promise<void> {
    const stopTicking = this.#tick()
    try {
      while (this.#hasWork()) {
        for (const slot of this.#slots) if (slot.attempt?.run.ended) this.#release(slot)
        await this.#admit()
        await this.#settle()
        await this.#step()
      }
    } catch (error) {
      this.#log.error({ err: error }, 'the decode loop failed')
      for (const attempt of this.#live()) attempt.run.fail(error)
    } finally {
      stopTicking()
      // in the same turn as the last look for work: what comes later wakes a new run
      this.#running = undefined
    }
  }

  async #admit(): Promise<void> {
    this.#waiting = this.#waiting.filter((attempt) => !attempt.run.ended)
    for (const attempt of [...this.#waiting]) {
      const slot = this.#isDue(attempt) ? this.#choose(attempt) : undefined
      if (slot === undefined || this.#checks(attempt, slot)) continue
      await this.#assign(slot, attempt).catch((error) => this.#fail(slot, attempt, error))
    }
  }

  #choose({ input }: LlamaAttempt): SequenceSlot | undefined {
    const views = this.#slots.map((slot) => ({
      isFree: slot.attempt === undefined,
      held: slot.held,
      shared: slot.commonPrefix(input),
      lastUsed: slot.lastUsed,
    }))
    const chosen = chooseSlot(views, input.length)
    return chosen === undefined ? undefined : this.#slots[chosen]
  }

  /** Whether the attempt has to wait for a state of it that is being checked: from here on, or since before. */
  #checks(attempt: LlamaAttempt, slot: SequenceSlot): boolean {
    // once for each attempt: what is bad is deleted, and what came later is of another conversation
    if (this.#kvStates === undefined || this.#restores.has(attempt)) return false
    const state = this.#kvStates.find(attempt.input, slot.commonPrefix(attempt.input), this.#isAlone)
    if (state === undefined) return false
    const restore: Restore = { state, outcome: 'checking' }
    this.#restores.set(attempt, restore)
    const stopTicking = this.#repeat(() => attempt.run.progress('waiting', 0, attempt.input.length))
    void this.#kvStates.check(state).then((isGood) => {
      stopTicking()
      restore.outcome = isGood ? 'good' : 'bad'
      this.#wake()
    })
    return true
  }

  async #assign(slot: SequenceSlot, attempt: LlamaAttempt): Promise<void> {
    const states = this.#kvStates
    if (states !== undefined) {
      const kept = slot.commonPrefix(attempt.input)
      const restored = this.#checkedFor(attempt, states, kept)
      await slot.save(states, kept, this.#isAlone, restored)
      if (restored !== undefined) await slot.restore(states, restored)
    }
    // until here it is one of those that wait, whom others count and who are told that work goes on
    this.#waiting = this.#waiting.filter((each) => each !== attempt)
    slot.lastUsed = ++this.#uses
    await slot.assign(attempt)
  }

  /** What the attempt has waited for, unless it was deleted since, or a sequence came free that holds as much. */
  #checkedFor(attempt: LlamaAttempt, states: KvStates, kept: number): KvState | undefined {
    const restore = this.#restores.get(attempt)
    if (restore?.outcome !== 'good' || !states.has(restore.state)) return undefined
    return commonLength(restore.state.tokens, attempt.input) > kept ? restore.state : undefined
  }

  #release(slot: SequenceSlot): void {
    slot.release()
    slot.lastUsed = ++this.#uses
  }

  get #isAlone(): boolean {
    return this.#slots.every((slot) => slot.attempt === undefined)
  }

  async #fail(slot: SequenceSlot, attempt: LlamaAttempt, cause: unknown): Promise<void> {
    attempt.run.fail(new SkeinError('ENGINE_FAILED', `the engine failed: ${cause}`, { cause }))
    await slot.reset()
  }

  async #settle(): Promise<void> {
    for (const slot of this.#slots) await slot.settle().catch((error) => this.#fail(slot, slot.attempt!, error))
  }

  /** One native batch. */
  async #step(): Promise<void> {
    const steps = this.#gather()
    const prefilled = this.#prefillTokens(steps)
    const beganMs = this.#clock.nowMs()
    const outcomes = await Promise.allSettled(steps.map((step) => step.slot.evaluate(step)))
    for (const [i, outcome] of outcomes.entries()) {
      const { slot } = steps[i]!
      const attempt = slot.attempt!
      if (outcome.status === 'rejected') await this.#fail(slot, attempt, outcome.reason)
      else if (outcome.value !== undefined && !attempt.run.ended) slot.accept(outcome.value)
    }
    if (prefilled >= MEASURED_TOKENS_MIN) this.#kvStates?.prefilled(prefilled, this.#clock.nowMs() - beganMs)
  }

  #prefillTokens(steps: readonly SlotStep[]): number {
    return steps.reduce((sum, { slot, tokens }) => sum + (slot.isDecoding ? 0 : tokens.length), 0)
  }

  #gather(): SlotStep[] {
    const active = this.#slots.filter((slot) => slot.attempt !== undefined)
    let budget = this.#chunkTokens
    let prefilling = active.filter((slot) => !slot.isDecoding).length
    const steps: SlotStep[] = []
    for (const slot of active) {
      if (slot.isDecoding) {
        const step = slot.step(1)
        if (step) steps.push(step)
        continue
      }
      // an equal share each, and what the ones before left over
      const step = slot.step(Math.max(1, Math.floor(budget / prefilling)))
      prefilling--
      if (step === undefined) continue
      budget -= step.tokens.length
      steps.push(step)
    }
    return steps
  }

  /** Tells those who wait that work goes on, however long a native call takes. Held attempts tell it themselves. */
  #tick(): CancelTimer {
    return this.#repeat(() => {
      for (const slot of this.#slots) if (slot.attempt !== undefined) slot.reportProgress()
      for (const { run, input } of this.#waiting) run.progress('waiting', 0, input.length)
    })
  }

  #repeat(work: () => void): CancelTimer {
    let cancel: CancelTimer
    const tick = (): void => {
      work()
      cancel = this.#clock.timer(PROGRESS_INTERVAL_MS, tick)
    }
    cancel = this.#clock.timer(PROGRESS_INTERVAL_MS, tick)
    return () => cancel()
  }
}
