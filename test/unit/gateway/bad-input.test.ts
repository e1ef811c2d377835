/**
 * Every operation of the document against what nobody should send. Each is answered with a status and a body that the document
 * announces for it, in the form of its own API; nothing reaches the mesh, and whoever asks next is served.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { LightMyRequestResponse } from 'fastify'
import { LIMITS, SkeinError } from '../../../mesh/protocol/index.ts'
import { ApiDocument, type ApiOperation, type JsonSchema } from '../../fixtures/api-document.ts'
import { createHarness, type Harness } from './harness.ts'

const KEY = { authorization: 'Bearer sk-test' }

const harness: Harness = createHarness({ apiKey: 'sk-test' })
await harness.gateway.app.ready()
harness.twin.worker = () => Promise.reject(new SkeinError('MODEL_NOT_FOUND', 'nobody has it'))
const document = new ApiDocument((await harness.get('/openapi.json')).body)

beforeAll(() => expect(document.operations.length).toBeGreaterThan(40))
afterEach(async () => {
  expect((await harness.get('/health/live')).json()).toEqual({ live: true })
  expect(harness.gateway.running).toBe(0)
})
afterAll(() => harness.gateway.stop())

const url = ({ path }: ApiOperation, name = 'x'): string => path.replace(/\{\w+\}/g, name)

async function send(
  operation: ApiOperation,
  payload: unknown,
  { headers = {}, at = url(operation) }: { headers?: Record<string, string>; at?: string } = {},
): Promise<LightMyRequestResponse> {
  const isText = typeof payload === 'string' || Buffer.isBuffer(payload)
  return harness.gateway.app.inject({
    method: operation.method as 'POST',
    url: at,
    headers: { 'content-type': 'application/json', ...KEY, ...headers },
    ...(payload === undefined ? {} : { payload: isText ? payload : JSON.stringify(payload) }),
  })
}

function expectAnnounced(operation: ApiOperation, response: LightMyRequestResponse, note: string): void {
  const type = response.headers['content-type']
  const answer = { status: response.statusCode, type, body: response.body }
  expect(document.flawOf(operation, answer), `${operation.name}: ${note}`).toBeUndefined()
  expect(response.statusCode, `${operation.name}: ${note}`).toBeLessThan(500)
  expect(response.headers['x-request-id']).toMatch(/^req_/)
}

const withBody = document.operations.filter(({ body }) => body !== undefined)
const named = (operations: readonly ApiOperation[]): [string, ApiOperation][] =>
  operations.map((each) => [each.name, each])

/** Something that no schema of a member here takes. */
const WRONG: readonly unknown[] = [{ no: {} }, [[]], -1.5, true, 'x'.repeat(300)]

/** Values that are none of `schema`; none where it takes everything. */
function wrongFor(schema: JsonSchema): unknown[] {
  const { anyOf, type, enum: values } = document.resolve(schema)
  if (anyOf) return WRONG.filter((value) => anyOf.every((each) => wrongFor(each).includes(value)))
  if (values) return WRONG.filter((value) => !values.includes(value))
  const kinds: Readonly<Record<string, (value: unknown) => boolean>> = {
    object: (value) => typeof value !== 'object' || Array.isArray(value),
    array: (value) => !Array.isArray(value),
    string: (value) => typeof value !== 'string',
    integer: (value) => !Number.isInteger(value),
    number: (value) => typeof value !== 'number',
    boolean: (value) => typeof value !== 'boolean',
    null: () => true,
  }
  return type === undefined ? [] : WRONG.filter(kinds[type]!)
}

/** As little as the schema is content with; what the gateway itself wants beyond that is refused by it. */
function least(schema: JsonSchema): unknown {
  const {
    anyOf,
    type,
    enum: values,
    const: only,
    properties = {},
    required = [],
    items,
    minItems = 0,
  } = document.resolve(schema)
  if (only !== undefined) return only
  if (values) return values[0]
  if (anyOf) return least(anyOf[0]!)
  if (type === 'object') return Object.fromEntries(required.map((name) => [name, least(properties[name]!)]))
  if (type === 'array') return Array.from({ length: minItems }, () => least(items!))
  if (type === 'integer' || type === 'number') return document.resolve(schema).minimum ?? 1
  return type === 'string' ? 'x' : type === 'boolean' ? false : null
}

