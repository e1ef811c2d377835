/** Addresses of the page. */
import { describe, expect, it } from 'vitest'
import { matchRoute, Router } from '../../../../clients/web/app/router.ts'

const ROUTES = ['/', '/chat/:id', '/mesh', '/mesh/nodes/:peerId'].map((pattern) => ({ pattern, page: pattern }))

describe('an address', () => {
  it.each([
    ['/', '/', {}],
    ['/chat/a%20b', '/chat/:id', { id: 'a b' }],
    ['/mesh/', '/mesh', {}],
    ['/mesh/nodes/12D3', '/mesh/nodes/:peerId', { peerId: '12D3' }],
  ])('%s is the page %s', (path, page, params) => {
    expect(matchRoute(ROUTES, path)).toEqual({ page, params })
  })

  it.each(['/chat', '/mesh/v1/self', '/v1/models', '/chat/%E0%A4%A', '/Mesh'])('%s is none', (path) => {
    expect(matchRoute(ROUTES, path)).toBeUndefined()
  })
})

/** A window that remembers where it was sent. */
function opened(path: string) {
  const location = new URL(path, 'http://mesh.test')
  const went: string[] = []
  let back = (): void => {}
  const to = (how: string) => (_state: unknown, _title: string, next?: string | URL | null) => {
    location.href = new URL(String(next), location).href
    went.push(`${how} ${String(next)}`)
  }
  const history = { pushState: to('push'), replaceState: to('replace') }
  const window = { location, history, addEventListener: (_type: string, run: () => void) => void (back = run) }
  const router = new Router(window, (own) => matchRoute(ROUTES, own) !== undefined)
  return { router, went, location, goBack: (to: string) => ((location.href = new URL(to, location).href), back()) }
}

/** A press on a link, and whether the router took it. */
function press(router: Router, attributes: Record<string, string>, init: Partial<MouseEvent> = {}): boolean {
  let listener: (event: Event) => void = () => {}
  router.takeClicks({ addEventListener: (_type: string, run: unknown) => void (listener = run as typeof listener) })
  const href = new URL(attributes['href']!, 'http://mesh.test').href
  const link = { href, target: attributes['target'] ?? '', hasAttribute: (name: string) => name in attributes }
  let isTaken = false
  const event = {
    ...{ button: 0, defaultPrevented: false, metaKey: false, ctrlKey: false, shiftKey: false, altKey: false },
    ...{ target: { closest: () => link }, preventDefault: () => void (isTaken = true), ...init },
  }
  listener(event as unknown as Event)
  return isTaken
}

describe('the router', () => {
  it('goes to pages, and follows the browser back', () => {
    const { router, went, goBack } = opened('/mesh?x=1#y')
    expect(router.place.value).toEqual({ path: '/mesh', query: '?x=1', hash: 'y' })
    router.go('/chat/1')
    router.go('/chat/1')
    router.go('/chat/2', { replace: true })
    expect(went).toEqual(['push /chat/1', 'replace /chat/1', 'replace /chat/2'])
    expect(router.place.value.path).toBe('/chat/2')
    goBack('/mesh')
    expect(router.place.value).toEqual({ path: '/mesh', query: '', hash: '' })
  })

  it('takes presses on links of its own pages', () => {
    const { router, went } = opened('/')
    expect(press(router, { href: '/mesh/nodes/a?b#c' })).toBe(true)
    expect(went).toEqual(['push /mesh/nodes/a?b#c'])
  })

  it.each([
    ['of an API', { href: '/v1/models' }, {}],
    ['of another site', { href: 'https://example.org/mesh' }, {}],
    ['that is a file', { href: '/mesh', download: 'x' }, {}],
    ['for another tab', { href: '/mesh', target: '_blank' }, {}],
    ['with a key', { href: '/mesh' }, { ctrlKey: true }],
    ['by the middle button', { href: '/mesh' }, { button: 1 }],
    ['that somebody else took', { href: '/mesh' }, { defaultPrevented: true }],
    ['within the page', { href: '/#content' }, {}],
  ])('leaves a link %s to the browser', (_what, attributes, init) => {
    const { router, went } = opened('/')
    expect(press(router, attributes as Record<string, string>, init)).toBe(false)
    expect(went).toEqual([])
  })
})
