/** Amounts are in the currency of the mesh, once its coordinator has said which that is. */
import { signal } from '@preact/signals'
import { beforeEach, expect, it, onTestFinished } from 'vitest'
import type { ConnectionState } from '../../../../clients/web/app/connection.ts'
import { followCurrency } from '../../../../clients/web/app/currency.ts'
import { currency, format } from '../../../../clients/web/words/index.ts'
import { SkeinApiError } from '../../../../clients/sdk/index.ts'
import { PlayedStore, settle } from './played.ts'

beforeEach(() => {
  currency.value = undefined
})

function followed(kept: PlayedStore, self: () => Promise<unknown>) {
  const state = signal<ConnectionState>('unknown')
  const asked: string[] = []
  const get = <T>(path: string): Promise<T> => {
    asked.push(path)
    return self() as Promise<T>
  }
  onTestFinished(followCurrency({ state, get }, kept))
  return { state, asked }
}

it('is asked for when the coordinator is there, and kept for when it is not', async () => {
  const kept = new PlayedStore()
  const { state, asked } = followed(kept, () => Promise.resolve({ currency: 'EUR' }))
  expect(asked).toEqual([])
  expect(format.amount(2_500_000)).toBe('2.50')
  state.value = 'online'
  await settle()
  expect(asked).toEqual(['/mesh/v1/self'])
  expect(format.amount(2_500_000)).toBe('€2.50')
  expect(format.amount(58)).toBe('<\u00a0€0.0001')
  expect(format.amount(580)).toBe('€0.00058')

  currency.value = undefined
  followed(kept, () => Promise.reject(new TypeError('away')))
  expect(format.amount(2_500_000)).toBe('€2.50')
})

it.each([
  ['what is no code', () => Promise.resolve({ currency: '<b>' })],
  ['a mesh that prices nothing', () => Promise.resolve({})],
  ['no object', () => Promise.resolve(undefined)],
  ['a key that may not ask', () => Promise.reject(new SkeinApiError('no', { code: 'forbidden', status: 403 }))],
])('stays unsaid after %s', async (_, self) => {
  const { state } = followed(new PlayedStore(), self)
  state.value = 'online'
  await settle()
  expect(currency.value).toBeUndefined()
  expect(format.amount(0)).toBe('0.00')
})
