/** Answers for requests of a browser that wants the page: for any HTTP server, which only has to write them out. */
import { createHash } from 'node:crypto'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  buildOf,
  FIRST_DOCUMENT,
  isPageKind,
  readPageFiles,
  type Encoding,
  type PageFile,
  type PageFiles,
} from './files.ts'

export interface PageRequest {
  readonly method: string
  /** As it came: path and query. */
  readonly url: string
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

export interface PageAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** Nothing for what has not changed. Servers leave it out of the answer to a HEAD by themselves. */
  readonly body: Buffer | undefined
}

/** Where the page lies once it is built: in `dist/web`, whether this runs as source or compiled. */
export const PAGE_FOLDER = fileURLToPath(
  new URL(extname(import.meta.url) === '.ts' ? '../../dist/web' : '../../web', import.meta.url),
)

const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; " +
  "font-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const GUARDS = {
  'content-security-policy': POLICY,
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  // the camera reads the code of a pairing
  'permissions-policy': 'camera=(self), microphone=(), geolocation=(), payment=(), usb=(), serial=()',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
} as const

/** Addresses that the page has itself: each is answered with its one document. */
const ROUTES: readonly RegExp[] = [
  /^\/$/,
  /^\/chat(\/[^/]{1,256})?$/,
  /^\/mesh(\/nodes(\/[^/]{1,256})?)?$/,
  /^\/tasks(\/[^/]{1,256})?$/,
  /^\/devices(\/[^/]{1,256})?$/,
  /^\/(models|usage|cost|budget|keys|join|cloud|about)$/,
  /^\/settings(\/[a-z]{1,32})?$/,
]

const header = (request: PageRequest, name: string): string => {
  const value = request.headers[name]
  return typeof value === 'string' ? value : ''
}

/** Whether a browser goes there, as opposed to a program that asks. */
const isNavigation = (request: PageRequest): boolean => /\btext\/html\b/i.test(header(request, 'accept'))

/** The best encoding that the client takes; a `q=0` refuses one. */
function encodingFor(request: PageRequest): Encoding | undefined {
  const accepted = header(request, 'accept-encoding').toLowerCase()
  const takes = (name: Encoding): boolean =>
    new RegExp(`(?:^|,)\\s*${name}\\s*(?:$|,|;\\s*q=(?!0(?:\\.0*)?\\s*(?:$|,)))`).test(accepted)
  if (takes('br')) return 'br'
  return takes('gzip') ? 'gzip' : undefined
}

function cacheControl(path: string, { isImmutable }: PageFile): Record<string, string> {
  if (isImmutable) return { 'cache-control': 'public, max-age=31536000, immutable' }
  const scope = path.endsWith('.js') ? { 'service-worker-allowed': '/' } : {}
  return { 'cache-control': 'no-cache', ...scope }
}

async function fileAnswer(path: string, file: PageFile, request: PageRequest): Promise<PageAnswer> {
  const encoding = encodingFor(request)
  const packed = encoding && (await file.encoded(encoding))
  const body = packed ?? file.bytes
  const etag = `"${file.tag}${packed ? `-${encoding}` : ''}"`
  const headers = {
    ...GUARDS,
    ...cacheControl(path, file),
    etag,
    vary: 'accept, accept-encoding',
  }
  const known = header(request, 'if-none-match').split(',')
  // proxies that pack by themselves weaken the tag
  if (known.some((each) => each.trim().replace(/^W\//, '') === etag)) return { status: 304, headers, body: undefined }
  const described = {
    ...headers,
    'content-type': file.type,
    'content-length': String(body.length),
    ...(packed && { 'content-encoding': encoding }),
  }
  return { status: 200, headers: described, body }
}

const WAITING_STYLE =
  ':root{color-scheme:light dark;font:16px/1.6 system-ui,sans-serif}body{max-width:34rem;margin:20vh auto;padding:0 1.5rem}' +
  'h1{font-size:1.25rem}code{font:.9em ui-monospace,monospace;background:#8882;padding:.1em .4em;border-radius:.3em}'

const WAITING_PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Skein</title>
<style>${WAITING_STYLE}</style>
</head>
<body>
<h1>Skein is running. Its page is not built yet.</h1>
<p>In the folder of Skein, <code>npm run build:web</code> builds it, which takes some seconds. This page then opens by itself.</p>
<p>The API works already: <a href="/docs">its description</a>, and <code>skein chat</code> in a terminal.</p>
</body>
</html>
`

function waitingAnswer(): PageAnswer {
  const body = Buffer.from(WAITING_PAGE)
  const style = createHash('sha256').update(WAITING_STYLE).digest('base64')
  const headers = {
    ...GUARDS,
    'content-security-policy': `default-src 'none'; style-src 'sha256-${style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    'cache-control': 'no-store',
    'content-type': 'text/html; charset=utf-8',
    'content-length': String(body.length),
    'retry-after': '2',
    refresh: '2',
  }
  return { status: 503, headers, body }
}

export class Page {
  readonly #folder: string
  #build: string | undefined
  #files: PageFiles = new Map()
  #reading: Promise<void> | undefined

  constructor(folder: string = PAGE_FOLDER) {
    this.#folder = folder
  }

  /** What a browser gets; `undefined` when the request is none for the page. It depends on nobody's key. */
  async answer(request: PageRequest): Promise<PageAnswer | undefined> {
    if (request.method !== 'GET' && request.method !== 'HEAD') return undefined
    const asked = request.url.replace(/[?#].*$/, '')
    const isRoute = isNavigation(request) && ROUTES.some((route) => route.test(asked))
    const path = isRoute ? FIRST_DOCUMENT : asked
    // all that the API has is let past at no cost
    if (!isPageKind(path)) return undefined
    await this.#refresh()
    const file = this.#files.get(path)
    if (file) return fileAnswer(path, file, request)
    return path === FIRST_DOCUMENT ? waitingAnswer() : undefined
  }

  /** Reads the page again when it was built anew: one reading at a time, which all who ask wait for. */
  #refresh(): Promise<void> {
    this.#reading ??= this.#read().finally(() => (this.#reading = undefined))
    return this.#reading
  }

  async #read(): Promise<void> {
    const build = await buildOf(this.#folder)
    if (build === this.#build) return
    try {
      this.#files = build === undefined ? new Map() : await readPageFiles(this.#folder)
      this.#build = build
    } catch {
      // it is being built at this moment: what there was goes on, and the next request looks again
    }
  }
}
