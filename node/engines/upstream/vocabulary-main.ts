/**
 * Entry of the process that has the vocabulary of one model, without its weights: prompts are rendered, and texts told
 * from ids, as the llama engine does it. It dies with its parent.
 */
import { isUtf8 } from 'node:buffer'
import { LlamaLogLevel, getLlama, type LlamaModel, type Token } from 'node-llama-cpp'
import { asSkeinError, SkeinError, type Prompt } from '../../../mesh/protocol/index.ts'
import { SystemClock } from '../../../mesh/runtime/index.ts'
import { toWire } from '../child/messages.ts'
import { readGguf } from '../gguf/gguf-reader.ts'
import { PromptRenderer } from '../llama/prompt.ts'
import { vocabularyText } from '../llama/native.ts'
import { answerTokenizer, textBytes, tokenBytes } from '../llama/token-bytes.ts'
import type {
  VocabularyAnswered,
  VocabularyAnswers,
  VocabularyAsked,
  VocabularyFacts,
  VocabularyQuestion,
} from './vocabulary-messages.ts'

/** Ids told of those that end an answer: models have a handful. */
const ENDS_MAX = 64
/** Ids told of all, about. */
const SAMPLE_TOKENS = 256

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')

class OpenVocabulary {
  readonly #model: LlamaModel
  readonly #renderer: PromptRenderer
  /** Tokens by the bytes that they add to a text; the first of those that add the same. */
  readonly #byBytes = new Map<string, Token>()
  readonly #longest: number
  readonly #tokenize: (text: string) => Token[]
  readonly size: number

