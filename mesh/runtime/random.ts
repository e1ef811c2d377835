/** Randomness as a port: `SystemRandom` for the machine, `SeededRandom` for simulation and tests. */
import { randomBytes } from 'node:crypto'

export interface Random {
  /** Uniform in [0, 1). */
  next(): number
  /** Unpredictable bytes (of `SystemRandom`; the seeded one repeats by design). */
  bytes(length: number): Uint8Array
}

export class SystemRandom implements Random {
  next(): number {
    return Math.random()
  }

  bytes(length: number): Uint8Array {
    return new Uint8Array(randomBytes(length))
  }
}

/** mulberry32 (T. Ettinger, public domain): 32 bits of state, passes gjrand; enough for simulation, not for secrets. */
export class SeededRandom implements Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => Math.floor(this.next() * 256))
  }
}
