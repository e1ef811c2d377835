/** One sequence of the context: the tokens whose state it holds, and the attempt that it decodes. */
import type { LlamaContextSequence, LlamaModel, Token } from 'node-llama-cpp'
import { asSkeinError, LIMITS, SkeinError, type TokenLogprob } from '../../../mesh/protocol/index.ts'
import type { AttemptRun } from '../attempt-run.ts'
import { commonLength, type KvState, type KvStates } from './kv-states.ts'
import { SequenceDecoder, type Drawn, type DrawnLogprobs } from './native.ts'
import type { Sampler } from './sampling.ts'
import { textBytes, tokenBytes } from './token-bytes.ts'

export interface LlamaAttempt {
  readonly run: AttemptRun
  /** Tokens of the prompt, then those that earlier attempts generated. */
  readonly input: readonly Token[]
  /** Has replayed the generated tokens of `input`. */
  readonly sampler: Sampler
  /** The same, of an answer that goes on behind another text than it was begun with, as its run says. */
  readonly renewed: () => Pick<LlamaAttempt, 'input' | 'sampler'>
}

/** What a slot evaluates in one step. */
export interface SlotStep {
  readonly slot: SequenceSlot
  readonly tokens: readonly Token[]
  /** Whether they are the last of the input, so that the next token is drawn. */
  readonly isLast: boolean
}

/** Of a log probability, as the protocol has it: that of a token which the model rules out is minus infinity. */
const LOGPROB_MIN = -1e9

export class SequenceSlot {
  /** Called when a held attempt may go on; set by the loop that drives the slot. */
  onCommit: () => void = () => {}
  /** Grows with each use of any slot; 0 when there is nothing in it to keep. */
  lastUsed = 0
  readonly #model: LlamaModel
  readonly #sequence: LlamaContextSequence
  readonly #decoder: SequenceDecoder
  /** Tokens whose state the sequence holds; kept when an attempt ends, for the next one's prefix. */
  readonly #state: Token[] = []
  /** Nobody will go on with what they are of. */
  #isMeasured = false
  #attempt: LlamaAttempt | undefined
  /** Tokens still to be evaluated before the next one can be drawn. */
  #pending: Token[] = []
  /** The last pending token is not evaluated while the attempt is held: behind it others may come. */
  #isHeld = false
  /** Of the state, what the attempt goes on behind, when it was held behind something else. */
  #kept: number | undefined

  constructor(model: LlamaModel, sequence: LlamaContextSequence) {
    this.#model = model
    this.#sequence = sequence
    this.#decoder = new SequenceDecoder(model, sequence)
  }

  get attempt(): LlamaAttempt | undefined {
    return this.#attempt
  }

  get isDecoding(): boolean {
    return this.#attempt !== undefined && this.#pending.length === 1
  }

  /** Tokens that may be evaluated now. */
  get tokensDue(): number {
    return this.#pending.length - (this.#isHeld ? 1 : 0)
  }

  get prefillTokensPending(): number {
    return this.isDecoding ? 0 : this.#pending.length
  }

