/** `/openapi.json` against the routes themselves, both ways, and against what OpenAPI says a document is. */
import { Validator } from '@seriousme/openapi-schema-validator'
import { beforeAll, describe, expect, it } from 'vitest'
import { templateOf } from '../../../coordinator/gateway/openapi.ts'
import { ERRORS } from '../../../mesh/protocol/index.ts'
import { createHarness, type Harness } from './harness.ts'

interface Answer {
  readonly description: string
  readonly content?: Readonly<Record<string, { readonly schema: object }>>
}
interface Operation {
  readonly operationId: string
  readonly summary?: string
  readonly tags?: readonly string[]
  readonly security?: readonly object[]
  readonly requestBody?: { readonly required: boolean; readonly content: Record<string, { schema: unknown }> }
  readonly responses: Readonly<Record<string, Answer>>
}
interface Document {
  readonly openapi: string
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, object>> }
}

let harness: Harness
let document: Document
/** `GET /v1/models`, as they are registered. */
const registered = new Set<string>()
beforeAll(async () => {
  harness = createHarness({ apiKey: 'sk-test' })
  await harness.gateway.app.ready()
  document = JSON.parse((await harness.get('/openapi.json')).body) as Document
  // fastify's own view of its routes, not the one that the document is made of
  let path: string[] = []
  for (const line of harness.gateway.app.printRoutes({ commonPrefix: false }).split('\n')) {
    const depth = Math.max(0, line.search(/[^│├└─\s]/) / 4 - 1)
    const [, segment = '', methods = ''] = /^[│├└─\s]*(\S*)(?: \(([A-Z, ]+)\))?$/.exec(line) ?? []
    path = [...path.slice(0, depth), segment]
    for (const method of methods.split(', ').filter((each) => each !== '' && each !== 'HEAD'))
      registered.add(`${method} ${templateOf(path.join('')).replace(/(?<!\/)\{name\}/, '/{name}')}`)
  }
})

const operations = (): [string, Operation][] =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, each]): [string, Operation] => [`${method.toUpperCase()} ${path}`, each]),
  )

