/** Devices that do not describe themselves: boards that print lines, and plain values of any MQTT library. */
import { LIMITS, type CapabilityDir, type DeviceCapability, type DeviceValue } from '../../mesh/protocol/index.ts'

/** What a value shows of its capability. One that was a number stays one. */
export const learnt = (name: string, dir: CapabilityDir, value: DeviceValue): DeviceCapability => ({
  name,
  dir,
  type: typeof value === 'number' ? 'number' : typeof value === 'boolean' ? 'boolean' : 'text',
})

const WORDS: Readonly<Record<string, boolean>> = { true: true, false: false, on: true, off: false }

/** A plain value: a number, a boolean, or text; `undefined` when it is longer than any. */
export function plainValue(body: Uint8Array): DeviceValue | undefined {
  if (body.length > LIMITS.deviceTextLengthMax) return undefined
  const text = new TextDecoder().decode(body).trim()
  if (/^[+-]?(\d{1,15}(\.\d{1,15})?|\.\d{1,15})$/.test(text)) return Number(text)
  const word = text.toLowerCase()
  return Object.hasOwn(WORDS, word) ? WORDS[word] : text
}
