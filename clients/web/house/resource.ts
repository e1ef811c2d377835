/** Answers of the coordinator in components: asked for, kept while they are asked for anew, and never set after the end. */
import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import { systemClock } from '../platform/index.ts'
import { SkeinApiError } from '../../sdk/index.ts'

export interface Resource<T> {
  readonly value: T | undefined
  /** Of the last time that it was asked for; what was there before stays. */
  readonly error: SkeinApiError | undefined
  /** Asks anew. */
  readonly reload: () => void
  /** Instead of asking, when it is known. */
  readonly set: (change: (value: T | undefined) => T | undefined) => void
}

export const asApiError = (thrown: unknown): SkeinApiError =>
  thrown instanceof SkeinApiError
    ? thrown
    : new SkeinApiError(thrown instanceof Error ? thrown.message : String(thrown), { code: 'internal', cause: thrown })

/** Whether an admin's key would be needed, or one that may see this. */
export const isForbidden = (error: SkeinApiError | undefined): boolean =>
  error?.code === 'forbidden' || error?.status === 403

/** @param deps asked for anew when they change. */
export function useResource<T>(load: (signal: AbortSignal) => Promise<T>, deps: readonly unknown[]): Resource<T> {
  const [value, set] = useState<T>()
  const [error, setError] = useState<SkeinApiError>()
  const [asked, ask] = useState(0)
  useEffect(() => {
    const leaving = new AbortController()
    load(leaving.signal).then(
      (loaded) => {
        if (leaving.signal.aborted) return
        set(() => loaded)
        setError(undefined)
      },
      (thrown: unknown) => {
        if (!leaving.signal.aborted) setError(asApiError(thrown))
      },
    )
    return () => leaving.abort()
  }, [asked, ...deps])
  const reload = useCallback(() => ask((n) => n + 1), [])
  const change = useCallback((how: (value: T | undefined) => T | undefined) => set((now) => how(now)), [])
  return { value, error, reload, set: change }
}

/** The time, as often as `everyMs`, for ages that grow while they are looked at. */
export function useNow(everyMs: number): number {
  const [nowMs, setNow] = useState(() => systemClock.nowMs())
  useEffect(() => systemClock.every(everyMs, () => setNow(systemClock.nowMs())), [everyMs])
  return nowMs
}

export interface Action<A extends readonly unknown[]> {
  readonly run: (...args: A) => void
  readonly isBusy: boolean
  readonly error: SkeinApiError | undefined
  readonly forget: () => void
}

/** Something that a button does: one at a time, with what went wrong. */
export function useAction<A extends readonly unknown[]>(act: (...args: A) => Promise<void>): Action<A> {
  const [isBusy, setBusy] = useState(false)
  const [error, setError] = useState<SkeinApiError>()
  const isThere = useRef(true)
  const isRunning = useRef(false)
  const latest = useRef(act)
  latest.current = act
  useEffect(() => () => void (isThere.current = false), [])
  const run = useCallback((...args: A): void => {
    if (isRunning.current) return
    isRunning.current = true
    setBusy(true)
    setError(undefined)
    latest
      .current(...args)
      .catch((thrown: unknown) => {
        if (isThere.current) setError(asApiError(thrown))
      })
      .finally(() => {
        isRunning.current = false
        if (isThere.current) setBusy(false)
      })
  }, [])
  const forget = useCallback(() => setError(undefined), [])
  return { run, isBusy, error, forget }
}
