/**
 * Serial lines: frames with a checksum between zeros, lines of text, and which of the two a board speaks. Pure bytes: what
 * is in a frame, `messages` knows. Everything that reads is total, and keeps at most one frame or line.
 */
export * from './cobs.ts'
export * from './crc16.ts'
export * from './frames.ts'
export * from './lines.ts'
export * from './dialect.ts'
