/** What many histories had in them, in one line. */
import type { HistoryResult } from './history.ts'

export class Summary {
  readonly #beganMs = performance.now()
  readonly #migrations = new Map<string, number>()
  #histories = 0
  #steps = 0
  #tasks = 0
  #faults = 0
  #violations = 0

  add({ steps, tasks, faults, migrations, violation }: HistoryResult): void {
    this.#histories++
    this.#steps += steps
    this.#tasks += tasks
    this.#faults += faults
    if (violation) this.#violations++
    for (const [reason, count] of Object.entries(migrations))
      this.#migrations.set(reason, (this.#migrations.get(reason) ?? 0) + count)
  }

  line(): string {
    const seconds = ((performance.now() - this.#beganMs) / 1000).toFixed(0)
    const migrations = [...this.#migrations]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([reason, count]) => `${reason} ${count}`)
      .join(', ')
    return [
      `${this.#histories} histories`,
      `${this.#steps} steps`,
      `${this.#tasks} tasks`,
      `migrations: ${migrations || 'none'}`,
      `${this.#faults} faults`,
      `${this.#violations} violations`,
      `${seconds} s`,
    ].join(' · ')
  }
}
