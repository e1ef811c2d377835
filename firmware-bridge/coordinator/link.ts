/** A bridge's link to its coordinators: reports go there, calls come from there. */
import type { Clock, Logger, Random } from '../../mesh/runtime/index.ts'
import type { BridgePart, CoordinatorLink, DeviceCalls, Outbox, Tally } from '../ports/index.ts'
import { CallStream } from './call-stream.ts'
import type { Endpoints } from './endpoints.ts'
import { Reporter } from './reporter.ts'

export interface LinkComponents {
  readonly outbox: Outbox
  readonly calls: DeviceCalls
  readonly endpoints: Endpoints
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly tally: Tally
}

export interface LinkInit {
  readonly bridge: string
  /** Called when the bridge comes online there, and when it no longer is. */
  readonly onOnline?: (isOnline: boolean) => void
}

/** Of a start of the bridge: version 4, from `Random`. */
export function sessionId(random: Random): string {
  const bytes = random.bytes(16)
  bytes[6] = (bytes[6]! & 0x0f) | 0x40
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  const hex = Buffer.from(bytes).toString('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}

export class HttpCoordinatorLink implements CoordinatorLink, BridgePart {
  readonly name = 'link to the coordinator'
  readonly #reporter: Reporter
  readonly #calls: CallStream

  constructor(components: LinkComponents, { bridge, onOnline }: LinkInit) {
    const session = sessionId(components.random)
    this.#reporter = new Reporter(components, { bridge, session })
    this.#calls = new CallStream(components, { bridge, session, onChange: (isOnline) => onOnline?.(isOnline) })
  }

  get isOnline(): boolean {
    return this.#calls.isOnline
  }

  /** Does not wait for a coordinator: a bridge serves its devices without one, and keeps what it has to tell. */
  start(): Promise<void> {
    this.#reporter.start()
    this.#calls.start()
    return Promise.resolve()
  }

  async stop(): Promise<void> {
    await Promise.all([this.#reporter.stop(), this.#calls.stop()])
  }
}
