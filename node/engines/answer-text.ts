/**
 * The text of an answer as a pure function of its tokens: which of it may be released, and whether a stop string has
 * ended it. A moved attempt replays the tokens so far through `push` and is then where the other node was, with the same
 * text held back.
 *
 * Two things are held back: the bytes of an unfinished character (the detokeniser shows them as one U+FFFD at the end),
 * and the longest end of the text that may still become a stop string. What is released does not depend on how the text
 * is cut into tokens: of two stop strings the one that is complete first wins.
 *
 * A thought in front of the answer is released with its marks, and no stop string is looked for in it.
 *
 * An answer may also go on behind text that was released elsewhere (`resume`), of tokens that mean nothing here. What had
 * been held back there is made again; a stop string may begin in that text all the same.
 */
import { ThoughtScanner, type ThoughtMarks, type ThoughtSpan } from '../../mesh/protocol/index.ts'
import type { CallText } from './call-text.ts'

/** The text of consecutive tokens; each unfinished or broken character becomes U+FFFD. */
export type Detokenize = (ids: readonly number[]) => string

const REPLACEMENT = '\uFFFD'
/** Tokens that one unfinished character may span: a stream of broken bytes must not make each step slower. */
const PENDING_TOKENS_MAX = 64

export class AnswerText {
  readonly #detokenize: Detokenize
  readonly #stops: StopMatcher
  readonly #thoughts: ThoughtScanner | undefined
  readonly #calls: CallText | undefined
  /** Tokens in front of the pending ones: a detokeniser may drop the space in front of a text's first word. */
  #context: readonly number[] = []
  #contextLength = 0
  #pending: number[] = []
  /** UTF-16 code units of the pending tokens' text that went on to the stop matcher. */
  #passed = 0
  /** Of what is released next, UTF-16 code units that were released elsewhere. */
  #released = 0
  #tokens = 0
  #thoughtTokens = 0

  /**
   * @param thought where the answer has one, in which no stop string is looked for.
   * @param calls what writes the calls of tools in the markup that is ours, of a model that has another; those that are
   *   thought of are none.
   */
  constructor(detokenize: Detokenize, stop: readonly string[], thought?: ThoughtMarks, calls?: CallText) {
    this.#calls = calls
    this.#detokenize = detokenize
    this.#stops = new StopMatcher(stop)
    this.#thoughts = thought && new ThoughtScanner(thought)
  }

  /** Tokens of the thought and its marks, up to and with the one that ends it. */
  get thoughtTokens(): number {
    return this.#thoughtTokens
  }

  /** True once a stop string was complete: the answer ended in front of it. */
  get stopped(): boolean {
    return this.#stops.stopped
  }

  /** Which of the stop strings that was. */
  get stopIndex(): number | undefined {
    return this.#stops.index
  }

  /**
   * Goes on behind `said`, which was released elsewhere; before any token, and not where calls are written otherwise.
   *
   * @param tokens of the answer up to there.
   * @param context ids of this vocabulary that `said` ends with: a detokeniser may need them.
   * @param again UTF-16 code units at its end that the first token makes again.
   */
  resume(said: string, tokens: number, context: readonly number[], again = 0): void {
    if (said === '') return
    this.#tokens = tokens
    const released = this.#release(said.slice(0, said.length - again))
    this.#released = said.length - released.length
    this.#context = context
    this.#contextLength = this.#detokenize(context).length
  }

  /** Takes the next token of the answer and gives the text that it releases. */
  push(id: number): string {
    if (this.stopped) return ''
    this.#tokens++
    this.#pending.push(id)
    const text = this.#pendingText()
    const isWhole = !text.endsWith(REPLACEMENT) || this.#pending.length >= PENDING_TOKENS_MAX
    const fresh = text.slice(this.#passed, isWhole ? text.length : text.length - 1)
    this.#passed += fresh.length
    if (isWhole) this.#settle()
    return this.#unsaid(this.#release(fresh))
  }

  /** The end of the answer, other than by a stop string: gives what was held back. */
  end(): string {
    if (this.stopped) return ''
    const fresh = this.#pendingText().slice(this.#passed)
    this.#settle()
    const isOuter = this.#calls?.writesThoughts === true
    const released = this.#release(fresh) + (isOuter ? this.#part(this.#calls?.end() ?? '') : '')
    const rest = this.#pass(this.#thoughts?.end() ?? [])
    const last = this.#stops.push(isOuter ? '' : (this.#calls?.end() ?? '')) + this.#stops.end()
    return this.#unsaid(released + rest + last)
  }

  #unsaid(text: string): string {
    const cut = Math.min(this.#released, text.length)
    this.#released -= cut
    return text.slice(cut)
  }

  #release(written: string): string {
    const fresh = this.#calls?.writesThoughts ? this.#calls.push(written) : written
    return this.#part(fresh)
  }

  #part(fresh: string): string {
    if (this.#thoughts === undefined) return this.#say(fresh)
    const wasThinking = this.#thoughts.phase === 'thought'
    const released = this.#pass(this.#thoughts.push(fresh))
    if (this.#thoughts.phase === 'thought' || wasThinking || this.#thoughts.closedAt !== undefined)
      this.#thoughtTokens = this.#tokens
    return released
  }

  #pass(spans: readonly ThoughtSpan[]): string {
    return spans.map(({ kind, text }) => (kind === 'said' ? this.#say(text) : text)).join('')
  }

  #say(text: string): string {
    return this.#stops.push(this.#calls && !this.#calls.writesThoughts ? this.#calls.push(text) : text)
  }

  #pendingText(): string {
    if (this.#pending.length === 0) return ''
    return this.#detokenize([...this.#context, ...this.#pending]).slice(this.#contextLength)
  }

  #settle(): void {
    if (this.#pending.length === 0) return
    this.#context = this.#pending
    this.#contextLength = this.#detokenize(this.#context).length
    this.#pending = []
    this.#passed = 0
  }
}

/** Finds the first stop string in a text that comes in parts. */
class StopMatcher {
  readonly #stop: readonly string[]
  #held = ''
  /** Of the stop string that was found. */
  index: number | undefined

  constructor(stop: readonly string[]) {
    this.#stop = stop
  }

  get stopped(): boolean {
    return this.index !== undefined
  }

  push(part: string): string {
    if (this.stopped) return ''
    const text = this.#held + part
    const found = this.#firstStop(text)
    if (found) {
      this.index = found.index
      this.#held = ''
      return text.slice(0, found.start)
    }
    const kept = this.#partialStop(text)
    this.#held = text.slice(text.length - kept)
    return text.slice(0, text.length - kept)
  }

  end(): string {
    const held = this.#held
    this.#held = ''
    return held
  }

  /** The stop string that ends first, and where it begins; of those that end together, the longest. */
  #firstStop(text: string): { index: number; start: number } | undefined {
    let first: { index: number; start: number; end: number } | undefined
    for (const [index, stop] of this.#stop.entries()) {
      const start = text.indexOf(stop)
      if (start < 0 || stop === '') continue
      const end = start + stop.length
      if (first === undefined || end < first.end || (end === first.end && start < first.start))
        first = { index, start, end }
    }
    return first
  }

  /** Length of the longest end of `text` that begins a stop string. */
  #partialStop(text: string): number {
    let longest = 0
    for (const stop of this.#stop)
      for (let length = Math.min(stop.length - 1, text.length); length > longest; length--)
        if (text.endsWith(stop.slice(0, length))) longest = length
    return longest
  }
}
