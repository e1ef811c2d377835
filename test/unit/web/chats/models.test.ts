import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { fillsContext, firstChoice, isAtHome, modelChoices } from '../../../../clients/web/chats/models.ts'

const model = (id: string, features: string[], parameters = 1) => ({
  ...{ id, digest: `sha256:${id}`, features, parameters, sizeBytes: 10, contextTokens: 2048 },
})
const node = (name: string, tier: string, models: Record<string, string>) => ({
  ...{ name, tier },
  models: Object.entries(models).map(([id, residency]) => ({ digest: `sha256:${id}`, residency })),
})

test('models that chat, with where each lies; what is in memory first', () => {
  const choices = modelChoices(
    {
      data: [
        model('far', ['chat'], 70),
        model('vectors', ['embed']),
        model('cold', ['chat', 'thinking'], 9),
        model('warm', ['chat', 'tools'], 3),
      ],
    },
    {
      data: [
        node('desk-pc', 'edge', { warm: 'resident', cold: 'disk', vectors: 'resident' }),
        node('lap', 'edge', { warm: 'disk', cold: 'disk' }),
        node('rented', 'cloud', { far: 'resident', warm: 'resident' }),
      ],
    },
  )
  expect(choices.map(({ id, inMemory, onDisk, cloud }) => ({ id, inMemory, onDisk, cloud }))).toEqual([
    { id: 'warm', inMemory: ['desk-pc'], onDisk: ['lap'], cloud: ['rented'] },
    { id: 'cold', inMemory: [], onDisk: ['desk-pc', 'lap'], cloud: [] },
    { id: 'far', inMemory: [], onDisk: [], cloud: ['rented'] },
  ])
  expect(choices.map(isAtHome)).toEqual([true, true, false])
  expect(choices[0]).toMatchObject({ canCallTools: true, canThink: false })
  expect(choices[1]).toMatchObject({ canCallTools: false, canThink: true })
})

test('a new chat takes the model that was used last, while it is there', () => {
  const choices = modelChoices(
    { data: [model('a', ['chat']), model('b', ['chat'])] },
    { data: [node('n', 'edge', { a: 'resident', b: 'disk' })] },
  )
  expect(firstChoice(choices, undefined)).toBe('a')
  expect(firstChoice(choices, 'b')).toBe('b')
  expect(firstChoice(choices, 'gone')).toBe('a')
  expect(firstChoice([], 'b')).toBeUndefined()
})

test('whatever the gateway answers, it is read without an error', () => {
  fc.assert(
    fc.property(fc.anything(), fc.anything(), (models, nodes) => {
      expect(Array.isArray(modelChoices(models, nodes))).toBe(true)
      expect(Array.isArray(modelChoices({ data: [models] }, { data: [nodes] }))).toBe(true)
    }),
  )
})

test('knows when an answer has filled its context, where that is known', () => {
  expect(fillsContext({ promptTokens: 12, completionTokens: 500 }, 512)).toBe(true)
  expect(fillsContext({ promptTokens: 12, completionTokens: 100 }, 512)).toBe(false)
  expect(fillsContext({ promptTokens: 12, completionTokens: 500 }, undefined)).toBe(false)
  expect(fillsContext({}, 512)).toBe(false)
})
