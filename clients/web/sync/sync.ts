/** Sync as the page has it: when it exchanges, what it tells of it, and what a person can do. */
import { signal, type ReadonlySignal } from '@preact/signals'
import { isVisible, onOnlineChange, onVisibility } from '../platform/index.ts'
import { StoreError, type LocalStore } from '../store/index.ts'
import { canSeal, linkOf } from './account.ts'
import { SyncEngine } from './engine.ts'
import { SyncError, type SyncErrorCode } from './errors.ts'
import type { SyncRequest } from './mailbox.ts'
import { leftOf, loadState } from './state.ts'

export interface OtherDevice {
  readonly id: string
  readonly name: string
  /** When it last said something, by its own clock; ms since 1970. */
  readonly atMs: number
}

export interface SyncStatus {
  /** `unknown` until the disk has been read; `failing`: it is tried again by itself. */
  readonly phase: 'unknown' | 'off' | 'idle' | 'working' | 'failing'
  readonly problem: SyncErrorCode | 'full-here' | undefined
  /** Of this device. */
  readonly name: string
  /** When all was last exchanged, ms since 1970. */
  readonly syncedAtMs: number | undefined
  /** Changes that the others have not been told of. */
  readonly waiting: number
  readonly devices: readonly OtherDevice[]
  /** The mailbox has lost something; the others have been asked for it. */
  readonly hasGaps: boolean
  /** Another device has ended the sync of this one. */
  readonly isForgotten: boolean
}

export interface SyncInit {
  readonly store: LocalStore
  readonly request: SyncRequest
  /** Of this page, such as `http://127.0.0.1:7337`: what the QR leads to. */
  readonly origin: string
  /** What the browser tells of the page. */
  readonly page?: PageEvents
}

export interface PageEvents {
  isVisible(): boolean
  onVisibility(run: (isVisible: boolean) => void): () => void
  onOnlineChange(run: (isOnline: boolean) => void): () => void
}

const NOTHING: SyncStatus = {
  ...{ phase: 'unknown', problem: undefined, name: '', syncedAtMs: undefined, waiting: 0, devices: [] },
  ...{ hasGaps: false, isForgotten: false },
}
const POLL_MS = 20_000
/** After a change, for what comes right behind it. */
const CHANGE_MS = 1_500
const RETRY_MS = 5_000
const RETRY_MS_MAX = 300_000

export class Sync {
  readonly #store: LocalStore
  readonly #engine: SyncEngine
  readonly #origin: string
  readonly #page: PageEvents
  readonly #status = signal<SyncStatus>(NOTHING)
  readonly #ends: (() => void)[] = []
  #problem: SyncStatus['problem']
  #isWorking = false
  #tries = 0
  #cancelNext: (() => void) | undefined
  readonly #closing = new AbortController()

  constructor({ store, request, origin, page = { isVisible, onVisibility, onOnlineChange } }: SyncInit) {
    this.#store = store
    this.#engine = new SyncEngine(store, request)
    this.#origin = origin
    this.#page = page
  }

  get status(): ReadonlySignal<SyncStatus> {
    return this.#status
  }

  /** False on a page that is neither of this machine nor under https: then there is nothing to seal with. */
  get canSeal(): boolean {
    return canSeal()
  }

