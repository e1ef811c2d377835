/**
 * Grammars of answers that may think first. What is thought is held to nothing, which needs no grammar: these are for the
 * places where a thought may begin, and where it ends.
 */
import type { ThoughtMarks } from '../../../mesh/protocol/index.ts'
import { verbatim } from './json-grammar.ts'

const ROOT = /^root ::=/
/** White space between a thought and the answer. */
const GAP = String.raw`gap ::= "\n"{0,3}`

const classOf = (units: string, isNot = false): string =>
  `[${isNot ? '^' : ''}${units.replaceAll(/[\\\]^[-]/g, String.raw`\$&`)}]`

/** From the first token on: a thought begins, or the answer that `grammar` is of. */
export const thoughtOr = (grammar: string, { open }: ThoughtMarks): string =>
  [
    String.raw`root ::= said | "\n"{0,2} ${verbatim(open)} free`,
    // dropped as soon as the mark is complete
    String.raw`free ::= [^\x00]*`,
    grammar.replace(ROOT, 'said ::='),
  ].join('\n')

/** From anywhere in a thought on, in front of its closing mark: behind that comes the answer that `grammar` is of. */
export function behindThought(grammar: string, { close }: ThoughtMarks): string {
  const [first, ...rest] = [...close] as [string, ...string[]]
  const rules = rest.map((unit, i) => {
    const next = i === rest.length - 1 ? 'gap said' : `close${i + 1}`
    return `close${i} ::= ${classOf(unit)} ${next} | ${classOf(first)} close0 | ${classOf(first + unit, true)} thought`
  })
  const thought = `thought ::= ${classOf(first, true)} thought | ${classOf(first)} close0`
  return ['root ::= thought', thought, ...rules, GAP, grammar.replace(ROOT, 'said ::=')].join('\n')
}
