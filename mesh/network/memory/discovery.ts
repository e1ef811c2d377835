/** `Discovery` over a `MemoryNetwork`: what the DHT would hold, at once and for everyone. */
import type { PeerId } from '../../protocol/index.ts'
import type { Discovery } from '../transport.ts'
import type { MemoryNetwork } from './network.ts'

export class MemoryDiscovery implements Discovery {
  readonly #network: MemoryNetwork
  readonly #self: PeerId
  #keys: readonly string[] = []

  constructor(network: MemoryNetwork, self: PeerId) {
    this.#network = network
    this.#self = self
  }

  advertise(keys: readonly string[]): void {
    for (const key of this.#keys) this.#network.providers.get(key)?.delete(this.#self)
    this.#keys = [...keys]
    for (const key of keys) {
      const providers = this.#network.providers.get(key) ?? new Set<PeerId>()
      this.#network.providers.set(key, providers.add(this.#self))
    }
  }

  async *find(key: string, signal?: AbortSignal): AsyncGenerator<PeerId, void, undefined> {
    for (const peer of [...(this.#network.providers.get(key) ?? [])]) {
      signal?.throwIfAborted()
      if (peer !== this.#self) yield await Promise.resolve(peer)
    }
  }

  publish(record: Uint8Array): Promise<void> {
    this.#network.records.set(this.#self, record)
    return Promise.resolve()
  }

  lookup(peer: PeerId): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.#network.records.get(peer))
  }
}
