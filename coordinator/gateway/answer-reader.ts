/**
 * What the text of an answer says: thoughts, content and tool calls, in the order in which they stand there. What was read
 * depends on the text alone, so that who comes back reads the text in front of its place again and goes on.
 */
import {
  ThoughtSplitter,
  ToolCallParser,
  type AnsweredPart,
  type Parted,
  type ThoughtMarks,
} from '../../mesh/protocol/index.ts'

export type ReadPart = { readonly kind: 'thought'; readonly text: string } | AnsweredPart

/** Between the rounds of an answer that was made in several: behind it a thought may begin anew. */
export const ROUND_MARK = '\u001e'

/** Where an answer has thoughts. */
export type RoundMarks = ThoughtMarks & {
  /** It may be of several rounds. */
  readonly hasRounds?: boolean
}

/** How an answer is to be read. */
export interface Reading {
  /** Where it has a thought; absent when it has none. */
  readonly thought?: RoundMarks
  /** Whether it may call tools. */
  readonly hasTools: boolean
}

export class AnswerReader {
  readonly #marks: RoundMarks | undefined
  #thoughts: ThoughtSplitter | undefined
  readonly #calls: ToolCallParser | undefined

  constructor({ thought, hasTools }: Reading) {
    this.#marks = thought
    this.#thoughts = thought && new ThoughtSplitter(thought)
    this.#calls = hasTools ? new ToolCallParser() : undefined
  }

  /** Tool calls so far. */
  get calls(): number {
    return this.#calls?.calls ?? 0
  }

  push(text: string): ReadPart[] {
    if (this.#marks?.hasRounds !== true || !text.includes(ROUND_MARK)) return this.#push(text)
    return text.split(ROUND_MARK).flatMap((piece, index) => [...(index > 0 ? this.#turn() : []), ...this.#push(piece)])
  }

  /** A round is over. */
  #turn(): ReadPart[] {
    const parts = this.#read(this.#thoughts?.end() ?? { thought: '', said: '' })
    this.#thoughts = this.#marks && new ThoughtSplitter(this.#marks)
    return parts
  }

  #push(text: string): ReadPart[] {
    return this.#read(this.#thoughts?.push(text) ?? { thought: '', said: text })
  }

  /** The end of the answer: what was held back. */
  end(): ReadPart[] {
    return [...this.#read(this.#thoughts?.end() ?? { thought: '', said: '' }), ...(this.#calls?.end() ?? [])]
  }

  #read({ thought, said }: Parted): ReadPart[] {
    const parts: ReadPart[] = thought === '' ? [] : [{ kind: 'thought', text: thought }]
    if (said === '') return parts
    return this.#calls ? [...parts, ...this.#calls.push(said)] : [...parts, { kind: 'content', text: said }]
  }
}

/** The parts of a whole answer. */
export function readWhole(text: string, reading: Reading): ReadPart[] {
  const reader = new AnswerReader(reading)
  return [...reader.push(text), ...reader.end()]
}

/** What parts of one kind say together. */
export const textOf = (parts: readonly ReadPart[], kind: 'thought' | 'content'): string =>
  parts.map((part) => (part.kind === kind ? part.text : '')).join('')
