/** Which addresses the page answers itself, without network: never one of an API. */
import { expect, it } from 'vitest'
import { isPageAddress } from '../../../../clients/web/worker/addresses.ts'

it.each(['/', '/chat', '/chat/0199', '/mesh', '/mesh/nodes/12D3', '/tasks/t1', '/settings/sync', '/index.html'])(
  '%s is the page',
  (path) => {
    expect(isPageAddress(path)).toBe(true)
  },
)

it.each([
  ...['/v1/models', '/mesh/v1/self', '/mesh/v2/x', '/api/tags', '/mcp', '/health/ready', '/metrics', '/admin', '/docs'],
  ...['//mesh', '/assets/main.js', '/sw.js', ''],
])('%s is not', (path) => {
  expect(isPageAddress(path)).toBe(false)
})
