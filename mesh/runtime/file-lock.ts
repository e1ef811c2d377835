/**
 * A lock that one process holds. It is an exclusive SQLite transaction: the kernel gives it back when its process dies,
 * however it dies, so that there is no stale lock and no guess about process ids.
 */
import { DatabaseSync } from 'node:sqlite'

const SQLITE_BUSY = 5

export class FileLock {
  readonly #held: DatabaseSync

  private constructor(held: DatabaseSync) {
    this.#held = held
  }

  /**
   * Locks `path`, which is made if need be. `undefined` when someone else has it, this process included.
   *
   * @throws what Node throws for a path that cannot be written.
   */
  static acquire(path: string): FileLock | undefined {
    const held = new DatabaseSync(path, { timeout: 0 })
    try {
      held.exec('PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE; CREATE TABLE IF NOT EXISTS held (pid INTEGER)')
      return new FileLock(held)
    } catch (error) {
      held.close()
      if ((error as { errcode?: number }).errcode === SQLITE_BUSY) return undefined
      throw error
    }
  }

  /** Gives it back. Calling it again does nothing. */
  release(): void {
    if (this.#held.isOpen) this.#held.close()
  }
}
