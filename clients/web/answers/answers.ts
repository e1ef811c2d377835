/** All answers of this tab: those that it makes, those that it sees another tab make, and those that wait for the mesh. */
import { computed, signal, type ReadonlySignal } from '@preact/signals'
import { StoreError, type MessageRow, type NewMessage, type Part } from '../store/index.ts'
import { Asks } from './asks.ts'
import { EMPTY_STATE, Live, type LiveState } from './live.ts'
import type { AnswerPorts, Ask } from './ports.ts'
import { problemOf } from './problems.ts'
import { Reach } from './reach.ts'
import { callsOf, seedOf, textOf, thoughtOf } from './request.ts'
import { AnswerRun } from './run.ts'
import { isOver, tabMessageOf, Teller, toldState, type TabMessage, type TellMessage } from './tabs.ts'
import type { Answers, AskSettings, LiveAnswer, Made, OutboxItem, SendExtra, Sent } from './types.ts'

/** An answer that has ended is shown from here until its row has reached whoever watches the store. */
const LINGER_MS = 1500
const ORPHAN_MS = 60_000
const OUTBOX_LOCK = 'skein-outbox'
const lockOf = (id: string): string => `skein-answer-${id}`

interface Running {
  readonly run: AnswerRun
  readonly teller: Teller
}

export class MeshAnswers implements Answers {
  readonly running: ReadonlySignal<ReadonlyMap<string, LiveAnswer>>
  readonly #ports: AnswerPorts
  readonly #asks: Asks
  readonly #reach: Reach
  readonly #lives = signal<ReadonlyMap<string, Live>>(new Map())
  readonly #outbox = signal<readonly OutboxItem[]>([])
  /** Those that this tab makes. */
  readonly #mine = new Map<string, Running>()
  /** Those whose lock this tab has asked for. */
  readonly #linedUp = new Set<string>()
  readonly #over = new AbortController()
  readonly #deafen: () => void
  #draining: Promise<void> | undefined
  #isToDrain = false

