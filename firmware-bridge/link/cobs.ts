/**
 * Consistent overhead byte stuffing: bytes without any 0x00, so that 0x00 can stand between frames. One byte more than the
 * data for each begun 254 of them, whatever they are.
 */

/** `data` without a 0x00, and without delimiters. */
export function cobsEncode(data: Uint8Array): Uint8Array {
  const out = new Uint8Array(data.length + Math.floor(data.length / 254) + 1)
  let codeAt = 0
  let at = 1
  const close = (): void => {
    out[codeAt] = at - codeAt
    codeAt = at++
  }
  for (const [index, byte] of data.entries()) {
    if (byte === 0) close()
    else {
      out[at++] = byte
      // a full block stands for no 0x00; behind the last byte there is none to begin
      if (at - codeAt === 255 && index < data.length - 1) close()
    }
  }
  out[codeAt] = at - codeAt
  return out.subarray(0, at)
}

/** What was encoded; `undefined` for bytes that no encoding has. */
export function cobsDecode(stuffed: Uint8Array): Uint8Array | undefined {
  const out = new Uint8Array(stuffed.length)
  let length = 0
  let at = 0
  while (at < stuffed.length) {
    const code = stuffed[at++]!
    if (code === 0 || at + code - 1 > stuffed.length) return undefined
    const block = stuffed.subarray(at, at + code - 1)
    if (block.includes(0)) return undefined
    out.set(block, length)
    length += block.length
    at += block.length
    if (code !== 255 && at < stuffed.length) out[length++] = 0
  }
  return stuffed.length === 0 ? undefined : out.subarray(0, length)
}
