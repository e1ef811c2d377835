/** Lines that a person types, pastes or pipes, in their order; those of one paste know of each other. */
import { createInterface, type Interface } from 'node:readline/promises'
import { PushQueue } from '../../../mesh/runtime/index.ts'
import { completeCommand } from './commands.ts'

export interface TypedLine {
  readonly text: string
  /** Part of a paste that goes on: no question of its own. */
  readonly isPasted: boolean
}

/** Lines that may wait for the answers before them; a pipe is read as fast as it comes. */
const WAITING_MAX = 100_000
/** Terminals that know it say where a paste begins and ends (xterm's "bracketed paste"). */
const PASTE_ON = '\x1b[?2004h'
const PASTE_OFF = '\x1b[?2004l'

export interface LinesInit {
  /** Lines of former times, the newest first. */
  readonly history: readonly string[]
  readonly onInterrupt: () => void
  readonly onHistory: (lines: readonly string[]) => void
}

export class Lines implements AsyncIterable<TypedLine> {
  readonly isTerminal = process.stdin.isTTY === true
  readonly #queue = new PushQueue<TypedLine>(WAITING_MAX)
  readonly #interface: Interface
  readonly #onKey: (text: string | undefined, key: { readonly name?: string } | undefined) => void
  #isPasting = false
  #isOpen = true

  constructor({ history, onInterrupt, onHistory }: LinesInit) {
    const terminal = { output: process.stderr, history: [...history], historySize: 1000, completer: completeCommand }
    this.#interface = createInterface({
      input: process.stdin,
      terminal: this.isTerminal,
      ...(this.isTerminal && { ...terminal, removeHistoryDuplicates: true }),
    })
    this.#interface.on('line', (text) => this.#queue.push({ text, isPasted: this.#isPasting }))
    this.#interface.on('SIGINT', onInterrupt)
    this.#interface.on('history', onHistory)
    this.#interface.once('close', () => {
      this.#isOpen = false
      this.#queue.end()
    })
    this.#onKey = (_text, key) => {
      if (key?.name === 'paste-start') this.#isPasting = true
      if (key?.name === 'paste-end') this.#isPasting = false
    }
    if (!this.isTerminal) return
    process.stdin.on('keypress', this.#onKey)
    process.stderr.write(PASTE_ON)
  }

  /** Asks for the next line; a pipe needs nobody to ask. */
  prompt(text: string): void {
    if (!this.isTerminal || !this.#isOpen) return
    this.#interface.setPrompt(text)
    this.#interface.prompt()
  }

  /** One answer to one question; `undefined` where there is no person. */
  question(text: string, signal: AbortSignal | undefined): Promise<string> | undefined {
    return this.isTerminal ? this.#interface.question(text, signal ? { signal } : {}) : undefined
  }

  /** Gives the terminal to another program while `work` lasts. */
  async suspended<T>(work: () => Promise<T>): Promise<T> {
    this.#interface.pause()
    if (this.isTerminal) process.stdin.setRawMode(false)
    try {
      return await work()
    } finally {
      if (this.isTerminal) process.stdin.setRawMode(true)
      this.#interface.resume()
    }
  }

  close(): void {
    if (this.isTerminal && this.#isOpen) process.stderr.write(PASTE_OFF)
    process.stdin.off('keypress', this.#onKey)
    this.#interface.close()
  }

  [Symbol.asyncIterator](): AsyncGenerator<TypedLine, void, undefined> {
    return this.#queue[Symbol.asyncIterator]()
  }
}
