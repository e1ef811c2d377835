/** How large a message is where it arrives: boards have a buffer of one packet, and lose what is larger without a word. */
import { encodeMessage } from './codec.ts'
import type { Message } from './types.ts'

/**
 * `frames`: CBOR in a serial frame, of which `rx` bounds the payload. `mqtt-json`, `mqtt-cbor`: a PUBLISH of QoS 0, of
 * which `rx` bounds the whole packet.
 */
export const WIRES = ['frames', 'mqtt-json', 'mqtt-cbor'] as const
export type Wire = (typeof WIRES)[number]

const encoder = new TextEncoder()

/** Bytes of an MQTT PUBLISH of QoS 0; `propertiesBytes` with their length, which MQTT 5 has (1 when there are none). */
export function publishBytes(topic: string, payloadBytes: number, propertiesBytes = 0): number {
  const remaining = 2 + encoder.encode(topic).length + propertiesBytes + payloadBytes
  const lengthBytes = remaining < 128 ? 1 : remaining < 16_384 ? 2 : remaining < 2_097_152 ? 3 : 4
  return 1 + lengthBytes + remaining
}

/** Bytes of `message` that count towards the `rx` of a device; `topic` is that of MQTT. */
export function sizeOf(message: Message, wire: Wire, topic = '', propertiesBytes = 0): number {
  const bytes = encodeMessage(message, wire === 'mqtt-json' ? 'json' : 'cbor').length
  return wire === 'frames' ? bytes : publishBytes(topic, bytes, propertiesBytes)
}

export const fits = (message: Message, wire: Wire, rx: number, topic = '', propertiesBytes = 0): boolean =>
  sizeOf(message, wire, topic, propertiesBytes) <= rx
