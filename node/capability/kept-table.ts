/**
 * A small table that outlives the process: a JSON file, read once and written whole. What it keeps can be found out
 * again, so that a damaged file or a full disk costs a log line and some work, never the agent.
 */
import { readFile } from 'node:fs/promises'
import { asSkeinError, type Check } from '../../mesh/protocol/index.ts'
import { writeFileAtomic, type Logger } from '../../mesh/runtime/index.ts'

export interface KeptTableInit<T> {
  readonly path: string
  readonly isEntry: Check<T>
  /** Above it the entry that was put longest ago is dropped. */
  readonly entriesMax: number
}

export class KeptTable<T> {
  readonly #init: KeptTableInit<T>
  readonly #log: Logger
  readonly #entries: Map<string, T>
  #isDirty = false
  #isWriting = false
  #writing: Promise<void> = Promise.resolve()

  private constructor(init: KeptTableInit<T>, log: Logger, entries: Map<string, T>) {
    this.#init = init
    this.#log = log
    this.#entries = entries
  }

  /** Reads the file; entries that do not fit are left out. Does not throw. */
  static async open<T>(init: KeptTableInit<T>, log: Logger): Promise<KeptTable<T>> {
    const entries = new Map<string, T>()
    try {
      const parsed: unknown = JSON.parse(await readFile(init.path, 'utf8'))
      if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
        log.warn({ path: init.path }, 'the file is not a table; starting with an empty one')
      else for (const [key, entry] of Object.entries(parsed)) if (init.isEntry(entry)) entries.set(key, entry)
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT')
        log.warn({ path: init.path, reason: asSkeinError(thrown).message }, 'unreadable; starting with an empty table')
    }
    return new KeptTable(init, log, entries)
  }

  get(key: string): T | undefined {
    return this.#entries.get(key)
  }

  /** Remembers at once; resolves when written (puts that meet share a write). A failed write is logged, not thrown. */
  async put(key: string, entry: T): Promise<void> {
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#init.entriesMax) break
      this.#entries.delete(oldest)
    }
    this.#isDirty = true
    if (!this.#isWriting) this.#writing = this.#write()
    await this.#writing
  }

  /** Resolves when no write is under way. */
  async settled(): Promise<void> {
    await this.#writing
  }

  async #write(): Promise<void> {
    this.#isWriting = true
    while (this.#isDirty) {
      this.#isDirty = false
      try {
        await writeFileAtomic(this.#init.path, JSON.stringify(Object.fromEntries(this.#entries), null, 1))
      } catch (thrown) {
        this.#log.warn({ path: this.#init.path, reason: asSkeinError(thrown).message }, 'could not be written')
      }
    }
    // In the same turn as the last look at `#isDirty`: a put that comes later begins a new write.
    this.#isWriting = false
  }
}