  /** Exchanges from now on: at once, after each change, and every {@link POLL_MS} while the page is seen. */
  start(): void {
    const { db } = this.#store
    const read = async () => {
      const [state, devices, waiting, left] = await Promise.all([
        ...[loadState(db), db.devices.toArray(), db.pending.count(), leftOf(db)],
      ] as const)
      return { state, devices, waiting, left }
    }
    this.#ends.push(
      this.#store.watch(read, ({ state, devices, waiting, left }) => {
        const hadWaiting = this.#status.peek().waiting
        this.#tell({
          ...{ name: state?.name ?? '', syncedAtMs: state?.syncedAtMs, waiting },
          phase: state === undefined ? 'off' : 'idle',
          devices: devices.map(({ id, name, atMs }) => ({ id, name, atMs })),
          ...{ hasGaps: Object.keys(state?.gaps ?? {}).length > 0, isForgotten: left === 'forgotten' },
        })
        if (state !== undefined && waiting > hadWaiting && this.#tries === 0) this.#later(CHANGE_MS)
      }),
      this.#page.onVisibility((isSeen) => (isSeen ? this.poke() : undefined)),
      this.#page.onOnlineChange((isOnline) => (isOnline ? this.poke() : undefined)),
    )
    this.#later(0)
  }

  /** Exchanges at once, whatever went wrong before. */
  poke(): void {
    this.#tries = 0
    this.#later(0)
  }

  close(): void {
    this.#closing.abort()
    this.#cancelNext?.()
    for (const end of this.#ends.splice(0)) end()
  }

  /** A new account with this device as its first. @throws SyncError `insecure`. */
  async turnOn(name: string): Promise<void> {
    await this.#engine.turnOn(name)
    this.poke()
  }

  /** Onto the account of another device. @throws SyncError `bad-code`, `insecure`. */
  async join(typed: string, name: string): Promise<void> {
    await this.#engine.join(typed, name)
    this.poke()
  }

  /** What another device needs to join: whoever has it reads the chats. */
  async invitation(): Promise<{ readonly code: string; readonly link: string } | undefined> {
    const code = await this.#engine.code()
    return code === undefined ? undefined : { code, link: linkOf(this.#origin, code) }
  }

  /** Leaves a device out from now on: the others go on under a new key. @throws SyncError. */
  async forget(device: string): Promise<void> {
    await this.#engine.forget(device, this.#closing.signal)
    this.poke()
  }

  /** For a device that lacks something. */
  async sendAll(): Promise<void> {
    await this.#engine.sendAll()
    this.poke()
  }

  /** @param everywhere also deletes what the mailbox has, and ends it on the other devices. @throws SyncError. */
  async turnOff(everywhere: boolean): Promise<void> {
    await this.#engine.turnOff(everywhere, this.#closing.signal)
    this.#problem = undefined
  }

  #tell(change: Partial<SyncStatus>): void {
    const next = { ...this.#status.peek(), ...change, problem: this.#problem }
    const isOn = next.phase !== 'off' && next.phase !== 'unknown'
    const phase = this.#isWorking ? 'working' : this.#problem !== undefined ? 'failing' : 'idle'
    this.#status.value = { ...next, phase: isOn ? phase : next.phase, problem: isOn ? this.#problem : undefined }
  }

  #later(ms: number): void {
    if (this.#closing.signal.aborted) return
    this.#cancelNext?.()
    this.#cancelNext = this.#store.clock.after(ms, () => void this.#exchange())
  }

  async #exchange(): Promise<void> {
    if (this.#isWorking) return this.#later(CHANGE_MS)
    const isDue = await this.#isDue()
    if (isDue) {
      this.#isWorking = true
      this.#tell({})
      this.#problem = await this.#round()
      this.#isWorking = false
      this.#tries = this.#problem === undefined ? 0 : this.#tries + 1
      this.#tell({})
    }
    const backoffMs = Math.min(RETRY_MS_MAX, RETRY_MS * 2 ** Math.min(this.#tries - 1, 10))
    this.#later(this.#tries === 0 ? POLL_MS : backoffMs * (0.5 + this.#store.random.unit() / 2))
  }

  /** Not in a tab that nobody sees, nor when another tab has done it just now. */
  async #isDue(): Promise<boolean> {
    const { db, clock } = this.#store
    try {
      const state = await loadState(db)
      if (state === undefined) return false
      if ((await db.pending.count()) > 0 || state.generation === undefined) return true
      return this.#page.isVisible() && clock.nowMs() - (state.syncedAtMs ?? 0) >= POLL_MS / 2
    } catch {
      return false // the store was closed under it
    }
  }

  async #round(): Promise<SyncStatus['problem']> {
    try {
      await this.#engine.round(this.#closing.signal)
      return undefined
    } catch (error) {
      if (error instanceof SyncError) return error.code === 'forgotten' ? undefined : error.code
      if (error instanceof StoreError && error.code === 'full') return 'full-here'
      return this.#closing.signal.aborted ? undefined : 'protocol'
    }
  }
}

export const createSync = (init: SyncInit): Sync => new Sync(init)
