import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { explanationOf } from '../../../../clients/web/chats/explanation.ts'

test('each attempt with its place, why it was there, and who was passed over', () => {
  const explanation = explanationOf({
    ...{ taskId: 'task_1', model: 'm', localOnly: true },
    attempts: [
      {
        ...{
          node: { peerId: 'p1', name: 'desk-pc' },
          route: 'mesh',
          reason: 'first',
          from: 0,
          to: 12,
          outcome: 'lost',
        },
        predicted: { totalMs: 900 },
        observed: { firstTokenMs: 40 },
        candidates: [
          { peerId: 'p1', name: 'desk-pc', prediction: { totalMs: 900 } },
          { peerId: 'p2', name: 'lap', prediction: { totalMs: 1500 } },
          { peerId: 'p3', name: 'pi', rejected: 'too little memory' },
        ],
      },
      { node: { peerId: 'p2', name: 'lap' }, route: 'local', reason: 'lost', from: 12, candidates: [] },
    ],
  })
  expect(explanation.places[0]).toEqual({
    ...{ node: 'desk-pc', route: 'mesh', reason: 'first', leave: undefined, from: 0, to: 12, outcome: 'lost' },
    ...{ predictedMs: 900, firstTokenMs: 40 },
    others: [
      { node: 'lap', laterMs: 600, rejected: undefined },
      { node: 'pi', laterMs: undefined, rejected: 'too little memory' },
    ],
  })
  expect(explanation.places[1]).toMatchObject({ node: 'lap', reason: 'lost', from: 12, to: undefined, others: [] })
  expect(explanation.localOnly).toBe(true)
})

test('whatever the gateway answers, it is read without an error and within bounds', () => {
  fc.assert(
    fc.property(fc.anything(), (body) => {
      expect(explanationOf(body).places.length).toBeLessThanOrEqual(50)
      expect(explanationOf({ attempts: [body], node: body }).places.length).toBeLessThanOrEqual(50)
    }),
  )
  expect(explanationOf({ attempts: Array.from({ length: 500 }, () => ({})) }).places).toHaveLength(50)
})
