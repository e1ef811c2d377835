/**
 * The vocabulary of a model whose weights are a file of this machine, in a process of its own: it is native code. The
 * process begins with the first question and is asked again and again; when it dies, what was asked fails and the next
 * question begins another one.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SkeinError, type Prompt } from '../../../mesh/protocol/index.ts'
import type { Logger } from '../../../mesh/runtime/index.ts'
import { fromWire } from '../child/messages.ts'
import { noSuchText, type RenderedPrompt, type Tokens } from './tokens.ts'
import type {
  VocabularyAnswered,
  VocabularyAnswers,
  VocabularyFacts,
  VocabularyQuestion,
} from './vocabulary-messages.ts'

/** Run from source the file is TypeScript, from `dist` it is JavaScript. */
const MAIN = fileURLToPath(new URL(`./vocabulary-main${extname(import.meta.url)}`, import.meta.url))
/** Log output of the process kept for one line, in UTF-16 code units. */
const LOG_LENGTH_MAX = 4096
/** Of UTF-8. */
const CHARACTER_BYTES_MAX = 4

interface Opened {
  readonly child: ChildProcess
  readonly pending: Map<number, PromiseWithResolvers<unknown>>
  readonly facts: VocabularyFacts
  /** Resolves when it has ended. */
  readonly ended: Promise<void>
}

export class VocabularyTokens implements Tokens {
  readonly vocabularySize: number
  readonly firstId = 0
  readonly #path: string
  readonly #log: Logger
  readonly #pieces = new Map<number, Uint8Array>()
  #opened: Promise<Opened> | undefined
  #ends: ReadonlySet<number> = new Set()
  #number = 0
  #closed = false

  /** @param init the model file, and the number of its tokens as its head tells it. */
  constructor(log: Logger, init: { readonly path: string; readonly vocabularySize: number }) {
    this.#log = log
    this.#path = init.path
    this.vocabularySize = init.vocabularySize
  }

  async render(prompt: Prompt): Promise<RenderedPrompt> {
    const { ids, text } = await this.#ask({ type: 'render', prompt })
    return { tokens: ids.length, ids, ...(text !== undefined && { text }) }
  }

