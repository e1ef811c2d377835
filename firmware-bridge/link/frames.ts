/**
 * Frames of a serial line: `0x00 COBS(type · seq · payload · CRC-16 little-endian) 0x00`. The leading 0x00 ends whatever
 * noise came before; the number `seq` is one more with each frame of a direction, and tells how many were lost.
 */
import { cobsDecode, cobsEncode } from './cobs.ts'
import { crc16 } from './crc16.ts'

export interface SerialFrame {
  readonly type: number
  /** Of this direction, from 0 to 255 and round again. */
  readonly seq: number
  readonly payload: Uint8Array
}

export interface FrameCounts {
  readonly good: number
  /** Broken by noise: not COBS, too short, or of another checksum. */
  readonly bad: number
  /** Longer than a frame may be. */
  readonly overruns: number
  /** By the gaps in the numbers of good frames; of a device that began again it cannot be told. */
  readonly lost: number
}

/** Type, number and checksum. */
export const FRAME_OVERHEAD_BYTES = 4
/** A frame decoded is this long at most: one block of COBS. */
export const FRAME_BYTES_MAX = 255

const MIN_BYTES = FRAME_OVERHEAD_BYTES
/** More lost ones than this between two frames are a device that began again. */
const GAP_MAX = 64

/** The bytes of one frame on the line, delimiters included; `undefined` when the payload is too long for one. */
export function encodeFrame({ type, seq, payload }: SerialFrame): Uint8Array | undefined {
  const length = payload.length + FRAME_OVERHEAD_BYTES
  if (length > FRAME_BYTES_MAX) return undefined
  const raw = new Uint8Array(length)
  raw[0] = type
  raw[1] = seq & 0xff
  raw.set(payload, 2)
  const crc = crc16(raw.subarray(0, length - 2))
  raw[length - 2] = crc & 0xff
  raw[length - 1] = crc >> 8
  const stuffed = cobsEncode(raw)
  const line = new Uint8Array(stuffed.length + 2)
  line.set(stuffed, 1)
  return line
}

/** Finds frames in bytes as they come; keeps at most one frame's worth of them. Never throws. */
export class FrameDecoder {
  readonly #stuffed: Uint8Array
  readonly #bytesMax: number
  #length = 0
  #isOver = false
  #next: number | undefined
  #good = 0
  #bad = 0
  #overruns = 0
  #lost = 0

  /** `frameBytesMax`: of a frame, decoded. */
  constructor(frameBytesMax: number = FRAME_BYTES_MAX) {
    this.#bytesMax = frameBytesMax
    this.#stuffed = new Uint8Array(frameBytesMax + Math.ceil(frameBytesMax / 254) + 1)
  }

  get counts(): FrameCounts {
    return { good: this.#good, bad: this.#bad, overruns: this.#overruns, lost: this.#lost }
  }

  /** The whole frames that end in `bytes`, in order; each has a payload of its own. */
  push(bytes: Uint8Array): SerialFrame[] {
    const frames: SerialFrame[] = []
    for (const byte of bytes) {
      if (byte !== 0) {
        if (this.#length < this.#stuffed.length) this.#stuffed[this.#length++] = byte
        else this.#isOver = true
        continue
      }
      const frame = this.#length > 0 ? this.#take() : undefined
      if (frame !== undefined) frames.push(frame)
      this.#length = 0
      this.#isOver = false
    }
    return frames
  }

  #take(): SerialFrame | undefined {
    if (this.#isOver) {
      this.#overruns++
      return undefined
    }
    const raw = cobsDecode(this.#stuffed.subarray(0, this.#length))
    if (raw === undefined || raw.length < MIN_BYTES || !isIntact(raw)) {
      this.#bad++
      return undefined
    }
    if (raw.length > this.#bytesMax) {
      this.#overruns++
      return undefined
    }
    this.#good++
    this.#follow(raw[1]!)
    return { type: raw[0]!, seq: raw[1]!, payload: raw.slice(2, -2) }
  }

  #follow(seq: number): void {
    const gap = this.#next === undefined ? 0 : (seq - this.#next) & 0xff
    if (gap <= GAP_MAX) this.#lost += gap
    this.#next = (seq + 1) & 0xff
  }
}

const isIntact = (raw: Uint8Array): boolean =>
  crc16(raw.subarray(0, raw.length - 2)) === (raw[raw.length - 2]! | (raw[raw.length - 1]! << 8))
