/** Time and chance, behind ports: tests move them by hand. The SDK has no dependencies, hence its own. */

export interface SdkClock {
  /** Monotonic, in ms. */
  nowMs(): number
  /** Rejects with the reason of `signal` when it aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
  /** From 0 to below 1. */
  random(): number
}

const ID_BYTES = 16

export const systemClock: SdkClock = {
  nowMs: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error)
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', abort)
        resolve()
      }, ms)
      const abort = (): void => {
        clearTimeout(timer)
        reject(signal?.reason as Error)
      }
      signal?.addEventListener('abort', abort, { once: true })
    }),
  random: () => crypto.getRandomValues(new Uint32Array(1))[0]! / 2 ** 32,
}

/** A name that nobody else gives: 128 random bits in hexadecimal. */
export const newId = (): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(ID_BYTES)), (byte) => byte.toString(16).padStart(2, '0')).join('')
