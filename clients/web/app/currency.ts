/** In which currency the mesh counts: asked of the coordinator, and remembered for when it is away. */
import { effect } from '@preact/signals'
import type { SmallStore } from '../platform/index.ts'
import { currency } from '../words/index.ts'
import type { Gateway } from './connection.ts'

const KEPT = 'skein.currency'

/** @returns what ends it. */
export function followCurrency(gateway: Pick<Gateway, 'state' | 'get'>, kept: SmallStore): () => void {
  currency.value = codeOf(kept.get(KEPT))
  return effect(() => {
    if (gateway.state.value !== 'online') return undefined
    const left = new AbortController()
    gateway.get<{ readonly currency?: unknown } | undefined>('/mesh/v1/self', left.signal).then(
      (self) => {
        const told = codeOf(self?.currency)
        currency.value = told
        kept.set(KEPT, told)
      },
      // a key that may not read the mesh: amounts stand without it, as they did
      () => undefined,
    )
    return () => left.abort()
  })
}

const codeOf = (told: unknown): string | undefined =>
  typeof told === 'string' && /^[A-Z]{3}$/.test(told) ? told : undefined
