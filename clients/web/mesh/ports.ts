/** What the pages of the mesh need of the others, as narrow ports: tests and the page give their own. */
import type { ReadonlySignal } from '@preact/signals'
import type { MeshEvent } from './model.ts'

export type Reach = 'unknown' | 'online' | 'offline' | 'key-needed' | 'forbidden'

export interface MeshGateway {
  readonly state: ReadonlySignal<Reach>
  /** @throws SkeinApiError. */
  get<T>(path: string, signal?: AbortSignal): Promise<T>
  /** @throws SkeinApiError. */
  send<T>(method: 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown): Promise<T>
  /** For answers that are streams. @throws SkeinApiError when it is refused. */
  request(
    method: 'GET' | 'POST',
    path: string,
    init?: { readonly body?: unknown; readonly signal?: AbortSignal },
  ): Promise<Response>
  readonly events: { subscribe(types: readonly string[], onEvent: (event: MeshEvent) => void): () => void }
}

export interface MeshPageProps {
  readonly gateway: MeshGateway
  readonly go: (path: string) => void
}

/** What the live picture takes of its browser. */
export interface LiveClock {
  nowMs(): number
  after(ms: number, run: () => void): () => void
}

export interface Visibility {
  isVisible(): boolean
  onVisibility(run: (isVisible: boolean) => void): () => void
}
