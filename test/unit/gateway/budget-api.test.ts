/** Budgets over the mesh API: who may see and set them, and what is refused before it gets anywhere. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createHarness, type Harness } from './harness.ts'

const OWNER = 'sk-test'
const bearer = (key: string) => ({ authorization: `Bearer ${key}` })

let h: Harness
beforeEach(() => {
  h = createHarness({ apiKey: OWNER })
})
afterEach(() => h.gateway.stop())

const put = (payload: object | string, key = OWNER) =>
  h.gateway.app.inject({
    ...{ method: 'PUT', url: '/mesh/v1/budget' },
    headers: { ...bearer(key), 'content-type': 'application/json' },
    payload: typeof payload === 'string' ? payload : JSON.stringify(payload),
  })
const keyOf = async (name: string, routes: string[]): Promise<{ id: string; secret: string }> =>
  (await h.post('/mesh/v1/keys', { name, routes }, bearer(OWNER))).json()

describe('the budget', () => {
  it("is the admin's to see and to set", async () => {
    const { secret } = await keyOf('mesh', ['inference', 'mesh'])
    expect((await h.get('/mesh/v1/budget', bearer(secret))).statusCode).toBe(403)
    expect((await put({ day_micros: 1 }, secret)).statusCode).toBe(403)
    expect(h.twin.budgetChanges).toEqual([])
    const answer = await h.get('/mesh/v1/budget', bearer(OWNER))
    expect(answer.json()).toMatchObject({ object: 'budget', atLimit: 'refuse', periods: [{ period: 'day' }, {}] })
  })

  it('is changed by what is named alone, for all or for a key by name or id, with who asked', async () => {
    const { id } = await keyOf('phone', ['inference'])
    await put({ day_micros: 5_000_000, at_limit: 'wait' })
    await put({ month_micros: 'none', local_model: 'tiny' })
    const named = await put({ key: 'phone', day_micros: 0 })
    await put({ key: id, at_limit: 'none', day_micros: null })
    await put({ key: 'jwt:house:abc', month_micros: 1 })
    const by = expect.stringMatching(/^key:[0-9a-f]{12}$/) as string
    expect(h.twin.budgetChanges).toEqual([
      { by, change: { dayMicros: 5_000_000, atLimit: 'wait' } },
      { by, change: { monthMicros: null, localModel: 'tiny' } },
      { by, change: { tenant: id, dayMicros: 0 } },
      { by, change: { tenant: id, atLimit: null } },
      { by, change: { tenant: 'jwt:house:abc', monthMicros: 1 } },
    ])
    expect(named.json().tenants).toMatchObject([{ tenant: id, name: 'phone' }])
  })

  it.each([
    ['nothing', {}],
    ['no change', { key: 'local' }],
    ['null, which is as good as absent', { day_micros: null }],
    ['a misspelt member', { day: 5 }],
    ['a negative limit', { day_micros: -1 }],
    ['a fraction', { day_micros: 0.5 }],
    ['more than whole numbers hold', { month_micros: 1e16 }],
    ['a text', { day_micros: '5' }],
    ['another text', { day_micros: 'nothing' }],
    ['another choice', { at_limit: 'spend' }],
    ['an empty model', { local_model: '' }],
    ['no object', '[]'],
  ])('takes no body with %s', async (_, body) => {
    const answer = await put(body)
    expect(answer.statusCode).toBe(400)
    expect(h.twin.budgetChanges).toEqual([])
  })

  it('is not set for nobody', async () => {
    const { id } = await keyOf('old', ['inference'])
    await h.gateway.app.inject({ method: 'DELETE', url: `/mesh/v1/keys/${id}`, headers: bearer(OWNER) })
    for (const key of ['old', 'none', 'key:0000']) expect((await put({ key, day_micros: 1 })).statusCode).toBe(404)
    // what a key that is gone has left can be taken away
    expect((await put({ key: id, day_micros: 'none' })).statusCode).toBe(200)
  })
})
