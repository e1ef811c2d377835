/**
 * Who may talk to the gateway. On loopback there is no key by default, so the danger is a web page in the owner's own
 * browser: it reaches us by DNS rebinding (then `Host` bears its name) or by a cross-origin request (then `Origin` does).
 * Beyond loopback every caller shows the key, and names are free: a proxy may give us any.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { SkeinError } from '../../mesh/protocol/index.ts'

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
export function checkSameSite(request: GuardedRequest): void {
  const host = request.headers['host']
  // browsers always send Host, and HTTP/1.1 demands it: without one this is a probe in HTTP/1.0
  if (typeof host === 'string') {
    const name = hostName(host)
    if (name === undefined || !isLoopback(name))
      throw new SkeinError('FORBIDDEN', `the Host header '${host.slice(0, 100)}' is not an address of this machine`)
  }
  const origin = request.headers['origin']
  if (origin === undefined || request.method === 'GET' || request.method === 'HEAD') return
  if (typeof origin !== 'string' || typeof host !== 'string' || origin.toLowerCase() !== `http://${host.toLowerCase()}`)
    throw new SkeinError('FORBIDDEN', `the Origin '${String(origin).slice(0, 100)}' is not this gateway's own`)
}

const digestOf = (text: string): Buffer => createHash('sha256').update(text).digest()

/** A check of `Authorization: Bearer`. Digests are compared, so that neither content nor length shows in the time. */
export function bearerCheck(apiKey: string): (request: GuardedRequest) => void {
  const expected = digestOf(apiKey)
  return ({ headers }) => {
    const header = headers['authorization']
    const given = typeof header === 'string' ? /^bearer +(\S+) *$/i.exec(header)?.[1] : undefined
    if (given === undefined)
      throw new SkeinError('UNAUTHENTICATED', 'a key is needed: send it as "Authorization: Bearer KEY"')
    if (!timingSafeEqual(digestOf(given), expected)) throw new SkeinError('UNAUTHENTICATED', 'the key is wrong')
  }
}

/** @throws SkeinError CONFIG_INVALID when the key cannot be sent in a header, or is missing where it is needed. */
export function checkAccess(host: string, apiKey: string | undefined): void {
  if (apiKey === undefined && !isLoopback(host))
    throw new SkeinError(
      'CONFIG_INVALID',
      `${host} can be reached from other machines, and no key protects it; set a key, or listen on 127.0.0.1`,
    )
  if (apiKey !== undefined && !/^[\x21-\x7e]{1,512}$/.test(apiKey))
    throw new SkeinError('CONFIG_INVALID', 'the key must be 1 to 512 printable ASCII characters without spaces')
}
