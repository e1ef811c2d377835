/** Ids that are made on the device, before any network: UUIDs of version 7, which sort by the time at which they were made. */
import type { WebClock } from './clock.ts'

export interface WebRandom {
  /** Bytes that nobody can guess. Also on pages without certificate, where `crypto.subtle` is missing. */
  bytes(length: number): Uint8Array<ArrayBuffer>
  /** From 0 to below 1. */
  unit(): number
}

export const systemRandom: WebRandom = {
  bytes: (length) => crypto.getRandomValues(new Uint8Array(length)),
  unit: () => crypto.getRandomValues(new Uint32Array(1))[0]! / 2 ** 32,
}

const TIME_BYTES = 6

/** Such as `0199f2c4-7b1e-7c3a-9d55-1f2e3d4c5b6a`. */
export function mintId(clock: Pick<WebClock, 'nowMs'>, random: Pick<WebRandom, 'bytes'>): string {
  const bytes = random.bytes(16)
  let rest = clock.nowMs()
  for (let i = TIME_BYTES - 1; i >= 0; i--) {
    bytes[i] = rest % 256
    rest = Math.floor(rest / 256)
  }
  bytes[6] = (bytes[6]! & 0x0f) | 0x70
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}
