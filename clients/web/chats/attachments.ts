/** Files that a person adds to a message: text alone, bounded, and refused with a reason that can be shown. */

export interface Attachment {
  readonly name: string
  readonly text: string
}

/** Why a file was not taken. */
export type Refusal = 'too-large' | 'too-many' | 'not-text' | 'empty' | 'unreadable'

export type Taken = { readonly attachment: Attachment } | { readonly name: string; readonly refusal: Refusal }

/** What is needed of a `File`. */
export interface FileLike {
  readonly name: string
  /** In bytes. */
  readonly size: number
  arrayBuffer(): Promise<ArrayBuffer>
}

export const ATTACHMENTS_MAX = 8
/** Of one file: some 65,000 tokens, which few models at home have room for. */
export const ATTACHMENT_BYTES_MAX = 256 * 1024
const NAME_MAX = 80
/** Pasted text beyond this is shown as a file: nobody edits that in a box of a few lines. */
export const PASTE_MAX = 6_000

const CONTROLS = /[\p{Cc}\p{Cf}]/gu
const SEPARATORS = /[/\\]/g

/** Each of `files` beside `had` others, in their order. */
export async function takeFiles(files: readonly FileLike[], had: number): Promise<Taken[]> {
  const taken: Taken[] = []
  let count = had
  for (const file of files) {
    const one = count >= ATTACHMENTS_MAX ? refused(file, 'too-many') : await takeFile(file)
    if ('attachment' in one) count++
    taken.push(one)
  }
  return taken
}

async function takeFile(file: FileLike): Promise<Taken> {
  if (file.size === 0) return refused(file, 'empty')
  if (file.size > ATTACHMENT_BYTES_MAX) return refused(file, 'too-large')
  try {
    const text = decoded(new Uint8Array(await file.arrayBuffer()))
    return text === undefined ? refused(file, 'not-text') : { attachment: { name: safeName(file.name), text } }
  } catch {
    // a folder, or a file that is gone by now
    return refused(file, 'unreadable')
  }
}

/** UTF-8, or UTF-16 that says so. */
function decoded(bytes: Uint8Array): string | undefined {
  const isWide = (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)
  const encoding = isWide ? (bytes[0] === 0xff ? 'utf-16le' : 'utf-16be') : 'utf-8'
  try {
    const text = new TextDecoder(encoding, { fatal: true }).decode(bytes)
    return text.includes('\0') ? undefined : text
  } catch {
    return undefined
  }
}

/** A name that cannot pass for another, nor for a path. */
export function safeName(name: string): string {
  const plain = name.replace(CONTROLS, '').replace(SEPARATORS, '_').trim()
  if (plain === '') return 'file.txt'
  if (plain.length <= NAME_MAX) return plain
  const dot = plain.lastIndexOf('.')
  const ending = dot > 0 && plain.length - dot <= 10 ? plain.slice(dot) : ''
  return `${plain.slice(0, NAME_MAX - ending.length - 1)}…${ending}`
}

const refused = ({ name }: FileLike, refusal: Refusal): Taken => ({ name: safeName(name), refusal })

/** A first guess at what a text costs of a context: four characters a token, as English has them. */
export const tokensAbout = (text: string): number => Math.ceil(text.length / 4)
