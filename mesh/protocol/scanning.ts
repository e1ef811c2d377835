/** What the readers of an answer's text share. It comes in pieces, and what they say must not depend on how it was cut. */

/**
 * Length of `marker` matched behind `unit`, the next character, when `matched` of it were before. The marker's first
 * character must be nowhere else in it.
 */
export const advance = (marker: string, matched: number, unit: string): number =>
  unit === marker[matched] ? matched + 1 : unit === marker[0] ? 1 : 0

/** White space around a marker that is taken for the template's own, and held back until it is known to be. */
export const SPACE_MAX = 64

/** Where the white space at the end of `text` begins that is to be held back. */
export const heldSpace = (text: string): number => Math.max(text.trimEnd().length, text.length - SPACE_MAX)

/** Whether a JSON text that comes character by character is within a string. */
export class StringScanner {
  #isIn = false
  #isEscaped = false

  /** Whether `unit` belongs to a string, its quotes included. */
  take(unit: string): boolean {
    const wasIn = this.#isIn
    if (this.#isEscaped) this.#isEscaped = false
    else if (unit === '"') this.#isIn = !wasIn
    else this.#isEscaped = wasIn && unit === '\\'
    return wasIn || this.#isIn
  }
}
