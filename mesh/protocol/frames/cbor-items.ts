/**
 * Counts the items of a CBOR document without building any of them. A frame of six megabytes can hold six million numbers
 * or map keys, which take seconds and a gigabyte to decode; schemas see them too late.
 */

const ARGUMENT_BYTES = [1, 2, 4, 8] as const

/**
 * Number of data items in `document`, or `itemsMax + 1` when there are more. Looks at heads alone: whether the document is
 * whole and legal is the decoder's matter.
 */
export function countCborItems(document: Uint8Array, itemsMax: number): number {
  const view = new DataView(document.buffer, document.byteOffset, document.byteLength)
  let items = 0
  let at = 0
  while (at < document.length && items <= itemsMax) {
    const head = document[at]!
    const major = head >> 5
    const argumentBytes = ARGUMENT_BYTES[(head & 0x1f) - 24] ?? 0
    items++
    at++
    if (major === 2 || major === 3) at += stringBytes(view, at, head & 0x1f)
    at += argumentBytes
  }
  return items
}

/** Length of a byte or text string whose argument stands at `at`; past every end where the argument is cut off. */
function stringBytes(view: DataView, at: number, info: number): number {
  if (info < 24) return info
  const bytes = ARGUMENT_BYTES[info - 24]
  // indefinite or reserved: the decoder refuses it
  if (bytes === undefined || at + bytes > view.byteLength) return view.byteLength
  if (bytes === 1) return view.getUint8(at)
  if (bytes === 2) return view.getUint16(at)
  if (bytes === 4) return view.getUint32(at)
  return view.byteLength
}
