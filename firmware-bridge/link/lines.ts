/**
 * The dialect of boards that print: `temp=21.5 hum=40` are readings, `? question` asks, `ok name=value` and `err name` answer
 * a command. The bridge says `> text` for each line of an answer and `.` behind the last, `! code` for a failure, and
 * `name=value`, or `name?` to read it, for a command.
 */

/** A number where it reads as one, `on`, `off`, `true` and `false` as booleans, and any other text as it is. */
export type LineValue = number | boolean | string

export type BoardLine =
  | { readonly of: 'readings'; readonly readings: readonly (readonly [name: string, value: LineValue])[] }
  | { readonly of: 'question'; readonly text: string }
  | { readonly of: 'done'; readonly name: string; readonly value?: LineValue }
  | { readonly of: 'failed'; readonly name: string }
  /** Something else that a board prints: its own log. */
  | { readonly of: 'text'; readonly text: string }

export const LINE_BYTES_MAX = 256
const READINGS_MAX = 32
const NAME = '[A-Za-z][A-Za-z0-9_]{0,30}'
const assignment = new RegExp(`^(${NAME})=(\\S+)$`)
const done = new RegExp(`^ok\\s+(${NAME})(?:=(\\S.*))?$`, 'i')
const failed = new RegExp(`^err\\s+(${NAME})\\b`, 'i')
const number = /^[+-]?(\d{1,15}(\.\d{0,15})?|\.\d{1,15})$/
const BOOLEANS: Readonly<Record<string, boolean>> = { on: true, off: false, true: true, false: false }

function valueOf(text: string): LineValue {
  if (number.test(text)) return Number(text) + 0
  const word = text.toLowerCase()
  return Object.hasOwn(BOOLEANS, word) ? BOOLEANS[word]! : text
}

/** What a board printed, without the end of the line. Names are told in small letters. */
export function parseLine(line: string): BoardLine {
  const text = line.trim()
  if (text.startsWith('?')) return { of: 'question', text: text.slice(1).trim() }
  const [, doneName, doneValue] = done.exec(text) ?? []
  if (doneName !== undefined)
    return {
      of: 'done',
      name: doneName.toLowerCase(),
      ...(doneValue !== undefined && { value: valueOf(doneValue.trim()) }),
    }
  const [, failedName] = failed.exec(text) ?? []
  if (failedName !== undefined) return { of: 'failed', name: failedName.toLowerCase() }
  const readings: (readonly [string, LineValue])[] = []
  for (const word of text.split(/[\s,;]+/, READINGS_MAX + 1)) {
    const [, name, value] = assignment.exec(word) ?? []
    if (name === undefined || readings.length === READINGS_MAX) return { of: 'text', text }
    readings.push([name.toLowerCase(), valueOf(value!)])
  }
  return { of: 'readings', readings }
}

/** An end of line in what is said would begin another line: it becomes a space, and what no terminal shows goes. */
const oneLine = (text: string): string => text.replace(/[\r\n\t]+/g, ' ').replace(/\p{Cc}+/gu, '')

/** The lines that tell a board an answer: each at most `bytesMax` in UTF-8 with its end. */
export function answerLines(text: string, bytesMax: number = LINE_BYTES_MAX): string[] {
  const room = Math.max(8, bytesMax) - '> \n'.length
  const lines: string[] = []
  for (const part of text.split(/\r\n|\r|\n/)) for (const piece of cut(oneLine(part), room)) lines.push(`> ${piece}\n`)
  return [...lines, '.\n']
}

const encoder = new TextEncoder()

/** `text` in pieces of at most `room` bytes, cut behind a space where there is one. */
function cut(text: string, room: number): string[] {
  const pieces: string[] = []
  let rest = text
  while (encoder.encode(rest).length > room) {
    let end = 0
    let bytes = 0
    let behindSpace = 0
    for (const character of rest) {
      bytes += encoder.encode(character).length
      if (bytes > room) break
      end += character.length
      if (character === ' ') behindSpace = end
    }
    const at = behindSpace > 0 ? behindSpace : end
    pieces.push(rest.slice(0, at).trimEnd())
    rest = rest.slice(at)
  }
  return [...pieces, rest]
}

export const failureLine = (code: string): string => `! ${oneLine(code)}\n`

/** A command: set `name` to `value`, or read it. */
export function commandLine(name: string, value?: LineValue): string {
  if (value === undefined) return `${name}?\n`
  const shown = typeof value === 'boolean' ? (value ? 'on' : 'off') : oneLine(String(value))
  return `${name}=${shown}\n`
}

/** Lines in bytes as they come; of one that is too long nothing is told, and it is counted. Never throws. */
export class LineDecoder {
  readonly #bytes: Uint8Array
  readonly #text = new TextDecoder('utf-8')
  #length = 0
  #isOver = false
  #overruns = 0

  constructor(lineBytesMax: number = LINE_BYTES_MAX) {
    this.#bytes = new Uint8Array(lineBytesMax)
  }

  get overruns(): number {
    return this.#overruns
  }

  /** The whole lines that end in `bytes`, without empty ones; what is no UTF-8 is told as U+FFFD. */
  push(bytes: Uint8Array): string[] {
    const lines: string[] = []
    for (const byte of bytes) {
      if (byte !== 0x0a) {
        if (this.#length < this.#bytes.length) this.#bytes[this.#length++] = byte
        else this.#isOver = true
        continue
      }
      if (this.#isOver) this.#overruns++
      else {
        const line = this.#text.decode(this.#bytes.subarray(0, this.#length)).trim()
        if (line !== '') lines.push(line)
      }
      this.#length = 0
      this.#isOver = false
    }
    return lines
  }
}
