/**
 * What models write for calls of tools, brought into the markup of `mesh/protocol/tool-calls.ts`. The text that nodes deliver
 * is a function of the text that the model wrote, in whatever pieces: it is rebuilt like all else when an answer goes on
 * elsewhere.
 */
import { advance, TOOL_NAME } from '../../mesh/protocol/index.ts'

/** Writes the calls of one answer in the markup that is ours. */
export interface CallText {
  /** Takes the next piece of the answer, and gives the text that it releases. */
  push(piece: string): string
  /** The end of the answer: what was held back. */
  end(): string
  /** Reads the whole answer and writes the marks of its thought too; else it is given what is said behind the thought. */
  readonly writesThoughts?: boolean
}

/**
 * How a model writes calls: in the markup that is ours (`tagged`), as bare JSON and nothing in front of it (`plain`,
 * `plain-calls.ts`), behind a mark of its own (`marked-calls.ts`), parameter by parameter (`parameters`,
 * `parameter-calls.ts`), or in a channel (`channels`, `channel-text.ts`).
 */
export type CallSyntax = 'tagged' | 'plain' | 'parameters' | 'channels' | MarkedSyntax

/** `mistral-named` and `deepseek-bare` are what later models of the two write. */
export type MarkedSyntax = 'mistral' | 'mistral-named' | 'deepseek' | 'deepseek-bare' | 'command' | 'granite' | 'phi'

const NAME = new RegExp(TOOL_NAME)

export const isToolName = (name: string): boolean => NAME.test(name)

/** What stands in front of a call or behind one is not waited for beyond this length in code units. */
export const HEAD_LENGTH_MAX = 256

/** A form of text, part by part. */
export interface Sequence {
  /** The text is all of it. */
  readonly whole: RegExp
  /** The text may become it. */
  readonly begun: RegExp
}

/** @param parts words that stand there as they are, and expressions that any part of what they match matches too. */
export function sequence(...parts: readonly (string | RegExp)[]): Sequence {
  const atoms = parts.flatMap((part) =>
    typeof part === 'string'
      ? [...part].map((unit) => unit.replace(/[\\^$.*+?()[\]{}|]/, String.raw`\$&`))
      : part.source,
  )
  return {
    whole: new RegExp(`^${atoms.join('')}$`),
    begun: new RegExp(`^${atoms.reduceRight((rest, atom) => `(?:${atom}${rest})?`, '')}$`),
  }
}

/** The first of `sequences` that `text` is all of. */
export function wholeOf(sequences: readonly Sequence[], text: string): RegExpExecArray | undefined {
  for (const { whole } of sequences) {
    const match = whole.exec(text)
    if (match) return match
  }
  return undefined
}

/** Whether `text` may become one of `sequences`. */
export const isBegun = (sequences: readonly Sequence[], text: string): boolean =>
  text.length < HEAD_LENGTH_MAX && sequences.some(({ begun }) => begun.test(text))

/** Lets text through up to a mark, and holds back what may become the mark. */
export class MarkScanner {
  readonly #mark: string
  #matched = 0

  /** @param mark whose first character is nowhere else in it. */
  constructor(mark: string) {
    this.#mark = mark
  }

  /** What may become the mark. */
  get held(): string {
    return this.#mark.slice(0, this.#matched)
  }

  /** Takes the next code unit: what it releases, and whether the mark ends with it. */
  take(unit: string): { readonly text: string; readonly isWhole: boolean } {
    const all = this.held + unit
    const matched = advance(this.#mark, this.#matched, unit)
    const isWhole = matched === this.#mark.length
    this.#matched = isWhole ? 0 : matched
    return { text: all.slice(0, all.length - matched), isWhole }
  }

  /** Forgets what was held back, and gives it. */
  reset(): string {
    const { held } = this
    this.#matched = 0
    return held
  }
}
