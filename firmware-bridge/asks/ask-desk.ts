/**
 * Questions of all devices of a bridge: taken in when they are durable, answered in turns, delivered as boards can take
 * it, and ended exactly once. What a device asks again it is given again.
 */
import { asSkeinError, LIMITS } from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock, Logger, Random } from '../../mesh/runtime/index.ts'
import type { CompactError } from '../messages/index.ts'
import type { AskMessage, BridgePart, DeviceSessions, ReplyTo, SessionView, Tally } from '../ports/index.ts'
import { AskRun, compactOf, type AskRunComponents } from './ask-run.ts'
import type { AskName, AskRecord, AskStore } from './ask-store.ts'
import type { AnswerSource } from './answer-source.ts'
import { FairLine } from './fair-line.ts'
import { PromptParts } from './prompt-parts.ts'
import { digestOf, questionOf, type Infer } from './question.ts'
import { Quotas, type AskQuotas } from './quotas.ts'

export interface AskDeskComponents {
  readonly sessions: DeviceSessions
  readonly source: AnswerSource
  readonly store: AskStore
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly tally: Tally
}

export interface AskDeskInit {
  readonly bridge: string
  readonly quotas: AskQuotas
}

/** Old questions are forgotten this often. */
const FORGET_INTERVAL_MS = 600_000
const SECOND = 1000

/** Before the end of its time a device is told that there is no answer: its link takes some of it. */
const marginMs = (ttlMs: number): number => Math.min(SECOND, ttlMs / 10)

/** What is answered the same however often it is asked. */
const FINAL: ReadonlySet<CompactError> = new Set(['malformed', 'too_large', 'not_permitted', 'no_answer'])

const keyOf = ({ device, boot, id }: AskName): string => `${device}:${boot}:${id}`

export class AskDesk implements BridgePart {
  readonly name = 'asks'
  readonly #parts: AskDeskComponents
  readonly #bridge: string
  readonly #quotas: Quotas
  readonly #prompts = new PromptParts()
  readonly #line = new FairLine<AskRun>()
  /** Every one that is not over, by its key. */
  readonly #runs = new Map<string, AskRun>()
  /** Those that are being taken in, by key, with what they ask. */
  readonly #admitting = new Map<string, string>()
  /** What each device says is dealt with in its order. */
  readonly #turns = new Map<string, Promise<void>>()
  readonly #cancels: (() => void)[] = []
  #running = 0
  #isStopped = false
  #cancelForget: CancelTimer | undefined

  constructor(components: AskDeskComponents, { bridge, quotas }: AskDeskInit) {
    this.#parts = components
    this.#bridge = bridge
    this.#quotas = new Quotas(quotas, components.store, components.clock)
  }

  /** Questions that are not over. */
  get open(): number {
    return this.#runs.size
  }

