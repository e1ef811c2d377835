/**
 * Senses that a file plays, for tests of whole processes (`--senses FILE`): a machine whose battery, temperature and clock
 * are what the test writes. What the file does not say, or says wrongly, is unknown.
 */
import { readFile } from 'node:fs/promises'
import { Type, type Static } from 'typebox'
import { checker } from '../../../mesh/protocol/index.ts'
import type { Clock } from '../../../mesh/runtime/index.ts'
import { NOTHING_KNOWN, type Observations, type Sense, type Senses } from './senses.ts'

const FileSchema = Type.Partial(
  Type.Object({
    power: Type.Enum(['mains', 'battery', 'unknown']),
    charge: Type.Number(),
    temperature: Type.Number(),
    inputIdleMs: Type.Number(),
    cpuByOthers: Type.Number(),
    gpuByOthers: Type.Number(),
    metered: Type.Boolean(),
    watts: Type.Number(),
    /** The clock on the wall is set to this when the file first says so, ms since 1970; the machine's when absent. */
    wallMs: Type.Number(),
    /** From then on it goes this many times faster than time. */
    speed: Type.Number({ minimum: 1, maximum: 100_000 }),
  }),
)
type Played = Static<typeof FileSchema>

const isPlayed = checker(FileSchema)

export class FileSenses implements Senses {
  readonly #clock: Clock
  readonly #path: string
  #set = { wallMs: Number.NaN, speed: 1, sinceMs: 0 }

  constructor(clock: Clock, path: string) {
    this.#clock = clock
    this.#path = path
  }

  wallMs(): number {
    const { wallMs, speed, sinceMs } = this.#set
    return Number.isNaN(wallMs) ? this.#clock.wallMs() : wallMs + (this.#clock.nowMs() - sinceMs) * speed
  }

  async read(wanted: ReadonlySet<Sense>): Promise<Observations> {
    const { wallMs, speed = 1, ...observations } = await this.#played()
    if (wallMs === undefined) this.#set = { ...this.#set, wallMs: Number.NaN }
    else if (wallMs !== this.#set.wallMs || speed !== this.#set.speed)
      this.#set = { wallMs, speed, sinceMs: this.#clock.nowMs() }
    const seen = Object.entries(observations).filter(([sense]) => wanted.has(sense as Sense))
    return { ...NOTHING_KNOWN, ...Object.fromEntries(seen) }
  }

  async #played(): Promise<Played> {
    try {
      const value: unknown = JSON.parse(await readFile(this.#path, 'utf8'))
      return isPlayed(value) ? value : {}
    } catch {
      return {}
    }
  }
}
