/** Several tabs of one page: who of them does what only one may do, and what they tell each other. */

export interface TabLocks {
  /**
   * Runs `work` while this tab alone holds `name`, as soon as no other does. A tab that is closed lets go.
   *
   * @throws the reason of the signal while it waits; what `work` throws.
   */
  hold<T>(name: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T>
  /** The same at once, or `undefined` where another tab holds it. */
  holdIfFree<T>(name: string, work: () => Promise<T>): Promise<T | undefined>
}

export interface TabChannel<T> {
  /** To all other tabs; what structured cloning can carry. */
  post(message: T): void
  /** What others post is of their version of the page: check it. @returns what ends it. */
  listen(onMessage: (message: unknown) => void): () => void
  close(): void
}

/** Where there are no Web Locks (a page without certificate that is not of this machine), tabs cannot agree: each is alone. */
function localLocks(): TabLocks {
  const last = new Map<string, Promise<unknown>>()
  const hold = async <T>(name: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> => {
    const before = last.get(name) ?? Promise.resolve()
    const gate = Promise.withResolvers<undefined>()
    const mine = before.then(() => gate.promise)
    last.set(name, mine)
    try {
      await before
      signal?.throwIfAborted()
      return await work()
    } finally {
      gate.resolve(undefined)
      if (last.get(name) === mine) last.delete(name)
    }
  }
  return {
    hold,
    holdIfFree: (name, work) => (last.has(name) ? Promise.resolve(undefined) : hold(name, work)),
  }
}

const webLocks = (locks: LockManager): TabLocks => ({
  hold: (name, work, signal) => locks.request(name, signal === undefined ? {} : { signal }, work),
  holdIfFree: (name, work) =>
    locks.request(name, { ifAvailable: true }, (lock) => (lock === null ? Promise.resolve(undefined) : work())),
})

export const tabLocks = (): TabLocks => {
  const locks = (globalThis.navigator as Partial<Navigator> | undefined)?.locks
  return locks === undefined ? localLocks() : webLocks(locks)
}

/** A channel of this page's origin. */
export function tabChannel<T>(name: string): TabChannel<T> {
  const channel = new BroadcastChannel(name)
  return {
    post: (message) => channel.postMessage(message),
    listen(onMessage) {
      const listener = ({ data }: MessageEvent): void => onMessage(data as unknown)
      channel.addEventListener('message', listener)
      return () => channel.removeEventListener('message', listener)
    },
    close: () => channel.close(),
  }
}
