/**
 * What the gateway says of itself: `/openapi.json`, and a page that shows it to people. Both are the same for every Skein of
 * a version and tell nothing of this one, so that a browser may have them without a key.
 */
import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { docsPage, DOCS_STYLE } from './docs-page.ts'
import type { OperationTable } from './openapi.ts'
import { jsonAnswer, type RouteDoc } from './route-doc.ts'

/** Nothing but our own style: no script at all, no frame, no form, and nothing from elsewhere. */
const POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const GUARDS = {
  'content-security-policy': POLICY,
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'cross-origin-resource-policy': 'same-origin',
}

const textDoc = (summary: string, type: string): RouteDoc => ({
  tag: 'Service',
  summary,
  answers: { 200: { description: 'It.', content: { [type]: { schema: Type.String() } } } },
})

const DOCUMENT_DOC: RouteDoc = {
  tag: 'Service',
  summary: 'This document',
  answers: {
    200: jsonAnswer('An OpenAPI document.', Type.Object({ openapi: Type.String() }, { additionalProperties: true })),
  },
}

export function docsRoutes(app: FastifyInstance, table: OperationTable): void {
  let page: string | undefined

  app.get('/openapi.json', { config: { doc: DOCUMENT_DOC, isOpen: true } }, (_request, reply) =>
    reply.headers(GUARDS).type('application/json; charset=utf-8').send(table.document()),
  )

  app.get(
    '/docs',
    { config: { doc: textDoc('This document, for people', 'text/html'), isOpen: true } },
    (_request, reply) => {
      page ??= docsPage(JSON.parse(table.document()))
      return reply.headers(GUARDS).type('text/html; charset=utf-8').send(page)
    },
  )

  app.get(
    '/docs/style.css',
    { config: { doc: textDoc('The style of that page', 'text/css'), isOpen: true } },
    (_request, reply) => reply.headers(GUARDS).type('text/css; charset=utf-8').send(DOCS_STYLE),
  )
}
