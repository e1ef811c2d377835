/** When an answer that may be anything is held to calls behind a mark. */
import { LlamaGrammarEvaluationState, type LlamaGrammar, type LlamaModel, type Token } from 'node-llama-cpp'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import { MarkScanner } from '../call-text.ts'
import type { FormatState } from './format-state.ts'
import { acceptByGrammar } from './native.ts'
import { textBytes } from './token-bytes.ts'

export interface MarkedCalls {
  readonly kind: 'marked'
  /** From the mark on, to the end of the answer. */
  readonly call: LlamaGrammar
  readonly mark: string
  /** Special tokens that are part of the text. */
  readonly printed: ReadonlySet<string>
  /** Fresh: of what the model writes, where the mark is looked for. */
  readonly said: () => Said
}

interface Said {
  push(units: string): string
}

/** One unit for each byte, since a token may end within a character. */
const units = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')

/**
 * The answer is free up to the mark, outside of its thought, and a grammar holds it from there on to its end. A model that
 * goes on behind the mark in a way which the grammar does not know, in the same token, is left to write as it likes.
 */
export class MarkedCallFormat implements FormatState {
  readonly #model: LlamaModel
  readonly #by: MarkedCalls
  readonly #said: Said
  readonly #mark: MarkScanner
  #grammar: LlamaGrammarEvaluationState | undefined

  constructor(model: LlamaModel, by: MarkedCalls) {
    this.#model = model
    this.#by = by
    this.#said = by.said()
    this.#mark = new MarkScanner(units(new TextEncoder().encode(by.mark)))
  }

  get grammar(): LlamaGrammarEvaluationState | undefined {
    return this.#grammar
  }

  drawn(token: Token): void {
    if (this.#grammar !== undefined) return
    const said = this.#said.push(units(textBytes(this.#model, token, this.#by.printed)))
    let isWhole = false
    for (const unit of said) isWhole = this.#mark.take(unit).isWhole || isWhole
    if (isWhole) this.#hold(token)
  }

  replayed(token: Token): void {
    if (this.#grammar === undefined) return this.drawn(token)
    try {
      // the library aborts the process over a token that ends a text
      if (this.#model.isEogToken(token)) throw new SkeinError('INVALID_REQUEST', 'the answer has ended')
      acceptByGrammar(this.#model, this.#grammar, token)
    } catch {
      throw new SkeinError('INVALID_REQUEST', 'the tokens so far do not fit the format', { param: 'tools' })
    }
  }

  #hold(token: Token): void {
    const grammar = new LlamaGrammarEvaluationState({ model: this.#model, grammar: this.#by.call })
    try {
      acceptByGrammar(this.#model, grammar, token)
      this.#grammar = grammar
    } catch {
      // the grammar does not know what the token has behind the mark
    }
  }
}