  async know(ids: readonly number[]): Promise<void> {
    const isToken = (id: number): boolean => Number.isInteger(id) && id >= 0 && id < this.vocabularySize
    const unknown = [...new Set(ids)].filter((id) => isToken(id) && !this.#pieces.has(id))
    if (unknown.length === 0) return
    const pieces = await this.#ask({ type: 'pieces', ids: unknown })
    unknown.forEach((id, i) => this.#pieces.set(id, pieces[i]!))
  }

  readonly detokenize = (ids: readonly number[]): string =>
    new TextDecoder('utf-8', { ignoreBOM: true }).decode(this.#bytesOf(ids))

  async idsOf(bytes: Uint8Array, ids?: readonly number[]): Promise<readonly number[]> {
    const wanted = Buffer.from(bytes)
    if (ids !== undefined) {
      await this.know(ids)
      // a server that tells of a character when it is whole may not tell of the tokens before its last one
      if (ids.every((id) => this.#pieces.has(id)) && this.#bytesOf(ids).equals(wanted)) return ids
    }
    if (wanted.length === 0) return []
    const found = await this.#ask({ type: 'tokenize', bytes })
    if (found === undefined) throw noSuchText()
    await this.know(found)
    return found
  }

  async idsOfAnswer(text: string): Promise<readonly number[]> {
    const ids = await this.#ask({ type: 'answer', text })
    await this.know(ids)
    return ids
  }

  async known(ids: readonly number[]): Promise<readonly number[]> {
    await this.know(ids)
    if (ids.every((id) => this.#pieces.has(id))) return ids
    throw new SkeinError('ENGINE_FAILED', 'the server told a token that the vocabulary of its model does not have')
  }

  isEnd(id: number): boolean {
    return this.#ends.has(id)
  }

  async ends(): Promise<readonly number[]> {
    return (await this.facts()).ends.map(({ id }) => id)
  }

  /** What tells a vocabulary from others. */
  async facts(): Promise<VocabularyFacts> {
    this.#opened ??= this.#open()
    return (await this.#opened).facts
  }

  /** Ids of texts without markup. */
  plain(texts: readonly string[]): Promise<readonly (readonly number[])[]> {
    return this.#ask({ type: 'plain', texts })
  }

  async close(): Promise<void> {
    this.#closed = true
    const opened = await this.#opened?.catch(() => undefined)
    opened?.child.kill('SIGKILL')
    await opened?.ended
  }

  unfinished(ids: readonly number[]): Uint8Array {
    const bytes = this.#bytesOf(ids.slice(-CHARACTER_BYTES_MAX))
    for (let length = 1; length < CHARACTER_BYTES_MAX && length <= bytes.length; length++) {
      const first = bytes[bytes.length - length]!
      if (first < 0x80) break
      if (first < 0xc0) continue
      const whole = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2
      return length < whole ? bytes.subarray(bytes.length - length) : new Uint8Array()
    }
    return new Uint8Array()
  }

  #bytesOf(ids: readonly number[]): Buffer {
    return Buffer.concat(ids.map((id) => this.#pieces.get(id) ?? new Uint8Array()))
  }

  async #ask<Q extends VocabularyQuestion>(question: Q): Promise<VocabularyAnswers[Q['type']]> {
    if (this.#closed) throw new SkeinError('ENGINE_FAILED', 'the model was unloaded')
    this.#opened ??= this.#open()
    return this.#put(await this.#opened, question)
  }

  #put<Q extends VocabularyQuestion>(
    { child, pending }: Pick<Opened, 'child' | 'pending'>,
    question: Q,
  ): Promise<VocabularyAnswers[Q['type']]> {
    const number = ++this.#number
    const settled = Promise.withResolvers<unknown>()
    pending.set(number, settled)
    child.send({ ...question, number }, (error) => {
      if (error) settled.reject(new SkeinError('ENGINE_FAILED', 'the vocabulary process ended', { cause: error }))
    })
    return settled.promise as Promise<VocabularyAnswers[Q['type']]>
  }

  async #open(): Promise<Opened> {
    const pending: Opened['pending'] = new Map()
    const child = fork(MAIN, [], {
      serialization: 'advanced',
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#log.debug({ pid: child.pid, text: text.slice(0, LOG_LENGTH_MAX) }, 'vocabulary process')
    })
    child.on('message', (message) => {
      const answered = message as VocabularyAnswered
      const settled = pending.get(answered.number)
      pending.delete(answered.number)
      if ('error' in answered) settled?.reject(fromWire(answered.error))
      else settled?.resolve(answered.value)
    })
    const ended = new Promise<void>((resolve) => {
      const onEnd = (why: string): void => {
        resolve()
        this.#opened = undefined
        for (const { reject } of pending.values())
          reject(new SkeinError('ENGINE_FAILED', `the vocabulary process ended (${why})`))
        pending.clear()
      }
      child.once('exit', (code, signal) => onEnd(signal ?? `exit code ${code}`))
      child.once('error', (error) => {
        if (child.pid === undefined) onEnd(`it did not start: ${error.message}`)
      })
    })
    try {
      const facts = await this.#put({ child, pending }, { type: 'open', path: this.#path })
      if (facts.vocabularySize !== this.vocabularySize)
        throw new SkeinError(
          'MODEL_FILE_INVALID',
          `${this.#path}: its vocabulary is another one than when it was found`,
        )
      this.#ends = new Set(facts.ends.map(({ id }) => id))
      return { child, pending, ended, facts }
    } catch (error) {
      child.kill('SIGKILL')
      this.#opened = undefined
      throw error
    }
  }
}
