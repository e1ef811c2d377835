/** The data directory of one Skein: identity, membership, ledger, and a lock so that two processes never share it. */
import { chmodSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { asSkeinError, SkeinError } from '../protocol/index.ts'
import { FileLock } from './file-lock.ts'
import { writeFileAtomic } from './files.ts'

const LOCK_FILE = 'lock.db'
const INSTANCE_FILE = 'instance.json'

/** What the running process says about itself to commands of the same machine. */
export interface Instance {
  readonly pid: number
  readonly peerId: string
  /** Base URL of the gateway; absent for a node without a coordinator. */
  readonly http?: string
  /** File of the certificate that the gateway shows, where one was given. */
  readonly tlsCert?: string
  /** Bearer key that the gateway asks for. */
  readonly apiKey?: string
  /** Key of the owner for commands of this machine, made at each start where the gateway asks for none. */
  readonly ownKey?: string
  /** Where commands of this machine ask for what other members have, and the key for it. */
  readonly door?: { readonly url: string; readonly key: string }
  /** Of Skein. */
  readonly version?: string
  /** Wall clock of the start, in ms since 1970. */
  readonly startedAtMs?: number
}

export const defaultDataDir = (): string => join(homedir(), '.skein')

/** Throws a SkeinError DATA_DIR_UNUSABLE that names `dir` and the cause. */
function unusable(dir: string, cause: unknown): never {
  throw new SkeinError(
    'DATA_DIR_UNUSABLE',
    `data directory ${dir}: ${asSkeinError(cause).message}; choose another with --data DIR`,
    {
      cause,
    },
  )
}

export class DataDir {
  readonly path: string
  readonly #lock: FileLock

  private constructor(path: string, lock: FileLock) {
    this.path = path
    this.#lock = lock
  }

  /**
   * Makes the directory if need be (0700) and locks it for this process.
   *
   * @throws SkeinError DATA_DIR_UNUSABLE, DATA_DIR_LOCKED naming the process that holds it.
   */
  static open(path: string): DataDir {
    let lock: FileLock | undefined
    try {
      mkdirSync(path, { recursive: true, mode: 0o700 })
      chmodSync(path, 0o700)
      lock = FileLock.acquire(join(path, LOCK_FILE))
    } catch (cause) {
      return unusable(path, cause)
    }
    if (lock === undefined) {
      const holder = DataDir.instance(path)
      const who = holder ? ` (process ${holder.pid}${holder.http ? `, ${holder.http}` : ''})` : ''
      throw new SkeinError(
        'DATA_DIR_LOCKED',
        `another Skein runs in ${path}${who}; stop it, or choose another with --data DIR`,
      )
    }
    return new DataDir(path, lock)
  }

  /** What the Skein that runs in `path` says of itself, or `undefined`. May be left over from one that was killed. */
  static instance(path: string): Instance | undefined {
    try {
      return JSON.parse(readFileSync(join(path, INSTANCE_FILE), 'utf8')) as Instance
    } catch {
      return undefined
    }
  }

  file(name: string): string {
    return join(this.path, name)
  }

  async announce(instance: Instance): Promise<void> {
    await writeFileAtomic(this.file(INSTANCE_FILE), JSON.stringify(instance), 0o600)
  }

  /** Gives the lock back. */
  close(): void {
    rmSync(this.file(INSTANCE_FILE), { force: true })
    this.#lock.release()
  }
}