  /** Goes on with what was not done when the bridge stopped. @throws SkeinError DATA_DIR_UNUSABLE. */
  async start(): Promise<void> {
    const { sessions, store, clock } = this.#parts
    for (const record of await store.unfinished(clock.wallMs())) this.#begin(record)
    this.#cancels.push(
      sessions.onMessage((session, message, replyTo) => this.#hear(session, message, replyTo)),
      sessions.onPresence((session, change) => this.#presence(session, change)),
    )
    this.#forget()
    this.#pump()
  }

  stop(): Promise<void> {
    this.#isStopped = true
    for (const cancel of this.#cancels.splice(0)) cancel()
    this.#cancelForget?.()
    for (const run of [...this.#runs.values()]) run.pause()
    return Promise.all(this.#turns.values()).then(() => undefined)
  }

  #hear(session: SessionView, message: AskMessage, replyTo: ReplyTo | undefined): void {
    const name = { device: session.id, boot: session.boot, id: message.id }
    const run = this.#runs.get(keyOf(name))
    switch (message.kind) {
      case 'credit':
        run?.credit(message)
        return
      case 'prompt':
        if (!this.#prompts.add(session.id, message)) this.#refuse(name, 'too_large', replyTo)
        return
      case 'cancel':
        this.#inTurn(session.id, () => this.#runs.get(keyOf(name))?.abandon())
        return
      case 'infer':
        this.#asked(session, message, replyTo)
    }
  }

  /** Everything that can be said without the disk is said at once. */
  #asked(session: SessionView, message: Infer, replyTo: ReplyTo | undefined): void {
    const name = { device: session.id, boot: session.boot, id: message.id }
    const parts = this.#prompts.take(session.id, message.id, message.pn ?? 0)
    if (parts === undefined) return this.#refuse(name, 'malformed', replyTo)
    const question = questionOf(message, parts + message.q, session)
    if (typeof question === 'string') return this.#refuse(name, question, replyTo)
    const digest = digestOf(question, message.ttl)
    const admitting = this.#admitting.get(keyOf(name))
    // it is accepted when the first one is
    if (admitting === digest) return
    if (admitting !== undefined || this.#admitting.size >= LIMITS.asksMax)
      return this.#refuse(name, admitting === undefined ? 'busy' : 'duplicate_in_progress', replyTo)
    const { clock } = this.#parts
    const nowMs = clock.wallMs()
    const ttlMs = message.ttl * SECOND
    const record: AskRecord = {
      ...{ ...name, digest, question, askedAtMs: nowMs, endsAtMs: Math.floor(nowMs + ttlMs - marginMs(ttlMs)) },
      ...{ progress: 'open', tries: 1, text: '' },
      ...(replyTo && { replyTo }),
    }
    this.#admitting.set(keyOf(name), digest)
    this.#inTurn(session.id, async () => {
      try {
        await this.#admit(record)
      } catch (thrown) {
        this.#refuse(name, compactOf(asSkeinError(thrown).code), replyTo)
      } finally {
        this.#admitting.delete(keyOf(name))
      }
    })
  }

  async #admit(asked: AskRecord): Promise<void> {
    const { store } = this.#parts
    const running = this.#runs.get(keyOf(asked))
    if (running?.isCut === true) running.pause()
    else if (running !== undefined) {
      if (running.record.digest === asked.digest) running.again()
      else this.#refuse(asked, 'duplicate_in_progress', asked.replyTo)
      return
    }
    const known = await store.find(asked)
    if (known !== undefined && known.digest !== asked.digest) return this.#refuse(asked, 'malformed', asked.replyTo)
    if (known?.progress === 'failed' && FINAL.has(known.error!)) return this.#refuse(asked, known.error!, asked.replyTo)
    if (known?.progress === 'answered') {
      const { endsAtMs, replyTo } = asked
      return this.#accept({ ...known, endsAtMs, ...(replyTo && { replyTo }) })
    }
    const own = [...this.#runs.values()].filter(({ device, hasEnded }) => device === asked.device && !hasEnded)
    if (own.length >= LIMITS.asksPerDeviceMax || this.#runs.size >= LIMITS.asksMax)
      return this.#refuse(asked, 'busy', asked.replyTo, 1)
    const refused = await this.#quotas.take(asked.device, this.#parts.sessions.session(asked.device)?.policy)
    if (refused !== undefined) return this.#refuse(asked, refused.error, asked.replyTo, refused.retrySeconds)
    // what failed has a name of its own at the coordinator, which has its failure
    await this.#accept({ ...asked, tries: known === undefined ? 1 : known.tries + 1 })
  }

  async #accept(record: AskRecord): Promise<void> {
    await this.#parts.store.put(record)
    if (this.#isStopped) return
    this.#parts.tally.count('ask_accepted')
    this.#begin(record).accept()
    this.#pump()
  }

  #begin(record: AskRecord): AskRun {
    const components: AskRunComponents = this.#parts
    const run = new AskRun(components, { record, bridge: this.#bridge, onOver: (each) => this.#over(each) })
    this.#runs.set(keyOf(record), run)
    run.start()
    if (!run.isWhole) this.#line.add(run)
    return run
  }

  #over(run: AskRun): void {
    this.#line.remove(run)
    if (this.#runs.get(keyOf(run.record)) === run) this.#runs.delete(keyOf(run.record))
  }

  /** Begins as many as may run; tells those that wait how many go before them. */
  #pump(): void {
    while (!this.#isStopped && this.#running < LIMITS.asksRunningMax) {
      const run = this.#line.take()
      if (run === undefined) return
      this.#running++
      void run.make().finally(() => {
        this.#running--
        this.#pump()
      })
    }
    for (const run of this.#runs.values()) {
      const place = this.#line.place(run)
      if (place !== undefined) run.queued(place)
    }
  }

  #presence(session: SessionView, change: 'state' | 'boot' | 'gone'): void {
    if (change !== 'state') this.#prompts.clear(session.id)
    for (const run of [...this.#runs.values()]) {
      if (run.device !== session.id) continue
      // whoever began anew has forgotten what it asked
      if (change === 'gone' || run.record.boot !== session.boot) void run.abandon()
      else run.attach()
    }
  }

  /** After what the device said before was dealt with. */
  #inTurn(device: string, work: () => Promise<void> | undefined): void {
    const turn = (this.#turns.get(device) ?? Promise.resolve()).then(work)
    this.#turns.set(device, turn)
    void turn.finally(() => {
      if (this.#turns.get(device) === turn) this.#turns.delete(device)
    })
  }

  #refuse({ device, id }: AskName, error: CompactError, replyTo: ReplyTo | undefined, retry?: number): void {
    this.#parts.tally.count(`ask_${error}`)
    this.#parts.sessions.send(device, { kind: 'fail', id, c: error, ...(retry !== undefined && { retry }) }, replyTo)
  }

  #forget(): void {
    const { store, clock, log } = this.#parts
    void store
      .forget(clock.wallMs() - LIMITS.askRetentionMs, this.#quotas.day)
      .catch((error: unknown) => log.warn({ err: error }, 'old questions could not be forgotten'))
    this.#cancelForget = clock.timer(FORGET_INTERVAL_MS, () => this.#forget())
  }
}
