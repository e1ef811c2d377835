/** A file behind a URL: what its first byte says of the whole, and its ranges. */
import { LIMITS, SkeinError } from '../../../mesh/protocol/index.ts'
import { originOf, type HeadersFor, type OpenResponse, type SourceClient } from './http.ts'
import type { ByteRange } from './ranges.ts'
import type { RemoteFile } from './source.ts'

export interface HttpFileInit {
  readonly url: URL
  readonly headersFor: HeadersFor
}

/** What a source says of a file before any of it is taken. */
export interface HttpFacts {
  readonly sizeBytes: number
  readonly isRanged: boolean
  readonly validator?: string
  /** Headers of the first hop. */
  readonly headers: Headers
}

const CONTENT_RANGE = /^bytes (?:(\d{1,16})-(\d{1,16})|\*)\/(\d{1,16})$/

export class HttpFile {
  readonly #client: SourceClient
  readonly #init: HttpFileInit
  /** Where the redirects ended: asked directly until it refuses, since its permission runs out. */
  #direct: URL | undefined

  constructor(client: SourceClient, init: HttpFileInit) {
    this.#client = client
    this.#init = init
  }

  /**
   * Asks for one byte, since some servers answer HEAD otherwise than GET.
   *
   * @throws as `SourceClient.open`; SkeinError MODEL_SOURCE_REFUSED when it does not say how long the file is.
   */
  async facts(signal: AbortSignal): Promise<HttpFacts> {
    const { url, headersFor } = this.#init
    const open = await this.#client.open(url, { headersFor, range: { start: 0, end: 1 } }, signal)
    try {
      const { status, headers } = open.response
      const isRanged = status === 206
      if (isRanged) for await (const byte of open.body()) if (byte.length > 1) break
      const length = isRanged
        ? CONTENT_RANGE.exec(headers.get('content-range') ?? '')?.[3]
        : headers.get('content-length')
      const sizeBytes = /^\d{1,16}$/.test(length ?? '') ? Number(length) : 0
      if (sizeBytes < 1 || sizeBytes > LIMITS.modelFileBytesMax)
        throw new SkeinError('MODEL_SOURCE_REFUSED', `${originOf(open.url)}: it does not say how long the file is`)
      const validator = validatorOf(headers)
      return { sizeBytes, isRanged, headers: open.firstHeaders, ...(validator !== undefined && { validator }) }
    } finally {
      open.close()
    }
  }

  /** As `RemoteFile.read`, of the file that `facts` described. */
  async *read(range: ByteRange, file: RemoteFile, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
    const open = await this.#open(range, file, signal)
    try {
      checkPart(open, range, file)
      let left = range.end - range.start
      // To the end of the response, not of the range: only a connection whose response was read whole is used again.
      for await (const chunk of open.body()) {
        const wanted = chunk.length > left ? chunk.subarray(0, left) : chunk
        left -= wanted.length
        if (wanted.length > 0) yield wanted
        if (wanted.length < chunk.length) break
      }
      if (left > 0)
        throw new SkeinError('MODEL_PULL_FAILED', `${originOf(open.url)}: the response ended ${left} bytes early`)
    } finally {
      open.close()
    }
  }

  async #open(range: ByteRange, file: RemoteFile, signal: AbortSignal): Promise<OpenResponse> {
    const { url, headersFor } = this.#init
    // With a digest the bytes themselves are checked; hosts that serve the same bytes may tag them differently.
    const ifRange = file.sha256 === undefined ? file.validator : undefined
    const init = { headersFor, ...(file.isRanged && { range, ...(ifRange !== undefined && { ifRange }) }) }
    const direct = this.#direct
    try {
      const open = await this.#client.open(direct ?? url, init, signal)
      if (direct === undefined && open.url.href !== url.href) this.#direct = open.url
      return open
    } catch (thrown) {
      if (direct === undefined || !(thrown instanceof SkeinError) || thrown.code !== 'MODEL_SOURCE_REFUSED')
        throw thrown
      if (this.#direct === direct) this.#direct = undefined
      throw new SkeinError('MODEL_PULL_FAILED', `${thrown.message}; asking for a new address`, { cause: thrown })
    }
  }
}

/** A strong entity tag, else the date. (`If-Range` may not have a weak one.) */
function validatorOf(headers: Headers): string | undefined {
  const etag = headers.get('etag') ?? ''
  if (/^"[\x21\x23-\x7e]{1,256}"$/.test(etag)) return etag
  const date = headers.get('last-modified') ?? ''
  return /^[\x20-\x7e]{1,64}$/.test(date) ? date : undefined
}

/** @throws SkeinError unless the response is what was asked for: this range of this version of the file. */
function checkPart({ response, url }: OpenResponse, range: ByteRange, file: RemoteFile): void {
  const { status, headers } = response
  const changed = (what: string): SkeinError => new SkeinError('MODEL_SOURCE_CHANGED', `${originOf(url)}: ${what}`)
  const validator = validatorOf(headers)
  const isOther = file.sha256 === undefined && validator !== undefined && validator !== file.validator
  if (isOther) throw changed('the file is another one than before')
  if (status === 200) {
    const length = headers.get('content-length')
    if (length !== null && Number(length) !== file.sizeBytes) throw changed('the file has another length than before')
    if (range.start === 0 && range.end === file.sizeBytes) return
    if (file.sha256 === undefined) throw changed('it sent the whole file, as it does when that has changed')
    throw new SkeinError('MODEL_PULL_FAILED', `${originOf(url)}: it sent the whole file instead of a part`)
  }
  const [, start, end, size] = CONTENT_RANGE.exec(headers.get('content-range') ?? '') ?? []
  if (size !== undefined && Number(size) !== file.sizeBytes) throw changed('the file has another length than before')
  if (Number(start) !== range.start || Number(end) !== range.end - 1)
    throw new SkeinError('MODEL_PULL_FAILED', `${originOf(url)}: it sent another part than was asked for`)
}
