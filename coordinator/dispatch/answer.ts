/**
 * The tokens and the text of one answer, in the pieces in which an engine released them. It only grows. A reader may
 * stand at the end of any piece, and gets from there on what came since: that is all that resuming a stream needs.
 */
import {
  LIMITS,
  packTokenIds,
  SkeinError,
  ThoughtScanner,
  unpackTokenIds,
  type ThoughtMarks,
  type TokenLogprob,
} from '../../mesh/protocol/index.ts'
import type { AnswerPart } from '../ledger/index.ts'
import type { TaskEvent } from './events.ts'

/**
 * A position is a number of tokens and so many of these: more than any answer has tokens (`LIMITS.generatedTokensMax`), so
 * that positions of one making cannot meet those of the next.
 */
export const MAKING = 2 ** 20

/** What a client holds cannot be gone on with. */
export const diverged = (): SkeinError =>
  new SkeinError('ANSWER_DIVERGED', 'what followed there was lost and is made again; read the answer from its start')

export type TokensEvent = Extract<TaskEvent, { type: 'tokens' }>

interface Piece {
  /** Index in the answer behind its last token. */
  readonly end: number
  readonly text: string
}

export class Answer {
  readonly #ids: number[] = []
  readonly #pieces: Piece[] = []
  /** Where the answer was made again, because what had followed there was lost with all who held it. */
  readonly #remade: number[] = []
  #logprobs: TokenLogprob[] | undefined
  #textLength = 0
  #hasPieces = false

  /** @param hasLogprobs whether each token comes with its log probability. */
  constructor(hasLogprobs: boolean) {
    if (hasLogprobs) this.#logprobs = []
  }

  /** Tokens so far: the index of the next one. */
  get length(): number {
    return this.#ids.length
  }

  get text(): string {
    return this.#pieces.map((piece) => piece.text).join('')
  }

  /** Of `text`, in UTF-16 code units. */
  get textLength(): number {
    return this.#textLength
  }

  /** Whether some of its tokens are pieces of text, which mean nothing in a vocabulary. */
  get hasPieces(): boolean {
    return this.#hasPieces
  }

  /** Of all tokens so far; absent when none were asked for. */
  get logprobs(): readonly TokenLogprob[] | undefined {
    return this.#logprobs
  }

  /** Ids from index `from` on. */
  ids(from = 0): readonly number[] {
    return from === 0 ? this.#ids : this.#ids.slice(from)
  }

  push(ids: readonly number[], text: string, logprobs?: readonly TokenLogprob[]): void {
    for (const id of ids) {
      this.#ids.push(id)
      if (id >= LIMITS.vocabularyTokensMax) this.#hasPieces = true
    }
    this.#textLength += text.length
    this.#pieces.push({ end: this.#ids.length, text })
    if (this.#logprobs && logprobs) for (const each of logprobs) this.#logprobs.push(each)
  }

  /** Takes all of it back, which nobody may have read; `undefined` when there is nothing. `restore` puts it there again. */
  withdraw(): AnswerPart | undefined {
    const all = this.part(0)
    this.#ids.length = this.#pieces.length = this.#textLength = 0
    if (this.#logprobs) this.#logprobs = []
    this.#hasPieces = false
    return all
  }

  /** What may once have followed here is lost: positions behind it will be other ones. */
  remake(): void {
    this.#remade.push(this.length)
  }

  /** Where a follower stands behind the first `index` tokens. */
  position(index: number): number {
    return index + MAKING * this.#makings(index)
  }

  /** Tokens before `position`. @throws SkeinError ANSWER_DIVERGED, INVALID_REQUEST. */
  indexOf(position: number): number {
    const index = position % MAKING
    if (Math.floor(position / MAKING) === this.#makings(index)) return index
    throw diverged()
  }

  #makings(index: number): number {
    return this.#remade.reduce((count, at) => count + (at < index ? 1 : 0), 0)
  }

  /** Takes over a durable part. @throws SkeinError LEDGER_CORRUPT when it does not continue the answer. */
  restore(part: AnswerPart): void {
    const ids = unpackTokenIds(part.ids)
    if (ids === undefined || part.index !== this.length)
      throw new SkeinError('LEDGER_CORRUPT', 'a part of an answer does not follow the one before')
    let token = 0
    let unit = 0
    for (const [tokens, units] of part.cuts) {
      const logprobs = part.logprobs?.slice(token, token + tokens)
      this.push(ids.slice(token, token + tokens), part.text.slice(unit, unit + units), logprobs)
      token += tokens
      unit += units
    }
  }

  /** What came behind the first `after` tokens, as one event; `undefined` when nothing did. */
  read(after: number): TokensEvent | undefined {
    if (after >= this.length) return undefined
    const first = this.#pieceAfter(after)
    const text = first === this.#pieces.length - 1 ? this.#pieces[first]!.text : this.#textFrom(first)
    const logprobs = this.#logprobs?.slice(after)
    const position = this.position(this.length)
    return { type: 'tokens', index: after, count: this.length - after, position, text, ...(logprobs && { logprobs }) }
  }

  /** What came behind the first `after` tokens, to be made durable. */
  part(after: number): AnswerPart | undefined {
    if (after >= this.length) return undefined
    const first = this.#pieceAfter(after)
    let end = after
    const cuts = this.#pieces.slice(first).map((piece) => {
      const cut = [piece.end - end, piece.text.length] as const
      end = piece.end
      return cut
    })
    const logprobs = this.#logprobs?.slice(after)
    return {
      index: after,
      ids: packTokenIds(this.ids(after)),
      text: this.#textFrom(first),
      cuts,
      ...(logprobs && { logprobs }),
    }
  }

  /** Text of the first `before` tokens. @throws SkeinError INVALID_REQUEST when no piece ends there. */
  textBefore(before: number): string {
    if (before === 0) return ''
    const last = before === this.length ? this.#pieces.length : this.#pieceAfter(before)
    let text = ''
    for (let i = 0; i < last; i++) text += this.#pieces[i]!.text
    return text
  }

  /** Tokens of its thought with the marks, wherever they were made. */
  thoughtTokens(marks: ThoughtMarks): number {
    const scanner = new ThoughtScanner(marks)
    for (const { end, text } of this.#pieces) {
      scanner.push(text)
      if (scanner.closedAt !== undefined) return end
      if (scanner.phase === 'said') return 0
    }
    return scanner.phase === 'thought' ? this.length : 0
  }

  /** Whether a reader can stand behind the first `after` tokens. */
  isBorder(after: number): boolean {
    if (after === 0 || after === this.length) return true
    return after < this.length && this.#startOf(this.#search(after)) === after
  }

  #textFrom(first: number): string {
    let text = ''
    for (let i = first; i < this.#pieces.length; i++) text += this.#pieces[i]!.text
    return text
  }

  /** @throws SkeinError INVALID_REQUEST when no piece begins there. */
  #pieceAfter(after: number): number {
    const found = this.#search(after)
    if (this.#startOf(found) !== after)
      throw new SkeinError('INVALID_REQUEST', `the answer was never cut behind token ${after}; take a place it names`)
    return found
  }

  #startOf(piece: number): number {
    return piece === 0 ? 0 : this.#pieces[piece - 1]!.end
  }

  /** The first piece that ends behind `after`; the newest is looked at first, since readers are mostly there. */
  #search(after: number): number {
    let low = 0
    let high = this.#pieces.length - 1
    if (this.#startOf(high) <= after) return high
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#pieces[middle]!.end > after) high = middle
      else low = middle + 1
    }
    return low
  }
}
