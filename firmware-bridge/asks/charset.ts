/**
 * Text in the characters that a board can show. What it lacks is written with what it has: accents go, quotes, dashes and
 * symbols have a form of their own, Greek and Cyrillic letters are transliterated. What has no form is `?`, except for
 * pictures, which are left out. A function of each grapheme alone, so that text can be fitted as it comes.
 */

/** `latin1` is ISO 8859-1 without its control characters, which boards have for umlauts; all have the line feed. */
export type Charset = 'ascii' | 'latin1' | 'utf8'

const SYMBOLS: Readonly<Record<string, string>> = {
  '‘': "'",
  '’': "'",
  '‚': "'",
  '‛': "'",
  '′': "'",
  '“': '"',
  '”': '"',
  '„': '"',
  '‟': '"',
  '″': '"',
  '«': '"',
  '»': '"',
  '‹': "'",
  '›': "'",
  '‐': '-',
  '‑': '-',
  '‒': '-',
  '–': '-',
  '—': '-',
  '―': '-',
  '−': '-',
  '…': '...',
  '•': '*',
  '·': '*',
  '‣': '*',
  '¡': '!',
  '¿': '?',
  '°': 'deg',
  '€': 'EUR',
  '£': 'GBP',
  '¥': 'JPY',
  '¢': 'ct',
  '©': '(c)',
  '®': '(R)',
  '™': '(TM)',
  '§': 'S.',
  '¶': 'P.',
  '×': 'x',
  '÷': '/',
  '±': '+/-',
  '≤': '<=',
  '≥': '>=',
  '≠': '!=',
  '≈': '~',
  '←': '<-',
  '→': '->',
  '↑': '^',
  '↓': 'v',
  '⇒': '=>',
  '∞': 'inf',
  '√': 'sqrt',
  '½': '1/2',
  '¼': '1/4',
  '¾': '3/4',
  '¬': 'not ',
  '¦': '|',
  '✓': 'ok',
  '✔': 'ok',
  '✗': 'x',
  '✘': 'x',
}

const LETTERS: Readonly<Record<string, string>> = {
  ...{ ß: 'ss', ẞ: 'SS', æ: 'ae', Æ: 'AE', œ: 'oe', Œ: 'OE', ø: 'o', Ø: 'O', ð: 'd', Ð: 'D', þ: 'th', Þ: 'Th' },
  ...{ ł: 'l', Ł: 'L', đ: 'd', Đ: 'D', ħ: 'h', Ħ: 'H', ı: 'i', ŋ: 'ng', Ŋ: 'Ng', ª: 'a', º: 'o', Ω: 'Ohm' },
  ...{
    µ: 'u',
    μ: 'u',
    α: 'a',
    β: 'b',
    γ: 'g',
    δ: 'd',
    ε: 'e',
    ζ: 'z',
    η: 'i',
    θ: 'th',
    ι: 'i',
    κ: 'k',
    λ: 'l',
    ν: 'n',
  },
  ...{ ξ: 'x', ο: 'o', π: 'pi', ρ: 'r', σ: 's', ς: 's', τ: 't', υ: 'y', φ: 'f', χ: 'ch', ψ: 'ps', ω: 'o' },
  ...{ Α: 'A', Β: 'B', Γ: 'G', Δ: 'D', Ε: 'E', Ζ: 'Z', Η: 'I', Θ: 'Th', Ι: 'I', Κ: 'K', Λ: 'L', Μ: 'M', Ν: 'N' },
  ...{ Ξ: 'X', Ο: 'O', Π: 'P', Ρ: 'R', Σ: 'S', Τ: 'T', Υ: 'Y', Φ: 'F', Χ: 'Ch', Ψ: 'Ps' },
  ...{
    а: 'a',
    б: 'b',
    в: 'v',
    г: 'g',
    д: 'd',
    е: 'e',
    ж: 'zh',
    з: 'z',
    и: 'i',
    к: 'k',
    л: 'l',
    м: 'm',
    н: 'n',
    о: 'o',
  },
  ...{ п: 'p', р: 'r', с: 's', т: 't', у: 'u', ф: 'f', х: 'kh', ц: 'ts', ч: 'ch', ш: 'sh', щ: 'shch', ъ: '', ы: 'y' },
  ...{ ь: '', э: 'e', ю: 'yu', я: 'ya', і: 'i', є: 'ye', ґ: 'g' },
  ...{
    А: 'A',
    Б: 'B',
    В: 'V',
    Г: 'G',
    Д: 'D',
    Е: 'E',
    Ж: 'Zh',
    З: 'Z',
    И: 'I',
    К: 'K',
    Л: 'L',
    М: 'M',
    Н: 'N',
    О: 'O',
  },
  ...{ П: 'P', Р: 'R', С: 'S', Т: 'T', У: 'U', Ф: 'F', Х: 'Kh', Ц: 'Ts', Ч: 'Ch', Ш: 'Sh', Щ: 'Shch', Ъ: '', Ы: 'Y' },
  ...{ Ь: '', Э: 'E', Ю: 'Yu', Я: 'Ya', І: 'I', Є: 'Ye', Ґ: 'G' },
}

