/** Keys, rates and what is whose, through OpenAI's own client on a real socket. */
import OpenAI from 'openai'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { says } from '../fixtures/mesh-service-twin.ts'
import { CHAT, startGateway, type RunningGateway } from './gateway.harness.ts'

const OWNER = 'sk-owner'
let running: RunningGateway
beforeEach(async () => {
  running = await startGateway({ apiKey: OWNER })
  running.twin.script = says('the answer')
})
afterEach(() => running.gateway.stop())

const clientOf = (apiKey: string): OpenAI => new OpenAI({ baseURL: `${running.gateway.url}/v1`, apiKey, maxRetries: 0 })

async function makeKey(body: object): Promise<{ id: string; secret: string; client: OpenAI }> {
  const answer = await fetch(`${running.gateway.url}/mesh/v1/keys`, {
    method: 'POST',
    headers: { authorization: `Bearer ${OWNER}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  expect(answer.status).toBe(201)
  expect(answer.headers.get('cache-control')).toBe('no-store')
  const { id, secret } = (await answer.json()) as { id: string; secret: string }
  return { id, secret, client: clientOf(secret) }
}

/** What `ask` throws. */
const thrown = (ask: Promise<unknown>): Promise<unknown> =>
  ask.then(
    () => 'nothing was thrown',
    (error: unknown) => error,
  )

describe('the official client', () => {
  it('has an answer with a key', async () => {
    const { client, id } = await makeKey({ name: 'ada' })
    const answer = await client.chat.completions.create(CHAT)
    expect(answer.choices[0]?.message.content).toBe('the answer')
    expect(running.twin.calls[0]?.request.tenant).toBe(id)
  })

  it.each(['sk-skein-wrong', OWNER.toUpperCase()])('throws its AuthenticationError with the key %s', async (secret) => {
    const error = await thrown(clientOf(secret).chat.completions.create(CHAT))
    expect(error).toBeInstanceOf(OpenAI.AuthenticationError)
    expect(error).toMatchObject({ status: 401, code: 'unauthenticated', type: 'authentication_error' })
    expect(running.twin.calls).toEqual([])
  })

  it('throws its PermissionDeniedError for a model that the key is not for', async () => {
    const { client } = await makeKey({ name: 'ada', models: ['other*'] })
    const error = await thrown(client.chat.completions.create({ ...CHAT, stream: true }))
    expect(error).toBeInstanceOf(OpenAI.PermissionDeniedError)
    expect(error).toMatchObject({ status: 403, code: 'forbidden', param: 'model' })
    expect((await client.models.list()).data).toEqual([])
  })

  it('throws its RateLimitError when the key has had its requests', async () => {
    const { client } = await makeKey({ name: 'ada', requests_per_minute: 1 })
    const { response } = await client.chat.completions.create(CHAT).withResponse()
    expect(response.headers.get('x-ratelimit-remaining-requests')).toBe('0')
    const error = await thrown(client.chat.completions.create(CHAT))
    expect(error).toBeInstanceOf(OpenAI.RateLimitError)
    expect(error).toMatchObject({ status: 429, code: 'rate_limited', type: 'rate_limit_error' })
    const { headers } = error as InstanceType<typeof OpenAI.RateLimitError>
    expect(Number(headers?.get('retry-after'))).toBeGreaterThan(0)
    expect(running.twin.calls).toHaveLength(1)
  })
})

describe('two keys', () => {
  it('see nothing of each other', async () => {
    const ada = await makeKey({ name: 'ada' })
    const bob = await makeKey({ name: 'bob' })
    const made = await ada.client.responses.create({ model: 'tiny', input: 'hi' }, { idempotencyKey: 'mine' })
    for (const ask of [
      () => bob.client.responses.retrieve(made.id),
      () => bob.client.responses.cancel(made.id),
      () => bob.client.responses.retrieve(made.id, { stream: true }),
      () => bob.client.get(`/../mesh/v1/tasks/${made.id}`),
      () => bob.client.get(`/../mesh/v1/tasks/${made.id}/explain`),
    ])
      expect(await thrown(ask())).toBeInstanceOf(OpenAI.NotFoundError)
    expect((await ada.client.responses.retrieve(made.id)).output_text).toBe('the answer')
    const other = await bob.client.responses.create({ model: 'tiny', input: 'ho' }, { idempotencyKey: 'mine' })
    expect(other.id).not.toBe(made.id)
    expect((await clientOf(OWNER).responses.retrieve(made.id)).id).toBe(made.id)
  })
})

describe('a key', () => {
  it('that is revoked is out at once, and in no log or list before', async () => {
    const { client, id, secret } = await makeKey({ name: 'ada' })
    const owner = { authorization: `Bearer ${OWNER}` }
    const listed = await (await fetch(`${running.gateway.url}/mesh/v1/keys`, { headers: owner })).text()
    expect(listed).toContain(id)
    expect(listed).not.toContain(secret.slice(9, -4))
    expect((await fetch(`${running.gateway.url}/mesh/v1/keys/ada`, { method: 'DELETE', headers: owner })).status).toBe(
      200,
    )
    expect(await thrown(client.models.list())).toBeInstanceOf(OpenAI.AuthenticationError)
  })
})
