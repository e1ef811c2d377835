/**
 * `/openapi.json`: made of the routes as they are registered and of the schemas that they validate with, so that it cannot
 * say other than the gateway does. OpenAPI 3.1, whose schemas are JSON Schema, as ours are.
 */
import type { FastifyContextConfig, FastifyInstance, RouteOptions } from 'fastify'
import { ERRORS, PROTOCOL_VERSION, type ErrorCode } from '../../mesh/protocol/index.ts'
import { countsAsRequest, routeClassOf } from './callers.ts'
import { errorFormsAt } from './error-form.ts'
import { PATH_SEGMENT_MAX } from './limits.ts'
import { JSON_TYPE, ROUTE_TAGS, type AnswerDoc, type ContentDoc } from './route-doc.ts'

type Json = Record<string, unknown>

/** One method of one address. */
interface Operation {
  readonly method: string
  /** As it is registered. */
  readonly url: string
  readonly schema: { readonly body?: unknown; readonly querystring?: unknown }
  readonly config: FastifyContextConfig
}

/** The operations of a server, as they are registered. `HEAD` is served wherever `GET` is, and is not told apart. */
export class OperationTable {
  readonly #operations: Operation[] = []
  #document: string | undefined

  /** Notes every route that is registered from now on. */
  watch(app: FastifyInstance): this {
    app.addHook('onRoute', ({ method, url, schema = {}, config = {} }: RouteOptions) => {
      for (const each of [method].flat())
        if (each !== 'HEAD')
          this.#operations.push({ method: each, url, schema, config: config as FastifyContextConfig })
    })
    return this
  }

  /** The document as JSON text; asked for when all routes are registered. */
  document(): string {
    this.#document ??= JSON.stringify(documentOf(this.#operations))
    return this.#document
  }
}

/** Schemas with a title, by it: they are told once. */
class Components {
  readonly schemas: Record<string, unknown> = {}

  /** `schema` as the document has it: a plain value, with references in place of what has a title. */
  of(schema: unknown): unknown {
    if (Array.isArray(schema)) return schema.map((each) => this.of(each))
    if (typeof schema !== 'object' || schema === null) return schema
    const plain = (): Json => Object.fromEntries(Object.entries(schema).map(([name, value]) => [name, this.of(value)]))
    const { title } = schema as { readonly title?: unknown }
    if (typeof title !== 'string') return plain()
    // the place is taken first: a schema may be in itself
    if (!Object.hasOwn(this.schemas, title)) {
      this.schemas[title] = {}
      this.schemas[title] = plain()
    }
    return { $ref: `#/components/schemas/${title}` }
  }
}

function documentOf(operations: readonly Operation[]): Json {
  const components = new Components()
  const paths: Record<string, Json> = {}
  for (const operation of operations.toSorted((a, b) => (a.url < b.url ? -1 : a.url > b.url ? 1 : 0))) {
    const path = templateOf(operation.url)
    paths[path] = { ...paths[path], [operation.method.toLowerCase()]: operationOf(operation, components) }
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'Skein',
      version: String(PROTOCOL_VERSION),
      summary: 'The devices that you own as one place to run AI.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{ bearer: [] }, { apiKey: [] }],
    tags: Object.entries(ROUTE_TAGS).map(([name, description]) => ({ name, description })),
    paths,
    components: {
      schemas: components.schemas,
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', description: 'Not needed on loopback until a key is made.' },
        apiKey: { type: 'apiKey', in: 'header', name: 'x-api-key' },
      },
    },
  }
}

/** `/a/:id/*` as `/a/{id}/{name}`. */
export const templateOf = (url: string): string => url.replace(/:(\w+)/g, '{$1}').replace(/\*$/, '{name}')

/** `GET /v1/models/*` as `getV1ModelsName`. */
function operationIdOf({ method, url }: Operation): string {
  const words = templateOf(url)
    .split(/[^A-Za-z0-9]+/)
    .filter((word) => word !== '')
  return method.toLowerCase() + words.map((word) => word[0]!.toUpperCase() + word.slice(1)).join('')
}

function operationOf(operation: Operation, components: Components): Json {
  const { config, schema } = operation
  const { doc } = config
  const parameters = parametersOf(operation, components)
  const answers = doc?.answers ?? { 200: { description: 'The answer.' } }
  const told = Object.entries(answers).map(([status, answer]) => [status, answerOf(answer, components)])
  return {
    operationId: operationIdOf(operation),
    ...(doc && { tags: [doc.tag], summary: doc.summary }),
    ...(config.isOpen === true && { security: [] }),
    ...(parameters.length > 0 && { parameters }),
    ...(schema.body !== undefined && { requestBody: bodyOf(schema.body, components) }),
    ...(doc?.body && { requestBody: { required: true, content: contentOf(doc.body, components) } }),
    responses: { ...Object.fromEntries(told), ...failuresOf(operation, components) },
  }
}