  /** Tokens at the start of `input` whose state is here. The last one is always evaluated, to draw from. */
  commonPrefix(input: readonly Token[]): number {
    return commonLength(this.#state, input, Math.min(this.#state.length, input.length - 1))
  }

  /** Tokens whose state is here. */
  get held(): number {
    return this.#state.length
  }

  /** Saves the state behind the first `kept` tokens, where that is worth it, and no room of `spared`. Does not throw. */
  async save(states: KvStates, kept: number, isAlone: boolean, spared: KvState | undefined): Promise<void> {
    if (this.#isMeasured) return
    if (states.shouldSave(this.#state, kept, isAlone)) await states.save(this.#sequence, this.#state, spared)
  }

  /** Takes in a state in place of its own. One that fails leaves it without any. Does not throw. */
  async restore(states: KvStates, state: KvState): Promise<void> {
    try {
      // nothing of the old state may be left when the library believes that there is none
      await this.#cutState(0)
      await states.restore(this.#sequence, state)
      if (this.#sequence.nextTokenIndex !== state.tokens.length)
        throw new SkeinError('ENGINE_FAILED', `the state has ${this.#sequence.nextTokenIndex} tokens`)
      for (const token of state.tokens) this.#state.push(token)
    } catch {
      await this.reset()
    }
  }

  /** Takes an attempt, keeping the state of the prefix that it shares with the one before. @throws what the engine throws. */
  async assign(attempt: LlamaAttempt): Promise<void> {
    const { run, input } = attempt
    this.#attempt = attempt
    this.#isMeasured = run.request.isEndless === true
    await this.#cutState(this.commonPrefix(input))
    this.#pending = input.slice(this.#state.length)
    this.#isHeld = run.request.hold !== undefined
    run.admit(Math.min(this.#state.length, run.promptTokens))
    // at once: it carries the new load to those who report it
    this.reportProgress()
    this.#holdWhenPrefilled()
  }

  /** To be called before a step. @throws what the engine throws. */
  async settle(): Promise<void> {
    const kept = this.#kept
    if (kept === undefined || this.#attempt === undefined) return
    this.#kept = undefined
    await this.#cutState(kept)
    this.#pending = this.#attempt.input.slice(this.#state.length)
  }

  /** Frees the slot; its state stays for the next attempt. */
  release(): void {
    this.#attempt = undefined
    this.#kept = undefined
    this.#pending = []
    this.#isHeld = false
  }

  /** After an error in the engine nothing is known of the state. */
  async reset(): Promise<void> {
    this.release()
    this.#state.length = 0
    this.lastUsed = 0
    await this.#sequence.clearHistory()
  }

  dispose(): void {
    this.#decoder.dispose()
  }

  /** The next part of the input, at most `tokensMax` of it. */
  step(tokensMax: number): SlotStep | undefined {
    const tokens = this.#pending.slice(0, Math.min(tokensMax, this.tokensDue))
    return tokens.length === 0 ? undefined : { slot: this, tokens, isLast: tokens.length === this.#pending.length }
  }

  /** Evaluates a step and gives the token that it drew, if it came to one. @throws what the engine throws. */
  async evaluate({ tokens, isLast }: SlotStep): Promise<Drawn | undefined> {
    const { run, sampler } = this.#attempt!
    const drawn = await this.#decoder.evaluate(tokens, isLast ? sampler.next(run.answer.length) : undefined)
    this.#state.push(...tokens)
    this.#pending.splice(0, tokens.length)
    this.#holdWhenPrefilled()
    if (isLast && drawn === undefined) throw new SkeinError('ENGINE_FAILED', 'the engine drew no token')
    return drawn
  }

  /** Delivers the token drawn, and has it evaluated next. */
  accept({ token, logprobs }: Drawn): void {
    const { run, sampler } = this.#attempt!
    if (this.#model.isEogToken(token) && run.request.isEndless !== true) return run.finish('stop')
    sampler.accept(token)
    this.#pending.push(token)
    run.deliver([token], logprobs && [this.#told(token, logprobs)])
  }

  reportProgress(): void {
    const { run } = this.#attempt!
    const done = this.#state.length
    if (this.tokensDue === 0) return
    if (this.isDecoding) run.progress('decode', run.answer.length, run.request.maxTokens)
    else run.progress('prefill', done, done + this.#pending.length)
  }

  #holdWhenPrefilled(): void {
    if (this.#isHeld && this.tokensDue === 0) void this.#hold(this.#attempt!)
  }

  async #hold(attempt: LlamaAttempt): Promise<void> {
    const { run, sampler } = attempt
    const tail = await run.prepared()
    if (run.ended || this.#attempt !== attempt) return
    try {
      if ('said' in tail) this.#renew(attempt)
      else {
        sampler.replay(tail as readonly Token[])
        for (const token of tail) this.#pending.push(token as Token)
      }
    } catch (error) {
      return run.fail(asSkeinError(error, 'ENGINE_FAILED'))
    }
    this.#isHeld = false
    this.onCommit()
  }

  /** What was prefilled of another text is kept as far as it is the same: `settle` forgets the rest, between two steps. */
  #renew(attempt: LlamaAttempt): void {
    this.#attempt = { ...attempt, ...attempt.renewed() }
    this.#kept = this.commonPrefix(this.#attempt.input)
    this.#pending = this.#attempt.input.slice(this.#kept)
  }

  #told(token: Token, { logprob, top }: DrawnLogprobs): TokenLogprob {
    const share = (bytes: Uint8Array, value: number): Pick<TokenLogprob, 'bytes' | 'logprob'> => ({
      bytes: bytes.slice(0, LIMITS.tokenBytesMax),
      // rounding may lift it above 0
      logprob: Math.min(0, Math.max(LOGPROB_MIN, value)),
    })
    return {
      ...share(textBytes(this.#model, token), logprob),
      top: top.map((each) => share(tokenBytes(this.#model, each.token), each.logprob)),
    }
  }

  async #cutState(length: number): Promise<void> {
    if (length === this.#state.length) return
    await this.#sequence.eraseContextTokenRanges([{ start: length, end: this.#state.length }])
    // some architectures cannot forget a part: then the library has erased more
    this.#state.length = Math.min(length, this.#sequence.nextTokenIndex)
  }
}
