/** What `skein top` shows: what was last read of the mesh, how fast it writes, and what happened lately. */
import type { MeshStats, NodeView, SelfView, TaskSummary } from '../../../coordinator/index.ts'
import type { ToldEvent } from '../event-stream.ts'

/** Tokens a second are over so long. */
const RATE_MS = 10_000
const EVENTS_MAX = 200
/** What would drive all else off the screen. */
const UNTOLD: ReadonlySet<string> = new Set(['task.queued', 'device.reading'])

export interface Reading {
  /** Wall clock, ms since 1970. */
  readonly atMs: number
  readonly self: SelfView
  readonly nodes: readonly NodeView[]
  /** Those that have not ended. */
  readonly tasks: readonly TaskSummary[]
  readonly stats: MeshStats
}

export class TopPicture {
  #reading: Reading | undefined
  /** Tokens of each open task when it was last looked at. */
  #tokens = new Map<string, number>()
  #made: { readonly atMs: number; readonly tokens: number }[] = []
  #firstMs: number | undefined
  readonly #events: ToldEvent[] = []
  /** Why nothing newer is shown. */
  problem: string | undefined

  get reading(): Reading | undefined {
    return this.#reading
  }

  /** The newest first. */
  get events(): readonly ToldEvent[] {
    return this.#events
  }

  /** Of all answers, over the last ten seconds; as far as their tokens are durable. */
  get tokensPerSecond(): number {
    const atMs = this.#reading?.atMs ?? 0
    const sinceMs = Math.min(RATE_MS, Math.max(1000, atMs - (this.#firstMs ?? atMs)))
    const tokens = this.#made.filter((each) => each.atMs > atMs - RATE_MS).reduce((sum, each) => sum + each.tokens, 0)
    return (tokens / sinceMs) * 1000
  }

  take(reading: Reading): void {
    this.problem = undefined
    this.#firstMs ??= reading.atMs
    const tokens = new Map(reading.tasks.map((task) => [task.taskId as string, task.tokens]))
    for (const [taskId, now] of tokens) this.#add(reading.atMs, now - (this.#tokens.get(taskId) ?? 0))
    // those that ended are counted by their last event
    for (const [taskId, before] of this.#tokens) if (!tokens.has(taskId)) tokens.set(taskId, before)
    this.#tokens = tokens
    this.#reading = reading
  }

  event(event: ToldEvent): void {
    if (event.type === 'task.ended') {
      this.#add(event.atMs, event.completionTokens - (this.#tokens.get(event.taskId) ?? 0))
      this.#tokens.delete(event.taskId)
    }
    if (UNTOLD.has(event.type)) return
    this.#events.unshift(event)
    this.#events.length = Math.min(this.#events.length, EVENTS_MAX)
  }

  #add(atMs: number, tokens: number): void {
    if (tokens > 0) this.#made.push({ atMs, tokens })
    this.#made = this.#made.filter((each) => each.atMs > atMs - 2 * RATE_MS)
  }
}
