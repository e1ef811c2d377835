/**
 * What a client says of answers that are kept: by the `skein` member, or by HTTP's `Cache-Control` of its request (RFC 9111,
 * section 5.2.1). The member goes first: a proxy or a browser may have added the header.
 */
import type { CacheWish, CacheOutcome } from '../admission/index.ts'
import type { RequestHeaders } from './request-options.ts'

/** Of the member `skein.cache`. `only`: a kept answer or none. */
export const CACHE_MODES = ['use', 'refresh', 'off', 'only'] as const
export type CacheMode = (typeof CACHE_MODES)[number]

/** More seconds than this are as good as no bound. */
const AGE_SECONDS_MAX = 2 ** 31

/** What else decides. */
export interface CacheBounds {
  /** Its key takes no part, whatever the request says. */
  readonly isBarred: boolean
  /** A response that is not to be stored: it takes no part unless it says so. */
  readonly isUnstored: boolean
}

/** `undefined` when nothing was said. */
export function cacheWish(
  mode: CacheMode | undefined,
  headers: RequestHeaders,
  { isBarred, isUnstored }: CacheBounds = { isBarred: false, isUnstored: false },
): CacheWish | undefined {
  const wish = saidWish(mode, headers)
  if (isBarred) return { ...wish, mode: 'off' }
  return wish ?? (isUnstored ? { mode: 'off' } : undefined)
}

function saidWish(mode: CacheMode | undefined, headers: RequestHeaders): CacheWish | undefined {
  if (mode === 'only') return { mode: 'use', onlyKept: true }
  if (mode !== undefined) return { mode }
  const header = headers['cache-control']
  if (typeof header !== 'string') return undefined
  const said = directives(header)
  const only = said.has('only-if-cached') ? { onlyKept: true } : {}
  const maxAge = said.get('max-age')
  if (said.has('no-store')) return { mode: 'off', ...only }
  // an age that cannot be read is none
  const seconds = maxAge === undefined ? undefined : /^\d+$/.test(maxAge) ? Number(maxAge) : 0
  if (said.has('no-cache') || seconds === 0) return { mode: 'refresh', ...only }
  return { mode: 'use', ...(seconds !== undefined && { ageMsMax: 1000 * Math.min(seconds, AGE_SECONDS_MAX) }), ...only }
}

/** Names in small letters, with their values; those that are not known mean nothing. */
function directives(header: string): Map<string, string> {
  const parts = header.split(',').map((part) => part.trim())
  return new Map(
    parts.map((part) => {
      const [name = '', value = ''] = part.split('=', 2)
      return [name.trim().toLowerCase(), value.trim().replace(/^"(.*)"$/, '$1')]
    }),
  )
}

/** What an answer says of how it stood to those that are kept. */
export const cacheHeaders = ({
  outcome,
  ageMs,
}: {
  readonly outcome: CacheOutcome
  readonly ageMs?: number
}): Record<string, string> => ({
  'x-skein-cache': outcome,
  ...(ageMs !== undefined && { age: String(Math.floor(ageMs / 1000)) }),
})
