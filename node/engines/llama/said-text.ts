/** What an answer says, without its thought: calls that are thought of are none. */
import { ThoughtScanner, type ThoughtMarks } from '../../../mesh/protocol/index.ts'

export class SaidText {
  readonly #scanner: ThoughtScanner | undefined

  /** @param marks of an answer that may think first. */
  constructor(marks: ThoughtMarks | undefined) {
    this.#scanner = marks && new ThoughtScanner(marks)
  }

  /** Of the next piece of the answer. */
  push(piece: string): string {
    if (this.#scanner === undefined) return piece
    return this.#scanner
      .push(piece)
      .map(({ kind, text }) => (kind === 'said' ? text : ''))
      .join('')
  }
}
