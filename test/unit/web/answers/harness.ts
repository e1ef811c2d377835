/** Tabs of one page over one disk, beside a mesh that says what a test tells it, and time that a test moves. */
import { createAnswers, type Answers } from '../../../../clients/web/answers/index.ts'
import type { AnswerPorts, AnswerSkein, AnswerStore } from '../../../../clients/web/answers/ports.ts'
import type { Ask, Chat, MessageRow } from '../../../../clients/web/store/index.ts'
import {
  SkeinApiError,
  UnreachableError,
  type CallOptions,
  type ChatAnswer,
  type ChatPart,
  type ChatRequest,
  type Made,
  type Task,
} from '../../../../clients/sdk/index.ts'

/** Lets everything that is ready happen. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
}

export class HandClock {
  #nowMs = 1_800_000_000_000
  #timers: { readonly atMs: number; readonly run: () => void }[] = []

  nowMs(): number {
    return this.#nowMs
  }

  monotonicMs(): number {
    return this.#nowMs
  }

  after(ms: number, run: () => void): () => void {
    const timer = { atMs: this.#nowMs + ms, run }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter((each) => each !== timer)
    }
  }

  frame(run: () => void): () => void {
    return this.after(16, run)
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancel = this.after(ms, resolve)
      signal?.addEventListener('abort', () => {
        cancel()
        reject(signal.reason as Error)
      })
    })
  }

  /** Moves on, with all that happens on the way. */
  async pass(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms
    await settled()
    for (;;) {
      const next = this.#timers.filter(({ atMs }) => atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0]
      if (!next) break
      this.#timers = this.#timers.filter((each) => each !== next)
      this.#nowMs = Math.max(this.#nowMs, next.atMs)
      next.run()
      await settled()
    }
    this.#nowMs = endMs
  }
}

/** One request as the mesh got it; the test says what comes of it. */
export class AskedStream {
  readonly request: ChatRequest
  readonly options: CallOptions
  #parts: (ChatPart | Error)[] = []
  #wake = (): void => {}
  #text = ''
  #thought = ''

  constructor(request: ChatRequest, options: CallOptions) {
    this.request = request
    this.options = options
  }

  begins(made: Partial<Made> = {}): this {
    this.options.onMade?.({ taskId: `task_${this.options.idempotencyKey}`, node: 'desk-pc', route: 'mesh', ...made })
    return this
  }

  says(...texts: string[]): this {
    for (const text of texts) {
      this.#text += text
      this.#push({ type: 'text', text })
    }
    return this
  }

  thinks(text: string): this {
    this.#thought += text
    return this.#push({ type: 'thought', text })
  }

  tells(text: string): this {
    return this.#push({ type: 'status', text })
  }

