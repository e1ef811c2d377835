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
import type { LlamaAttempt, SequenceSlot, SlotStep } from './sequence-slot.ts'

export interface DecodeLoopInit {
  /** Prompt tokens of one step, all sequences together. */
  readonly chunkTokens: number
}

export interface DecodeLoopComponents {
  /** In the order of their sequence ids: a batch whose ids are not ascending is split. */
  readonly slots: readonly SequenceSlot[]
  readonly clock: Clock
  readonly log: Logger
}

/** Shorter shared prefixes do not outweigh the order of sequences: a batch with gaps is split by the engine. */
const PREFIX_TOKENS_MIN = 16

export class DecodeLoop {
  readonly #slots: readonly SequenceSlot[]
  readonly #clock: Clock
  readonly #log: Logger
  readonly #chunkTokens: number
  #waiting: LlamaAttempt[] = []
  #running: Promise<void> | undefined
  #closed = false

  constructor(init: DecodeLoopInit, components: DecodeLoopComponents) {
    this.#slots = components.slots
    this.#clock = components.clock
    this.#log = components.log
    this.#chunkTokens = init.chunkTokens
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
      (this.#waiting.some((attempt) => !attempt.run.ended) && this.#slots.some(isFree))
    )
  }

  async #run(): Promise<void> {
    const stopTicking = this.#tick()
    try {
      while (this.#hasWork()) {
        for (const slot of this.#slots) if (slot.attempt?.run.ended) slot.release()
        await this.#admit()
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
    const waiting = this.#waiting.filter((attempt) => !attempt.run.ended)
    this.#waiting = []
    for (const attempt of waiting) {
      const slot = this.#bestSlot(attempt)
      if (slot === undefined) this.#waiting.push(attempt)
      else await slot.assign(attempt).catch((error) => this.#fail(slot, attempt, error))
    }
  }

  async #fail(slot: SequenceSlot, attempt: LlamaAttempt, cause: unknown): Promise<void> {
    attempt.run.fail(new SkeinError('ENGINE_FAILED', `the engine failed: ${cause}`, { cause }))
    await slot.reset()
  }

  /** Of the free slots the one that holds most of the prompt's state, else the lowest: active ones stay contiguous. */
  #bestSlot(attempt: LlamaAttempt): SequenceSlot | undefined {
    let best: { slot: SequenceSlot; prefix: number } | undefined
    for (const slot of this.#slots) {
      if (slot.attempt !== undefined) continue
      const common = slot.commonPrefix(attempt.input)
      const prefix = common < PREFIX_TOKENS_MIN ? 0 : common
      if (best === undefined || prefix > best.prefix) best = { slot, prefix }
    }
    return best?.slot
  }

  /** One native batch. */
  async #step(): Promise<void> {
    const steps = this.#gather()
    const outcomes = await Promise.allSettled(steps.map((step) => step.slot.evaluate(step)))
    for (const [i, outcome] of outcomes.entries()) {
      const { slot } = steps[i]!
      const attempt = slot.attempt!
      if (outcome.status === 'rejected') await this.#fail(slot, attempt, outcome.reason)
      else if (outcome.value !== undefined && !attempt.run.ended) slot.accept(outcome.value)
    }
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
    let cancel: CancelTimer
    const tick = (): void => {
      for (const slot of this.#slots) if (slot.attempt !== undefined) slot.reportProgress()
      for (const { run, input } of this.#waiting) run.progress('waiting', 0, input.length)
      cancel = this.#clock.timer(PROGRESS_INTERVAL_MS, tick)
    }
    cancel = this.#clock.timer(PROGRESS_INTERVAL_MS, tick)
    return () => cancel()
  }
}
