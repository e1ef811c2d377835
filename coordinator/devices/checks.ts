/** What may be asked of a device: by what its capabilities are, by its owner's policy, and by the caller's permission. Pure. */
import {
  DEVICE_LEVELS,
  LIMITS,
  SkeinError,
  type CallOp,
  type DeviceCapability,
  type DeviceLevel,
  type DevicePolicy,
  type DeviceValue,
} from '../../mesh/protocol/index.ts'
import type { CallValue } from './store.ts'

export const isWithin = (level: DeviceLevel, bound: DeviceLevel): boolean =>
  DEVICE_LEVELS.indexOf(level) <= DEVICE_LEVELS.indexOf(bound)

const invalid = (param: string, why: string): SkeinError =>
  new SkeinError('INVALID_REQUEST', `${param} ${why}`, { param })

/** What a call without an `op` means. */
export function usualOp({ dir }: DeviceCapability, value: CallValue | undefined): CallOp {
  if (dir === 'command') return 'run'
  return dir === 'actuator' && value !== undefined ? 'write' : 'read'
}

/**
 * @returns the value as it is sent: whole numbers of a float stay what they are.
 * @throws SkeinError INVALID_REQUEST naming `op` or `value`.
 */
export function checkedValue(
  capability: DeviceCapability,
  op: CallOp,
  value: CallValue | undefined,
): DeviceValue | undefined {
  const { dir, name, type } = capability
  if (op === 'write' && dir !== 'actuator') throw invalid('op', `write is for actuators, and '${name}' is a ${dir}`)
  if (op === 'run' && dir !== 'command') throw invalid('op', `run is for commands, and '${name}' is a ${dir}`)
  if (op === 'read') {
    if (dir === 'command') throw invalid('op', `'${name}' is a command, which has no value to read`)
    if (value !== undefined) throw invalid('value', 'is not for a read')
    return undefined
  }
  if (type === 'none') {
    if (value !== undefined) throw invalid('value', `is not for '${name}'`)
    return undefined
  }
  if (value === undefined) throw invalid('value', 'is required')
  return fitting(capability, value)
}

/** @throws SkeinError INVALID_REQUEST naming `value`. */
export function fitting({ type, min, max, options = [] }: DeviceCapability, value: CallValue): DeviceValue {
  switch (type) {
    case 'boolean':
      if (typeof value === 'boolean') return value
      throw invalid('value', 'must be true or false')
    case 'number':
    case 'integer': {
      if (typeof value !== 'number' || !Number.isFinite(value)) throw invalid('value', 'must be a number')
      if (type === 'integer' && !Number.isSafeInteger(value)) throw invalid('value', 'must be a whole number')
      if (value < (min ?? -Infinity) || value > (max ?? Infinity))
        throw invalid('value', `must be ${min ?? '…'} to ${max ?? '…'}`)
      return value
    }
    case 'choice':
      if (typeof value === 'string' && options.includes(value)) return value
      throw invalid('value', `must be one of: ${options.join(', ')}`)
    case 'text':
      if (typeof value === 'string' && value.length <= LIMITS.deviceTextLengthMax) return value.toWellFormed()
      throw invalid('value', `must be a text of at most ${LIMITS.deviceTextLengthMax} characters`)
    default:
      throw invalid('value', 'is not for it')
  }
}

/** @throws SkeinError FORBIDDEN, saying whose word it is. */
export function checkAllowed(device: string, policy: DevicePolicy, op: CallOp, level: DeviceLevel): void {
  const needed = op === 'read' ? 'read' : 'act'
  if (!isWithin(needed, level))
    throw new SkeinError('FORBIDDEN', `this key may not ${needed === 'read' ? 'read' : 'set or run'} devices`)
  if (op === 'read' && !policy.read) throw new SkeinError('FORBIDDEN', `the policy of ${device} lets nobody read it`)
  if (op !== 'read' && policy.act === 'no')
    throw new SkeinError('FORBIDDEN', `the policy of ${device} lets nobody set or run it`)
}

/** Tokens that come back with time. */
class Bucket {
  readonly #perSecond: number
  readonly #burst: number
  #tokens: number
  #atMs: number

  constructor(perSecond: number, burst: number, nowMs: number) {
    this.#perSecond = perSecond
    this.#burst = burst
    this.#tokens = burst
    this.#atMs = nowMs
  }

  /** ms until one may be taken; 0 when it may be now. */
  waitMs(nowMs: number): number {
    this.#tokens = Math.min(this.#burst, this.#tokens + ((nowMs - this.#atMs) / 1000) * this.#perSecond)
    this.#atMs = nowMs
    return this.#tokens >= 1 ? 0 : ((1 - this.#tokens) / this.#perSecond) * 1000
  }

  take(): void {
    this.#tokens--
  }
}

/** Of a device, and of each of its capabilities. */
const RATES = { device: { perSecond: 5, burst: 20 }, capability: { perSecond: 2, burst: 10 } } as const

/** How often devices are called: a model that loops must not wear out a relay, nor fill a serial line. */
export class CallRates {
  readonly #buckets = new Map<string, Bucket>()

  /** Counts one call. @throws SkeinError RATE_LIMITED. */
  admit(device: string, capability: string, nowMs: number): void {
    const own = [this.#bucket(device, 'device', nowMs), this.#bucket(`${device} ${capability}`, 'capability', nowMs)]
    const waitMs = Math.max(...own.map((bucket) => bucket.waitMs(nowMs)))
    if (waitMs > 0)
      throw new SkeinError('RATE_LIMITED', `${device}.${capability} is called too often`, {
        retryAfterSeconds: Math.ceil(waitMs / 1000),
      })
    for (const bucket of own) bucket.take()
  }

  forget(device: string): void {
    for (const key of this.#buckets.keys())
      if (key === device || key.startsWith(`${device} `)) this.#buckets.delete(key)
  }

  #bucket(key: string, of: keyof typeof RATES, nowMs: number): Bucket {
    let bucket = this.#buckets.get(key)
    const { perSecond, burst } = RATES[of]
    if (bucket === undefined) this.#buckets.set(key, (bucket = new Bucket(perSecond, burst, nowMs)))
    return bucket
  }
}
