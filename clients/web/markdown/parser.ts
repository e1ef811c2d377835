/** How markdown is read: CommonMark with tables, strikes and maths, and without HTML. */
import MarkdownIt, { type Token } from 'markdown-it'
import { mathRules } from './math-rules.ts'

/** Deeper, lists in quotes in lists are text. */
const NESTING_MAX = 24

const md = new MarkdownIt({ html: false, linkify: true, breaks: true, typographer: false, maxNesting: NESTING_MAX })
// definitions far below would change what stands above, which has long been read: they are shown as they are written
md.disable(['reference'])
md.linkify.set({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false })
// every link is a token, and what it leads to is judged where it is shown
md.validateLink = () => true
mathRules(md)

export type { Token }

/** All line ends are one character. */
export const normalized = (source: string): string => source.replaceAll('\r\n', '\n').replaceAll('\r', '\n')

/** @param source with `\n` alone as line end. */
export const tokensOf = (source: string): Token[] => md.parse(source, {})

/** The tokens of each block at the top, one behind the other. */
export function topBlocks(tokens: readonly Token[]): Token[][] {
  const blocks: Token[][] = []
  let depth = 0
  for (const token of tokens) {
    if (depth === 0) blocks.push([])
    blocks.at(-1)!.push(token)
    depth += token.nesting
  }
  return blocks
}
