/** Where links may lead, and what they have to say of it. */

const SCHEMES = new Set(['http:', 'https:', 'mailto:'])
const URL_LENGTH_MAX = 2000
/** What looks like the name of a host, in what a link says. */
const HOST = /(?:[\p{L}\p{N}-]+\.)+\p{L}{2,}/gu

export interface SafeLink {
  readonly href: string
  /** Shown beside it, since what it says is not where it leads. */
  readonly host: string | undefined
}

/** @returns undefined for what leads nowhere that a link may lead. */
export function linkOf(href: string, says: string): SafeLink | undefined {
  if (href.length > URL_LENGTH_MAX || !URL.canParse(href)) return undefined
  const url = new URL(href)
  if (!SCHEMES.has(url.protocol)) return undefined
  return { href: url.href, host: isDeceptive(url, says) ? url.host || url.pathname : undefined }
}

/** It names another host than its own, hides it behind a name of a user, or in letters that look like others. */
function isDeceptive({ protocol, hostname, username, password }: URL, says: string): boolean {
  if (protocol === 'mailto:') return false
  if (username !== '' || password !== '' || hostname.split('.').some((part) => part.startsWith('xn--'))) return true
  const own = bare(hostname)
  return Array.from(says.matchAll(HOST), ([name]) => bare(name.toLowerCase())).some(
    (name) => name !== own && !own.endsWith(`.${name}`) && looksLikeHost(name),
  )
}

const bare = (host: string): string => host.replace(/^www\./, '')

/** `README.md` and `index.js` are files, and no hosts that somebody is led to believe in. */
const FILES = new Set([
  'md',
  'js',
  'ts',
  'tsx',
  'py',
  'rs',
  'json',
  'txt',
  'html',
  'css',
  'go',
  'java',
  'rb',
  'sh',
  'yml',
  'yaml',
  'toml',
  'pdf',
  'png',
  'jpg',
  'svg',
  'csv',
  'xml',
])
const looksLikeHost = (name: string): boolean => !FILES.has(name.slice(name.lastIndexOf('.') + 1))
