/**
 * Chunks of one member over HTTPS. The member's certificate came with the ticket, over a stream of the mesh: it is the
 * only one that is accepted, before a byte of the ticket is sent. Addresses are what the member says of itself, so numbers
 * alone are taken, and each is tried briefly.
 */
import { isIP } from 'node:net'
import { asSkeinError, LIMITS, SkeinError, type ModelDigest } from '../../../mesh/protocol/index.ts'
import type { Clock } from '../../../mesh/runtime/index.ts'
import type { Grant } from './asker.ts'
import { pemOf } from './pem.ts'
import { ChunkConnection, type DoorPlace } from './chunk-connection.ts'

/** Chunks that are asked for at once: half of what a member gives, so that two pulls do not turn each other away. */
const AT_ONCE_MAX = LIMITS.modelTransfersPerPeerMax / 2

export class DirectPath {
  readonly #clock: Clock
  readonly #path: string
  readonly #free: ChunkConnection[] = []
  readonly #open = new Set<ChunkConnection>()
  /** Chunks on their way; more wait. */
  #running = 0
  readonly #waiting: (() => void)[] = []
  /** The address that answered last; `false` when none did. */
  #address: string | false | undefined
  #isClosed = false

  constructor(clock: Clock, digest: ModelDigest) {
    this.#clock = clock
    this.#path = `/model/${digest}`
  }

  /**
   * Fills `into` with the bytes from `start` on and tells how many they are; `undefined` when no address can be reached.
   * Nothing is written to `into` once this has settled.
   *
   * @throws SkeinError UNAUTHENTICATED when the ticket is over, MODEL_PULL_FAILED, MODEL_SOURCE_REFUSED; the signal's
   *   reason.
   */
  async read(grant: Grant, start: number, into: Uint8Array, signal: AbortSignal): Promise<number | undefined> {
    if (grant.direct === undefined || this.#address === false) return undefined
    await this.#turn()
    try {
      signal.throwIfAborted()
      const connection = await this.#connection(grant.direct, signal)
      if (connection === undefined) return undefined
      await connection.read({ path: this.#path, ticket: grant.ticket, start, into }, signal)
      this.#giveBack(connection)
      return into.length
    } finally {
      this.#running--
      this.#waiting.shift()?.()
    }
  }

  close(): void {
    this.#isClosed = true
    for (const connection of this.#open) connection.close()
  }

  async #turn(): Promise<void> {
    while (this.#running >= AT_ONCE_MAX) await new Promise<void>((resolve) => void this.#waiting.push(resolve))
    this.#running++
  }

  /** One that is free, or a new one; `undefined` when no address answers. @throws as `read`. */
  async #connection(
    { certificate, addresses, port }: NonNullable<Grant['direct']>,
    signal: AbortSignal,
  ): Promise<ChunkConnection | undefined> {
    const pem = pemOf(certificate)
    const known = this.#address === false ? undefined : this.#address
    const hosts = known === undefined ? addresses.filter((each) => isIP(each) !== 0) : [known]
    for (const host of hosts) {
      const place = { host, port, certificate: pem }
      try {
        const connection = this.#takeFree(place) ?? (await this.#connect(place, signal))
        this.#address = host
        return connection
      } catch (thrown) {
        signal.throwIfAborted()
        if (known !== undefined)
          throw new SkeinError('MODEL_PULL_FAILED', `${host} cannot be reached any more`, { cause: thrown })
        if (asSkeinError(thrown).code !== 'DIAL_FAILED') throw thrown
      }
    }
    // while several try at once, one may have come through
    this.#address ??= false
    return undefined
  }

  /** The one that was used last: what it leads to is likeliest to be still there. */
  #takeFree(place: DoorPlace): ChunkConnection | undefined {
    for (let connection = this.#free.pop(); connection !== undefined; connection = this.#free.pop()) {
      if (connection.isOpen && connection.leadsTo(place)) return connection
      this.#drop(connection)
    }
    return undefined
  }

  async #connect(place: DoorPlace, signal: AbortSignal): Promise<ChunkConnection> {
    for (const each of this.#open) if (!each.isOpen) this.#open.delete(each)
    const connection = await ChunkConnection.open(this.#clock, place, signal)
    this.#open.add(connection)
    if (this.#isClosed) connection.close()
    return connection
  }

  #giveBack(connection: ChunkConnection): void {
    if (connection.isOpen) this.#free.push(connection)
    else this.#drop(connection)
  }

  #drop(connection: ChunkConnection): void {
    this.#open.delete(connection)
    connection.close()
  }
}
