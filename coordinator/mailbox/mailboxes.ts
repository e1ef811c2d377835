/**
 * Blind mailboxes, by which somebody's own devices keep one another up to date: each holds a list of sealed entries, which
 * are appended, read from a place on, and dropped. Who knows a mailbox's token has it; of the token only its hash is kept.
 */
import { createHash } from 'node:crypto'
import { LIMITS, SkeinError } from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock, Logger, Random, Startable } from '../../mesh/runtime/index.ts'
import { MailboxStore } from './store.ts'
import type {
  Appended,
  MailboxBounds,
  MailboxState,
  NewEntry,
  OperationName,
  Operations,
  Page,
  Right,
} from './types.ts'

/** Between looks for mailboxes that nobody uses any more. */
const SWEEP_MS = 24 * 3600 * 1000

export const MAILBOX_BOUNDS: MailboxBounds = {
  mailboxesMax: LIMITS.syncMailboxesMax,
  mailboxBytesMax: LIMITS.syncMailboxBytesMax,
  entriesMax: LIMITS.syncMailboxEntriesMax,
  devicesMax: LIMITS.syncMailboxDevicesMax,
  bytesMax: LIMITS.syncBytesMax,
  pageBytesMax: LIMITS.syncPageBytesMax,
}

export interface MailboxesComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
}

export interface MailboxesInit {
  /** The database; made when the first mailbox is. */
  readonly path: string
  readonly bounds?: MailboxBounds
}

/** What proves the right to a mailbox: its name, and the token that it was made with. */
export interface MailboxKey {
  readonly mailbox: string
  readonly token: string
}

export interface ReadQuery {
  /** Entries behind this index. */
  readonly after: number
  readonly limit: number
  /** How long to wait for one where there is none; 0 does not. */
  readonly waitMs: number
  /** Ends the waiting. */
  readonly signal: AbortSignal
}

const rightOf = ({ mailbox, token }: MailboxKey): Right => ({
  mailbox,
  tokenHash: createHash('sha256').update(token).digest(),
})

export class Mailboxes implements Startable {
  readonly name = 'mailboxes'
  readonly #clock: Clock
  readonly #random: Random
  readonly #log: Logger
  readonly #init: Required<MailboxesInit>
  /** Opened by who asks first: few meshes have one. */
  #store: Promise<MailboxStore> | undefined
  /** Readers that wait, by mailbox: each is called when something comes. */
  readonly #readers = new Map<string, Set<() => void>>()
  #waiting = 0
  #isResting = false
  #cancelSweep: CancelTimer = () => {}

  constructor({ clock, random, log }: MailboxesComponents, init: MailboxesInit) {
    this.#clock = clock
    this.#random = random
    this.#log = log.scope('mailboxes')
    this.#init = { bounds: MAILBOX_BOUNDS, ...init }
  }

  get bytesMax(): number {
    return this.#init.bounds.mailboxBytesMax
  }

  start(): Promise<void> {
    return Promise.resolve()
  }

