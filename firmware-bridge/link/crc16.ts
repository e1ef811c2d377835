/** CRC-16/MCRF4XX (reflected 0x1021, from 0xffff, no final xor): what `_crc_ccitt_update` of avr-libc computes. */
const TABLE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let value = byte
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x8408 : value >>> 1
  return value
})

export function crc16(data: Uint8Array, from = 0xffff): number {
  let crc = from
  for (const byte of data) crc = (crc >>> 8) ^ TABLE[(crc ^ byte) & 0xff]!
  return crc
}
