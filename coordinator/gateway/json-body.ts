/**
 * Bytes of a request to a value, for input that may be hostile: strict UTF-8 (a lenient decoder would replace what it does
 * not know and answer another question than was asked), and a bound on nesting that is checked in one pass over the bytes,
 * before a recursive parser sees them. Members named `__proto__` stay plain data: nothing here copies by assignment.
 */
import { LIMITS, SkeinError } from '../../mesh/protocol/index.ts'

const QUOTE = 0x22
const BACKSLASH = 0x5c
const OPEN = new Set([0x5b, 0x7b])
const CLOSE = new Set([0x5d, 0x7d])

/** Index behind the closing quote of the string whose content begins at `from`, or the end of the bytes. */
function stringEnd(bytes: Buffer, from: number): number {
  for (let quote = bytes.indexOf(QUOTE, from); quote >= 0; quote = bytes.indexOf(QUOTE, quote + 1)) {
    let slashes = 0
    while (quote - 1 - slashes >= from && bytes[quote - 1 - slashes] === BACKSLASH) slashes++
    if (slashes % 2 === 0) return quote + 1
  }
  return bytes.length
}

/** Whether brackets nest deeper than `depthMax`. Says nothing about whether the bytes are JSON. */
export function nestsDeeper(bytes: Buffer, depthMax: number): boolean {
  let depth = 0
  for (let i = 0; i < bytes.length;) {
    const byte = bytes[i]!
    if (byte === QUOTE) {
      i = stringEnd(bytes, i + 1)
      continue
    }
    if (OPEN.has(byte) && ++depth > depthMax) return true
    if (CLOSE.has(byte)) depth--
    i++
  }
  return false
}

/**
 * The value of a JSON body; `undefined` for an empty one. Members that are `null` are dropped from the outermost object:
 * OpenAI's clients write `null` for a parameter that is not given.
 *
 * @throws SkeinError INVALID_JSON.
 */
export function parseJsonBody(bytes: Buffer): unknown {
  if (bytes.length === 0) return undefined
  if (nestsDeeper(bytes, LIMITS.jsonDepthMax))
    throw new SkeinError('INVALID_JSON', `the body nests deeper than ${LIMITS.jsonDepthMax} levels`)
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new SkeinError('INVALID_JSON', 'the body is not valid UTF-8', { cause })
  }
  try {
    return withoutNulls(JSON.parse(text))
  } catch (cause) {
    // the parser's own message quotes the body: it helps who wrote it, and goes to nobody else
    throw new SkeinError('INVALID_JSON', `the body is not JSON: ${cause instanceof Error ? cause.message : ''}`, {
      cause,
    })
  }
}

/** `value`, when it is an object, without its members that are `null`. */
export function withoutNulls(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  const members = value as Record<string, unknown>
  for (const key of Object.keys(members)) if (members[key] === null) delete members[key]
  return members
}

/** @throws SkeinError UNSUPPORTED_MEDIA_TYPE for a compressed body or a charset other than UTF-8. */
export function checkBodyEncoding(contentType: string | undefined, encoding: string | undefined): void {
  const charset = /;\s*charset\s*=\s*"?([^\s;"]+)/i.exec(contentType ?? '')?.[1]
  if (charset !== undefined && !/^utf-?8$/i.test(charset))
    throw new SkeinError('UNSUPPORTED_MEDIA_TYPE', `the body must be in UTF-8, not ${charset}`)
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity')
    throw new SkeinError('UNSUPPORTED_MEDIA_TYPE', `a body that is encoded with ${encoding} is not taken`)
}