const isAscii = (code: number): boolean => (code >= 0x20 && code <= 0x7e) || code === 0x0a
const isLatin1 = (code: number): boolean => isAscii(code) || (code >= 0xa0 && code <= 0xff && code !== 0xad)
/** What no board shows: control characters, marks of direction, halves of pairs, what Unicode leaves to others. */
const UNSEEN = /[\p{Cc}\p{Cs}\p{Co}\p{Cn}\p{Cf}]/u
const MARK = /\p{M}/u
const PICTURE = /\p{Extended_Pictographic}|\p{Regional_Indicator}|\p{Emoji_Modifier}/u
const SPACE = /[\p{Zs}\p{Zl}\p{Zp}\t]/u
/** Joins pictures, and belongs to the letters of some scripts. */
const JOINERS = '\u200c\u200d'

const graphemes = new Intl.Segmenter('und', { granularity: 'grapheme' })

/** What a reader takes for one character, each. */
export function* graphemesOf(text: string): Generator<string, void, undefined> {
  for (const { segment } of graphemes.segment(text)) yield segment
}

/** Code points of one grapheme that are kept: what has more is made to break screens. */
const GRAPHEME_POINTS_MAX = 16

/** `grapheme` in `charset`; empty where it says nothing to a reader. */
export function fitGrapheme(grapheme: string, charset: Charset): string {
  const points = [...grapheme.normalize('NFC')].slice(0, GRAPHEME_POINTS_MAX)
  if (charset === 'utf8') return points.map(shown).join('').toWellFormed()
  return points.map((point) => fitPoint(point, charset === 'ascii' ? isAscii : isLatin1)).join('')
}

/** `text` in `charset`. */
export function fitText(text: string, charset: Charset): string {
  let fitted = ''
  for (const grapheme of graphemesOf(text)) fitted += fitGrapheme(grapheme, charset)
  return fitted
}

function shown(point: string): string {
  if (point === '\n' || JOINERS.includes(point)) return point
  if (SPACE.test(point)) return ' '
  return UNSEEN.test(point) ? '' : point
}

function fitPoint(point: string, has: (code: number) => boolean): string {
  if (point === '\u00a0' || SPACE.test(point)) return ' '
  if (has(point.codePointAt(0)!)) return point
  const known = SYMBOLS[point] ?? LETTERS[point]
  if (known !== undefined) return known
  if (UNSEEN.test(point) || MARK.test(point)) return ''
  // full-width and joined forms, and letters with their accents apart
  const parts = point.normalize('NFKD')
  if (parts !== point) return [...parts].map((part) => (part === point ? '?' : fitPoint(part, has))).join('')
  return PICTURE.test(point) ? '' : '?'
}

/** Bytes of `text` on the wire, whatever its characters: JSON and CBOR have UTF-8. */
export const wireBytes = (text: string): number => Buffer.byteLength(text, 'utf8')
