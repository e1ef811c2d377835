/** One sequence of the context: the tokens whose state it holds, and the attempt that it decodes. */
import type { ControlledEvaluateInputItem, LlamaContextSequence, LlamaModel, Token } from 'node-llama-cpp'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import type { AttemptRun } from '../attempt-run.ts'
import { Sampler } from './sampling.ts'

export interface LlamaAttempt {
  readonly run: AttemptRun
  /** Tokens of the prompt, then those that earlier attempts generated. */
  readonly input: readonly Token[]
}

/** What a slot evaluates in one step. */
export interface SlotStep {
  readonly slot: SequenceSlot
  readonly tokens: readonly Token[]
  readonly items: ControlledEvaluateInputItem[]
}

export class SequenceSlot {
  readonly #model: LlamaModel
  readonly #sequence: LlamaContextSequence
  /** Tokens whose state the sequence holds; kept when an attempt ends, for the next one's prefix. */
  readonly #state: Token[] = []
  #attempt: LlamaAttempt | undefined
  #sampler: Sampler | undefined
  /** Tokens still to be evaluated before the next one can be drawn. */
  #pending: Token[] = []

  constructor(model: LlamaModel, sequence: LlamaContextSequence) {
    this.#model = model
    this.#sequence = sequence
  }

  get attempt(): LlamaAttempt | undefined {
    return this.#attempt
  }

  get isDecoding(): boolean {
    return this.#attempt !== undefined && this.#pending.length === 1
  }

  get prefillTokensPending(): number {
    return this.isDecoding ? 0 : this.#pending.length
  }

  /** Tokens at the start of `input` whose state is here. The last one is always evaluated, to draw from. */
  commonPrefix(input: readonly Token[]): number {
    const end = Math.min(this.#state.length, input.length - 1)
    let length = 0
    while (length < end && this.#state[length] === input[length]) length++
    return length
  }

  /** Takes an attempt, keeping the state of the prefix that it shares with the one before. @throws what the engine throws. */
  async assign(attempt: LlamaAttempt): Promise<void> {
    const { run, input } = attempt
    this.#attempt = attempt
    this.#sampler = new Sampler(this.#model, run.request.sampling)
    for (const id of run.answer) this.#sampler.accept(id as Token)
    await this.#cutState(this.commonPrefix(input))
    this.#pending = input.slice(this.#state.length)
    run.admit(Math.min(this.#state.length, run.promptTokens))
    // at once: it carries the new load to those who report it
    this.reportProgress()
  }

  /** Frees the slot; its state stays for the next attempt. */
  release(): void {
    this.#attempt = undefined
    this.#sampler = undefined
    this.#pending = []
  }

  /** After an error in the engine nothing is known of the state. */
  async reset(): Promise<void> {
    this.release()
    this.#state.length = 0
    await this.#sequence.clearHistory()
  }

  /** The next part of the input, at most `tokensMax` of it; the last token is the one to draw from. */
  step(tokensMax: number): SlotStep | undefined {
    const { run } = this.#attempt!
    const tokens = this.#pending.slice(0, tokensMax)
    if (tokens.length === 0) return undefined
    const items: ControlledEvaluateInputItem[] = [...tokens]
    if (tokens.length === this.#pending.length)
      items[items.length - 1] = [tokens.at(-1)!, { generateNext: this.#sampler!.next(run.answer.length) }]
    return { slot: this, tokens, items }
  }

  /** Evaluates a step and delivers the token that it drew, if it came to one. @throws what the engine throws. */
  async evaluate(step: SlotStep): Promise<Token | undefined> {
    const output = await this.#sequence.controlledEvaluate(step.items)
    this.#state.push(...step.tokens)
    this.#pending.splice(0, step.tokens.length)
    if (this.#pending.length > 0) return undefined
    const token = output.at(-1)?.next.token
    if (token === undefined || token === null) throw new SkeinError('ENGINE_FAILED', 'the engine drew no token')
    return token
  }

  /** Delivers the token drawn, and has it evaluated next. */
  accept(token: Token): void {
    const { run } = this.#attempt!
    if (this.#model.isEogToken(token)) return run.finish('stop')
    this.#sampler!.accept(token)
    this.#pending.push(token)
    run.deliver([token])
  }

  reportProgress(): void {
    const { run, input } = this.#attempt!
    if (!this.isDecoding) run.progress('prefill', input.length - this.#pending.length, input.length)
  }

  async #cutState(length: number): Promise<void> {
    if (length === this.#state.length) return
    await this.#sequence.eraseContextTokenRanges([{ start: length, end: this.#state.length }])
    // some architectures cannot forget a part: then the library has erased more
    this.#state.length = Math.min(length, this.#sequence.nextTokenIndex)
  }
}
