/** What a chat is called until somebody names it: how its first message begins. */

const TITLE_MAX = 60
export const TITLE_LIMIT = 200
const CONTROLS = /[\p{Cc}\p{Cf}]/gu

/** Of the first line that says something; `fallback` where there is none. */
export function titleOf(text: string, fallback = ''): string {
  const line = text
    .split('\n')
    .map((each) =>
      each
        .replace(CONTROLS, '')
        .replace(/^[#>*\s-]+/, '')
        .trim(),
    )
    .find((each) => each !== '')
  return shortened(line ?? fallback)
}

/** Cut between words where there is one to cut at. */
function shortened(line: string): string {
  const letters = [...line]
  if (letters.length <= TITLE_MAX) return line
  const head = letters.slice(0, TITLE_MAX).join('')
  const space = head.lastIndexOf(' ')
  return `${space > TITLE_MAX / 2 ? head.slice(0, space) : head}…`
}
