/** Pages of chats over a store in memory, with answers that a test writes by hand. */
import { signal } from '@preact/signals'
import { onTestFinished } from 'vitest'
import type { Answers, LiveAnswer } from '../../../../clients/web/answers/index.ts'
import type { ChatsPorts } from '../../../../clients/web/chats/ports.ts'
import type { ChatStore } from '../../../../clients/web/store/index.ts'
import { opened, type TestClock } from '../store/fixtures.ts'

/** Writes the rows that real answers write, and says what was asked. */
export class HandAnswers implements Pick<Answers, 'send' | 'ask' | 'goOn' | 'retry' | 'stop' | 'running'> {
  readonly asked: string[] = []
  readonly running = signal<ReadonlyMap<string, LiveAnswer>>(new Map())
  readonly #store: ChatStore
  readonly #clock: TestClock

  constructor(store: ChatStore, clock: TestClock) {
    this.#store = store
    this.#clock = clock
  }

  send: Answers['send'] = async (chatId, parentId, text, extra) => {
    this.#clock.move(1)
    const [userId, answerId] = [this.#store.newId(), this.#store.newId()]
    const files = (extra?.attachments ?? []).map((file) => ({ type: 'file' as const, ...file }))
    const parts = [...files, { type: 'text' as const, text }]
    await this.#store.insert([
      { id: userId, chatId, parentId, role: 'user', parts, status: 'done' },
      this.#answer(answerId, chatId, userId, `about ${text}`),
    ])
    return { userId, answerId }
  }

  ask = async (chatId: string, parentId: string, extra?: { readonly model?: string }): Promise<string> => {
    this.asked.push(extra?.model ?? '')
    this.#clock.move(1)
    const id = this.#store.newId()
    await this.#store.insert([this.#answer(id, chatId, parentId, 'again')])
    return id
  }

  goOn: Answers['goOn'] = async (messageId) => {
    const message = await this.#store.message(messageId)
    return this.ask(message!.chatId, message!.parentId!)
  }

  retry: Answers['retry'] = (messageId) => this.goOn(messageId)
  stop: Answers['stop'] = () => Promise.resolve()

  #answer(id: string, chatId: string, parentId: string, text: string) {
    return { id, chatId, parentId, role: 'assistant', parts: [{ type: 'text', text }], status: 'done' } as const
  }
}

export interface Opened {
  readonly ports: ChatsPorts
  readonly store: ChatStore
  readonly clock: TestClock
  readonly answers: HandAnswers
  /** Pages that were gone to. */
  readonly visited: string[]
}

let stores = 0

/** Closed with its test: Dexie shares what it has read among all databases of a name. */
export async function openedPorts(): Promise<Opened> {
  const { store, clock } = await opened({ seed: ++stores })
  onTestFinished(() => store.close())
  const answers = new HandAnswers(store, clock)
  const visited: string[] = []
  const kept = new Map<string, string>()
  const ports: ChatsPorts = {
    store,
    clock,
    answers: answers as unknown as Answers,
    gateway: {
      state: signal('online'),
      get: () => Promise.reject(new TypeError('nobody is asked here')),
      events: { subscribe: () => () => undefined },
    },
    kept: {
      get: (name) => kept.get(name),
      set(name, value) {
        if (value === undefined) kept.delete(name)
        else kept.set(name, value)
        return true
      },
    },
    saveChat: () => Promise.reject(new TypeError('nothing is saved here')),
    go: (path) => void visited.push(path),
  }
  return { ports, store, clock, answers, visited }
}

/** Waits until what is read is as it should be; what never is fails with its time out. */
export async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve))
}
