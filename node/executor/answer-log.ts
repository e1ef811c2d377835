/**
 * What one attempt has made: its tokens in the pieces in which the engine released them, and its final frame. It outlives
 * the streams on which it is sent. Another stream may begin behind any piece, since a client may stand behind any.
 */
import { LIMITS, SkeinError, type Frame } from '../../mesh/protocol/index.ts'
import type { GenerationEvent } from '../engines/index.ts'

export type FinalFrame = Extract<Frame, { type: 'attempt.end' | 'attempt.failed' }>
type Tokens = Omit<Extract<GenerationEvent, { type: 'tokens' }>, 'type'>

/** `index` is the index in the answer of the first of `ids`; there is at least one. */
export type Piece = Tokens

/** UTF-16 code units of text in one frame; the schema allows more, the token bound keeps ordinary text far below. */
export const TEXT_LENGTH_MAX = 512 * 1024
/** About what V8 takes for a piece, a token id, and a token with its bytes among log probabilities. */
const PIECE_BYTES = 128
const ID_BYTES = 8
const LOGPROB_BYTES = 192

export class AnswerLog {
  readonly pieces: Piece[] = []
  /** Once the attempt is over. Its fence is that of the stream on which it is sent. */
  final: FinalFrame | undefined
  #firstIndex: number
  #end: number
  #bytes = 0

  /** @param firstIndex index in the answer of the first token that the attempt makes. */
  constructor(firstIndex: number) {
    this.#firstIndex = this.#end = firstIndex
  }

  /** Index in the answer behind the last token made. */
  get end(): number {
    return this.#end
  }

  get hasTokens(): boolean {
    return this.made > 0
  }

  /** Tokens that the attempt made itself. */
  get made(): number {
    return this.#end - this.#firstIndex
  }

  /** About what it takes in memory. */
  get bytes(): number {
    return this.#bytes
  }

  /** `count` tokens were made elsewhere; before the first own one. */
  skip(count: number): void {
    this.#firstIndex = this.#end += count
  }

  /** @throws SkeinError ENGINE_FAILED when `index` leaves a gap or repeats, or the tokens cannot be sent. */
  add({ index, ids, text, logprobs }: Tokens): void {
    if (index !== this.#end)
      throw new SkeinError('ENGINE_FAILED', `the engine gave token ${index} where ${this.#end} was due`)
    if (text.length > TEXT_LENGTH_MAX) throw new SkeinError('ENGINE_FAILED', 'the engine gave too much text at once')
    if (logprobs !== undefined && logprobs.length !== ids.length)
      throw new SkeinError('ENGINE_FAILED', 'the engine gave another number of log probabilities than of tokens')
    const step = LIMITS.tokensPerFrameMax
    for (let at = 0; at < ids.length; at += step) {
      const isLast = at + step >= ids.length
      this.#keep({
        index: index + at,
        ids: ids.slice(at, at + step),
        // The text of a step that is split goes with its last tokens: earlier, it would be ahead of them.
        text: isLast ? text : '',
        ...(logprobs !== undefined && { logprobs: logprobs.slice(at, at + step) }),
      })
    }
  }

  /** Which piece begins with token `from`; their number when none does yet. `undefined` when one cannot go on there. */
  pieceAt(from: number): number | undefined {
    if (from === this.#end) return this.pieces.length
    let low = 0
    let high = this.pieces.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.pieces[middle]!.index < from) low = middle + 1
      else high = middle
    }
    return this.pieces[low]?.index === from ? low : undefined
  }

  #keep(piece: Piece): void {
    const { ids, text, logprobs = [] } = piece
    this.pieces.push(piece)
    this.#end += ids.length
    this.#bytes += PIECE_BYTES + ID_BYTES * ids.length + 2 * text.length
    for (const { top } of logprobs) this.#bytes += LOGPROB_BYTES * (1 + top.length)
  }
}
