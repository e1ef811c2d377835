/** What a node can notice of its machine, as a port. What is not told is `unknown`: a value, never a guess. */

export type Known<T> = T | 'unknown'

export interface Observations {
  readonly power: Known<'mains' | 'battery'>
  /** Percent of the battery, of all together. */
  readonly charge: Known<number>
  /** Hottest of processors and GPUs, in degrees Celsius. */
  readonly temperature: Known<number>
  /** Ms since keyboard or mouse were touched; 0 while they are. */
  readonly inputIdleMs: Known<number>
  /** Percent of all processors that programs other than ours take. */
  readonly cpuByOthers: Known<number>
  /** Percent of the busiest GPU that programs other than ours take. */
  readonly gpuByOthers: Known<number>
  /** The way to the internet is billed by volume. */
  readonly metered: Known<boolean>
  /** What the machine takes, as far as it is metered. */
  readonly watts: Known<number>
}

export type Sense = keyof Observations

export const NOTHING_KNOWN: Observations = {
  power: 'unknown',
  charge: 'unknown',
  temperature: 'unknown',
  inputIdleMs: 'unknown',
  cpuByOthers: 'unknown',
  gpuByOthers: 'unknown',
  metered: 'unknown',
  watts: 'unknown',
}

export interface Senses {
  /** The clock on the wall, in ms since 1970: what hours and days are reckoned by. */
  wallMs(): number
  /** What was asked for; the rest is `unknown`, and costs nothing. Bounded, does not throw. */
  read(wanted: ReadonlySet<Sense>): Promise<Observations>
}
