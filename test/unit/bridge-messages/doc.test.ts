/** docs/DEVICE-PROTOCOL.md has the messages and errors that there are, no more and no fewer. */
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { COMPACT_ERRORS, KINDS } from '../../../firmware-bridge/messages/index.ts'

const page = readFileSync(new URL('../../../docs/DEVICE-PROTOCOL.md', import.meta.url), 'utf8')
/** Rows of the tables whose first cell is like `pattern`, without the marks of code. */
const rows = (pattern: RegExp): string[][] =>
  page
    .split('\n')
    .map((line) => line.split('|').map((cell) => cell.replaceAll('`', '').trim()))
    .map((cells) => cells.slice(1, -1))
    .filter((cells) => pattern.test(cells[0] ?? ''))

it('has every message with its fields in order', () => {
  const told = rows(/^[a-z]+$/).filter(([, type]) => type?.startsWith('0x'))
  const known = KINDS.map(({ kind, type, direction, fields }) => [
    kind,
    `0x${type.toString(16).padStart(2, '0')}`,
    direction,
    fields.map(({ key, isRequired }) => (isRequired ? key : `${key}?`)).join(', '),
  ])
  expect(told).toEqual(known)
})

it('has every compact error with its number', () => {
  const told = rows(/^\d+$/).map(([number, error]) => [Number(number), error])
  expect(told).toEqual(COMPACT_ERRORS.map((error, at) => [at + 1, error]))
})