describe('the document', () => {
  it('has every route, and nothing that is none', () => {
    expect(registered.size).toBeGreaterThan(40)
    expect(
      operations()
        .map(([name]) => name)
        .toSorted(),
    ).toEqual([...registered].toSorted())
  })

  it('is valid OpenAPI 3.1', async () => {
    const { valid, errors } = await new Validator().validate({ ...document })
    expect(errors ?? []).toEqual([])
    expect(valid).toBe(true)
    expect(document.openapi).toMatch(/^3\.1\./)
  })

  it('says of each what it is for and what it answers, and announces no defect', () => {
    for (const [name, { summary, tags, responses }] of operations()) {
      expect(summary, name).toMatch(/^[A-Z]/)
      expect(tags, name).toHaveLength(1)
      const statuses = Object.keys(responses).map(Number)
      expect(statuses, name).not.toContain(ERRORS.INTERNAL.http)
      expect(Math.min(...statuses), name).toBeLessThan(300)
      for (const status of statuses)
        expect(responses[String(status)]!.content !== undefined || status < 300, `${name} ${status}`).toBe(true)
    }
  })

  it('gives each operation an id of its own, and refers to nothing that is not there', () => {
    const ids = operations().map(([, { operationId }]) => operationId)
    expect(new Set(ids).size).toBe(ids.length)
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)]
    expect(references.length).toBeGreaterThan(50)
    for (const [, name] of references) expect(document.components.schemas, name).toHaveProperty([name!])
  })

  it('has the bodies that are validated with: what it forbids is refused', async () => {
    const { requestBody } = document.paths['/v1/chat/completions']!['post']!
    const schema = requestBody!.content['application/json']!.schema as {
      properties: Record<string, { anyOf: { minimum?: number; maximum?: number; type: string }[] }>
      required: string[]
    }
    expect(schema.required.toSorted()).toEqual(['messages', 'model'])
    const [temperature, none] = schema.properties['temperature']!.anyOf
    expect(none).toEqual({ type: 'null' })
    const ask = async (value: number | null): Promise<number> => {
      const body = { model: 'tiny', messages: [{ role: 'user', content: 'hi' }], temperature: value }
      const headers = { authorization: 'Bearer sk-test' }
      return (await harness.post('/v1/chat/completions', body, headers)).statusCode
    }
    expect(await ask(temperature!.maximum!)).toBe(200)
    expect(await ask(temperature!.maximum! + 1)).toBe(400)
    expect(await ask(null)).toBe(200)
  })

  it('tells the form of an upload, and what lists of models can be asked', () => {
    const { requestBody } = document.paths['/v1/files']!['post']!
    expect(requestBody!.required).toBe(true)
    expect(requestBody!.content['multipart/form-data']!.schema).toEqual({ $ref: '#/components/schemas/FileUpload' })
    const { properties, required } = document.components.schemas['FileUpload'] as never as {
      properties: object
      required: string[]
    }
    expect(Object.keys(properties)).toEqual(['file', 'purpose', 'expires_after[anchor]', 'expires_after[seconds]'])
    expect(required).toEqual(['file', 'purpose'])
    const { parameters = [] } = document.paths['/v1/models']!['get']! as { parameters?: { name: string }[] }
    expect(parameters.map(({ name }) => name)).toEqual(['limit', 'after_id', 'before_id', 'anthropic-version'])
  })

  it('tells errors in the form of each API, and which may be left out', () => {
    const refOf = (path: string, method: string, status: number): unknown =>
      document.paths[path]![method]!.responses[String(status)]!.content!['application/json']!.schema
    expect(refOf('/v1/messages', 'post', 400)).toEqual({ $ref: '#/components/schemas/AnthropicError' })
    expect(refOf('/api/chat', 'post', 400)).toEqual({ $ref: '#/components/schemas/OllamaError' })
    expect(refOf('/v1/chat/completions', 'post', 429)).toEqual({ $ref: '#/components/schemas/Error' })
    expect(document.paths['/mesh/v1/invites']!['post']!.requestBody!.required).toBe(false)
    expect(document.paths['/v1/embeddings']!['post']!.requestBody!.required).toBe(true)
  })
})

describe('who may see it', () => {
  it('needs no key, as it says itself, and others do', async () => {
    for (const [name, { security }] of operations()) {
      const [method, path] = name.split(' ') as ['GET', string]
      if (method !== 'GET') continue
      const { statusCode } = await harness.get(path.replace(/\{\w+\}/g, 'x'))
      if (security?.length === 0) expect(statusCode, name).not.toBe(401)
      else expect(statusCode, name).toBe(401)
    }
  })

  it('shows it to people without a script, and lets nothing in from elsewhere', async () => {
    const page = await harness.get('/docs')
    expect(page.headers['content-type']).toBe('text/html; charset=utf-8')
    expect(page.headers['content-security-policy']).toContain("default-src 'none'; style-src 'self'")
    expect(page.body).not.toMatch(/<script|javascript:|\son\w+=|style=/i)
    const links = [...page.body.matchAll(/(?:href|src)="([^"]*)"/g)].map(([, link]) => link!)
    expect(links.filter((link) => !link.startsWith('#'))).toEqual(['/docs/style.css', '/openapi.json'])
    // every operation, every schema, and no link to what is not there
    for (const [, { operationId }] of operations()) expect(page.body).toContain(`id="${operationId}"`)
    for (const link of links.filter((each) => each.startsWith('#')))
      expect(page.body).toContain(`id="${link.slice(1)}"`)
    const style = await harness.get('/docs/style.css')
    expect(style.headers['content-type']).toBe('text/css; charset=utf-8')
    expect(style.body).not.toMatch(/url\(|@import/)
  })
})
