/** Who may talk to the gateway. Beyond loopback every caller shows a key, and names are free: a proxy may give us any. */
import { isLoopback, type GuardedRequest } from '../../mesh/page/index.ts'
import { SkeinError, UPSTREAM_HEADER } from '../../mesh/protocol/index.ts'

export { checkSameSite, isLoopback } from '../../mesh/page/index.ts'

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
