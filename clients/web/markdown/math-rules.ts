/**
 * Maths in markdown-it: `$…$` and `\(…\)` in a line, `$$…$$` and `\[…\]` set apart. A formula never spans a blank line, so that what
 * stands in front of one is never read otherwise by what comes behind it. What is not closed is text.
 */
import type { MarkdownIt, StateBlock, StateInline } from 'markdown-it'

/** In UTF-16 units: what is longer is text. */
const FORMULA_LENGTH_MAX = 4000
const DOLLAR = 0x24
const BACKSLASH = 0x5c
const WHITE = /\s/
const DIGIT = /\d/

interface Fence {
  readonly open: string
  readonly close: string
  readonly isApart: boolean
}

const FENCES: readonly Fence[] = [
  { open: '$$', close: '$$', isApart: true },
  { open: '\\[', close: '\\]', isApart: true },
  { open: '\\(', close: '\\)', isApart: false },
]

export function mathRules(md: MarkdownIt): void {
  md.inline.ruler.before('escape', 'math', inlineFormula)
  const alt = ['paragraph', 'blockquote', 'list']
  md.block.ruler.before('fence', 'math', blockFormula, { alt })
}

function inlineFormula(state: StateInline, isSilent: boolean): boolean {
  const { src, pos } = state
  const code = src.charCodeAt(pos)
  if (code !== DOLLAR && code !== BACKSLASH) return false
  const fence = FENCES.find(({ open }) => src.startsWith(open, pos))
  const end = fence ? closedAt(src, pos + fence.open.length, fence.close) : dollarEnd(src, pos)
  if (end === -1) return false
  const begin = pos + (fence?.open.length ?? 1)
  if (!isSilent) push(state, src.slice(begin, end), fence?.isApart ?? false)
  state.pos = end + (fence?.close.length ?? 1)
  return true
}

function push(state: StateInline | StateBlock, content: string, isApart: boolean): void {
  const token = state.push('math', '', 0)
  token.content = content.trim()
  token.meta = { isApart }
}

/** @returns where the formula that begins at `from` ends, or -1. */
function closedAt(src: string, from: number, close: string): number {
  // no further than a formula may reach, or a text of openings would be searched to its end for each
  const reach = src.slice(from, from + FORMULA_LENGTH_MAX + close.length)
  const length = reach.indexOf(close)
  return length === -1 || reach.slice(0, length).trim() === '' ? -1 : from + length
}

/** As Pandoc has it: nothing white inside the dollars, no digit behind them, so that `$5 and $6` are prices. */
function dollarEnd(src: string, pos: number): number {
  const begin = pos + 1
  if (src.charCodeAt(pos) !== DOLLAR || begin >= src.length || WHITE.test(src[begin]!)) return -1
  for (let end = begin; end < Math.min(src.length, begin + FORMULA_LENGTH_MAX); end++) {
    const code = src.charCodeAt(end)
    if (code === BACKSLASH) end++
    else if (code === DOLLAR)
      return end === begin || WHITE.test(src[end - 1]!) || DIGIT.test(src[end + 1] ?? '') ? -1 : end
  }
  return -1
}

/** A formula that has its lines to itself: without this its lines could be lists or headings. */
function blockFormula(state: StateBlock, startLine: number, endLine: number, isSilent: boolean): boolean {
  const line = lineOf(state, startLine)
  const fence = FENCES.find(({ open, isApart }) => isApart && line.startsWith(open))
  if (fence === undefined || state.sCount[startLine]! - state.blkIndent >= 4) return false
  let content = line.slice(fence.open.length)
  for (let next = startLine; ; content += `\n${lineOf(state, next)}`) {
    const end = content.indexOf(fence.close)
    if (content.length > FORMULA_LENGTH_MAX) return false
    if (end !== -1) {
      // text behind it makes it a part of a paragraph
      if (content.slice(end + fence.close.length).trim() !== '' || content.slice(0, end).trim() === '') return false
      if (isSilent) return true
      push(state, content.slice(0, end), true)
      state.tokens.at(-1)!.map = [startLine, next + 1]
      state.line = next + 1
      return true
    }
    if (++next >= endLine || state.isEmpty(next) || state.sCount[next]! < state.blkIndent) return false
  }
}

const lineOf = (state: StateBlock, line: number): string =>
  state.src.slice(state.bMarks[line]! + state.tShift[line]!, state.eMarks[line])