  /** Readers that wait are told that the coordinator is stopping. */
  rest(): void {
    this.#isResting = true
    for (const readers of this.#readers.values()) for (const wake of readers) wake()
  }

  async stop(): Promise<void> {
    this.rest()
    this.#cancelSweep()
    const store = this.#store
    this.#store = Promise.reject(new SkeinError('SHUTTING_DOWN', 'the coordinator is stopping'))
    this.#store.catch(() => undefined)
    await store?.then(
      (opened) => opened.close(),
      () => undefined,
    )
  }

  /**
   * The mailbox, made where it is not there.
   *
   * @throws SkeinError SYNC_MAILBOX_NOT_FOUND when it was made with another token; SYNC_FULL; LEDGER_UNAVAILABLE, LEDGER_CORRUPT.
   */
  make(key: MailboxKey): Promise<MailboxState & { readonly isNew: boolean }> {
    const generation = Buffer.from(this.#random.bytes(8)).toString('hex')
    return this.#ask('make', { ...rightOf(key), generation, nowMs: this.#clock.wallMs() })
  }

  /** @throws SkeinError SYNC_MAILBOX_NOT_FOUND, SYNC_CONFLICT, SYNC_FULL; as `make`. */
  async append(key: MailboxKey, entry: NewEntry): Promise<Appended> {
    const appended = await this.#ask('append', { ...rightOf(key), entry, nowMs: this.#clock.wallMs() })
    if (appended.isNew) for (const wake of this.#readers.get(key.mailbox) ?? []) wake()
    return appended
  }

  /**
   * Entries in their order, as many as fit; none where none comes in time.
   *
   * @throws SkeinError SYNC_MAILBOX_NOT_FOUND; SHUTTING_DOWN while waiting; as `make`.
   */
  async read(key: MailboxKey, { after, limit, waitMs, signal }: ReadQuery): Promise<Page> {
    const look = (): Promise<Page> => this.#ask('read', { ...rightOf(key), after, limit, nowMs: this.#clock.wallMs() })
    const mayWait = waitMs > 0 && this.#waiting < LIMITS.syncReadersMax && !this.#isResting
    if (!mayWait) return look()
    // listens before it looks: nothing comes between the two
    const news = this.#listen(key.mailbox, waitMs, signal)
    try {
      const page = await look()
      if (page.entries.length > 0) return page
      if (!(await news.came)) return page
      if (this.#isResting)
        throw new SkeinError('SHUTTING_DOWN', 'the coordinator is stopping', { retryAfterSeconds: 5 })
      return await look()
    } finally {
      news.end()
    }
  }

  /** Drops entries up to an index. @throws SkeinError INVALID_REQUEST beyond the last; SYNC_MAILBOX_NOT_FOUND; as `make`. */
  trim(key: MailboxKey, through: number): Promise<MailboxState> {
    return this.#ask('trim', { ...rightOf(key), through, nowMs: this.#clock.wallMs() })
  }

  /** @throws SkeinError SYNC_MAILBOX_NOT_FOUND; as `make`. */
  async remove(key: MailboxKey): Promise<void> {
    await this.#ask('remove', rightOf(key))
  }

  async #ask<N extends OperationName>(name: N, request: Operations[N]['ask']): Promise<Operations[N]['answer']> {
    this.#store ??= this.#open()
    return (await this.#store).ask(name, request)
  }

  async #open(): Promise<MailboxStore> {
    try {
      const store = await MailboxStore.open(this.#init)
      void this.#sweep(store)
      return store
    } catch (error) {
      // what was wrong may be put right while Skein runs
      this.#store = undefined
      throw error
    }
  }

  async #sweep(store: MailboxStore): Promise<void> {
    try {
      const dropped = await store.ask('sweep', { unusedSinceMs: this.#clock.wallMs() - LIMITS.syncUnusedMs })
      if (dropped > 0) this.#log.info({ dropped }, 'mailboxes that nobody used were dropped')
    } catch (error) {
      this.#log.warn({ err: error }, 'unused mailboxes were not looked for')
    }
    if (!this.#isResting) this.#cancelSweep = this.#clock.timer(SWEEP_MS, () => void this.#sweep(store))
  }

  /** `came` resolves with whether something came; false when the time is up or the reader has gone. */
  #listen(mailbox: string, waitMs: number, signal: AbortSignal): { readonly came: Promise<boolean>; end(): void } {
    const { promise: came, resolve } = Promise.withResolvers<boolean>()
    const wake = (): void => resolve(true)
    const leave = (): void => resolve(false)
    const readers = this.#readers.get(mailbox) ?? new Set()
    this.#readers.set(mailbox, readers.add(wake))
    this.#waiting++
    const cancel = this.#clock.timer(waitMs, leave)
    signal.addEventListener('abort', leave, { once: true })
    if (signal.aborted) leave()
    const end = (): void => {
      cancel()
      signal.removeEventListener('abort', leave)
      this.#waiting--
      readers.delete(wake)
      if (readers.size === 0 && this.#readers.get(mailbox) === readers) this.#readers.delete(mailbox)
    }
    return { came, end }
  }
}
