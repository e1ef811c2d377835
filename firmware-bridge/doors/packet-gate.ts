/**
 * Bounds the packets of an MQTT connection before a parser collects them: aedes keeps what it is sent until a packet is
 * whole, however long it says that it will be.
 */

/** Bytes of a remaining length. */
const LENGTH_BYTES_MAX = 4

export class PacketGate {
  readonly #bytesMax: number
  /** Bytes of the packet at hand that are still to come; `undefined` while its head is read. */
  #rest: number | undefined
  #isInLength = false
  #length = 0
  #lengthBytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** False when a packet begins in `bytes` that is over the bound, or has a head that MQTT does not know. */
  admits(bytes: Uint8Array): boolean {
    for (let at = 0; at < bytes.length;) {
      if (this.#rest !== undefined) {
        const taken = Math.min(this.#rest, bytes.length - at)
        at += taken
        this.#rest -= taken
        if (this.#rest === 0) this.#rest = undefined
        continue
      }
      if (!this.#head(bytes[at++]!)) return false
    }
    return true
  }

  #head(byte: number): boolean {
    if (!this.#isInLength) {
      this.#isInLength = true
      this.#length = 0
      this.#lengthBytes = 0
      return true
    }
    this.#length += (byte & 0x7f) * 128 ** this.#lengthBytes++
    if (this.#length > this.#bytesMax) return false
    if (byte >= 0x80) return this.#lengthBytes < LENGTH_BYTES_MAX
    this.#isInLength = false
    this.#rest = this.#length === 0 ? undefined : this.#length
    return true
  }
}
