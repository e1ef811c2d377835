/** What happens to devices, in the past tense, as far as others are told. Nothing that a bridge is asked or answers is in it. */
import type { CallOp, CallOutcome, DeviceState, DeviceValue, RuleOutcome } from '../../mesh/protocol/index.ts'
import type { CallOrigin } from './store.ts'
import type { TaskOutcome } from './task-types.ts'

export type DeviceEvent =
  | { readonly type: 'device.joined'; readonly device: string; readonly bridge: string; readonly class: string }
  /** Its name, its policy, or what it can do has changed. */
  | { readonly type: 'device.changed'; readonly device: string; readonly bridge: string }
  | { readonly type: 'device.gone'; readonly device: string; readonly bridge: string }
  | { readonly type: 'device.state'; readonly device: string; readonly bridge: string; readonly state: DeviceState }
  | { readonly type: 'device.bridge'; readonly bridge: string; readonly isOnline: boolean }
  | {
      readonly type: 'device.reading'
      readonly device: string
      readonly name: string
      readonly value: DeviceValue
      readonly readAtMs: number
    }
  /** `confirm`: it waits for a person. */
  | {
      readonly type: 'device.call'
      readonly call: string
      readonly device: string
      readonly capability: string
      readonly op: CallOp
      readonly origin: CallOrigin
      readonly rule?: string
      readonly key: string
      readonly state: 'confirm' | 'begun' | 'ended'
      readonly value?: DeviceValue
      readonly outcome?: CallOutcome
      readonly error?: string
    }
  /** A device task: it was made, a pass of it has ended, or all of it has. */
  | {
      readonly type: 'device.task'
      readonly task: string
      readonly capability: string
      readonly op: CallOp
      readonly key: string
      readonly state: 'made' | 'passed' | 'ended'
      readonly pass: number
      readonly outcome?: TaskOutcome
      readonly error?: string
    }
  /** An owner's rule was met and made no call; so often since that was told last. */
  | {
      readonly type: 'device.rule'
      readonly device: string
      readonly bridge: string
      readonly rule: string
      readonly outcome: RuleOutcome
      readonly times: number
    }
  /** A board that nobody has let in yet shows this code. */
  | { readonly type: 'device.claim'; readonly bridge: string; readonly code: string; readonly class: string }

/** A capability's readings are told this often at most. */
const READING_MS = 1000
/** Readings that are told in a second, of all devices: others who follow events are not to miss theirs. */
const READINGS_PER_SECOND = 50

/** Which readings are told. */
export class ReadingThinner {
  readonly #toldAtMs = new Map<string, number>()
  #secondMs = 0
  #told = 0

  mayTell(device: string, name: string, nowMs: number): boolean {
    const key = `${device} ${name}`
    if (nowMs - (this.#toldAtMs.get(key) ?? -Infinity) < READING_MS) return false
    if (nowMs - this.#secondMs >= 1000) {
      this.#secondMs = nowMs
      this.#told = 0
    }
    if (this.#told >= READINGS_PER_SECOND) return false
    this.#told++
    this.#toldAtMs.set(key, nowMs)
    return true
  }

  forget(device: string): void {
    for (const key of this.#toldAtMs.keys()) if (key.startsWith(`${device} `)) this.#toldAtMs.delete(key)
  }
}
