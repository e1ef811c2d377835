/**
 * Who may talk to the gateway. On loopback there is no key by default, so the danger is a web page in the owner's own
 * browser: it reaches us by DNS rebinding (then `Host` bears its name) or by a cross-origin request (then `Origin` does).
 * Beyond loopback every caller shows a key, and names are free: a proxy may give us any.
 */
import { SkeinError, UPSTREAM_HEADER } from '../../mesh/protocol/index.ts'

/** Host without brackets and zone, in lower case. */
const bare = (host: string): string =>
  host
    .toLowerCase()
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/%.*$/, '')

export function isLoopback(host: string): boolean {
  const name = bare(host)
  return name === 'localhost' || name === '::1' || /^(::ffff:)?127(\.\d{1,3}){3}$/.test(name)
}

/** The name in a `Host` header, without its port; `undefined` when it is none. */
function hostName(header: string): string | undefined {
  return /^(\[[0-9a-f:.%]+\]|[^:[\]\s/@]+)(:\d{1,5})?$/i.exec(header)?.[1]
}

interface GuardedRequest {
  readonly method: string
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

/** @throws SkeinError FORBIDDEN when a page of another site could have made the request. */
export function checkSameSite(request: GuardedRequest, scheme: 'http' | 'https' = 'http'): void {
  const host = request.headers['host']
  // browsers always send Host, and HTTP/1.1 demands it: without one this is a probe in HTTP/1.0
  if (typeof host === 'string') {
    const name = hostName(host)
    if (name === undefined || !isLoopback(name))
      throw new SkeinError('FORBIDDEN', `the Host header '${host.slice(0, 100)}' is not an address of this machine`)
  }
  const origin = request.headers['origin']
  if (origin === undefined || request.method === 'GET' || request.method === 'HEAD') return
  if (
    typeof origin !== 'string' ||
    typeof host !== 'string' ||
    origin.toLowerCase() !== `${scheme}://${host.toLowerCase()}`
  )
    throw new SkeinError('FORBIDDEN', `the Origin '${String(origin).slice(0, 100)}' is not this gateway's own`)
}

/**
 * For what a program asks and never a page of another site, wherever the gateway listens.
 *
 * @throws SkeinError FORBIDDEN when `Origin` names another host than the one that is asked.
 */
export function checkOwnOrigin({ headers }: GuardedRequest): void {
  const { origin, host } = headers
  if (origin === undefined) return
  const own = typeof host === 'string' && ['http://', 'https://'].some((scheme) => `${scheme}${host}` === origin)
  if (!own) throw new SkeinError('FORBIDDEN', `the Origin '${String(origin).slice(0, 100)}' is not this gateway's own`)
}

/** @throws SkeinError FORBIDDEN when a node takes the gateway for a server with models: it would be asked in circles. */
export function checkNotUpstream({ headers }: GuardedRequest): void {
  if (headers[UPSTREAM_HEADER] !== undefined)
    throw new SkeinError('FORBIDDEN', 'this is a Skein: a node reaches its models as a member of its mesh')
}

/** The key that a request shows: as a bearer token, or as Anthropic's clients may send it. */
export function shownKey(headers: GuardedRequest['headers']): string | undefined {
  const { authorization, 'x-api-key': key } = headers
  const bearer = typeof authorization === 'string' ? /^bearer +(\S+) *$/i.exec(authorization)?.[1] : undefined
  return bearer ?? (typeof key === 'string' && key !== '' ? key : undefined)
}

/** @throws SkeinError CONFIG_INVALID when anybody on other machines could ask without a key. */
export function checkAccess(host: string, { isOpen }: { readonly isOpen: boolean }): void {
  if (isOpen && !isLoopback(host))
    throw new SkeinError(
      'CONFIG_INVALID',
      `${host} can be reached from other machines, and no key protects it; set a key, or listen on 127.0.0.1`,
    )
}
