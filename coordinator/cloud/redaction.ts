/**
 * What is taken out of texts before they leave. The patterns are the owner's, the texts are anybody's, and together they may
 * backtrack for ages: so all of it has a time, after which nothing leaves. Patterns run in a context of their own, which is
 * the only way to end one.
 */
import { createContext, Script, type Context } from 'node:vm'
import { asSkeinError, LIMITS, SkeinError, type Prompt, type ToolCall, type Work } from '../../mesh/protocol/index.ts'
import type { RedactRule } from './settings-policy.ts'

/** Global, and by code points: what matches is the same in every language. */
const FLAGS = 'gu'

/** `value` with all matches replaced, and how many there were. */
export interface Redacted<T> {
  readonly value: T
  readonly count: number
}

/**
 * Whether each pattern can be used.
 *
 * @param invalid the error of pattern `index`.
 * @throws what `invalid` gives for a pattern that is none, or that fits the empty text: it would be everywhere.
 */
export function checkPatterns(rules: readonly RedactRule[], invalid: (index: number, why: string) => SkeinError): void {
  for (const [index, { pattern }] of rules.entries()) {
    let fitsNothing: boolean
    try {
      fitsNothing = new RegExp(pattern, FLAGS).test('')
    } catch (thrown) {
      throw invalid(index, `is no regular expression: ${(thrown as Error).message}`)
    }
    if (fitsNothing) throw invalid(index, 'fits the empty text')
  }
}

/** Plain JSON in and out: nothing of the context's own gets out of it. */
const REPLACE = new Script(`
  JSON.stringify((() => {
    let count = 0
    const texts = JSON.parse(input).map((text) => {
      for (const [pattern, by] of patterns) text = text.replace(pattern, () => (count++, by))
      return text
    })
    return { texts, count }
  })())
`)

export class Redactor {
  readonly #context: Context | undefined

  readonly #withinMs: number

  /** @param rules as `checkPatterns` has taken them. */
  constructor(rules: readonly RedactRule[], withinMs: number = LIMITS.redactMs) {
    this.#withinMs = withinMs
    if (rules.length === 0) return
    this.#context = createContext(Object.assign(Object.create(null), { rules: JSON.stringify(rules), input: '[]' }))
    const compile = `var patterns = JSON.parse(rules).map((rule) => [new RegExp(rule.pattern, ${JSON.stringify(FLAGS)}), rule.with])`
    new Script(compile).runInContext(this.#context)
  }

  /** Whether there is anything to take out. */
  get isIdle(): boolean {
    return this.#context === undefined
  }

  /**
   * The texts of messages, thoughts and calls, and what tools are said to be for. Names and schemas stay as they are.
   *
   * @throws SkeinError LOCAL_ONLY when it took too long, what came of it is too long, or the arguments of
   *   a call would be no JSON any more.
   */
  prompt(prompt: Prompt): Redacted<Prompt> {
    const redacted = this.#within(prompt, PROMPT_TEXTS)
    if (redacted.count > 0 && redacted.value.kind === 'chat')
      for (const { toolCalls = [] } of redacted.value.messages) for (const call of toolCalls) checkArguments(call)
    return redacted
  }

  /** The same of what a model shall do in one step; tensors have no text. @throws SkeinError as `prompt`. */
  work(work: Work): Redacted<Work> {
    return this.#within(work, WORK_TEXTS)
  }

  /** Whether `text` has something that would be taken out. @throws SkeinError as `prompt`. */
  finds(text: string): boolean {
    return this.#texts([text]).count > 0
  }

  #within<T>(value: T, members: ReadonlySet<string>): Redacted<T> {
    if (this.isIdle) return { value, count: 0 }
    const texts: string[] = []
    visit(value, members, (text) => (texts.push(text), text))
    const { texts: replaced, count } = this.#texts(texts)
    if (count === 0) return { value, count }
    let next = 0
    return { value: visit(value, members, () => replaced[next++]!) as T, count }
  }

  #texts(texts: readonly string[]): { readonly texts: readonly string[]; readonly count: number } {
    const context = this.#context
    if (context === undefined) return { texts, count: 0 }
    try {
      context['input'] = JSON.stringify(texts)
      const said = REPLACE.runInContext(context, { timeout: this.#withinMs }) as string
      const redacted = JSON.parse(said) as { texts: string[]; count: number }
      const bytes = redacted.texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0)
      if (redacted.count > 0 && bytes > LIMITS.promptBytesMax) throw failed('what came of it is too long')
      return redacted
    } catch (thrown) {
      if (thrown instanceof SkeinError) throw thrown
      throw failed(asSkeinError(thrown).message)
    } finally {
      context['input'] = '[]'
    }
  }
}

/** Members that hold texts of people, or of models. */
const PROMPT_TEXTS: ReadonlySet<string> = new Set(['text', 'content', 'thought', 'arguments', 'description'])
const WORK_TEXTS: ReadonlySet<string> = new Set(['texts'])

function checkArguments({ arguments: text }: ToolCall): void {
  try {
    JSON.parse(text)
  } catch {
    throw failed('the arguments of a call would be no JSON any more')
  }
}

/** `value` with `change` applied to each text in `members`, in one order. */
function visit(
  value: unknown,
  members: ReadonlySet<string>,
  change: (text: string) => string,
  isText = false,
): unknown {
  if (typeof value === 'string') return isText ? change(value) : value
  if (Array.isArray(value)) return value.map((each) => visit(each, members, change, isText))
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [name, visit(member, members, change, members.has(name))]),
  )
}

const failed = (why: string): SkeinError =>
  new SkeinError('LOCAL_ONLY', `what is to be taken out of a text could not be: ${why}; so it does not leave`)