describe.each(named(withBody))('%s', (_name, operation) => {
  const { schema, isRequired } = operation.body!
  const object = schema.anyOf?.find(({ type }) => type === 'object') ?? schema

  it('takes no body that is of another type, cut off, nested without end, no UTF-8, or too large', async () => {
    const bodies: [string, string | Buffer, number][] = [
      ['an array', '[]', 400],
      ['a text', '"x"', 400],
      ['a number', '1e999', 400],
      ['cut off', '{"model":', 400],
      ['with a comment', '{/**/}', 400],
      ['nested without end', '['.repeat(100_000), 400],
      ['nested too deep', `{"x":${'['.repeat(LIMITS.jsonDepthMax)}${']'.repeat(LIMITS.jsonDepthMax)}}`, 400],
      ['no UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 400],
      ['half a character', Buffer.from([0x22, 0xe2, 0x82, 0x22]), 400],
      ['too large', Buffer.alloc(LIMITS.httpBodyBytesMax + 1, 0x20), 413],
    ]
    if (isRequired) bodies.push(['null', 'null', 400], ['nothing', '', 400])
    for (const [note, payload, status] of bodies) {
      const response = await send(operation, payload)
      expectAnnounced(operation, response, note)
      expect(response.statusCode, note).toBe(status)
    }
    expect(harness.twin.calls).toEqual([])
  })

  it('takes no body that is packed or in another alphabet', async () => {
    const headers: Record<string, string>[] = [
      { 'content-encoding': 'gzip' },
      { 'content-type': 'application/json; charset=utf-16' },
    ]
    // Ollama's own clients call their JSON anything
    if (!operation.path.startsWith('/api/')) headers.push({ 'content-type': 'text/plain' }, { 'content-type': 'x' })
    for (const each of headers) {
      const response = await send(operation, '{}', { headers: each })
      expectAnnounced(operation, response, JSON.stringify(each))
      expect(response.statusCode).toBe(415)
    }
  })

  it('misses what it needs, and takes nothing of a wrong type', async () => {
    const { properties = {}, required = [] } = object
    const whole = least(object) as Record<string, unknown>
    for (const name of required) {
      const { [name]: _, ...without } = whole
      const response = await send(operation, without)
      expectAnnounced(operation, response, `without ${name}`)
      expect(response.statusCode, `without ${name}`).toBe(400)
      expect(response.body).toContain(name)
    }
    for (const [name, member] of Object.entries(properties))
      for (const wrong of wrongFor(member)) {
        const response = await send(operation, { ...whole, [name]: wrong })
        expectAnnounced(operation, response, `${name}: ${JSON.stringify(wrong).slice(0, 40)}`)
        expect(response.statusCode, `${name}: ${JSON.stringify(wrong).slice(0, 40)}`).toBe(400)
      }
    expect(harness.twin.calls).toEqual([])
  })

  it('is not led astray by members that it does not know', async () => {
    const whole = least(object) as Record<string, unknown>
    const strange = ['{"__proto__":{"isAdmin":true},', '{"constructor":{"prototype":{}},', '{"\\u0000":"\\ud800",']
    for (const begin of strange) {
      const payload = begin + JSON.stringify({ ...whole, 'x-unknown': 1 }).slice(1)
      expectAnnounced(operation, await send(operation, payload), begin)
    }
    expect(({} as { isAdmin?: boolean }).isAdmin).toBeUndefined()
  })
})

/** The header that says something by being there. */
const ANY_VALUE = 'anthropic-version'

describe.each(named(document.operations))('%s', (_name, operation) => {
  it('has a key, if it needs one, before anything else is looked at', async () => {
    const isRefused = operation.needsKey
    for (const authorization of ['', 'Bearer', 'Bearer wrong', 'Basic c2s6dGVzdA==', `Bearer ${'x'.repeat(9000)}`]) {
      const response = await send(operation, operation.body && '{', { headers: { authorization } })
      if (isRefused) expectAnnounced(operation, response, authorization.slice(0, 20))
      expect(response.statusCode === 401, `${operation.name} ${authorization.slice(0, 20)}`).toBe(isRefused)
    }
  })

  it('does not mind headers that mean nothing, and refuses those that are wrong', async () => {
    // a stream of events has no end that could be waited for
    if (operation.path.endsWith('/events')) return
    for (const { name } of operation.parameters.filter((each) => each.in === 'header')) {
      const response = await send(operation, operation.body && least(operation.body.schema), {
        headers: { [name]: '\u0001'.repeat(3) },
      })
      expectAnnounced(operation, response, name)
      if (name !== ANY_VALUE) expect(response.statusCode, name).toBeGreaterThanOrEqual(400)
    }
  })
})

const withName = document.operations.filter(({ path }) => path.includes('{'))
const TRICKS = [
  '..%2f..%2f..%2fetc%2fpasswd',
  '%2e%2e%2f',
  '..;',
  '%00',
  '%ff%fe',
  '%',
  '%zz',
  '%252e%252e',
  '__proto__',
  'constructor',
  "';DROP%20TABLE%20tasks--",
  '%F0%9F%98%80',
  'x'.repeat(255),
  'x'.repeat(9000),
]

describe.each(named(withName))('%s', (_name, operation) => {
  it.each(TRICKS.map((trick) => [trick.slice(0, 30), trick]))('finds nothing at %s', async (_short, trick) => {
    const response = await send(operation, operation.body && least(operation.body.schema), {
      at: url(operation, trick),
    })
    expectAnnounced(operation, response, trick.slice(0, 40))
    expect(response.statusCode).toBeGreaterThanOrEqual(400)
    expect(response.body).not.toMatch(/root:|node_modules|\.ts:\d/)
  })

  it('finds nothing on the way around', async () => {
    for (const at of [
      `/.${url(operation)}`,
      `/x/..${url(operation)}`,
      `/${url(operation)}`,
      `${url(operation)}/../..`,
    ]) {
      const { statusCode } = await send(operation, undefined, { at })
      // what needs a body may miss that first
      expect(operation.body?.isRequired ? [400, 404] : [404], at).toContain(statusCode)
    }
  })
})
