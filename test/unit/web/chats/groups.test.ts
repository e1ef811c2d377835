import { expect, test } from 'vitest'
import { ageOf, foldersOf, groupRows, type Listed } from '../../../../clients/web/chats/groups.ts'

const NOW = new Date(2026, 2, 15, 0, 30).getTime()
const HOUR = 3_600_000

const chat = (id: string, hoursAgo: number, more: Partial<Listed> = {}): Listed => ({
  id,
  title: id,
  folder: '',
  isPinned: false,
  updatedAtMs: NOW - hoursAgo * HOUR,
  ...more,
})

test('days are those of the calendar', () => {
  expect(ageOf(NOW - 0.25 * HOUR, NOW)).toBe('today')
  expect(ageOf(NOW - HOUR, NOW)).toBe('yesterday')
  expect(ageOf(NOW - 25 * HOUR, NOW)).toBe('week')
  expect(ageOf(NOW - 8 * 24 * HOUR, NOW)).toBe('month')
  expect(ageOf(NOW - 40 * 24 * HOUR, NOW)).toBe('older')
  expect(ageOf(NOW + 48 * HOUR, NOW)).toBe('today')
})

test('pinned first, then folders by name, then days; the newest first in each', () => {
  const chats = [
    chat('old', 900),
    chat('new', 0.1),
    chat('pinned', 500, { isPinned: true, folder: 'work' }),
    chat('b1', 30, { folder: 'boat' }),
    chat('b2', 3, { folder: 'boat' }),
    chat('w', 1, { folder: 'work' }),
  ]
  const rows = groupRows(chats, { nowMs: NOW, closed: new Set() })
  expect(rows.map(({ key }) => key)).toEqual([
    ...['heading pinned', 'pinned'],
    ...['heading folder boat', 'b2', 'b1'],
    ...['heading folder work', 'w'],
    ...['heading today', 'new'],
    ...['heading older', 'old'],
  ])
  expect(foldersOf(chats)).toEqual(['boat', 'work'])
})

test('a folder that is closed keeps its heading, with what is in it counted', () => {
  const rows = groupRows([chat('a', 1, { folder: 'f' }), chat('b', 2, { folder: 'f' })], {
    nowMs: NOW,
    closed: new Set(['f']),
  })
  expect(rows).toEqual([
    { type: 'heading', key: 'heading folder f', heading: { kind: 'folder', name: 'f', count: 2, isOpen: false } },
  ])
})

test('keys are unique, also when a folder is called like a day', () => {
  const rows = groupRows([chat('a', 0.1, { folder: 'today' }), chat('b', 0.1), chat('c', 1, { folder: 'pinned' })], {
    nowMs: NOW,
    closed: new Set(),
  })
  expect(new Set(rows.map(({ key }) => key)).size).toBe(rows.length)
})
