/**
 * Tells the local network where we are while a pairing code is open, and only then. Who joins by a code knows no mesh yet,
 * so this mDNS service is the same for every mesh; a mesh's own, by which members find each other, tells strangers nothing.
 */
import type { PeerDiscovery } from '@libp2p/interface'
import { mdns } from '@libp2p/mdns'

export const PAIRING_SERVICE_TAG = '_skein-pairing._udp.local'

type Components = Parameters<ReturnType<typeof mdns>>[0]
type Service = ReturnType<ReturnType<typeof mdns>> & { start(): Promise<void>; stop(): Promise<void> }

export class PairingBeacon {
  #service: Service | undefined
  #isRunning = false
  #isOn = false
  #tail: Promise<void> = Promise.resolve()

  /** Part of a host: the library starts and stops it with the host. What it finds is nobody's business. */
  module(): (components: Components) => PeerDiscovery {
    return (components) => {
      this.#service = mdns({ serviceTag: PAIRING_SERVICE_TAG })(components) as Service
      const host = { start: () => this.#run(true), stop: () => this.#run(false) }
      // of a discovery the library asks no more than that it can be listened to, and started
      return Object.assign(new EventTarget(), host) as unknown as PeerDiscovery
    }
  }

  set(isOn: boolean): void {
    this.#isOn = isOn
    void this.#settle()
  }

  #run(isRunning: boolean): Promise<void> {
    this.#isRunning = isRunning
    return this.#settle()
  }

  /** One change after the other: a socket that is being closed cannot be opened. */
  #settle(): Promise<void> {
    this.#tail = this.#tail.then(async () => {
      const service = this.#service
      if (service === undefined) return
      if (this.#isOn && this.#isRunning) await service.start()
      else await service.stop()
    })
    return this.#tail
  }
}
