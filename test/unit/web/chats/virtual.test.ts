import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { rowsOf, scrollTo, sliceOf } from '../../../../clients/web/chats/virtual.ts'

const heights = fc.array(fc.integer({ min: 1, max: 80 }), { minLength: 1, maxLength: 300 })

test('every row that can be seen is drawn, and few others', () => {
  fc.assert(
    fc.property(
      heights,
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.integer({ min: 1, max: 900 }),
      (list, at, view) => {
        const rows = rowsOf(list)
        const top = at * rows.heightPx
        const { from, to } = sliceOf(rows, top, view, 3)
        const seen = list.map((_, row) => rows.tops[row]! < top + view && rows.tops[row + 1]! > top)
        const first = seen.indexOf(true)
        const last = seen.lastIndexOf(true)
        for (let row = 0; row < list.length; row++) if (seen[row]) expect(row >= from && row < to).toBe(true)
        if (first >= 0) expect(to - from).toBeLessThanOrEqual(last - first + 1 + 3 + 4)
      },
    ),
  )
})

test('a list without rows has none to draw', () => {
  expect(sliceOf(rowsOf([]), 0, 500, 5)).toEqual({ from: 0, to: 0 })
})

test('scrolling to a row brings it into view, and moves nothing that is in view', () => {
  const rows = rowsOf([30, 30, 30, 30, 30])
  expect(scrollTo(rows, 0, 45, 60)).toBe(0)
  expect(scrollTo(rows, 2, 45, 60)).toBe(45)
  expect(scrollTo(rows, 4, 45, 60)).toBe(90)
  expect(scrollTo(rows, 9, 45, 60)).toBe(45)
})
