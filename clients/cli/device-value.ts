/** What a person writes for a value of a device. */
import { SkeinError, type DeviceCapability, type DeviceValue } from '../../mesh/protocol/index.ts'

const SWITCH: Readonly<Record<string, boolean>> = {
  on: true,
  true: true,
  yes: true,
  off: false,
  false: false,
  no: false,
}

/** @throws SkeinError INVALID_REQUEST. */
export function valueOf({ name, type }: DeviceCapability, text: string): DeviceValue {
  if (type === 'boolean') {
    const value = SWITCH[text.toLowerCase()]
    if (value === undefined) throw new SkeinError('INVALID_REQUEST', `${name} is on or off, not '${text}'`)
    return value
  }
  if (type !== 'number' && type !== 'integer') return text
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value))
    throw new SkeinError('INVALID_REQUEST', `${name} is a number, not '${text}'`)
  return value
}
