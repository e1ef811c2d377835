/**
 * Who may change what. A node serves from the store while commands of other processes fill and empty it, so the lock of
 * the data directory, which a node holds for its life, cannot be theirs:
 *
 *   index.lock          held for milliseconds by whoever changes the index or moves files
 *   parts/<key>.lock    held by the one pull that writes that part
 *   serving.lock        held for its life by the node that serves from here; `serving.json` says what
 *
 * All are locks of the kernel, which end with their process. The latter two are taken, and the files of the second kind
 * removed, only by whoever holds the first: otherwise one could lock a file that another has just unlinked.
 */
import { readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Type } from 'typebox'
import { asSkeinError, checker, SkeinError, type ModelDigest } from '../../../mesh/protocol/index.ts'
import { FileLock, sleep, writeFileAtomic, type Clock, type Random } from '../../../mesh/runtime/index.ts'

const POLL_MS = 20
/** Nobody holds the index for longer than it takes to rename a file; a disk that is asleep takes seconds. */
const PATIENCE_MS = 60_000

/** Of one node, replicas that it was told to fetch included. */
const SERVED_MAX = 4096

const isServing = checker(Type.Object({ digests: Type.Array(Type.String(), { maxItems: SERVED_MAX }) }))

export interface LockComponents {
  readonly clock: Clock
  readonly random: Random
}

export class StoreLocks {
  readonly #components: LockComponents
  readonly #dir: string

  constructor(components: LockComponents, dir: string) {
    this.#components = components
    this.#dir = dir
  }

  /** Runs `work` as the only one that changes the index. @throws SkeinError DATA_DIR_UNUSABLE. */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    const { clock, random } = this.#components
    const path = this.#indexPath
    const endMs = clock.nowMs() + PATIENCE_MS
    let lock = acquire(path)
    while (lock === undefined) {
      if (clock.nowMs() > endMs)
        throw new SkeinError('DATA_DIR_UNUSABLE', `another process has held ${path} for ${PATIENCE_MS} ms`)
      await sleep(clock, POLL_MS * (0.5 + random.next()))
      lock = acquire(path)
    }
    try {
      return await work()
    } finally {
      lock.release()
    }
  }

  /** The right to write a part; `undefined` when another pull has it. */
  async part(key: string): Promise<FileLock | undefined> {
    return this.alone(() => Promise.resolve(acquire(this.#partPath(key))))
  }

  /** Gives the right back. Does not throw: where its file cannot be removed, it stays. */
  async releasePart(key: string, lock: FileLock): Promise<void> {
    try {
      await this.alone(async () => {
        lock.release()
        await rm(this.#partPath(key), { force: true })
      })
    } catch {
      lock.release()
    }
  }

  /**
   * Runs `work` while no pull writes that part, nor the index is held. `false` when one does. Also on a full disk, where a
   * lock can be refused, but not taken: so room can be made there.
   */
  async withoutPart(key: string, work: () => Promise<void>): Promise<boolean> {
    return this.alone(async () => {
      const lock = acquireUnlessFull(this.#partPath(key))
      if (lock === undefined) return false
      try {
        await work()
        return true
      } finally {
        if (lock !== 'full') lock.release()
        await rm(this.#partPath(key), { force: true })
      }
    })
  }

  /**
   * Gives the locks that outlive every process their content, so that taking them later writes nothing: on a disk that is
   * full, `rm` must be able to.
   */
  async prepare(): Promise<void> {
    for (const path of [this.#indexPath, this.#servingPath]) {
      if ((await stat(path).catch(() => undefined))?.size) continue
      const made = new DatabaseSync(path)
      try {
        made.exec('CREATE TABLE IF NOT EXISTS held (pid INTEGER)')
      } catch {
        // Someone holds it right now, or the disk is full: the next one does it.
      } finally {
        made.close()
      }
    }
  }

  /** Says that this process serves `digests`. `undefined` when another one serves from here. */
  async serve(digests: readonly ModelDigest[]): Promise<FileLock | undefined> {
    return this.alone(async () => {
      const lock = acquire(this.#servingPath)
      if (lock !== undefined) await this.#tell(digests)
      return lock
    })
  }

  /**
   * Says that this process, the one node of its data directory, serves `digests` too from now on. Gives the lock when it
   * had none yet.
   */
  async serveAlso(digests: readonly ModelDigest[]): Promise<FileLock | undefined> {
    return this.alone(async () => {
      const lock = acquire(this.#servingPath)
      // without a node what the file says is of one that is gone
      const before = lock === undefined ? await this.#told() : []
      await this.#tell([...new Set([...before, ...digests])].slice(-SERVED_MAX))
      return lock
    })
  }

  /** What a running node serves from here; empty when none runs. The caller holds the index. */
  async served(): Promise<ReadonlySet<string>> {
    const lock = acquire(this.#servingPath)
    if (lock !== undefined) {
      lock.release()
      return new Set()
    }
    return new Set(await this.#told())
  }

  async #tell(digests: readonly string[]): Promise<void> {
    await writeFileAtomic(join(this.#dir, 'serving.json'), JSON.stringify({ digests }))
  }

  async #told(): Promise<readonly string[]> {
    const parsed: unknown = JSON.parse(await readFile(join(this.#dir, 'serving.json'), 'utf8').catch(() => '{}'))
    return isServing(parsed) ? parsed.digests : []
  }

  #partPath(key: string): string {
    return join(this.#dir, 'parts', `${key}.lock`)
  }

  get #indexPath(): string {
    return join(this.#dir, 'index.lock')
  }

  get #servingPath(): string {
    return join(this.#dir, 'serving.lock')
  }
}

const SQLITE_FULL = 13

/** @throws SkeinError DISK_FULL, DATA_DIR_UNUSABLE when the lock cannot be made. */
function acquire(path: string): FileLock | undefined {
  try {
    return FileLock.acquire(path)
  } catch (cause) {
    if ((cause as { errcode?: number }).errcode === SQLITE_FULL)
      throw new SkeinError('DISK_FULL', `no room is left on the disk of ${path}`, { cause })
    throw new SkeinError('DATA_DIR_UNUSABLE', `${path}: ${asSkeinError(cause).message}`, { cause })
  }
}

/** `full` when nobody has the lock and the disk has no room to take it: being refused needs none. */
function acquireUnlessFull(path: string): FileLock | undefined | 'full' {
  try {
    return acquire(path)
  } catch (thrown) {
    if (asSkeinError(thrown).code === 'DISK_FULL') return 'full'
    throw thrown
  }
}
