/**
 * A text that grows, as blocks: those that nothing behind them can change any more are read once and stay the same objects; of
 * the rest, the open end, a new reading replaces the old. The blocks are at each moment those of the whole text read at once.
 */
import { normalized, tokensOf, topBlocks, type Token } from './parser.ts'

export interface Block {
  readonly tokens: readonly Token[]
  /** Nothing that follows changes it. */
  readonly isClosed: boolean
}

export class GrowingBlocks {
  #source = ''
  #closed: Block[] = []
  /** Where the open end begins. */
  #openAt = 0
  #blocks: readonly Block[] = []
  #text = ''
  #isWhole = false

  /** As of the last reading. */
  get blocks(): readonly Block[] {
    return this.#blocks
  }

  /** @param isWhole nothing follows any more. */
  read(text: string, isWhole = false): readonly Block[] {
    if (text === this.#text && isWhole === this.#isWhole) return this.#blocks
    this.#text = text
    this.#isWhole = isWhole
    // a carriage return at the end may be half of a line end
    const source = normalized(text.endsWith('\r') && !isWhole ? text.slice(0, -1) : text)
    if (!source.startsWith(this.#source)) this.#forget()
    this.#source = source
    const open = source.slice(this.#openAt)
    const read = topBlocks(tokensOf(open))
    const closedTo = isWhole ? undefined : closedUpTo(open, read)
    const count = closedTo?.blocks ?? (isWhole ? read.length : 0)
    this.#closed = [...this.#closed, ...read.slice(0, count).map((tokens) => ({ tokens, isClosed: true }))]
    this.#openAt += closedTo?.length ?? 0
    const rest = read.slice(count).map((tokens) => ({ tokens, isClosed: false }))
    this.#blocks = [...this.#closed, ...rest]
    // a whole text is read again from its start if it grows after all
    if (isWhole) this.#forget()
    return this.#blocks
  }

  #forget(): void {
    this.#source = ''
    this.#closed = []
    this.#openAt = 0
  }
}

/** As CommonMark has it. */
const BLANK = /^[ \t]*\n?$/

interface Closed {
  /** In front of this block nothing changes. */
  readonly blocks: number
  /** Of them, in UTF-16 units. */
  readonly length: number
}

/**
 * What a block follows on is closed if a blank line stands between and the block has a whole line: only then no line that comes can
 * be taken for a part of it.
 */
function closedUpTo(source: string, blocks: readonly (readonly Token[])[]): Closed | undefined {
  const begins = lineBegins(source)
  for (let index = blocks.length - 1; index > 0; index--) {
    const line = blocks[index]![0]!.map?.[0]
    if (line === undefined) continue
    const begin = begins[line]
    const end = begins[line + 1]
    const before = begins[line - 1]
    if (begin === undefined || end === undefined || before === undefined) continue
    if (BLANK.test(source.slice(before, begin))) return { blocks: index, length: begin }
  }
  return undefined
}

/** Of each line that is begun; behind the last line end too, where nothing stands yet. */
function lineBegins(source: string): number[] {
  const begins = [0]
  for (let at = source.indexOf('\n'); at !== -1; at = source.indexOf('\n', at + 1)) begins.push(at + 1)
  return begins
}
