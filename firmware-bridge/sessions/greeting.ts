/** A hello, and the capability strings that follow it where they do not fit in. */
import { LIMITS, type DeviceCapability } from '../../mesh/protocol/index.ts'
import { parseCapability, refuse, type Caps, type Decoded, type Hello } from '../messages/index.ts'

export class Greeting {
  readonly hello: Hello
  readonly #strings: (string | undefined)[]

  constructor(hello: Hello) {
    this.hello = hello
    this.#strings = Array.from({ length: hello.n }, (_, at) => hello.caps?.[at])
  }

  get isComplete(): boolean {
    return this.#strings.every((text) => text !== undefined)
  }

  take({ i, c }: Caps): void {
    for (const [at, text] of c.entries()) if (i + at < this.#strings.length) this.#strings[i + at] = text
  }

  /** What the device can do; a refusal when a string is none, or two have one name. */
  capabilities(): Decoded<DeviceCapability[]> {
    const found: DeviceCapability[] = []
    for (const text of this.#strings.slice(0, LIMITS.deviceCapabilitiesMax)) {
      const parsed = parseCapability(text ?? '')
      if (!parsed.ok) return parsed
      if (found.some(({ name }) => name === parsed.value.name)) return refuse('two capabilities of one name')
      found.push(parsed.value)
    }
    return { ok: true, value: found }
  }
}
