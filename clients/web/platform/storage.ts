/** What the browser keeps of this page: small settings at once, and how safe the large store is. */

export interface SmallStore {
  get(key: string): string | undefined
  /** `undefined` forgets it. @returns false where the browser keeps nothing (full, or forbidden). */
  set(key: string, value: string | undefined): boolean
  /** Told when another tab changes it. @returns what ends it. */
  listen(key: string, onChange: (value: string | undefined) => void): () => void
}

export interface StorageHealth {
  /** Whether the browser promised not to clear it by itself; `undefined` where it does not say. */
  readonly isDurable: boolean | undefined
  /** In bytes; `undefined` where the browser does not say. */
  readonly usedBytes: number | undefined
  readonly quotaBytes: number | undefined
}

export const smallStore: SmallStore = {
  get(key) {
    try {
      return localStorage.getItem(key) ?? undefined
    } catch {
      return undefined // forbidden by the browser's settings
    }
  },
  set(key, value) {
    try {
      if (value === undefined) localStorage.removeItem(key)
      else localStorage.setItem(key, value)
      return true
    } catch {
      return false
    }
  },
  listen(key, onChange) {
    const listener = (event: StorageEvent): void => {
      // a null key: everything was cleared
      if (event.key === key || event.key === null) onChange(event.newValue ?? undefined)
    }
    addEventListener('storage', listener)
    return () => removeEventListener('storage', listener)
  },
}

type Storage = Partial<StorageManager> | undefined
const manager = (): Storage => (globalThis.navigator as Partial<Navigator> | undefined)?.storage

/** What the browser says of its storage; nothing of it is a promise. */
export async function storageHealth(): Promise<StorageHealth> {
  const storage = manager()
  const [isDurable, estimate] = await Promise.all([
    storage?.persisted?.().catch(() => undefined),
    storage?.estimate?.().catch(() => undefined),
  ])
  return { isDurable, usedBytes: estimate?.usage, quotaBytes: estimate?.quota }
}

/** Asks the browser not to clear the store by itself. It may ask the user, and may refuse. */
export async function askDurable(): Promise<boolean> {
  try {
    return (await manager()?.persist?.()) ?? false
  } catch {
    return false
  }
}
