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
