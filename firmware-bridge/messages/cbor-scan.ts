/**
 * Looks over CBOR before any of it is built. Devices send integers, floats, booleans, null, text and lists: everything else
 * (maps, tags, byte strings, indefinite lengths), and whatever is deeper or more than a message can be, is refused here.
 */
import { LIMITS } from '../../mesh/protocol/index.ts'

const DEPTH_MAX = 3
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

const ARGUMENT_BYTES = [1, 2, 4, 8] as const
/** Values of major type 7: false, true, null, and floats of 2, 4 and 8 bytes. */
const SIMPLE = new Set([20, 21, 22, 25, 26, 27])

const isText = (bytes: Uint8Array): boolean => {
  try {
    utf8.decode(bytes)
    return true
  } catch {
    return false
  }
}

/** What is wrong with `document`; `undefined` where it is exactly one item of the allowed kinds. */
export function flawOfCbor(document: Uint8Array): string | undefined {
  const view = new DataView(document.buffer, document.byteOffset, document.byteLength)
  /** Items that are still to come, by list. */
  const open: number[] = [1]
  let at = 0
  let items = 0
  while (open.length > 0) {
    if (open.at(-1) === 0) {
      open.pop()
      continue
    }
    open[open.length - 1]!--
    if (at >= document.length) return 'it is cut off'
    if (++items > LIMITS.deviceMessageItemsMax) return 'too many items'
    const major = document[at]! >> 5
    const info = document[at]! & 0x1f
    at++
    const argumentBytes = info < 24 ? 0 : ARGUMENT_BYTES[info - 24]
    if (argumentBytes === undefined) return 'an indefinite or reserved length'
    if (at + argumentBytes > document.length) return 'it is cut off'
    const argument = info < 24 ? info : readArgument(view, at, argumentBytes)
    at += argumentBytes
    if (major === 3) {
      if (argument > document.length - at) return 'it is cut off'
      if (!isText(document.subarray(at, at + argument))) return 'text that is not UTF-8'
      at += argument
    } else if (major === 4) {
      if (open.length > DEPTH_MAX) return 'lists too deep'
      if (argument > document.length - at) return 'it is cut off'
      open.push(argument)
    } else if (major === 7 ? !SIMPLE.has(info) : major > 1) return 'an item that messages do not have'
  }
  return at === document.length ? undefined : 'more behind its end'
}

function readArgument(view: DataView, at: number, bytes: number): number {
  if (bytes === 1) return view.getUint8(at)
  if (bytes === 2) return view.getUint16(at)
  if (bytes === 4) return view.getUint32(at)
  // over 2^53 it is inexact, and longer than any message all the same
  return Number(view.getBigUint64(at))
}
