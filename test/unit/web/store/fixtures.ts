/** Stores over a database in memory, with time and chance of the test. */
import { Dexie } from 'dexie'
import { IDBFactory, IDBKeyRange } from 'fake-indexeddb'
import type { TabLocks, WebClock, WebRandom } from '../../../../clients/web/platform/index.ts'
import { openChatStore, type LocalStore, type StoreInit } from '../../../../clients/web/store/index.ts'

// `liveQuery` compares keys with the browser's own, whatever the database was opened with
Dexie.dependencies.indexedDB ??= new IDBFactory()
Dexie.dependencies.IDBKeyRange ??= IDBKeyRange

/** Stands still until it is moved; what waits runs when its time has come. */
export class TestClock implements WebClock {
  ms = 1_700_000_000_000
  #waiting: { at: number; run: () => void }[] = []

  nowMs = (): number => this.ms
  monotonicMs = (): number => this.ms
  frame = (run: () => void): (() => void) => this.after(0, run)

  after = (ms: number, run: () => void): (() => void) => {
    const entry = { at: this.ms + ms, run }
    this.#waiting.push(entry)
    return () => {
      this.#waiting = this.#waiting.filter((each) => each !== entry)
    }
  }

  every = (ms: number, run: () => void): (() => void) => {
    const again = (): void => {
      cancel = this.after(ms, again)
      run()
    }
    let cancel = this.after(ms, again)
    return () => cancel()
  }

  sleep = (ms: number, signal?: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      const cancel = this.after(ms, resolve)
      signal?.addEventListener('abort', () => {
        cancel()
        reject(signal.reason as Error)
      })
    })

  move(ms: number): void {
    this.ms += ms
    const due = this.#waiting.filter(({ at }) => at <= this.ms)
    this.#waiting = this.#waiting.filter(({ at }) => at > this.ms)
    for (const { run } of due) run()
  }
}

export const aloneLocks: TabLocks = {
  hold: (_name, work) => work(),
  holdIfFree: (_name, work) => work(),
}

/** Bytes that repeat with the seed. */
export function seededRandom(seed: number): WebRandom {
  let state = seed >>> 0
  const next = (): number => {
    // mulberry32
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  return { bytes: (length) => Uint8Array.from({ length }, () => Math.floor(next() * 256)), unit: next }
}

export interface OpenedInit {
  readonly seed?: number
  readonly clock?: TestClock
  readonly factory?: IDBFactory
  readonly storage?: NonNullable<StoreInit['storage']>
}

export interface Opened {
  readonly store: LocalStore
  readonly clock: TestClock
  readonly factory: IDBFactory
}

export async function opened({
  seed = 1,
  clock = new TestClock(),
  factory = new IDBFactory(),
  storage,
}: OpenedInit = {}): Promise<Opened> {
  const store = await openChatStore({
    idb: { indexedDB: factory, IDBKeyRange },
    clock,
    random: seededRandom(seed),
    locks: aloneLocks,
    storage: storage ?? {
      health: () => Promise.resolve({ isDurable: false, usedBytes: 10, quotaBytes: 100 }),
      ask: () => Promise.resolve(true),
    },
  })
  return { store, clock, factory }
}
