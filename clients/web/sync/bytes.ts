/** Bytes as text and back, and texts made small. */
import { SyncError } from './errors.ts'

export type Bytes = Uint8Array<ArrayBuffer>

const CHUNK = 0x8000

/** base64url, without padding. */
export function toBase64(bytes: Uint8Array): string {
  let text = ''
  for (let i = 0; i < bytes.length; i += CHUNK) text += String.fromCharCode(...bytes.subarray(i, i + CHUNK))
  return btoa(text).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')
}

/** @throws SyncError `protocol`. */
export function fromBase64(text: string): Bytes {
  if (!/^[A-Za-z0-9_-]*$/.test(text)) throw new SyncError('protocol', 'this is not base64url')
  try {
    return Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (letter) => letter.charCodeAt(0))
  } catch (cause) {
    throw new SyncError('protocol', 'this is not base64url', { cause })
  }
}

export const toHex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')

/** A text as compressed bytes. */
export const packText = (text: string): Promise<Bytes> =>
  collected(new Blob([text]).stream().pipeThrough(new CompressionStream('deflate-raw')), Infinity)

/** The text that was packed; at most `max` bytes of it. @throws SyncError `protocol`. */
export async function unpackText(bytes: Bytes, max: number): Promise<string> {
  try {
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate-raw'))
    return new TextDecoder('utf-8', { fatal: true }).decode(await collected(stream, max))
  } catch (error) {
    if (error instanceof SyncError) throw error
    throw new SyncError('protocol', 'a batch cannot be unpacked', { cause: error })
  }
}

async function collected(stream: ReadableStream<Uint8Array>, max: number): Promise<Bytes> {
  const pieces: Uint8Array[] = []
  let size = 0
  const reader = stream.getReader()
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    size += next.value.length
    if (size > max) {
      await reader.cancel()
      throw new SyncError('protocol', 'a batch is larger than a batch can be')
    }
    pieces.push(next.value)
  }
  return joined(pieces)
}

export function joined(pieces: readonly Uint8Array[]): Bytes {
  const all = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const piece of pieces) {
    all.set(piece, at)
    at += piece.length
  }
  return all
}