function parametersOf({ url, schema, config }: Operation, components: Components): Json[] {
  const inPath = [...templateOf(url).matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string', minLength: 1, maxLength: PATH_SEGMENT_MAX },
  }))
  const { properties = {}, required = [] } = (schema.querystring ?? {}) as {
    readonly properties?: Readonly<Record<string, unknown>>
    readonly required?: readonly string[]
  }
  const inQuery = Object.entries(properties).map(([name, each]) => ({
    name,
    in: 'query',
    ...(required.includes(name) && { required: true }),
    schema: components.of(each),
  }))
  const inHeaders = Object.entries(config.doc?.headers ?? {}).map(([name, { schema: each, description }]) => ({
    name,
    in: 'header',
    description,
    schema: components.of(each),
  }))
  return [...inPath, ...inQuery, ...inHeaders]
}

interface ObjectSchema {
  readonly anyOf?: readonly { readonly type?: string }[]
  readonly properties?: Readonly<Record<string, unknown>>
  readonly required?: readonly string[]
}

/** A body may be left out where `null` would do, and so may be its members, which `parseJsonBody` takes for absent. */
function bodyOf(schema: unknown, components: Components): Json {
  const { anyOf = [] } = schema as ObjectSchema
  const required = !anyOf.some(({ type }) => type === 'null')
  return { required, content: { [JSON_TYPE]: { schema: withNulls(components.of(schema) as ObjectSchema) } } }
}

function withNulls(schema: ObjectSchema): object {
  const { properties, required = [] } = schema
  if (!properties) return schema
  const members = Object.entries(properties).map(([name, member]) => [
    name,
    required.includes(name) ? member : { anyOf: [member, { type: 'null' }] },
  ])
  return { ...schema, properties: Object.fromEntries(members) as Json }
}

const answerOf = ({ description, content }: AnswerDoc, components: Components): Json => ({
  description,
  ...(content && { content: contentOf(content, components) }),
})

function contentOf(content: Readonly<Record<string, ContentDoc>>, components: Components): Json {
  const told = Object.entries(content).map(([type, { schema, items }]) => [
    type,
    // whether the schema of a stream is one of the whole or of each event, tools read differently: it says nothing
    items ? { schema: {}, 'x-items': components.of(items) } : { schema: components.of(schema) },
  ])
  return Object.fromEntries(told) as Json
}

/** Errors, by their status; the description lists the codes. A defect (500) is none that is announced. */
function failuresOf(operation: Operation, components: Components): Json {
  const { url, config } = operation
  const schemas = errorFormsAt(url, config).map((form) => components.of(form.schema))
  const schema = schemas.length === 1 ? schemas[0] : { anyOf: schemas }
  const byStatus = Map.groupBy(new Set(codesOf(operation)), (code) => ERRORS[code].http)
  const told = [...byStatus].map(([status, codes]) => [
    status,
    {
      description: codes.map((code) => `\`${code.toLowerCase()}\`: ${ERRORS[code].meaning}`).join('\n\n'),
      content: { [JSON_TYPE]: { schema } },
    },
  ])
  return Object.fromEntries(told) as Json
}

function codesOf({ method, url, config }: Operation): ErrorCode[] {
  const needsKey = config.isOpen !== true
  const counts = needsKey && countsAsRequest(method, url, routeClassOf(method, url))
  return [
    'INVALID_REQUEST',
    ...(needsKey ? (['UNAUTHENTICATED', 'PROVIDER_UNREACHABLE'] as const) : []),
    // a page of another site may ask for no address
    'FORBIDDEN',
    ...(/[:*]/.test(url) ? (['NOT_FOUND'] as const) : []),
    ...(method === 'GET' ? [] : BODY_ERRORS),
    ...(counts ? (['RATE_LIMITED', 'QUOTA_EXCEEDED'] as const) : []),
    ...(config.doc?.errors ?? []),
  ]
}

/** Also of a route that takes no body: one that is sent is read all the same. */
const BODY_ERRORS: readonly ErrorCode[] = [
  'INVALID_JSON',
  'BODY_TOO_LARGE',
  'UNSUPPORTED_MEDIA_TYPE',
  'REQUEST_TIMEOUT',
]
