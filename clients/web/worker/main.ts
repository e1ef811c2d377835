/**
 * The service worker: keeps the files of the page, so that it opens without its coordinator. It keeps nothing else, never an
 * answer of an API, and a new one waits until a page says that its user wants it.
 */
import { isPageAddress } from './addresses.ts'

declare const self: ServiceWorkerGlobalScope

/** Put in by the build: which page this is, and the address of each of its files. */
const { digest, files } = JSON.parse('__SKEIN_KEPT__') as { readonly digest: string; readonly files: readonly string[] }

const PREFIX = 'skein-page-'
const CACHE = PREFIX + digest
const DOCUMENT = '/index.html'
/** As the page says it (`app/update.ts`). */
const TAKE_OVER = 'take-over'

const kept = new Set(files)

self.addEventListener('install', (event) => {
  event.waitUntil(keepAll())
})

async function keepAll(): Promise<void> {
  const cache = await caches.open(CACHE)
  // names of assets tell their content; the others are asked for anew, past what the browser has
  const requests = files.map((url) => new Request(url, url.startsWith('/assets/') ? {} : { cache: 'reload' }))
  await cache.addAll(requests)
}

self.addEventListener('activate', (event) => {
  event.waitUntil(forgetOthers())
})

async function forgetOthers(): Promise<void> {
  const names = await caches.keys()
  await Promise.all(
    names.filter((name) => name.startsWith(PREFIX) && name !== CACHE).map((name) => caches.delete(name)),
  )
  // pages that were there before the first one are its own too
  await self.clients.claim()
}

self.addEventListener('message', (event) => {
  if (event.data === TAKE_OVER) event.waitUntil(self.skipWaiting())
})

self.addEventListener('fetch', (event) => {
  const { request } = event
  const url = new URL(request.url)
  if (request.method !== 'GET' || url.origin !== self.location.origin) return
  if (request.mode === 'navigate') {
    if (isPageAddress(url.pathname)) event.respondWith(keptOr(DOCUMENT, request))
  } else if (kept.has(url.pathname)) event.respondWith(keptOr(url.pathname, request))
})

/** What is kept under `path`; from the coordinator where the browser has cleared it. */
async function keptOr(path: string, request: Request): Promise<Response> {
  const cache = await caches.open(CACHE)
  return (await cache.match(path)) ?? (await fetch(request))
}
