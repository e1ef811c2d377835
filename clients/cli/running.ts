/** What one process of a mesh consists of. */
import type { Clock, DataDir, Logger, Random } from '../../mesh/runtime/index.ts'
import type { PeerHost } from '../../mesh/network/index.ts'
import type { Coordinator, Gateway } from '../../coordinator/index.ts'
import type { NodeAgent } from '../../node/index.ts'
import type { NodePage } from './node-page.ts'
import type { Worker } from './working.ts'

export interface Parts {
  readonly coordinator: boolean
  readonly node: boolean
}

export interface Base {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly data: DataDir
}

/** What runs in this process. */
export interface Running {
  readonly host: PeerHost
  readonly coordinator: Coordinator | undefined
  readonly gateway: Gateway | undefined
  readonly agent: NodeAgent | undefined
  readonly worker: Worker | undefined
  /** Of a node that has no gateway. */
  readonly page: NodePage | undefined
  /** Key that the gateway asks for. */
  readonly apiKey: string | undefined
}