  constructor(ports: AnswerPorts) {
    this.#ports = ports
    this.#asks = new Asks(ports.store.asks)
    this.#reach = new Reach(ports)
    this.running = computed(() => new Map([...this.#lives.value].filter(([, live]) => !isOver(live.phase.value))))
    this.#deafen = ports.channel.listen((message) => {
      const heard = tabMessageOf(message)
      if (heard) this.#heard(heard)
    })
  }

  get outbox(): ReadonlySignal<readonly OutboxItem[]> {
    return this.#outbox
  }

  get isReachable(): ReadonlySignal<boolean | undefined> {
    return this.#reach.isReachable
  }

  live(messageId: string): LiveAnswer | undefined {
    return this.#lives.value.get(messageId)
  }

  async send(chatId: string, parentId: string | undefined, text: string, extra: SendExtra = {}): Promise<Sent> {
    const { store } = this.#ports
    const files = (extra.attachments ?? []).map((file): Part => ({ type: 'file', ...file }))
    const user: NewMessage = {
      ...{ id: store.newId(), chatId, parentId, role: 'user', status: 'done' },
      parts: [...files, { type: 'text', text }],
    }
    const answerId = await this.#begin(chatId, user.id, {}, [user])
    return { userId: user.id, answerId }
  }

  ask(chatId: string, parentId: string, other: Partial<AskSettings> = {}): Promise<string> {
    return this.#begin(chatId, parentId, other)
  }

  async goOn(messageId: string): Promise<string> {
    const row = await this.#answerRow(messageId)
    const made = madeOf(row)
    const settings = await this.#settingsOf(row.chatId)
    const { maxTokens } = settings.sampling
    const isCut = made.finish === 'length' && maxTokens !== undefined
    // the same seed makes the same answer again, which then goes on where it ended
    const seed = made.seed ?? settings.sampling.seed ?? seedOf(row.id)
    const other = {
      ...(row.model !== undefined && { model: row.model }),
      ...(isCut && { sampling: { ...settings.sampling, maxTokens: (made.completionTokens ?? 0) + maxTokens } }),
    }
    return this.#begin(row.chatId, parentOf(row), other, [], { seed, parts: row.parts })
  }

  async retry(messageId: string): Promise<string> {
    const row = await this.#answerRow(messageId)
    const parentId = parentOf(row)
    const other = row.model === undefined ? {} : { model: row.model }
    if (textOf(row.parts) !== '') return this.#begin(row.chatId, parentId, other)
    const settings = { ...(await this.#settingsOf(row.chatId)), ...other }
    const { round = 0, seed = settings.sampling.seed ?? seedOf(row.id) } = madeOf(row)
    if (!(await this.#ports.store.update(row.id, { status: 'queued' }))) return this.#begin(row.chatId, parentId, other)
    const ask = { id: row.id, chatId: row.chatId, parentId, settings, seed }
    return this.#queue({
      ...ask,
      round: round + 1,
      isSent: false,
      isStopped: false,
      askedAtMs: this.#ports.clock.nowMs(),
    })
  }

  async stop(messageId: string): Promise<void> {
    const mine = this.#mine.get(messageId)
    const ask = await this.#asks.change(messageId, { isStopped: true })
    if (mine) return mine.run.stop()
    this.#tell({ type: 'stop', id: messageId })
    if (ask && !ask.isSent) await this.#takeBack(ask)
  }

  async confirm(call: string, approve: boolean): Promise<void> {
    await this.#ports.skein().devices.confirm(call, approve)
  }

  async resumeAll(): Promise<void> {
    this.#tell({ type: 'hello' })
    const asks = await this.#asks.all()
    for (const { id, isSent } of asks) if (isSent) void this.#lineUp(id)
    await this.#endOrphans(new Set(asks.map(({ id }) => id)))
    await this.#showOutbox()
    void this.#drain()
  }

  poke(): void {
    this.#reach.poke()
    for (const { run } of this.#mine.values()) run.poke()
  }

  close(): void {
    this.#deafen()
    this.#over.abort()
    for (const { run, teller } of this.#mine.values()) {
      run.close()
      teller.close()
    }
  }

  /** Writes the messages and the request down, then has it sent. */
  async #begin(
    chatId: string,
    parentId: string,
    other: Partial<AskSettings>,
    before: readonly NewMessage[] = [],
    from: { readonly seed?: number; readonly parts?: readonly Part[] } = {},
  ): Promise<string> {
    const { store, clock } = this.#ports
    const settings = { ...(await this.#settingsOf(chatId)), ...other }
    const id = store.newId()
    const seed = from.seed ?? settings.sampling.seed ?? seedOf(id)
    const row: NewMessage = {
      ...{ id, chatId, parentId, role: 'assistant', status: 'queued', parts: from.parts ?? [], made: { seed } },
      ...(settings.model !== '' && { model: settings.model }),
    }
    await store.insert([...before, row])
    const ask = { id, chatId, parentId, settings, seed, round: 0, isSent: false, isStopped: false }
    return this.#queue({ ...ask, askedAtMs: clock.nowMs() }, row.parts)
  }

  async #queue(ask: Ask, parts: readonly Part[] = []): Promise<string> {
    await this.#asks.put(ask)
    this.#liveOf(ask, { ...EMPTY_STATE, text: textOf(parts), thought: thoughtOf(parts), made: { seed: ask.seed } })
    this.#tell({ type: 'asks', id: ask.id })
    // one that goes out at once is no sight for the outbox
    if (this.#reach.isReachable.value === false || (await this.#waitsForOther(ask))) await this.#showOutbox()
    void this.#drain()
    return ask.id
  }

  /** @throws StoreError `not-found`. */
  async #settingsOf(chatId: string): Promise<AskSettings> {
    const chat = await this.#ports.store.chat(chatId)
    if (chat === undefined) throw new StoreError('not-found', 'the chat is not there')
    const { model, system, localOnly, devices, sampling } = chat
    return { model, system, localOnly, devices, sampling }
  }

  /** @throws StoreError `not-found`. */
  async #answerRow(messageId: string): Promise<MessageRow> {
    const row = await this.#ports.store.message(messageId)
    if (row?.role !== 'assistant') throw new StoreError('not-found', 'the answer is not there')
    return row
  }

  /** Sends what waits, in its order, one tab at a time. */
  #drain(): Promise<void> {
    this.#isToDrain = true
    this.#draining ??= this.#drainAll().finally(() => {
      this.#draining = undefined
      if (this.#isToDrain && !this.#over.signal.aborted) void this.#drain()
    })
    return this.#draining
  }

  async #drainAll(): Promise<void> {
    const { signal } = this.#over
    const send = async (): Promise<void> => {
      this.#isToDrain = false
      for (let next = await this.#next(); next && !signal.aborted; next = await this.#next()) await this.#sendOne(next)
      await this.#showOutbox()
    }
    await this.#ports.locks.hold(OUTBOX_LOCK, send, signal).catch((thrown: unknown) => {
      if (!signal.aborted) throw thrown
    })
  }

  /** The first that waits for no other. */
  async #next(): Promise<Ask | undefined> {
    for (const ask of await this.#asks.all())
      if (!ask.isSent && !ask.isStopped && !(await this.#waitsForOther(ask))) return ask
    return undefined
  }

  async #waitsForOther({ parentId }: Ask): Promise<boolean> {
    const path = await this.#ports.store.path(parentId)
    return path.some(({ status }) => status === 'queued' || status === 'running')
  }

  async #sendOne(ask: Ask): Promise<void> {
    const isSure = this.#reach.isReachable.value === true && ask.settings.devices === 'none'
    if (!isSure && !(await this.#reach.isReady(this.#over.signal))) {
      this.#liveOf(ask).settle({ phase: 'outbox', note: { kind: 'outbox' } })
      await this.#showOutbox()
      return this.#reach.untilReady(this.#over.signal)
    }
    const begun = Promise.withResolvers<void>()
    void this.#lineUp(ask.id, begun.resolve).finally(begun.resolve)
    await begun.promise
  }

  /** Goes on with an answer as soon as no other tab has it. @param onBegun the mesh has it. */
  async #lineUp(id: string, onBegun?: () => void): Promise<void> {
    // who is in the line already has it, or waits to send it, which another call of this does
    if (this.#linedUp.has(id) && onBegun === undefined) return
    this.#linedUp.add(id)
    const { signal } = this.#over
    try {
      await this.#ports.locks.hold(lockOf(id), () => this.#make(id, onBegun), signal)
    } catch (thrown) {
      if (!signal.aborted) throw thrown
    } finally {
      this.#linedUp.delete(id)
    }
  }

  /** With its lock: to its end. */
  async #make(id: string, onBegun?: () => void): Promise<void> {
    const ask = await this.#asks.get(id)
    if (ask === undefined) return this.#linger(id)
    if (!ask.isSent && onBegun === undefined) return
    const row = await this.#ports.store.message(id)
    if (row === undefined || (row.status !== 'queued' && row.status !== 'running')) {
      await this.#asks.end(id)
      return this.#forget(id)
    }
    const { parts } = row
    const said = { text: textOf(parts), thought: thoughtOf(parts), calls: callsOf(parts) }
    const state = { ...EMPTY_STATE, ...said, made: madeOf(row) }
    const live = this.#liveOf(ask, state)
    const teller = new Teller(this.#ports, { id, chatId: ask.chatId }, () => live.state)
    const onSent = (): void => {
      this.#tell({ type: 'asks', id })
      void this.#showOutbox()
    }
    const run = new AnswerRun({ ports: this.#ports, asks: this.#asks, reach: this.#reach, live, ask, row, onSent })
    this.#mine.set(id, { run, teller })
    if (onBegun) void run.begun.then(onBegun)
    try {
      const end = await run.run()
      if (end === 'closed') return
      if (end === 'away') return this.#tell({ type: 'asks', id })
      live.settle()
      teller.end()
      this.#linger(id)
      void this.#showOutbox()
      void this.#drain()
    } catch (thrown) {
      // the disk refuses: what is shown says so, and the request is still there for another try
      live.settle({ phase: 'failed', note: undefined, problem: problemOf(thrown) })
      teller.end()
    } finally {
      teller.close()
      this.#mine.delete(id)
    }
  }

  /** Messages that wait for a request that was never written down: the page was left in between. */
  async #endOrphans(asked: ReadonlySet<string>): Promise<void> {
    const { store, clock } = this.#ports
    for (const { id, createdAtMs } of await store.unfinished())
      // a young one may be another tab's, which is just about to write it down
      if (!asked.has(id) && createdAtMs < clock.nowMs() - ORPHAN_MS) await store.update(id, { status: 'stopped' })
  }

  /** One that waits is no longer to be sent. */
  async #takeBack({ id }: Ask): Promise<void> {
    const { store } = this.#ports
    await store.update(id, { status: 'stopped' })
    await this.#asks.end(id)
    this.#lives.peek().get(id)?.settle({ phase: 'stopped', note: undefined })
    this.#linger(id)
    this.#tell({ type: 'asks', id })
    await this.#showOutbox()
    void this.#drain()
  }

  #liveOf(about: Pick<Ask, 'id' | 'chatId'>, state: LiveState = EMPTY_STATE): Live {
    const known = this.#lives.peek().get(about.id)
    if (known && !isOver(known.state.phase)) return known
    const { clock } = this.#ports
    const live: Live = new Live(
      about,
      state,
      (run) => clock.frame(run),
      () => this.#mine.get(about.id)?.teller.changed(),
    )
    this.#lives.value = new Map(this.#lives.peek()).set(about.id, live)
    return live
  }

  #linger(id: string): void {
    this.#ports.clock.after(LINGER_MS, () => this.#forget(id))
  }

  #forget(id: string): void {
    const live = this.#lives.peek().get(id)
    // it may have been asked again
    if (live === undefined || this.#mine.has(id)) return
    const rest = new Map(this.#lives.peek())
    rest.delete(id)
    this.#lives.value = rest
  }

  async #showOutbox(): Promise<void> {
    const waiting = (await this.#asks.all()).filter(({ isSent, isStopped }) => !isSent && !isStopped)
    const items: OutboxItem[] = []
    for (const ask of waiting) {
      const { id, chatId, askedAtMs } = ask
      const waitsForOther = await this.#waitsForOther(ask)
      items.push({ messageId: id, chatId, askedAtMs, waitsForOther })
      if (waitsForOther || this.#reach.isReachable.value === false)
        this.#liveOf(ask).settle({ phase: 'outbox', note: { kind: 'outbox' } })
    }
    this.#outbox.value = items
  }

  #tell(message: TabMessage): void {
    this.#ports.channel.post(message)
  }

  #heard(message: TabMessage): void {
    if (message.type === 'hello') for (const { teller } of this.#mine.values()) teller.tellAll()
    else if (message.type === 'stop') this.#mine.get(message.id)?.run.stop()
    else if (message.type === 'tell') this.#heardTell(message)
    else void this.#heardAsks(message.id)
  }

  async #heardAsks(id: string): Promise<void> {
    const ask = await this.#asks.get(id)
    if (ask === undefined) this.#linger(id)
    else if (ask.isSent) void this.#lineUp(id)
    await this.#showOutbox()
  }

  #heardTell(message: TellMessage): void {
    const { id } = message
    if (this.#mine.has(id)) return
    const known = this.#lives.peek().get(id)
    const state = toldState(known?.state, message)
    if (state === undefined) return this.#tell({ type: 'hello' })
    if (known === undefined && isOver(state.phase)) return
    this.#liveOf(message, state).set(state)
    if (isOver(state.phase)) this.#linger(id)
    else void this.#lineUp(id)
  }
}

const madeOf = ({ made }: MessageRow): Made => (made ?? {}) as Made

/** @throws StoreError `invalid`: an answer follows on something. */
function parentOf({ parentId }: MessageRow): string {
  if (parentId === undefined) throw new StoreError('invalid', 'the answer follows on nothing')
  return parentId
}
