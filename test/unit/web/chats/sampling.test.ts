import { expect, test } from 'vitest'
import { parseField } from '../../../../clients/web/chats/sampling.ts'

test('numbers in either notation, and nothing for the default', () => {
  expect(parseField('temperature', ' 0,7 ')).toEqual({ value: 0.7 })
  expect(parseField('temperature', '0')).toEqual({ value: 0 })
  expect(parseField('topP', '')).toEqual({ value: undefined })
  expect(parseField('seed', '4294967295')).toEqual({ value: 4_294_967_295 })
})

test('what the gateway would refuse is refused here', () => {
  expect(parseField('temperature', 'warm')).toEqual({ problem: 'no-number' })
  expect(parseField('temperature', '2.1')).toEqual({ problem: 'out-of-bounds' })
  expect(parseField('topP', '-0.1')).toEqual({ problem: 'out-of-bounds' })
  expect(parseField('maxTokens', '0')).toEqual({ problem: 'out-of-bounds' })
  expect(parseField('maxTokens', '1.5')).toEqual({ problem: 'no-number' })
  expect(parseField('seed', '1e999')).toEqual({ problem: 'no-number' })
})
