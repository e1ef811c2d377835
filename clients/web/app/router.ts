/** Addresses of the page: which one is shown, and going to another without loading the page again. */
import { signal, type ReadonlySignal } from '@preact/signals'

export interface Place {
  /** Without query, such as `/mesh/nodes/12D3…`. */
  readonly path: string
  readonly query: string
  /** Behind `#`, without it. */
  readonly hash: string
}

export interface Route<T> {
  /** Such as `/chat/:id`. */
  readonly pattern: string
  readonly page: T
}

export interface Match<T> {
  readonly page: T
  readonly params: Readonly<Record<string, string>>
}

/** The first of `routes` that fits `path`; `undefined` where none does. */
export function matchRoute<T>(routes: readonly Route<T>[], path: string): Match<T> | undefined {
  const parts = partsOf(path)
  for (const { pattern, page } of routes) {
    const params = paramsOf(partsOf(pattern), parts)
    if (params !== undefined) return { page, params }
  }
  return undefined
}

const partsOf = (path: string): string[] => path.split('/').filter((part) => part !== '')

function paramsOf(pattern: readonly string[], parts: readonly string[]): Record<string, string> | undefined {
  if (pattern.length !== parts.length) return undefined
  const params: Record<string, string> = {}
  for (const [index, expected] of pattern.entries()) {
    const part = decoded(parts[index]!)
    if (part === undefined) return undefined
    if (expected.startsWith(':')) params[expected.slice(1)] = part
    else if (expected !== part) return undefined
  }
  return params
}

function decoded(part: string): string | undefined {
  try {
    return decodeURIComponent(part)
  } catch {
    return undefined // a stray %
  }
}

/** What the router needs of its window. */
export interface RouterWindow {
  readonly location: Pick<Location, 'pathname' | 'search' | 'hash' | 'origin' | 'href'>
  readonly history: Pick<History, 'pushState' | 'replaceState'>
  addEventListener(type: 'popstate', listener: () => void): void
}

export class Router {
  readonly #window: RouterWindow
  readonly #place: ReturnType<typeof signal<Place>>
  readonly #isOurs: (path: string) => boolean

  /** @param isOurs whether a path of this origin is one of the page's own. */
  constructor(window: RouterWindow, isOurs: (path: string) => boolean) {
    this.#window = window
    this.#isOurs = isOurs
    this.#place = signal(placeOf(window.location))
    window.addEventListener('popstate', () => this.#arrive())
  }

  get place(): ReadonlySignal<Place> {
    return this.#place as ReadonlySignal<Place>
  }

  /** Shows `path` (with query and hash where it has some). */
  readonly go = (path: string, { replace = false }: { readonly replace?: boolean } = {}): void => {
    const { history, location } = this.#window
    const isSame = path === location.pathname + location.search + location.hash
    if (replace || isSame) history.replaceState(null, '', path)
    else history.pushState(null, '', path)
    this.#arrive()
  }

  /** Takes presses on links of the page's own addresses; those that want another tab, or a file, stay the browser's. */
  takeClicks(root: Pick<EventTarget, 'addEventListener'>): void {
    root.addEventListener('click', (event) => this.#onClick(event as MouseEvent))
  }

  #onClick(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0) return
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
    const link = (event.target as Element | null)?.closest?.('a[href]') as HTMLAnchorElement | null | undefined
    if (!link || link.hasAttribute('download') || (link.target !== '' && link.target !== '_self')) return
    const url = new URL(link.href, this.#window.location.href)
    if (url.origin !== this.#window.location.origin || !this.#isOurs(url.pathname)) return
    const { path, query, hash } = this.#place.peek() as Place
    // a place within the page is the browser's to scroll to
    if (url.hash !== '' && url.pathname === path && url.search === query && url.hash.slice(1) !== hash) return
    event.preventDefault()
    this.go(url.pathname + url.search + url.hash)
  }

  #arrive(): void {
    const next = placeOf(this.#window.location)
    const now = this.#place.peek() as Place
    if (next.path !== now.path || next.query !== now.query || next.hash !== now.hash) this.#place.value = next
  }
}

const placeOf = ({ pathname, search, hash }: RouterWindow['location']): Place => ({
  path: pathname,
  query: search,
  hash: hash.slice(1),
})
