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
import { textBytes, tokenBytes } from '../llama/token-bytes.ts'
import type {
  VocabularyAnswered,
  VocabularyAnswers,
  VocabularyAsked,
  VocabularyQuestion,
} from './vocabulary-messages.ts'

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')

class OpenVocabulary {
  readonly #model: LlamaModel
  readonly #renderer: PromptRenderer
  /** Tokens by the bytes that they add to a text; the first of those that add the same. */
  readonly #byBytes = new Map<string, Token>()
  readonly #longest: number
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
    return { vocabularySize: opened.size }
  }
  if (opened === undefined) throw new SkeinError('ENGINE_FAILED', 'no vocabulary is open')
  switch (question.type) {
    case 'render':
      return opened.render(question.prompt)
    case 'pieces':
      return opened.pieces(question.ids)
    case 'tokenize':
      return opened.tokenize(question.bytes)
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
