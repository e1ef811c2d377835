/** Sets of byte ranges, each `start` inclusive to `end` exclusive: what of a file is there, and what is not. */

export interface ByteRange {
  readonly start: number
  readonly end: number
}

/** Disjoint ranges in ascending order; ranges that touch are one. */
export class RangeSet {
  #ranges: ByteRange[] = []

  constructor(ranges: Iterable<ByteRange> = []) {
    for (const range of ranges) this.add(range)
  }

  get ranges(): readonly ByteRange[] {
    return this.#ranges
  }

  get bytes(): number {
    return this.#ranges.reduce((sum, { start, end }) => sum + end - start, 0)
  }

  /** End of the range that begins at byte 0; 0 when none does. */
  get prefixEnd(): number {
    const [first] = this.#ranges
    return first?.start === 0 ? first.end : 0
  }

  add(range: ByteRange): void {
    if (range.start >= range.end) return
    let { start, end } = range
    const before: ByteRange[] = []
    const after: ByteRange[] = []
    for (const each of this.#ranges) {
      if (each.end < start) before.push(each)
      else if (each.start > end) after.push(each)
      else {
        start = Math.min(start, each.start)
        end = Math.max(end, each.end)
      }
    }
    this.#ranges = [...before, { start, end }, ...after]
  }

  /** What is missing of a file of `sizeBytes`, in ascending order. */
  gaps(sizeBytes: number): ByteRange[] {
    const gaps: ByteRange[] = []
    let start = 0
    for (const range of this.#ranges) {
      if (range.start > start) gaps.push({ start, end: range.start })
      start = range.end
    }
    if (start < sizeBytes) gaps.push({ start, end: sizeBytes })
    return gaps
  }
}
