/**
 * From a prompt to token ids. A chat's markup becomes special tokens where it names them; what a message or a tool says
 * never does: a user who writes `<|im_end|>` has written ten characters. Between special tokens all text is tokenised in
 * one go, wherever it is from, as it was when the model was trained.
 */
import type { LlamaModel, Token } from 'node-llama-cpp'
import { CALL_CLOSE, CALL_OPEN, type Prompt, type Thinking } from '../../../mesh/protocol/index.ts'
import type { CallSyntax } from '../call-text.ts'
import { callTokens } from '../call-texts.ts'
import { ChatTemplate } from './chat-template.ts'
import { vocabularyText } from './native.ts'

/** Markup of which the tokens are kept: that of one template is mostly the same few texts. */
const MARKUP_KEPT = 256

/** Markup between what was told: its special tokens, and the plain text around them. */
interface Markup {
  readonly before: string
  readonly tokens: readonly Token[]
  readonly after: string
}

export class PromptRenderer {
  readonly #model: LlamaModel
  readonly #template: ChatTemplate
  /** Tokens that the vocabulary makes of plain text too, in whose place the template means markup. */
  readonly #reserved: RegExp | undefined
  readonly #markup = new Map<string, Markup | undefined>()

  /**
   * @param template the model's own; a plain "### Human" form is used without one.
   * @param now wall clock in ms, for templates that tell the date.
   * @throws SkeinError MODEL_LOAD_FAILED when it is no template.
   */
  constructor(model: LlamaModel, template: string | undefined, now: () => number) {
    this.#model = model
    const { bos, eos, eot } = model.tokens
    const text = (token: Token | null): string => (token === null ? '' : vocabularyText(model, token))
    const variables = { bos_token: text(bos), eos_token: text(eos), eot_token: text(eot) }
    this.#template = new ChatTemplate(template, variables, now, (word) => this.#isPlain(word))
    this.#reserved = this.#reservedIn(template ?? '')
  }

  /** Whether the model can be given tools. */
  get hasTools(): boolean {
    return this.#template.hasTools
  }

  /** How answers call tools. */
  get callSyntax(): CallSyntax | undefined {
    return this.#template.callSyntax
  }

  /** Whether answers to chats are in channels. */
  get hasChannels(): boolean {
    return this.#template.hasChannels
  }

  /** How answers show what the model thinks. */
  get thinking(): Thinking | undefined {
    return this.#template.thinking
  }

  /** @throws SkeinError ENGINE_FAILED when the template refuses the messages. */
  tokenize(prompt: Prompt): number[] {
    const ids: number[] =
      prompt.kind === 'text'
        ? this.#model.tokenize(prompt.text, false)
        : this.#chat(new PieceTokenizer(this.#model), prompt)
    const { bos, shouldPrependBosToken } = this.#model.tokens
    if (bos !== null && (shouldPrependBosToken || ids.length === 0) && ids[0] !== bos) ids.unshift(bos)
    return ids
  }

  #chat(tokens: PieceTokenizer, prompt: Extract<Prompt, { kind: 'chat' }>): Token[] {
    for (const { text, isMarkup } of this.#template.render(prompt)) {
      const markup = isMarkup ? this.#markupOf(text) : undefined
      if (markup !== undefined) tokens.add(markup.before).special(markup.tokens).add(markup.after)
      else if (isMarkup) tokens.add(text)
      else this.#told(tokens, text)
    }
    return tokens.end()
  }

  /** A reserved text is cut in its middle. */
  #told(tokens: PieceTokenizer, text: string): void {
    let at = 0
    for (const { index } of this.#reserved ? text.matchAll(this.#reserved) : []) {
      tokens.add(text.slice(at, index + 1)).cut()
      at = index + 1
    }
    tokens.add(text.slice(at))
  }

  /** `undefined` for markup without special tokens. */
  #markupOf(text: string): Markup | undefined {
    if (this.#markup.has(text)) return this.#markup.get(text)
    const markup = this.#findSpecial(text)
    if (this.#markup.size >= MARKUP_KEPT) this.#markup.clear()
    this.#markup.set(text, markup)
    return markup
  }

  #findSpecial(text: string): Markup | undefined {
    const names = this.#specialIn(text).map((id) => vocabularyText(this.#model, id))
    if (names.length === 0) return undefined
    // some vocabularies write spaces otherwise
    if (!names.every((name) => text.includes(name)))
      return { before: '', tokens: this.#model.tokenize(text, true, 'trimLeadingSpace'), after: '' }
    const start = Math.min(...names.map((name) => text.indexOf(name)))
    const end = Math.max(...names.map((name) => text.lastIndexOf(name) + name.length))
    // some special tokens take the white space around them in
    const before = text.slice(0, start).trimEnd()
    const after = text.slice(end).trimStart()
    const middle = text.slice(before.length, text.length - after.length)
    return { before, tokens: this.#model.tokenize(middle, true, 'trimLeadingSpace'), after }
  }

  #isPlain(word: string): boolean {
    return this.#specialIn(word).length === 0
  }

  /** The special tokens that `text` would become in part. */
  #specialIn(text: string): Token[] {
    const ids = new Set(this.#model.tokenize(text, true, 'trimLeadingSpace'))
    return [...ids].filter((id) => {
      const { control, userDefined } = this.#model.getTokenAttributes(id)
      return control || userDefined
    })
  }

  #reservedIn(template: string): RegExp | undefined {
    const marks = [CALL_OPEN, CALL_CLOSE, ...callTokens(this.callSyntax ?? 'tagged')]
    const names = this.#specialIn(template + marks.join(''))
      .filter((id) => this.#model.getTokenAttributes(id).userDefined)
      .map((id) => vocabularyText(this.#model, id))
      // runs of white space are such tokens in some vocabularies, and no markup; one character cannot be cut
      .filter((name) => name.length > 1 && /\S/.test(name))
    if (names.length === 0) return undefined
    return new RegExp(names.map((name) => name.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&')).join('|'), 'g')
  }
}

/** Gathers text until a special token, or a cut, ends it. */
class PieceTokenizer {
  readonly #model: LlamaModel
  readonly #tokens: Token[] = []
  #text = ''
  #hasBegun = false

  constructor(model: LlamaModel) {
    this.#model = model
  }

  add(text: string): this {
    this.#text += text
    return this
  }

  special(tokens: readonly Token[]): this {
    this.cut()
    for (const token of tokens) this.#tokens.push(token)
    this.#hasBegun = true
    return this
  }

  cut(): void {
    if (this.#text === '') return
    // only a text's first word has the space that some vocabularies put in front
    const tokens = this.#model.tokenize(this.#text, false, this.#hasBegun ? 'trimLeadingSpace' : undefined)
    for (const token of tokens) this.#tokens.push(token)
    this.#text = ''
    this.#hasBegun = true
  }

  end(): Token[] {
    this.cut()
    return this.#tokens
  }
}
