/** What the echo engine takes for tokens. */

/** Longest piece in code points: long words come in several tokens, so that stop strings cross their borders. */
const PIECE_LENGTH_MAX = 8

/** Words with the space behind them, cut to pieces. */
export function piecesOf(text: string): string[] {
  return (text.match(/\s*\S+\s*|\s+/gu) ?? []).flatMap((word) => {
    const points = [...word]
    const cuts = Math.ceil(points.length / PIECE_LENGTH_MAX)
    return Array.from({ length: cuts }, (_, i) =>
      points.slice(i * PIECE_LENGTH_MAX, (i + 1) * PIECE_LENGTH_MAX).join(''),
    )
  })
}

/** Where an echo is that has said this much: its tokens up to there, and the code units of a piece that was begun. */
export function echoed(
  pieces: readonly string[],
  said: string,
): { readonly ids: readonly number[]; readonly again: number } {
  const ids: number[] = []
  let left = said.length
  for (;;) {
    const id = ids.length % pieces.length
    const { length } = pieces[id]!
    if (length > left) return { ids, again: left }
    ids.push(id)
    left -= length
  }
}
