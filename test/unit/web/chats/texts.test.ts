import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { endsInput, type KeyPress } from '../../../../clients/web/chats/input.ts'
import { markedPieces } from '../../../../clients/web/chats/marked.ts'
import { titleOf } from '../../../../clients/web/chats/titles.ts'

test('a chat is called like the first line that says something', () => {
  expect(titleOf('\n\n## Plan for **May**\nmore')).toBe('Plan for **May**')
  expect(titleOf('', 'notes.txt')).toBe('notes.txt')
  expect(titleOf('> - quoted')).toBe('quoted')
  const long = titleOf('word '.repeat(40))
  expect(long.length).toBeLessThanOrEqual(61)
  expect(long).toMatch(/word…$/)
  expect(titleOf('a\u202eb')).toBe('ab')
})

test('a title is never long, and never half a character', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 400 }), (text) => {
      const title = titleOf(text)
      expect([...title].length).toBeLessThanOrEqual(61)
      expect(title.isWellFormed()).toBe(true)
      expect(title).not.toContain('\n')
    }),
    { numRuns: 50 },
  )
})

test('marks cut a text, and all pieces together are the text', () => {
  expect(markedPieces('a cat sat', [[2, 5]])).toEqual([
    { piece: 'a ', isMarked: false },
    { piece: 'cat', isMarked: true },
    { piece: ' sat', isMarked: false },
  ])
  const place = fc.integer({ min: -2, max: 30 })
  fc.assert(
    fc.property(fc.string({ maxLength: 20 }), fc.array(fc.tuple(place, place)), (text, marks) => {
      const pieces = markedPieces(text, marks)
      expect(pieces.map(({ piece }) => piece).join('')).toBe(text)
      expect(pieces.every(({ piece }) => piece !== '')).toBe(true)
    }),
  )
})

test('Enter sends, unless it makes a line or belongs to an input method', () => {
  const press = (more: Partial<KeyPress>): KeyPress => ({
    ...{ key: 'Enter', shiftKey: false, altKey: false, ctrlKey: false, metaKey: false },
    ...{ isComposing: false, keyCode: 13 },
    ...more,
  })
  expect(endsInput(press({}))).toBe(true)
  expect(endsInput(press({ ctrlKey: true }))).toBe(true)
  expect(endsInput(press({ shiftKey: true }))).toBe(false)
  expect(endsInput(press({ isComposing: true }))).toBe(false)
  expect(endsInput(press({ keyCode: 229 }))).toBe(false)
  expect(endsInput(press({ key: 'a' }))).toBe(false)
})
