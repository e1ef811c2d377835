import type { ComponentChildren, Key } from 'preact'
import { useMemo, useState } from 'preact/hooks'
import { Icon } from './Icon.tsx'
import { moveFocus } from './Menu.tsx'

export interface Column<R> {
  readonly id: string
  readonly label: string
  readonly cell: (row: R) => ComponentChildren
  /** By what the column is sorted; it is not when absent. */
  readonly sortBy?: (row: R) => number | string
  /** To the right, in figures of one width. */
  readonly isNumeric?: boolean
  /** Not shown on a phone. */
  readonly isWide?: boolean
}

export interface TableSort {
  readonly column: string
  readonly isDescending: boolean
}

export interface TableProps<R> {
  /** What it is a table of, for readers of screens. */
  readonly label: string
  readonly columns: readonly Column<R>[]
  readonly rows: readonly R[]
  readonly rowKey: (row: R) => Key
  /** Where a row leads: its first cell is the link, and the whole row can be pressed. */
  readonly rowHref?: (row: R) => string
  readonly firstSort?: TableSort
  /** Instead of rows, where there are none. */
  readonly empty?: ComponentChildren
}

/** Rows of columns, sorted by a press on a heading. The arrows go from row to row where rows are links. */
export function Table<R>({ label, columns, rows, rowKey, rowHref, firstSort, empty }: TableProps<R>) {
  const [sort, setSort] = useState(firstSort)
  const sorted = useMemo(() => sortRows(rows, columns, sort), [rows, columns, sort])
  if (rows.length === 0 && empty !== undefined) return <>{empty}</>
  const onKeyDown = (event: KeyboardEvent & { currentTarget: HTMLElement }): void => {
    if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return
    const links = [...event.currentTarget.querySelectorAll<HTMLElement>('.ui-table-link')]
    if (links.includes(document.activeElement as HTMLElement) && moveFocus(links, event.key)) event.preventDefault()
  }
  return (
    <div class="ui-table-scroll" role="region" aria-label={label} tabIndex={0}>
      <table class="ui-table">
        <thead>
          <tr>
            {columns.map((column) => (
              <Heading key={column.id} column={column} sort={sort} onSort={setSort} />
            ))}
          </tr>
        </thead>
        <tbody onKeyDown={onKeyDown}>
          {sorted.map((row) => (
            <Row key={rowKey(row)} row={row} columns={columns} href={rowHref?.(row)} />
          ))}
        </tbody>
      </table>
    </div>
  )
}

const classesOf = <R,>(column: Column<R>): string =>
  [column.isNumeric === true && 'ui-table-numeric', column.isWide === true && 'ui-table-wide'].filter(Boolean).join(' ')

interface RowProps<R> {
  readonly row: R
  readonly columns: readonly Column<R>[]
  readonly href: string | undefined
}

function Row<R>({ row, columns, href }: RowProps<R>) {
  return (
    <tr class={href === undefined ? '' : 'ui-table-linked'}>
      {columns.map((column, index) => (
        <td key={column.id} class={classesOf(column)}>
          {index === 0 && href !== undefined ? (
            <a class="ui-table-link" href={href}>
              {column.cell(row)}
            </a>
          ) : (
            column.cell(row)
          )}
        </td>
      ))}
    </tr>
  )
}

interface HeadingProps<R> {
  readonly column: Column<R>
  readonly sort: TableSort | undefined
  readonly onSort: (sort: TableSort) => void
}

function Heading<R>({ column, sort, onSort }: HeadingProps<R>) {
  const isSorted = sort?.column === column.id
  const isDescending = isSorted && sort.isDescending
  const direction = isDescending ? 'descending' : 'ascending'
  return (
    <th scope="col" class={classesOf(column)} aria-sort={isSorted ? direction : undefined}>
      {column.sortBy === undefined ? (
        column.label
      ) : (
        <button
          type="button"
          class="ui-table-sort"
          // numbers are looked at from the largest on
          onClick={() =>
            onSort({ column: column.id, isDescending: isSorted ? !isDescending : column.isNumeric === true })
          }
        >
          {column.label}
          {isSorted && <Icon name={isDescending ? 'arrowDown' : 'arrowUp'} size={13} />}
        </button>
      )}
    </th>
  )
}

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' })

/** In the order of `sort`; rows that are equal stay as they came. */
export function sortRows<R>(
  rows: readonly R[],
  columns: readonly Column<R>[],
  sort: TableSort | undefined,
): readonly R[] {
  const by = columns.find((column) => column.id === sort?.column)?.sortBy
  if (sort === undefined || by === undefined) return rows
  const sign = sort.isDescending ? -1 : 1
  const compare = (a: number | string, b: number | string): number =>
    typeof a === 'number' && typeof b === 'number' ? a - b : collator.compare(String(a), String(b))
  return [...rows].sort((a, b) => sign * compare(by(a), by(b)))
}
