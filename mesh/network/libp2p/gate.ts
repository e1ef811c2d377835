/**
 * Puts the library's own protocols (DHT, identify, ping, relay, hole punching) behind membership: each of their factories
 * is given components whose `registrar` serves members only, and whose `connectionManager` hands out a connection only
 * when its hello has ended, so that a DHT query to a peer met just now does not run into that peer's own gate.
 *
 * A gate per protocol, not the library's connection gater: that one can refuse a peer id, and a certificate is not known
 * before a stream has shown it.
 */
import type { Connection, NewStreamOptions, Stream, StreamHandler, StreamHandlerOptions } from '@libp2p/interface'
import { asPeerId, SkeinError } from '../../protocol/index.ts'
import type { Counters } from '../counters.ts'
import type { Links } from './links.ts'

/** The parts of the library's components that the gate replaces. */
interface Gated {
  registrar: {
    handle(protocol: string, handler: StreamHandler, options?: StreamHandlerOptions): Promise<void>
  }
  connectionManager: {
    openConnection(peer: unknown, options?: object): Promise<Connection>
    openStream(peer: unknown, protocol: string | string[], options?: NewStreamOptions): Promise<Stream>
    getConnections(peer?: { toString(): string }): Connection[]
  }
}

/**
 * The relay's search walks the DHT at random, without a pause, until it has found a relay: in an empty mesh it would never
 * let go of the event loop. Relays are members, and a member that relays says so in its identify.
 */
const NO_WALK = { walk: async function* (): AsyncGenerator<never, void, undefined> {} }

export class Gate {
  readonly #links: Links
  readonly #counters: Counters

  constructor(links: Links, counters: Counters) {
    this.#links = links
    this.#counters = counters
  }

  /** A service or transport factory whose protocols members alone can use. */
  behind<C extends object, S>(factory: (components: C) => S): (components: C) => S {
    return (components) => factory(this.#components(components))
  }

  /** `handler` for members; streams of others are reset and counted. */
  guard(handler: StreamHandler): StreamHandler {
    return (stream, connection) => {
      if (this.#links.admits(connection)) return handler(stream, connection)
      this.#counters.add('stream_refused')
      stream.abort(new SkeinError('NOT_A_MEMBER', `${asPeerId(connection.remotePeer.toString())} is no member`))
    }
  }

  #components<C extends object>(components: C): C {
    const real = components as C & Gated
    return new Proxy(components, {
      get: (_target, key) => {
        if (key === 'registrar') return this.#registrar(real.registrar)
        if (key === 'randomWalk') return NO_WALK
        if (key === 'connectionManager') return this.#connectionManager(real.connectionManager)
        return Reflect.get(real, key) as unknown
      },
    })
  }

  #registrar(registrar: Gated['registrar']): Gated['registrar'] {
    return overlay(registrar, {
      handle: (protocol, handler, options) => registrar.handle(protocol, this.guard(handler), options),
    })
  }

  #connectionManager(manager: Gated['connectionManager']): Gated['connectionManager'] {
    const openConnection = async (peer: unknown, options?: object): Promise<Connection> => {
      const connection = await manager.openConnection(peer, options)
      await this.#links.of(connection).settled
      return connection
    }
    return overlay(manager, {
      openConnection,
      openStream: async (peer, protocol, options) => {
        const connection = await openConnection(peer, options)
        return connection.newStream(protocol, { ...options, runOnLimitedConnection: true })
      },
      getConnections: (peer) => manager.getConnections(peer).filter((connection) => this.#links.admits(connection)),
    })
  }
}

/** `target` with some methods replaced; all others run on `target` itself, whose private fields a proxy does not have. */
function overlay<T extends object>(target: T, methods: Partial<T>): T {
  return new Proxy(target, {
    get: (_target, key) => {
      if (Object.hasOwn(methods, key)) return Reflect.get(methods, key) as unknown
      const value = Reflect.get(target, key) as unknown
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}
