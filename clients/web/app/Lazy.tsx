import type { ComponentChildren, FunctionComponent } from 'preact'
import { useEffect, useErrorBoundary, useState } from 'preact/hooks'
import { Button, Empty, Skeleton } from '../ui/index.ts'
import { words } from '../words/index.ts'

export interface LazyProps<M> {
  /** Loads the part of the page that is not there from the start. */
  readonly load: () => Promise<M>
  readonly children: (module: M) => ComponentChildren
  /** Shows nothing until it is there, nor that it could not be loaded. */
  readonly isSilent?: boolean
}

const loaded = new Map<() => Promise<unknown>, unknown>()

/** Loads `load` once, whoever shows it. */
export function Lazy<M>({ load, children, isSilent = false }: LazyProps<M>) {
  const [state, setState] = useState<{ module: M } | 'failed' | undefined>(
    loaded.has(load) ? { module: loaded.get(load) as M } : undefined,
  )
  useEffect(() => {
    if (state !== undefined) return
    let isThere = true
    load().then(
      (module) => {
        loaded.set(load, module)
        if (isThere) setState({ module })
      },
      () => isThere && setState('failed'),
    )
    return () => void (isThere = false)
  }, [state])
  if (isSilent && typeof state !== 'object') return null
  if (state === 'failed') return <Failed isLoading onRetry={() => location.reload()} />
  if (state === undefined)
    return (
      <div class="app-loading">
        <Skeleton lines={6} />
      </div>
    )
  return <>{children(state.module)}</>
}

/** A page that fails leaves the others and the chats as they are. */
export const Guarded: FunctionComponent<{ readonly children: ComponentChildren }> = ({ children }) => {
  const [error, reset] = useErrorBoundary((thrown) => reportError(thrown))
  return error === undefined ? <>{children}</> : <Failed onRetry={reset} />
}

function Failed({ isLoading = false, onRetry }: { readonly isLoading?: boolean; readonly onRetry: () => void }) {
  const { app } = words.value
  return (
    <div class="app-middle" role="alert">
      <Empty
        icon="alert"
        title={isLoading ? app.loadFailed : app.failed}
        action={<Button onClick={onRetry}>{isLoading ? app.reload : app.retry}</Button>}
      >
        {isLoading ? app.loadFailedText : app.failedText}
      </Empty>
    </div>
  )
}

/** In the place of everything, where the browser gives no storage. */
export function StoreFailed() {
  const { app } = words.value
  return (
    <main class="app-middle">
      <Empty
        icon="alert"
        title={app.storeFailed}
        action={<Button onClick={() => location.reload()}>{app.reload}</Button>}
      >
        {app.storeFailedText}
      </Empty>
    </main>
  )
}
