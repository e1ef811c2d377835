/** Time of the page: the one place that reads it, so that tests move it by hand. */

export interface WebClock {
  /** Wall clock, ms since 1970. */
  nowMs(): number
  /** Never goes back; for durations. */
  monotonicMs(): number
  /** @throws the reason of the signal. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
  /** Runs once, in `ms`. @returns what cancels it. */
  after(ms: number, run: () => void): () => void
  /** Runs every `ms` until cancelled. @returns what cancels it. */
  every(ms: number, run: () => void): () => void
  /** Runs before the next frame is painted; in a hidden tab, where no frame is, within 250 ms. @returns what cancels it. */
  frame(run: () => void): () => void
}

/** Browsers paint no frames of hidden tabs, and what waits for one would wait for ever. */
const HIDDEN_FRAME_MS = 250

function after(ms: number, run: () => void): () => void {
  const timer = setTimeout(run, ms)
  return () => clearTimeout(timer)
}

function frame(run: () => void): () => void {
  let isDone = false
  const once = (): void => {
    if (isDone) return
    cancel()
    run()
  }
  const request = requestAnimationFrame(once)
  const late = after(HIDDEN_FRAME_MS, once)
  const cancel = (): void => {
    isDone = true
    cancelAnimationFrame(request)
    late()
  }
  return cancel
}

function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted()
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      cancel()
      reject(signal?.reason as unknown)
    }
    const cancel = after(ms, () => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    })
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

export const systemClock: WebClock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep,
  after,
  every(ms, run) {
    const timer = setInterval(run, ms)
    return () => clearInterval(timer)
  },
  frame,
}