  ends(answer: Partial<ChatAnswer> = {}): this {
    const usage = { promptTokens: 5, cachedTokens: 0, completionTokens: 9 }
    const said = { text: this.#text, thought: this.#thought, toolCalls: [], finishReason: 'stop' as const, resumed: 0 }
    const made = { taskId: `task_${this.options.idempotencyKey}`, node: 'desk-pc', route: 'mesh' as const }
    return this.#push({ type: 'end', answer: { ...said, ...made, usage, ...answer } })
  }

  fails(error: Error): this {
    return this.#push(error)
  }

  /** A refusal that the SDK would ask again. */
  refuses(code: string, waitMs: number, status = 503): void {
    try {
      this.options.onBreak?.(new SkeinApiError(code, { code, status }), waitMs)
    } catch (thrown) {
      this.fails(thrown as Error)
    }
  }

  async *parts(): AsyncGenerator<ChatPart, void, undefined> {
    const { signal } = this.options
    const aborted = new Promise<never>((_, reject) => {
      const abort = (): void => reject(signal!.reason as Error)
      if (signal?.aborted) abort()
      signal?.addEventListener('abort', abort)
    })
    aborted.catch(() => undefined)
    for (;;) {
      const part = this.#parts.shift()
      if (part instanceof Error) throw part
      if (part) yield part
      else await Promise.race([new Promise<void>((resolve) => (this.#wake = resolve)), aborted])
      if (part?.type === 'end') return
    }
  }

  #push(part: ChatPart | Error): this {
    this.#parts.push(part)
    this.#wake()
    return this
  }
}

/** The mesh, for all tabs. */
export class FakeMesh {
  readonly asked: AskedStream[] = []
  readonly cancelled: string[] = []
  readonly confirmed: { readonly call: string; readonly approve: boolean }[] = []
  readonly tasks = new Map<string, Task>()
  readiness: 'ready' | 'waiting' | 'away' = 'ready'

  get last(): AskedStream {
    return this.asked.at(-1)!
  }

  readonly skein: AnswerSkein = {
    chatStream: (request: ChatRequest, options: CallOptions = {}) => {
      const asked = new AskedStream(request, options)
      this.asked.push(asked)
      if (this.readiness === 'away') asked.fails(new UnreachableError('nobody answers'))
      return asked.parts()
    },
    models: () =>
      Promise.resolve([
        { id: 'first', digest: 'd', aliases: [], contextLength: 512, features: ['chat', 'completion'] },
      ]),
    readiness: () => Promise.resolve(this.readiness),
    tasks: {
      get: (id: string) => {
        const task = this.tasks.get(id)
        return task
          ? Promise.resolve(task)
          : Promise.reject(new SkeinApiError('no', { code: 'not_found', status: 404 }))
      },
      cancel: (id: string) => {
        this.cancelled.push(id)
        return Promise.resolve()
      },
    } as unknown as AnswerSkein['tasks'],
    devices: {
      confirm: (call: string, approve: boolean) => {
        this.confirmed.push({ call, approve })
        return Promise.resolve({ id: call, state: 'ended', outcome: 'done', value: undefined, error: undefined })
      },
    } as unknown as AnswerSkein['devices'],
  }
}

const FINAL = new Set(['done', 'stopped', 'failed'])

/** What survives reloads. */
export class Disk implements AnswerStore {
  readonly chats = new Map<string, Chat>()
  readonly rows = new Map<string, MessageRow>()
  readonly kept = new Map<string, Ask>()
  /** Writes of texts, in their order. */
  readonly writes: string[] = []
  #ids = 0
  readonly #clock: HandClock

  constructor(clock: HandClock) {
    this.#clock = clock
  }

  newId = (): string => `id-${String(++this.#ids).padStart(4, '0')}`

  chat = (id: string): Promise<Chat | undefined> => Promise.resolve(this.chats.get(id))
  message = (id: string): Promise<MessageRow | undefined> => Promise.resolve(this.rows.get(id))

  path = (id: string): Promise<MessageRow[]> => {
    const path: MessageRow[] = []
    for (let row = this.rows.get(id); row; row = row.parentId === undefined ? undefined : this.rows.get(row.parentId))
      path.unshift(row)
    return Promise.resolve(path)
  }

  unfinished = (): Promise<MessageRow[]> =>
    Promise.resolve([...this.rows.values()].filter(({ status }) => !FINAL.has(status)))

  insert: AnswerStore['insert'] = (messages) => {
    for (const message of messages) {
      if (!this.chats.has(message.chatId)) return Promise.reject(new SkeinApiError('no chat', { code: 'not-found' }))
      this.rows.set(message.id, { createdAtMs: this.#clock.nowMs(), ...message, hlc: '' })
    }
    return Promise.resolve()
  }

  update: AnswerStore['update'] = (id, patch) => {
    const row = this.rows.get(id)
    const isToBeRetried = row?.status === 'failed' && (patch.status === 'queued' || patch.status === 'running')
    if (!row || (FINAL.has(row.status) && !isToBeRetried)) return Promise.resolve(false)
    if (patch.parts) this.writes.push(patch.parts.map((part) => (part.type === 'text' ? part.text : '')).join(''))
    this.rows.set(id, { ...row, ...patch })
    return Promise.resolve(true)
  }

  asks: AnswerStore['asks'] = {
    get: (id) => Promise.resolve(this.kept.get(id)),
    put: (ask) => {
      this.kept.set(ask.id, structuredClone(ask))
      return Promise.resolve()
    },
    delete: (id) => {
      this.kept.delete(id)
      return Promise.resolve()
    },
    all: () => Promise.resolve([...this.kept.values()].sort((a, b) => a.order - b.order || (a.id < b.id ? -1 : 1))),
  }
}

interface Holder {
  readonly tab: object
  readonly begin: () => void
}

/** What tabs of one browser share. */
class Browser {
  readonly #lines = new Map<string, Holder[]>()
  readonly listeners = new Map<object, Set<(message: unknown) => void>>()
  readonly gone = new Set<object>()

  locks(tab: object): AnswerPorts['locks'] {
    const hold = async <T>(name: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> => {
      signal?.throwIfAborted()
      const line = this.#lines.get(name) ?? []
      this.#lines.set(name, line)
      const turn = Promise.withResolvers<void>()
      const mine: Holder = { tab, begin: turn.resolve }
      line.push(mine)
      signal?.addEventListener('abort', () => {
        if (line.indexOf(mine) > 0) {
          line.splice(line.indexOf(mine), 1)
          turn.reject(signal.reason)
        }
      })
      if (line[0] === mine) turn.resolve()
      await turn.promise
      try {
        return await work()
      } finally {
        this.#leave(line, mine)
      }
    }
    return { hold, holdIfFree: (name, work) => hold(name, work) }
  }

  /** What the tab held goes to the next in line. */
  close(tab: object): void {
    this.gone.add(tab)
    this.listeners.delete(tab)
    for (const line of this.#lines.values())
      for (const holder of line.filter((each) => each.tab === tab)) this.#leave(line, holder)
  }

  #leave(line: Holder[], holder: Holder): void {
    const place = line.indexOf(holder)
    if (place === -1) return
    line.splice(place, 1)
    if (place === 0) line[0]?.begin()
  }

  channel(tab: object): AnswerPorts['channel'] {
    this.listeners.set(tab, new Set())
    return {
      post: (message) => {
        if (this.gone.has(tab)) return
        const told = structuredClone(message)
        for (const [other, listeners] of this.listeners)
          if (other !== tab) for (const listener of listeners) queueMicrotask(() => listener(told))
      },
      listen: (onMessage) => {
        this.listeners.get(tab)?.add(onMessage)
        return () => this.listeners.get(tab)?.delete(onMessage)
      },
      close: () => undefined,
    }
  }
}

export interface Tab {
  readonly answers: Answers
  /** As closing it does: it hears and holds nothing any more. */
  close(): void
}

export class World {
  readonly clock = new HandClock()
  readonly mesh = new FakeMesh()
  readonly disk = new Disk(this.clock)
  readonly browser = new Browser()

  constructor() {
    this.chat('chat')
  }

  chat(id: string, settings: Partial<Chat> = {}): void {
    this.disk.chats.set(id, {
      ...{ id, title: '', folder: '', pinned: false, model: 'm', system: 'Be short.', sampling: {}, localOnly: true },
      ...{ devices: 'none', createdAtMs: 0, updatedAtMs: 0 },
      ...settings,
    })
  }

  tab(): Tab {
    const key = {}
    const answers = createAnswers({
      skein: () => this.mesh.skein,
      store: this.disk,
      clock: this.clock,
      random: () => 1,
      locks: this.browser.locks(key),
      channel: this.browser.channel(key),
    })
    return {
      answers,
      close: () => {
        // no code runs in a tab that is gone: what is left of it here must not be heard, nor write
        answers.close()
        this.browser.close(key)
      },
    }
  }

  row(id: string): MessageRow {
    return this.disk.rows.get(id)!
  }

  text(id: string): string {
    return this.row(id)
      .parts.map((part) => (part.type === 'text' ? part.text : ''))
      .join('')
  }
}

export const apiError = (code: string, status?: number): SkeinApiError =>
  new SkeinApiError(`it said ${code}`, { code, ...(status !== undefined && { status }) })
export const away = (): UnreachableError => new UnreachableError('nobody answers')
