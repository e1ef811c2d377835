/** What a model thinks before it answers, on stderr: stdout is the answer. */
import type { Output } from './output.ts'

export class ThoughtDisplay {
  readonly #output: Output
  readonly #isShown: boolean
  #state: 'before' | 'open' | 'over' = 'before'

  /** @param isShown else it is only said that there is one. */
  constructor(output: Output, isShown: boolean) {
    this.#output = output
    this.#isShown = isShown
  }

  thought(piece: string): void {
    if (this.#state === 'over') return
    if (this.#isShown) this.#output.aside(piece)
    else if (this.#state === 'before') this.#output.note('thinking…')
    this.#state = 'open'
  }

  /** The answer begins, or there is none. */
  end(): void {
    if (this.#state === 'open' && this.#isShown) this.#output.aside('\n\n')
    this.#state = 'over'
  }
}
