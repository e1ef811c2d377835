/** All that happens in the mesh, told to whoever watches: metrics, and people. */
import { asSkeinError } from '../../mesh/protocol/index.ts'
import type { Logger } from '../../mesh/runtime/index.ts'
import type { NodeChange } from '../directory/index.ts'
import type { DispatchEvent } from '../dispatch/index.ts'
import type { ReplicaOrder } from '../residency/index.ts'

/** Past tense. A task's `spec` is in some of them, prompt included: who passes an event on takes out what may be known. */
export type MeshEvent =
  | DispatchEvent
  | ({ readonly type: 'node.changed' } & NodeChange)
  | { readonly type: 'replica.changed'; readonly order: ReplicaOrder }

export class Observers {
  readonly #log: Logger
  readonly #listeners = new Set<(event: MeshEvent) => void>()

  constructor(components: { log: Logger }) {
    this.#log = components.log.scope('observers')
  }

  /** Returns how to stop it. */
  watch(listener: (event: MeshEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Does not throw: who watches never harms what is watched. */
  tell(event: MeshEvent): void {
    for (const listener of this.#listeners) {
      try {
        listener(event)
      } catch (thrown) {
        this.#log.error({ event: event.type, err: asSkeinError(thrown) }, 'a listener of events failed')
      }
    }
  }
}
