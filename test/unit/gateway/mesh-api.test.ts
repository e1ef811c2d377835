import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { PROTOCOL_VERSION } from '../../../mesh/protocol/index.ts'
import type { LedgerAttempt, PairingDesk, PairingView } from '../../../coordinator/admission/index.ts'
import { saysAndHangs, TWIN_MODEL, TWIN_NODE, TWIN_NODE_VIEW } from '../../fixtures/mesh-service-twin.ts'
import { createHarness, events, type Harness } from './harness.ts'

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
    h.twin.orderViews = [
      {
        ...{
          order: 7,
          digest: TWIN_MODEL.digest,
          node: { ...TWIN_NODE },
          fetch: true,
          cause: 'demand',
          reason: 'many ask',
        },
        ...{ state: 'refused', message: 'NOT_SERVED: no', atMs: 1, endedAtMs: 2 },
      },
    ]
    expect((await h.get('/mesh/v1/replicas')).json()).toEqual({ object: 'list', data: h.twin.orderViews })
    expect((await h.get('/mesh/v1/models')).json().data).toEqual([{ id: 'tiny', ...TWIN_MODEL }])
    expect((await h.get('/mesh/v1/self')).json()).toMatchObject({
      name: 'desk-pc',
      isAuthority: true,
      protocolVersion: PROTOCOL_VERSION,
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

describe('pairing', () => {
  const ask = (method: 'GET' | 'POST' | 'DELETE') => h.gateway.app.inject({ method, url: '/mesh/v1/pairing' })

  it('is for who holds the mesh key', async () => {
    for (const method of ['GET', 'POST', 'DELETE'] as const) {
      const refused = await ask(method)
      expect(refused.statusCode).toBe(409)
      expect(refused.json().error.code).toBe('not_the_authority')
    }
  })

  it('makes a code for ten minutes unless told otherwise, tells of it, and takes it back', async () => {
    const asked: number[] = []
    let current: PairingView | undefined
    const desk: PairingDesk = {
      open: (validMs) => {
        asked.push(validMs)
        return (current = { state: 'open', code: 'K7QM-3XPA', expiresAtMs: 1_800_000_600_000, triesLeft: 5 })
      },
      current: () => current,
      close: () => {
        current = { state: 'over', expiresAtMs: 1_800_000_600_000, triesLeft: 5 }
      },
    }
    Object.assign(h.twin, { pairing: desk })
    expect((await ask('GET')).json()).toEqual({ state: 'none' })
    const made = await ask('POST')
    expect(made.statusCode).toBe(201)
    expect(made.json()).toMatchObject({ state: 'open', code: 'K7QM-3XPA', triesLeft: 5 })
    await h.post('/mesh/v1/pairing', { valid_ms: 60_000 })
    expect(asked).toEqual([600_000, 60_000])
    expect((await ask('GET')).json().code).toBe('K7QM-3XPA')
    expect((await ask('DELETE')).json()).toEqual({ state: 'over', expiresAtMs: 1_800_000_600_000, triesLeft: 5 })
    for (const valid_ms of [1, 600_001])
      expect((await h.post('/mesh/v1/pairing', { valid_ms })).json().error).toMatchObject({
        ...{ code: 'invalid_request', param: 'valid_ms' },
      })
  })
})

describe('tasks', () => {
  const post = (url: string) => h.gateway.app.inject({ method: 'POST', url })
  const ATTEMPT: LedgerAttempt = {
    assigned: {
      atMs: 1_800_000_000_010,
      attempt: 1,
      fence: 4_294_967_297,
      node: TWIN_NODE,
      route: 'mesh',
      reason: 'first',
      from: 0,
      predicted: { waitMs: 0, loadMs: 0, prefillMs: 100, decodeMs: 900, linkMs: 2, penaltyMs: 0, totalMs: 1002 },
      candidates: [{ ...TWIN_NODE, rejected: 'draining' }],
    },
    ended: {
      atMs: 1_800_000_000_500,
      attempt: 1,
      outcome: 'lost',
      code: 'NODE_LOST',
      message: 'its heartbeats stopped',
      to: 40,
      observed: { acceptMs: 3, firstTokenMs: 120 },
    },
  }
  const newTask = async (): Promise<string> => {
    const task = String((await h.chat()).headers['x-skein-task'])
    h.twin.inside(h.twin.taskIds.at(-1)!).attempts = [ATTEMPT]
    return task
  }

  it('are listed in pages, newest first', async () => {
    const [older, newer] = [await newTask(), await newTask()]
    const { object, data } = (await h.get('/mesh/v1/tasks')).json()
    expect(object).toBe('list')
    expect(data.map(({ taskId }: { taskId: string }) => taskId)).toEqual([newer, older])
    await h.get(`/mesh/v1/tasks?limit=5&before=${newer}&open=true`)
    expect(h.twin.queries).toEqual([{ limit: 20 }, { limit: 5, before: newer, isOpen: true }])
  })

  it.each(['limit=0', 'limit=201', 'limit=x', 'open=1', 'before=task_x'])('are not listed by %s', async (query) => {
    expect((await h.get(`/mesh/v1/tasks?${query}`)).statusCode).toBeGreaterThanOrEqual(400)
    expect(h.twin.queries).toEqual([])
  })

  it('are told by their id or as responses, without candidates', async () => {
    const task = await newTask()
    const response = task.replace('task_', 'resp_')
    for (const id of [task, response]) {
      const body = (await h.get(`/mesh/v1/tasks/${id}`)).json()
      expect(body).toMatchObject({ taskId: task, responseId: response, state: 'completed', text: 'Hello world' })
      expect(body.attempts[0].ended.code).toBe('NODE_LOST')
      expect(JSON.stringify(body)).not.toContain('candidates')
      expect(body).not.toHaveProperty('shape')
    }
    for (const id of ['task_x', `task_${'z'.repeat(24)}`, 'x'])
      expect((await h.get(`/mesh/v1/tasks/${id}`)).json().error.code).toBe('not_found')
  })

  it('are explained: candidates, and predicted beside observed', async () => {
    const task = await newTask()
    const body = (await h.get(`/mesh/v1/tasks/${task}/explain`)).json()
    expect(body).toMatchObject({ taskId: task, model: 'tiny', state: 'completed', tokens: 2 })
    expect(body.attempts).toEqual([
      {
        attempt: 1,
        atMs: 1_800_000_000_010,
        endedAtMs: 1_800_000_000_500,
        node: TWIN_NODE,
        route: 'mesh',
        reason: 'first',
        from: 0,
        to: 40,
        outcome: 'lost',
        code: 'NODE_LOST',
        message: 'its heartbeats stopped',
        predicted: ATTEMPT.assigned.predicted,
        observed: ATTEMPT.ended!.observed,
        candidates: ATTEMPT.assigned.candidates,
      },
    ])
  })

  it('are cancelled', async () => {
    h.twin.script = saysAndHangs('x')
    const answering = h.chat({ stream: true })
    await h.twin.called()
    await h.clock.advance(0)
    const answer = await post(`/mesh/v1/tasks/${h.twin.taskIds[0]!}/cancel`)
    expect(answer.json()).toMatchObject({ state: 'cancelled', tokens: 1 })
    expect(events((await answering).body).at(-1)).toMatchObject({ error: { code: 'client_closed' } })
  })

  it('are estimated before they are asked, by what the request says of itself', async () => {
    const body = {
      model: 'tiny',
      messages: [{ role: 'user', content: 'hi' }],
      max_tokens: 7,
      skein: { local_only: true },
    }
    const answer = await h.post('/mesh/v1/estimate', body)
    expect(answer.statusCode).toBe(200)
    expect(answer.json()).toMatchObject({
      ...{ object: 'estimate', model: 'tiny', verdict: 'starts' },
      place: { leave: 'too-big', cost: { expectedMicros: 12, maxMicros: 340 } },
    })
    expect(h.twin.estimated).toEqual([expect.objectContaining({ model: 'tiny', localOnly: true, maxTokens: 7 })])
    expect(h.twin.calls).toEqual([])
    expect((await h.post('/mesh/v1/estimate', { model: 'tiny' })).statusCode).toBe(400)
  })

  it('leave numbers behind', async () => {
    expect((await h.get('/mesh/v1/stats')).json()).toEqual(h.twin.stats())
  })

  it.each(['cordon', 'uncordon', 'drain'] as const)('leave a node by %s', async (directive) => {
    expect((await post(`/mesh/v1/nodes/desk-pc/${directive}`)).json()).toEqual({ ...TWIN_NODE, directive })
    expect(h.twin.directed).toEqual([['desk-pc', directive]])
    expect((await post(`/mesh/v1/nodes/nobody/${directive}`)).statusCode).toBe(404)
    expect((await h.get(`/mesh/v1/nodes/desk-pc/${directive}`)).headers['allow']).toBe('POST')
  })
})
