/**
 * Who may talk to a server on loopback. There is no key by default, so the danger is a web page in the owner's own browser:
 * it reaches us by DNS rebinding (then `Host` bears its name) or by a cross-origin request (then `Origin` does).
 */
import { SkeinError } from '../protocol/index.ts'

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

export interface GuardedRequest {
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
    throw new SkeinError('FORBIDDEN', `the Origin '${String(origin).slice(0, 100)}' is not this server's own`)
}
