/** Where the gateway is to other machines, and to a node which of those it asks. */
import { networkInterfaces } from 'node:os'
import { isLoopback } from '../../mesh/page/index.ts'
import type { NodeAgent } from '../../node/index.ts'
import type { ServeOptions } from './serve-options.ts'

const WILDCARDS: ReadonlySet<string> = new Set(['0.0.0.0', '::'])

const originOf = (scheme: string, host: string, port: number): string =>
  `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`

/** Addresses of this machine that others may dial: without those that mean something only on one link. */
function ownAddresses(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((each = []) => each)
  const outward = all.filter(({ internal, address }) => !internal && !address.toLowerCase().startsWith('fe80:'))
  // what people write down, and most routers give out, comes first
  const [four, six] = ['IPv4', 'IPv6'].map((family) => outward.filter((each) => each.family === family))
  return [...four!, ...six!].map(({ address }) => address)
}

/** Origins of the gateway for other machines; none while it has no port, and none of one on loopback. */
export function gatewayOrigins({ http, tls, tlsCert }: ServeOptions, url: () => string | undefined): string[] {
  if (isLoopback(http.host)) return []
  const listening = url()
  const port = http.port !== 0 ? http.port : Number(listening ? new URL(listening).port : 0)
  if (port === 0) return []
  const scheme = tls === 'local' || tlsCert !== undefined ? 'https' : 'http'
  const hosts = WILDCARDS.has(http.host) ? ownAddresses() : [http.host]
  return hosts.map((host) => originOf(scheme, host, port))
}

/** What one asks, and what is done when it does not answer. */
export interface GatewayChoice {
  current(): URL | undefined
  /** `url` did not answer: another one is next, if there is one. */
  failed(url: URL): void
}

/** The one that the owner named, else those that coordinators tell, one after the other. */
export function gatewayChoice(named: URL | undefined, agent: Pick<NodeAgent, 'status'> | undefined): GatewayChoice {
  if (named) return { current: () => named, failed: () => {} }
  let at = 0
  const told = (): URL[] =>
    (agent?.status().coordinators ?? [])
      .filter(({ state }) => state === 'welcomed')
      .flatMap(({ http = [] }) => http)
      .filter((text) => URL.canParse(text))
      .map((text) => new URL(text))
      .filter(({ protocol, pathname }) => ['http:', 'https:'].includes(protocol) && pathname === '/')
  return {
    current: () => {
      const all = told()
      return all[at % Math.max(1, all.length)]
    },
    failed: (url) => {
      const all = told()
      if (all[at % Math.max(1, all.length)]?.href === url.href) at++
    },
  }
}
