/** Counts of what went wrong, by reason: each refusal and each reset stream is one of these. */
export type CounterName =
  | 'frame_malformed'
  | 'frame_too_large'
  | 'frame_unexpected'
  | 'handler_failed'
  | 'stream_refused'
  | 'hello_refused'
  | 'hello_timeout'
  | 'join_granted'
  | 'join_refused'
  | 'member_revoked'
  | 'member_expired'
  | 'dial_failed'
  | 'record_refused'

export class Counters {
  readonly #counts = new Map<CounterName, number>()

  add(name: CounterName): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1)
  }

  /** Reasons that occurred, with their counts since the start. */
  snapshot(): Record<string, number> {
    return Object.fromEntries(this.#counts)
  }
}
