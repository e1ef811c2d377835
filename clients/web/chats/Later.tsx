import type { ComponentChildren } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { showToast } from '../ui/index.ts'

export interface LaterProps<T> {
  readonly load: () => Promise<T>
  readonly children: (module: T) => ComponentChildren
}

/** What opens on a press is loaded with the first one, so that the page itself is small. */
export function Later<T>({ load, children }: LaterProps<T>) {
  const [module, setModule] = useState<{ readonly value: T }>()
  useEffect(() => {
    let isThere = true
    load().then(
      (value) => {
        if (isThere) setModule({ value })
      },
      (thrown: unknown) =>
        showToast({ text: thrown instanceof Error ? thrown.message : String(thrown), tone: 'danger' }),
    )
    return () => {
      isThere = false
    }
  }, [])
  return <>{module && children(module.value)}</>
}
