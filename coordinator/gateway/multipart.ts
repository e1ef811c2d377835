/**
 * `multipart/form-data` (RFC 7578) as it streams: no part is held, and what a part may be before its content is bounded. Only
 * what clients of this API send is taken: no nested parts, and no transfer encodings.
 */
import { SkeinError } from '../../mesh/protocol/index.ts'

export interface PartHead {
  /** Name of the field. */
  readonly name: string
  /** Of a file. */
  readonly filename?: string
}

/** Takes one part: all of `content` or, without beginning to read it, nothing. */
export type TakePart = (head: PartHead, content: AsyncIterable<Buffer>) => Promise<void>

/** Headers of one part, together. */
const HEAD_BYTES_MAX = 8 * 1024
const PARTS_MAX = 16
/** What stands before the first part and behind the last. */
const AROUND_BYTES_MAX = 8 * 1024

const CRLF = Buffer.from('\r\n')
const HEAD_END = Buffer.from('\r\n\r\n')
const CLOSE = Buffer.from('--')

const malformed = (why: string): SkeinError => new SkeinError('INVALID_REQUEST', `the form is malformed: ${why}`)

/** @throws SkeinError UNSUPPORTED_MEDIA_TYPE when `contentType` is not that of a form; INVALID_REQUEST. */
export function boundaryOf(contentType: string | undefined): string {
  if (contentType === undefined || !/^multipart\/form-data\s*(;|$)/i.test(contentType))
    throw new SkeinError('UNSUPPORTED_MEDIA_TYPE', 'the body must be a form: content-type: multipart/form-data')
  const [, quoted, plain] = /;\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))\s*(?:;|$)/i.exec(contentType) ?? []
  const boundary = quoted ?? plain
  if (boundary === undefined || !/^[\x20-\x7e]*[\x21-\x7e]$/.test(boundary))
    throw malformed('its content-type has no boundary of 1 to 70 characters')
  return boundary
}

/**
 * Reads a form part by part.
 *
 * @throws SkeinError INVALID_REQUEST for what is no form; what `take` throws, at once.
 */
export async function readMultipart(
  source: AsyncIterable<Uint8Array>,
  boundary: string,
  take: TakePart,
): Promise<void> {
  const reader = new PartReader(source[Symbol.asyncIterator](), boundary)
  await drain(reader.content(), AROUND_BYTES_MAX)
  for (let parts = 0; await reader.next(); parts++) {
    if (parts >= PARTS_MAX) throw malformed(`it has more than ${PARTS_MAX} parts`)
    const head = partHead(await reader.head())
    const content = reader.content()
    await take(head, content)
    await drain(content, Number.POSITIVE_INFINITY)
  }
  await drain(reader.rest(), AROUND_BYTES_MAX)
}

async function drain(content: AsyncIterable<Buffer>, bytesMax: number): Promise<void> {
  let bytes = 0
  for await (const piece of content) {
    bytes += piece.length
    if (bytes > bytesMax) throw malformed('it has too much outside of its parts')
  }
}

class PartReader {
  readonly #source: AsyncIterator<Uint8Array>
  readonly #delimiter: Buffer
  /** Begins as if a line had ended: the first delimiter stands at the start of a line too. */
  #buffer: Buffer = CRLF

  constructor(source: AsyncIterator<Uint8Array>, boundary: string) {
    this.#source = source
    this.#delimiter = Buffer.from(`\r\n--${boundary}`)
  }

  /** All up to the next delimiter, which is taken. Reading on behind its end gives nothing. */
  content(): AsyncGenerator<Buffer, void, undefined> {
    return this.#until(this.#delimiter)
  }

  /** Whether another part follows the delimiter that was taken. */
  async next(): Promise<boolean> {
    await this.#have(2)
    if (this.#buffer.subarray(0, 2).equals(CLOSE)) return false
    // padding that a transport may have added
    let at = 0
    while (this.#buffer[at] === 0x20 || this.#buffer[at] === 0x09) {
      at++
      if (at > HEAD_BYTES_MAX) throw malformed('a delimiter does not end')
      await this.#have(at + 2)
    }
    if (!this.#buffer.subarray(at, at + 2).equals(CRLF)) throw malformed('a delimiter is followed by something else')
    this.#buffer = this.#buffer.subarray(at + 2)
    return true
  }

  /** The headers of a part. */
  async head(): Promise<string> {
    for (;;) {
      const end = this.#buffer.indexOf(HEAD_END)
      if (end > HEAD_BYTES_MAX || (end < 0 && this.#buffer.length > HEAD_BYTES_MAX))
        throw malformed(`the headers of a part are longer than ${HEAD_BYTES_MAX} bytes`)
      if (end < 0) {
        await this.#more()
        continue
      }
      const text = this.#buffer.toString('utf8', 0, end)
      this.#buffer = this.#buffer.subarray(end + HEAD_END.length)
      return text
    }
  }

  async *rest(): AsyncGenerator<Buffer, void, undefined> {
    yield this.#buffer
    for (;;) {
      const { done, value } = await this.#source.next()
      if (done === true) return
      yield Buffer.from(value)
    }
  }

  async *#until(delimiter: Buffer): AsyncGenerator<Buffer, void, undefined> {
    for (;;) {
      const at = this.#buffer.indexOf(delimiter)
      const safe = at < 0 ? Math.max(0, this.#buffer.length - delimiter.length + 1) : at
      const piece = this.#buffer.subarray(0, safe)
      this.#buffer = this.#buffer.subarray(at < 0 ? safe : at + delimiter.length)
      if (piece.length > 0) yield piece
      if (at >= 0) return
      await this.#more()
    }
  }

  async #have(bytes: number): Promise<void> {
    while (this.#buffer.length < bytes) await this.#more()
  }

  async #more(): Promise<void> {
    const { done, value } = await this.#source.next()
    if (done === true) throw malformed('it ends in the middle of a part')
    this.#buffer = this.#buffer.length === 0 ? Buffer.from(value) : Buffer.concat([this.#buffer, value])
  }
}

function partHead(text: string): PartHead {
  const headers = new Map(
    text.split('\r\n').map((line) => {
      const colon = line.indexOf(':')
      if (colon < 1) throw malformed('a header of a part has no name')
      return [line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim()] as const
    }),
  )
  const encoding = headers.get('content-transfer-encoding')?.toLowerCase()
  if (encoding !== undefined && !['7bit', '8bit', 'binary'].includes(encoding))
    throw malformed(`a part is encoded with ${encoding.slice(0, 40)}`)
  const disposition = headers.get('content-disposition')
  if (disposition === undefined || !/^form-data\s*(;|$)/i.test(disposition)) throw malformed('a part has no name')
  const name = parameter(disposition, 'name')
  const filename = parameter(disposition, 'filename')
  if (name === undefined) throw malformed('a part has no name')
  return { name, ...(filename !== undefined && { filename }) }
}

/** As browsers and HTTP clients write it: quotes and line breaks by percent signs, or behind a backslash. */
function parameter(header: string, name: string): string | undefined {
  const match = new RegExp(`;\\s*${name}=(?:"((?:[^"\\\\]|\\\\.)*)"|([^\\s;"]*))`, 'i').exec(header)
  if (match === null) return undefined
  const text = match[1]?.replace(/\\(["\\])/g, '$1') ?? match[2] ?? ''
  return text.replace(/%(22|0D|0A)/gi, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)))
}
