/** Which rows of a long list are drawn: those in view, and some beyond. */

export interface Rows {
  /** Where each row begins, in px from the top of the list; one more than there are rows. */
  readonly tops: readonly number[]
  readonly heightPx: number
}

export interface Slice {
  /** The first row that is drawn. */
  readonly from: number
  /** The first that is not any more. */
  readonly to: number
}

export function rowsOf(heightsPx: readonly number[]): Rows {
  const tops = [0]
  for (const height of heightsPx) tops.push(tops.at(-1)! + height)
  return { tops, heightPx: tops.at(-1)! }
}

/** Rows that show between `topPx` and `topPx + viewPx`, and `beyond` on either side. */
export function sliceOf({ tops }: Rows, topPx: number, viewPx: number, beyond: number): Slice {
  const count = tops.length - 1
  const first = rowAt(tops, topPx)
  const last = rowAt(tops, topPx + Math.max(0, viewPx))
  return { from: Math.max(0, first - beyond), to: Math.min(count, last + 1 + beyond) }
}

/** How far to scroll so that a row is in view; `topPx` where it is already. */
export function scrollTo({ tops }: Rows, row: number, topPx: number, viewPx: number): number {
  const start = tops[row]
  const end = tops[row + 1]
  if (start === undefined || end === undefined) return topPx
  if (start < topPx) return start
  return end > topPx + viewPx ? end - viewPx : topPx
}

/** The row at a place: the last one that begins at or above it. */
function rowAt(tops: readonly number[], px: number): number {
  let low = 0
  let high = Math.max(0, tops.length - 2)
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if (tops[middle]! <= px) low = middle
    else high = middle - 1
  }
  return low
}
