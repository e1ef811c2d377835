/** What components make of numbers. */
import { describe, expect, it } from 'vitest'
import { sparkPath } from '../../../../clients/web/ui/Figures.tsx'
import { sortRows, type Column } from '../../../../clients/web/ui/Table.tsx'

describe('a sparkline', () => {
  const size = { width: 102, height: 12 }

  it('goes from edge to edge, the largest on top', () => {
    expect(sparkPath([0, 10, 5], size)).toBe('M1.0 11.0L51.0 1.0L101.0 6.0')
  })

  it('of one level is in the middle, of one value or none nothing', () => {
    expect(sparkPath([3, 3], size)).toBe('M1.0 6.0L101.0 6.0')
    expect(sparkPath([3], size)).toBe('')
    expect(sparkPath([Number.NaN, Infinity], size)).toBe('')
  })

  it('keeps to a scale that is given', () => {
    expect(sparkPath([50, 200], { ...size, min: 0, max: 100 })).toBe('M1.0 6.0L101.0 1.0')
  })
})

describe('a table', () => {
  interface Row {
    readonly name: string
    readonly size: number
  }
  const columns: Column<Row>[] = [
    { id: 'name', label: 'Name', cell: ({ name }) => name, sortBy: ({ name }) => name },
    { id: 'size', label: 'Size', cell: ({ size }) => size, sortBy: ({ size }) => size, isNumeric: true },
    { id: 'fixed', label: 'Fixed', cell: () => '' },
  ]
  const rows = [
    { name: 'node 10', size: 2 },
    { name: 'Node 9', size: 2 },
    { name: 'alpha', size: 30 },
  ]
  const names = (column: string, isDescending: boolean) =>
    sortRows(rows, columns, { column, isDescending }).map(({ name }) => name)

  it('is sorted as people count, and keeps the order of equals', () => {
    expect(names('name', false)).toEqual(['alpha', 'Node 9', 'node 10'])
    expect(names('size', true)).toEqual(['alpha', 'node 10', 'Node 9'])
    expect(names('fixed', true)).toEqual(rows.map(({ name }) => name))
    expect(sortRows(rows, columns, undefined)).toBe(rows)
  })
})
