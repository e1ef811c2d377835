/** The number that an answer names, as a board's `atof` reads it. */

/** Sign, digits with marks between them, exponent. */
const NUMBER = /[-+−]?(?:\d[\d.,'’\u00a0\u202f]*\d|\d)(?:[eE][-+]?\d{1,3})?/u
/** Before a number with a sign there is no letter or digit: the `-` of `2024-11` is none. */
const WORD_BEFORE = /[\p{L}\p{N}]$/u

const WORDS: Readonly<Record<string, string>> = {
  ...{ zero: '0', one: '1', two: '2', three: '3', four: '4', five: '5', six: '6', seven: '7', eight: '8', nine: '9' },
  ...{ ten: '10', eleven: '11', twelve: '12' },
}

/**
 * The first number of `text` without its unit, with a point before its fraction; `undefined` when there is none. `1,5` is
 * one and a half. A comma before exactly three digits, with one to three and no leading zero before it, parts thousands, as
 * does a mark that comes more than once; where both marks come, the last is that of the fraction.
 */
export function firstNumber(text: string): string | undefined {
  const found = NUMBER.exec(text)
  if (found === null) return WORDS[/^[^\p{L}]*(\p{L}+)/u.exec(text)?.[1]?.toLowerCase() ?? '']
  const hasSign = /^[-+−]/.test(found[0]) && !WORD_BEFORE.test(text.slice(0, found.index))
  const sign = hasSign && !found[0].startsWith('+') ? '-' : ''
  const [digits, exponent] = found[0].replace(/^[-+−]/, '').split(/[eE]/) as [string, string | undefined]
  const plain =
    sign + plainDigits(digits.replace(/['’\u00a0\u202f]/g, '')) + (exponent === undefined ? '' : `e${exponent}`)
  const value = Number(plain)
  return Number.isFinite(value) ? plain : undefined
}

/** `digits` with marks as a number without thousands, with a point. */
function plainDigits(digits: string): string {
  const marks = [...digits.matchAll(/[.,]/g)]
  const last = marks.at(-1)
  if (last === undefined) return trimmed(digits)
  const isMixed = new Set(marks.map(([mark]) => mark)).size > 1
  const head = digits.slice(0, last.index)
  const tail = digits.slice(last.index + 1)
  const partsThousands =
    !isMixed && (marks.length > 1 || (last[0] === ',' && /^[1-9]\d{0,2}$/.test(head) && tail.length === 3))
  if (partsThousands) return trimmed(digits.replace(/[.,]/g, ''))
  return `${trimmed(head.replace(/[.,]/g, ''))}.${tail}`
}

const trimmed = (digits: string): string => digits.replace(/^0+(?=\d)/, '')

/** `number` in at most `bytesMax` bytes: digits of its fraction are rounded away; `undefined` when that is not enough. */
export function fitNumber(number: string, bytesMax: number): string | undefined {
  if (number.length <= bytesMax) return number
  const value = Number(number)
  for (let digits = Math.min(15, bytesMax); digits >= 0; digits--) {
    const text = value.toFixed(digits)
    if (text.length <= bytesMax) return text
  }
  return undefined
}
