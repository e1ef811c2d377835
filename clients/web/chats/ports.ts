/** What the pages of chats are given by the page around them. */
import type { ReadonlySignal } from '@preact/signals'
import type { Answers } from '../answers/index.ts'
import type { SmallStore, WebClock } from '../platform/index.ts'
import type { ChatStore } from '../store/index.ts'

/** The coordinator, for what is no answer. */
export interface GatewayPort {
  readonly state: ReadonlySignal<'unknown' | 'online' | 'offline' | 'key-needed' | 'forbidden'>
  get<T>(path: string, signal?: AbortSignal): Promise<T>
  readonly events: {
    subscribe(types: readonly string[], onEvent: (event: { readonly type: string }) => void): () => void
  }
}

/** To be read, or to come back whole. */
export type ExportForm = 'markdown' | 'jsonl'

export interface ChatsPorts {
  readonly store: ChatStore
  readonly answers: Answers
  readonly gateway: GatewayPort
  readonly clock: Pick<WebClock, 'nowMs' | 'after'>
  /** Small settings of this device; what cannot be kept is forgotten. */
  readonly kept: Pick<SmallStore, 'get' | 'set'>
  /** Gives the person one chat as a file. @throws StoreError. */
  readonly saveChat: (chatId: string, form: ExportForm) => Promise<void>
  /** Shows another page of this one. */
  readonly go: (path: string, options?: { readonly replace?: boolean }) => void
}
