/** A text cut at what is marked in it. */

export interface Piece {
  readonly piece: string
  readonly isMarked: boolean
}

/** All pieces together are `text`, whatever `marks` says: what lies outside, overlaps or runs backwards is passed over. */
export function markedPieces(text: string, marks: readonly (readonly [number, number])[]): Piece[] {
  const pieces: Piece[] = []
  let at = 0
  for (const [from, to] of marks) {
    if (!(from >= at && to > from && to <= text.length)) continue
    if (from > at) pieces.push({ piece: text.slice(at, from), isMarked: false })
    pieces.push({ piece: text.slice(from, to), isMarked: true })
    at = to
  }
  if (at < text.length) pieces.push({ piece: text.slice(at), isMarked: false })
  return pieces
}
