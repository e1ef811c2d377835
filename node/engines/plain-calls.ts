/**
 * Tool calls of models that write them as bare JSON, as Llama 3 does:
 *
 *     {"name": "greenhouse.temperature", "parameters": {"unit": "C"}}
 *
 * What nodes deliver has the markup of `mesh/protocol/tool-calls.ts` in their place. The text is a function of the text that
 * the model wrote, in whatever pieces: it is rebuilt like all else when an answer goes on elsewhere.
 */
import { CALL_CLOSE, CALL_OPEN, ObjectScanner, TOOL_NAME } from '../../mesh/protocol/index.ts'

/** Of a call, up to its arguments: each part may be the last that a text has so far. */
const PARTS = [
  ...[String.raw`[\s;]*`, String.raw`\{`, String.raw`\s*`, ...'"name"', String.raw`\s*`, ':', String.raw`\s*`],
  ...['"', String.raw`([^"\\]*)`, '"', String.raw`\s*`, ',', String.raw`\s*`],
  ...[...'"parameters"', String.raw`\s*`, ':', String.raw`\s*`],
]
const HEAD = new RegExp(`^${PARTS.join('')}(?=\\{)`)
const BEGUN = new RegExp(`^${PARTS.reduceRight((rest, part) => `(?:${part}${rest})?`, '')}$`)
/** More of it is held back by nobody. */
const HEAD_MAX = 256
const NAME = new RegExp(TOOL_NAME)

/** Writes bare calls at the beginning of a text in the markup that is ours. */
export class PlainCallText {
  #state: 'begin' | 'arguments' | 'close' | 'text' = 'begin'
  #held = ''
  #arguments = new ObjectScanner()
  #calls = 0

  push(piece: string): string {
    if (this.#state === 'text') return piece
    if (this.#state === 'arguments') return this.#tell(piece)
    this.#held += piece
    return this.#state === 'begin' ? this.#begin() : this.#close()
  }

  /** The end of the text: what was held back. */
  end(): string {
    const held = this.#held
    this.#held = ''
    return held
  }

  #begin(): string {
    const head = HEAD.exec(this.#held.slice(0, HEAD_MAX))
    if (head && NAME.test(head[1]!)) {
      const rest = this.#held.slice(head[0].length)
      this.#held = ''
      this.#state = 'arguments'
      this.#arguments = new ObjectScanner()
      const gap = this.#calls++ === 0 ? '' : '\n'
      return `${gap}${CALL_OPEN}\n{"name": "${head[1]}", "arguments": ${this.#tell(rest)}`
    }
    return this.#held.length < HEAD_MAX && BEGUN.test(this.#held) ? '' : this.#giveUp()
  }

  #tell(piece: string): string {
    const end = this.#arguments.push(piece)
    if (!this.#arguments.isOver) return piece
    this.#state = 'close'
    this.#held = piece.slice(end)
    return piece.slice(0, end) + this.#close()
  }

  #close(): string {
    const trimmed = this.#held.trimStart()
    if (trimmed === '') return ''
    if (!trimmed.startsWith('}')) return this.#giveUp()
    this.#held = trimmed.slice(1)
    this.#state = 'begin'
    return `}\n${CALL_CLOSE}${this.#begin()}`
  }

  #giveUp(): string {
    this.#state = 'text'
    return this.end()
  }
}
