import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { TWIN_MODEL, TWIN_NODE_VIEW } from '../../fixtures/mesh-service-twin.ts'
import { createHarness, type Harness } from './harness.ts'

let h: Harness
beforeEach(() => {
  h = createHarness()
})
afterEach(() => h.gateway.stop())

describe('models, nodes, members, health', () => {
  it('lists models by their first alias, and by digest when another has it', async () => {
    const twinned = { ...TWIN_MODEL, digest: `sha256:${'f'.repeat(64)}` as typeof TWIN_MODEL.digest }
    h.twin.modelViews = [TWIN_MODEL, twinned]
    const { object, data } = (await h.get('/v1/models')).json()
    expect(object).toBe('list')
    expect(data.map(({ id }: { id: string }) => id)).toEqual(['tiny', twinned.digest])
    expect(data[0]).toMatchObject({ object: 'model', created: 1_800_000_000, owned_by: 'skein' })
  })

  it.each(['tiny', 'org/tiny-chat', 'org%2Ftiny-chat', TWIN_MODEL.digest])('finds the model %s', async (name) => {
    const answer = await h.get(`/v1/models/${name}`)
    expect(answer.statusCode).toBe(200)
    expect(answer.json()).toMatchObject({ id: decodeURIComponent(name), object: 'model', digest: TWIN_MODEL.digest })
  })

  it('says which model it does not find', async () => {
    const answer = await h.get('/v1/models/none')
    expect(answer.statusCode).toBe(404)
    expect(answer.json().error).toMatchObject({
      code: 'model_not_found',
      param: 'model',
      type: 'invalid_request_error',
    })
  })

  it('is ready when the mesh is, and says why not', async () => {
    expect((await h.get('/health/ready')).json()).toEqual({ ready: true, reason: 'a node can serve' })
    h.twin.state = { ready: false, reason: 'no node is in the mesh' }
    const answer = await h.get('/health/ready')
    expect(answer.statusCode).toBe(503)
    expect(answer.headers['retry-after']).toBe('1')
    expect(answer.json()).toEqual({ ready: false, reason: 'no node is in the mesh' })
  })

  it('shows nodes, models and itself', async () => {
    expect((await h.get('/mesh/v1/nodes')).json()).toEqual({ object: 'list', data: [TWIN_NODE_VIEW] })
    expect((await h.get('/mesh/v1/models')).json().data).toEqual([{ id: 'tiny', ...TWIN_MODEL }])
    expect((await h.get('/mesh/v1/self')).json()).toMatchObject({
      name: 'desk-pc',
      isAuthority: true,
      protocolVersion: 1,
    })
  })

  it('revokes by name or peer id, and knows who is no member', async () => {
    const revoke = (member: string) => h.gateway.app.inject({ method: 'DELETE', url: `/mesh/v1/nodes/${member}` })
    expect((await revoke('desk-pc')).json()).toEqual({ peerId: TWIN_NODE_VIEW.peerId, name: 'desk-pc', revoked: true })
    expect((await revoke(TWIN_NODE_VIEW.peerId)).statusCode).toBe(200)
    const unknown = await revoke('nobody')
    expect(unknown.statusCode).toBe(404)
    expect(unknown.json().error.code).toBe('member_not_found')
    expect(h.twin.revoked).toEqual(['desk-pc', TWIN_NODE_VIEW.peerId])
  })

  it('invites once for a day unless told otherwise', async () => {
    const plain = await h.gateway.app.inject({ method: 'POST', url: '/mesh/v1/invites' })
    expect(plain.statusCode).toBe(201)
    expect(plain.json()).toEqual({ invite: 'skein1abc', uses: 1, expiresAtMs: 1_800_086_400_000 })
    await h.post('/mesh/v1/invites', { uses: 3, valid_ms: 60_000 })
    expect(h.twin.invites).toEqual([
      { uses: 1, validMs: 86_400_000 },
      { uses: 3, validMs: 60_000 },
    ])
    for (const [body, param] of [
      [{ uses: 0 }, 'uses'],
      [{ valid_ms: 1.5 }, 'valid_ms'],
    ] as const)
      expect((await h.post('/mesh/v1/invites', body)).json().error).toMatchObject({ code: 'invalid_request', param })
  })
})
