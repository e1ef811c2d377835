/**
 * Which dialect a board speaks, by the first bytes that come: frames stand between 0x00, MQTT begins with CONNECT, and
 * lines are text. Boot loaders talk before sketches do, so that noise may come first.
 */
import { parseLine } from './lines.ts'

export type SerialDialect = 'frames' | 'mqtt' | 'lines'

/** More noise than this tells nothing; older bytes are forgotten. */
const KEPT_BYTES = 512
/** Lines of any text that it takes to believe them; of one that is a reading or a question, one is enough. */
const LINES_MIN = 3
const text = new TextDecoder()
const CONNECT = 0x10
const MQTT_NAME = [0x00, 0x04, 0x4d, 0x51, 0x54, 0x54]
/** Bytes of a remaining length. */
const LENGTH_BYTES_MAX = 4

export class DialectDetector {
  #bytes: Uint8Array = new Uint8Array(0)
  #dialect: SerialDialect | undefined

  get dialect(): SerialDialect | undefined {
    return this.#dialect
  }

  /**
   * Takes what came. Once the dialect is known, gives it with everything that its decoder is to read first; what comes
   * afterwards goes there at once.
   */
  push(bytes: Uint8Array): { readonly dialect: SerialDialect; readonly pending: Uint8Array } | undefined {
    const joined = new Uint8Array(this.#bytes.length + bytes.length)
    joined.set(this.#bytes)
    joined.set(bytes, this.#bytes.length)
    const found = detect(joined)
    if (found === undefined) {
      this.#bytes = joined.slice(-KEPT_BYTES)
      return undefined
    }
    this.#bytes = new Uint8Array(0)
    this.#dialect = found.dialect
    return { dialect: found.dialect, pending: joined.slice(found.from) }
  }
}

function detect(bytes: Uint8Array): { dialect: SerialDialect; from: number } | undefined {
  let lines = 0
  let linesFrom = 0
  let lineFrom = 0
  for (const [at, byte] of bytes.entries()) {
    if (byte === CONNECT) {
      const connect = isConnect(bytes, at)
      if (connect === true) return { dialect: 'mqtt', from: at }
      // it may become one: 0x00 stands in it
      if (connect === 'unknown') return undefined
    }
    if (byte === 0) return { dialect: 'frames', from: at }
    if (byte === 0x0a) {
      const line = text.decode(bytes.subarray(lineFrom, at)).trim()
      const isMeant = line !== '' && parseLine(line).of !== 'text'
      if (isMeant || (line !== '' && ++lines === LINES_MIN)) return { dialect: 'lines', from: linesFrom }
      lineFrom = at + 1
    } else if (!isPrintable(byte)) {
      lines = 0
      linesFrom = at + 1
      lineFrom = at + 1
    }
  }
  return undefined
}

/** Letters of other alphabets are bytes over 0x7f. */
const isPrintable = (byte: number): boolean => (byte >= 0x20 && byte !== 0x7f) || byte === 0x0d || byte === 0x09

/** Whether an MQTT CONNECT begins at `at`. */
function isConnect(bytes: Uint8Array, at: number): boolean | 'unknown' {
  let next = at + 1
  for (let length = 0; ; length++) {
    if (next >= bytes.length) return 'unknown'
    if (length === LENGTH_BYTES_MAX) return false
    if (bytes[next++]! < 0x80) break
  }
  for (const expected of MQTT_NAME) {
    if (next >= bytes.length) return 'unknown'
    if (bytes[next++] !== expected) return false
  }
  return true
}
