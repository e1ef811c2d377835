/** What an answer that left the owner's nodes says of its reason and its cost, before and after. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { TaskEvent } from '../../../coordinator/admission/index.ts'
import { end, says, started, tokens } from '../../fixtures/mesh-service-twin.ts'
import { CHAT, createHarness, type Harness } from './harness.ts'

const left: TaskEvent = {
  ...(started(1, 'rented', 'cloud') as Extract<TaskEvent, { type: 'started' }>),
  left: { reason: 'deadline', estimateMicros: 1234 },
}
const receipt = { reason: 'deadline', costMicros: 321 } as const

let h: Harness
beforeEach(() => {
  h = createHarness()
  h.twin.script = async function* () {
    yield left
    yield tokens(0, 'Hello')
    yield { ...(end() as Extract<TaskEvent, { type: 'end' }>), receipt }
  }
})
afterEach(() => h.gateway.stop())

const ask = (extra: object = {}) => h.post('/v1/chat/completions', { ...CHAT, ...extra })
const SKEIN = { route: 'cloud', reason: 'deadline', cost: 0.000321 }

describe('an answer of the cloud', () => {
  it('says in headers and in its body why and for how much', async () => {
    const answer = await ask()
    expect(answer.headers).toMatchObject({
      'x-skein-route': 'cloud',
      'x-skein-cloud-reason': 'deadline',
      'x-skein-cost-estimate': '0.001234',
      'x-skein-cost': '0.000321',
    })
    expect(answer.json().skein).toEqual(SKEIN)
  })

  it('of several choices has one cost', async () => {
    const { headers } = await ask({ n: 2 })
    expect(headers).toMatchObject({ 'x-skein-cost': '0.000642' })
  })

  it('that is streamed says what is expected in its headers, and the rest before its end', async () => {
    const answer = await ask({ stream: true, stream_options: { include_usage: true } })
    expect(answer.headers).toMatchObject({ 'x-skein-cloud-reason': 'deadline', 'x-skein-cost-estimate': '0.001234' })
    expect(answer.headers).not.toHaveProperty('x-skein-cost')
    const cost = answer.body.indexOf(': cost 0.000321')
    expect(cost).toBeGreaterThan(answer.body.indexOf('Hello'))
    expect(cost).toBeLessThan(answer.body.indexOf('[DONE]'))
    const last = answer.body.split('\n').findLast((line) => line.startsWith('data: {'))!
    expect(JSON.parse(last.slice('data: '.length))).toMatchObject({ usage: {}, skein: SKEIN })
  })
})

it("an answer of the owner's says nothing of the kind", async () => {
  h.twin.script = says('Hello')
  const { headers, body } = await ask()
  expect(Object.keys(headers).join()).not.toMatch(/cost|reason/)
  expect(body).not.toContain('skein')
})