  constructor(model: LlamaModel, renderer: PromptRenderer, size: number) {
    this.#model = model
    this.#renderer = renderer
    this.size = size
    let longest = 0
    for (let id = 0; id < size; id++) {
      const bytes = latin1(textBytes(model, id as Token))
      if (bytes !== '' && !this.#byBytes.has(bytes)) this.#byBytes.set(bytes, id as Token)
      longest = Math.max(longest, bytes.length)
    }
    this.#longest = longest
    this.#tokenize = answerTokenizer(model)
  }

  facts(): VocabularyFacts {
    const { bos, shouldPrependBosToken } = this.#model.tokens
    const ends: { id: number; name: string }[] = []
    for (let id = 0; id < this.size && ends.length < ENDS_MAX; id++)
      if (this.#model.isEogToken(id as Token)) ends.push({ id, name: vocabularyText(this.#model, id as Token) })
    return {
      vocabularySize: this.size,
      bos: shouldPrependBosToken ? (bos ?? undefined) : undefined,
      ends,
      sample: this.#sample(),
    }
  }

  #sample(): VocabularyFacts['sample'] {
    const step = Math.max(1, Math.floor(this.size / SAMPLE_TOKENS))
    const sample: { id: number; text: string }[] = []
    for (let id = 0; id < this.size; id += step) sample.push(...this.#ordinary(id))
    for (let id = this.size - 1; id >= 0; id--) {
      const last = this.#ordinary(id)
      if (last.length > 0) return [...sample, ...last]
    }
    return sample
  }

  #ordinary(id: number): VocabularyFacts['sample'] {
    const { control, unknown, userDefined } = this.#model.getTokenAttributes(id as Token)
    const bytes = control || unknown || userDefined ? new Uint8Array() : tokenBytes(this.#model, id as Token)
    // a part of a character is shown otherwise by each detokeniser
    return bytes.length > 0 && isUtf8(bytes) ? [{ id, text: Buffer.from(bytes).toString() }] : []
  }

  plain(texts: readonly string[]): VocabularyAnswers['plain'] {
    return texts.map((text) => this.#model.tokenize(text, false))
  }

  behind(text: string): VocabularyAnswers['answer'] {
    return this.#tokenize(text)
  }

  render(prompt: Prompt): VocabularyAnswers['render'] {
    const ids = this.#renderer.tokenize(prompt) as Token[]
    const text = this.#textThatMakes(ids)
    return { ids, ...(text !== undefined && { text }) }
  }

  pieces(ids: readonly number[]): VocabularyAnswers['pieces'] {
    return ids.map((id) => textBytes(this.#model, id as Token))
  }

  /** One token where it is one: then it is the one that was generated. */
  tokenize(bytes: Uint8Array): VocabularyAnswers['tokenize'] {
    const wanted = latin1(bytes)
    const one = this.#byBytes.get(wanted)
    if (one !== undefined) return [one]
    // the rest of a character is no text of its own
    const ids = isUtf8(bytes) ? this.#model.tokenize(Buffer.from(bytes).toString(), false, 'trimLeadingSpace') : []
    return this.#bytesOf(ids) === wanted ? ids : this.#longestFirst(wanted)
  }

  /** The text of which a server that reads markup in it makes the same ids; it adds the first token itself. */
  #textThatMakes(ids: readonly Token[]): string | undefined {
    const { bos, shouldPrependBosToken } = this.#model.tokens
    const own = shouldPrependBosToken && ids[0] === bos ? ids.slice(1) : ids
    const bytes = Buffer.concat(own.map((id) => tokenBytes(this.#model, id)))
    const text = bytes.toString('utf8')
    // vocabularies of SentencePiece put a space in front of a text's first word
    const texts = text.startsWith(' ') ? [text, text.slice(1)] : [text]
    return texts.find((each) => {
      const made = this.#model.tokenize(each, true)
      return made.length === own.length && made.every((id, i) => id === own[i])
    })
  }

  #bytesOf(ids: readonly Token[]): string {
    return latin1(Buffer.concat(ids.map((id) => textBytes(this.#model, id))))
  }

  #longestFirst(wanted: string): number[] | undefined {
    const ids: number[] = []
    for (let at = 0; at < wanted.length;) {
      let length = Math.min(this.#longest, wanted.length - at)
      while (length > 0 && !this.#byBytes.has(wanted.slice(at, at + length))) length--
      if (length === 0) return undefined
      ids.push(this.#byBytes.get(wanted.slice(at, at + length))!)
      at += length
    }
    return ids
  }
}

async function openVocabulary(path: string): Promise<OpenVocabulary> {
  const file = await readGguf(path)
  const llama = await getLlama({
    gpu: false,
    build: 'never',
    skipDownload: true,
    logLevel: LlamaLogLevel.warn,
    logger: (_, message) => process.stderr.write(`${message.trim()}\n`),
  })
  const model = await llama.loadModel({ modelPath: path, vocabOnly: true, gpuLayers: 0 })
  const clock = new SystemClock()
  const renderer = new PromptRenderer(model, file.chatTemplate, () => clock.wallMs())
  return new OpenVocabulary(model, renderer, file.vocabularySize)
}

let opened: OpenVocabulary | undefined

async function answer(question: VocabularyQuestion): Promise<VocabularyAnswers[VocabularyQuestion['type']]> {
  if (question.type === 'open') {
    opened = await openVocabulary(question.path)
    return opened.facts()
  }
  if (opened === undefined) throw new SkeinError('ENGINE_FAILED', 'no vocabulary is open')
  switch (question.type) {
    case 'render':
      return opened.render(question.prompt)
    case 'pieces':
      return opened.pieces(question.ids)
    case 'tokenize':
      return opened.tokenize(question.bytes)
    case 'answer':
      return opened.behind(question.text)
    case 'plain':
      return opened.plain(question.texts)
  }
}

// a terminal's Ctrl-C goes to the whole group; the parent decides what becomes of running answers
process.on('SIGINT', () => undefined)
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'))
process.on('message', (message) => {
  const { number, ...question } = message as VocabularyAsked
  answer(question).then(
    (value) => process.send?.({ number, value } satisfies VocabularyAnswered),
    (error: unknown) =>
      process.send?.({ number, error: toWire(asSkeinError(error, 'MODEL_LOAD_FAILED')) } satisfies VocabularyAnswered),
  )
})
