/** Lines of a terminal become messages: between two `"""` all lines are one, and a line that ends in `\` has another. */

const FENCE = '"""'

export class Multiline {
  #lines: string[] = []
  #isFenced = false

  /** Whether a message has begun and not ended. */
  get isOpen(): boolean {
    return this.#isFenced || this.#lines.length > 0
  }

  /** The message that ends with `line`; `undefined` while it goes on. */
  take(line: string): string | undefined {
    if (this.#isFenced) return this.#fenced(line)
    if (this.#lines.length === 0 && line.trimStart().startsWith(FENCE)) {
      this.#isFenced = true
      return this.#fenced(line.trimStart().slice(FENCE.length))
    }
    if (line.endsWith('\\')) {
      this.#lines.push(line.slice(0, -1))
      return undefined
    }
    return this.#end(line)
  }

  /** What there is, at the end of the input; `undefined` when there is nothing. */
  rest(): string | undefined {
    return this.isOpen ? this.#end() : undefined
  }

  drop(): void {
    this.#end()
  }

  #fenced(line: string): string | undefined {
    if (line.trimEnd().endsWith(FENCE)) return this.#end(line.trimEnd().slice(0, -FENCE.length))
    this.#lines.push(line)
    return undefined
  }

  #end(...last: string[]): string {
    const text = [...this.#lines, ...last].join('\n').trim()
    this.#lines = []
    this.#isFenced = false
    return text
  }
}
