/** Starts of devices: a hello of a start that is over was recorded by somebody and sent again. */

/** Of each device. */
const FORMER_MAX = 16

export class Boots {
  /** Oldest first; the last is the running one. */
  readonly #boots = new Map<string, number[]>()

  current(device: string): number | undefined {
    return this.#boots.get(device)?.at(-1)
  }

  isFormer(device: string, boot: number): boolean {
    return this.#boots.get(device)?.slice(0, -1).includes(boot) ?? false
  }

  begin(device: string, boot: number): void {
    const boots = this.#boots.get(device) ?? []
    if (boots.at(-1) === boot) return
    this.#boots.set(device, [...boots, boot].slice(-FORMER_MAX))
  }

  forget(device: string): void {
    this.#boots.delete(device)
  }
}
