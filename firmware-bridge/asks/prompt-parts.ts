/** Parts of prompts that come before their question, for boards whose buffer is smaller than what they ask. */
import { LIMITS } from '../../mesh/protocol/index.ts'
import type { MessageOf } from '../messages/index.ts'
import { wireBytes } from './charset.ts'

/** Prompts of one device that may be unfinished. */
const PROMPTS_MAX = 2
/** Devices whose parts are kept; of a further one those of the device that sent some longest ago are forgotten. */
const DEVICES_MAX = 256

interface PartialPrompt {
  readonly id: number
  readonly parts: (string | undefined)[]
  bytes: number
}

/** In memory alone: a device whose question names parts that are gone is told so, and sends them again. */
export class PromptParts {
  readonly #byDevice = new Map<string, PartialPrompt[]>()

  /** False when the prompt is longer than any may be; its parts are forgotten. */
  add(device: string, { id, i, t }: MessageOf<'prompt'>): boolean {
    const prompts = this.#byDevice.get(device) ?? []
    this.#byDevice.delete(device)
    this.#byDevice.set(device, prompts)
    if (this.#byDevice.size > DEVICES_MAX) this.#byDevice.delete(this.#byDevice.keys().next().value!)
    let prompt = prompts.find((each) => each.id === id)
    if (prompt === undefined) {
      prompt = { id, parts: [], bytes: 0 }
      prompts.push(prompt)
      // the older one was given up by its device
      if (prompts.length > PROMPTS_MAX) prompts.shift()
    }
    prompt.bytes += wireBytes(t) - wireBytes(prompt.parts[i] ?? '')
    prompt.parts[i] = t
    if (prompt.bytes <= LIMITS.askPromptBytesMax) return true
    this.#forget(device, id)
    return false
  }

  /** The first `count` parts of a prompt, joined; `undefined` when one is missing. */
  take(device: string, id: number, count: number): string | undefined {
    if (count === 0) return ''
    const parts = this.#byDevice.get(device)?.find((each) => each.id === id)?.parts ?? []
    const first = Array.from({ length: count }, (_, i) => parts[i])
    return first.includes(undefined) ? undefined : first.join('')
  }

  /** The device is gone, or has begun anew. */
  clear(device: string): void {
    this.#byDevice.delete(device)
  }

  #forget(device: string, id: number): void {
    const rest = this.#byDevice.get(device)?.filter((each) => each.id !== id) ?? []
    if (rest.length === 0) this.#byDevice.delete(device)
    else this.#byDevice.set(device, rest)
  }
}
