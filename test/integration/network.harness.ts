/** Real hosts on loopback in throw-away data directories. */
import { createPeerHost, openMembership, type PeerHost, type PeerTransport } from '../../mesh/network/index.ts'
import type { PeerId, Role } from '../../mesh/protocol/index.ts'
import { silentLogger, sleep, SystemClock, SystemRandom, type Clock } from '../../mesh/runtime/index.ts'
import { after, temporaryDirectory } from '../fixtures/temporary.ts'

export const LISTEN = ['/ip4/127.0.0.1/tcp/0']
export const clock = new SystemClock(true)
export const components = { clock, random: new SystemRandom(), log: silentLogger }

export { after, temporaryDirectory }

export interface HostInit {
  readonly dataDir?: string
  readonly roles?: readonly Role[]
  readonly invite?: string
  readonly bootstrap?: readonly string[]
  readonly listen?: readonly string[]
  readonly mdns?: boolean
  /** Another clock than the machine's. */
  readonly clock?: Clock
  readonly relay?: { serve?: boolean; use?: boolean }
  /** Sets handlers before the start. */
  readonly prepare?: (host: PeerHost) => void
}

/** A started host; without an invite it makes a mesh. */
export async function startHost(name: string, init: HostInit = {}): Promise<PeerHost> {
  const parts = init.clock === undefined ? components : { ...components, clock: init.clock }
  const membership = await openMembership(parts, {
    dataDir: init.dataDir ?? (await temporaryDirectory()),
    name,
    roles: init.roles ?? (init.invite === undefined ? ['coordinator'] : ['node']),
    mayCreate: init.invite === undefined,
    mdns: init.mdns ?? false,
    ...(init.invite !== undefined && { invite: init.invite }),
  })
  const host = createPeerHost(parts, {
    membership,
    listen: init.listen ?? LISTEN,
    mdns: init.mdns ?? false,
    bootstrap: init.bootstrap ?? [],
    ...(init.relay && { relay: init.relay }),
  })
  init.prepare?.(host)
  after(() => host.stop())
  await host.start()
  return host
}

export const inviteOf = async (host: PeerHost, uses = 8): Promise<string> => (await host.invite({ uses })).text

/** Resolves when `transport` is connected to `peer`. */
export function connectedTo(transport: PeerTransport, peer: PeerId): Promise<void> {
  return new Promise((resolve) => {
    const stop = transport.watch({
      connected: (member) => {
        if (member.peerId !== peer) return
        queueMicrotask(() => stop())
        resolve()
      },
    })
  })
}

/** Resolves when `transport` loses `peer`. */
export function disconnectedFrom(transport: PeerTransport, peer: PeerId): Promise<void> {
  return new Promise((resolve) => {
    const stop = transport.watch({
      disconnected: (member) => {
        if (member.peerId !== peer) return
        stop()
        resolve()
      },
    })
  })
}

/** What `ask` says once it says something. @throws TypeError after ten seconds of nothing. */
export async function eventually<T>(ask: () => T | undefined | Promise<T | undefined>): Promise<T> {
  const endMs = clock.nowMs() + 10_000
  for (;;) {
    const answer = await ask()
    if (answer !== undefined) return answer
    if (clock.nowMs() > endMs) throw new TypeError(`nothing came of ${ask.toString()}`)
    await sleep(clock, 20)
  }
}

/** Resolves when `holds` does. @throws TypeError after ten seconds. */
export const until = async (holds: () => boolean): Promise<void> => void (await eventually(() => holds() || undefined))
