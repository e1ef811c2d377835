/** How much a device may ask: questions a minute, of which some may come at once, and tokens a day (UTC). */
import type { DevicePolicy } from '../../mesh/protocol/index.ts'
import type { Clock } from '../../mesh/runtime/index.ts'
import type { CompactError } from '../messages/index.ts'
import type { AskStore } from './ask-store.ts'

/** Of each device whose policy names no others. */
export interface AskQuotas {
  readonly asksPerMinute: number
  readonly tokensPerDay: number
}

export interface Refused {
  readonly error: CompactError
  readonly retrySeconds: number
}

export const DAY_MS = 86_400_000
const MINUTE_MS = 60_000
/** Devices whose last questions are remembered; one that is forgotten begins with a full minute. */
const DEVICES_MAX = 10_000

interface Bucket {
  left: number
  atMs: number
}

export class Quotas {
  readonly #quotas: AskQuotas
  readonly #store: AskStore
  readonly #clock: Clock
  readonly #buckets = new Map<string, Bucket>()

  constructor(quotas: AskQuotas, store: AskStore, clock: Clock) {
    this.#quotas = quotas
    this.#store = store
    this.#clock = clock
  }

  get day(): number {
    return Math.floor(this.#clock.wallMs() / DAY_MS)
  }

  /**
   * Takes one question from what the device may ask.
   *
   * @param policy its owner's word, which goes before the bridge's.
   * @throws SkeinError DATA_DIR_UNUSABLE.
   */
  async take(device: string, policy: Partial<DevicePolicy> = {}): Promise<Refused | undefined> {
    const { asks_per_minute: perMinute = this.#quotas.asksPerMinute } = policy
    const { tokens_per_day: perDay = this.#quotas.tokensPerDay } = policy
    const bucket = this.#bucketOf(device, perMinute)
    if (bucket.left < 1) {
      const waitMs = ((1 - bucket.left) * MINUTE_MS) / perMinute
      return { error: 'rate_limited', retrySeconds: Math.ceil(waitMs / 1000) }
    }
    bucket.left--
    if ((await this.#store.tokensOf(device, this.day)) < perDay) return undefined
    const untilMs = (this.day + 1) * DAY_MS - this.#clock.wallMs()
    return { error: 'quota', retrySeconds: Math.ceil(untilMs / 1000) }
  }

  #bucketOf(device: string, perMinute: number): Bucket {
    const nowMs = this.#clock.nowMs()
    const bucket = this.#buckets.get(device) ?? { left: perMinute, atMs: nowMs }
    bucket.left = Math.min(perMinute, bucket.left + ((nowMs - bucket.atMs) * perMinute) / MINUTE_MS)
    bucket.atMs = nowMs
    this.#buckets.delete(device)
    this.#buckets.set(device, bucket)
    if (this.#buckets.size > DEVICES_MAX) this.#buckets.delete(this.#buckets.keys().next().value!)
    return bucket
  }
}
