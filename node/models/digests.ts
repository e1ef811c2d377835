/**
 * Digests of model files. Hashing reads a whole file, so each is hashed once and remembered by what changes when the
 * file does. The hash runs on the main thread in slices of well under a millisecond, one for each read, so that
 * heartbeats and tokens pass between them; the cache makes it happen once in a file's life.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import type { BigIntStats } from 'node:fs'
import { stat } from 'node:fs/promises'
import { Type, type Static } from 'typebox'
import { asModelDigest, asSkeinError, checker, SkeinError, type ModelDigest } from '../../mesh/protocol/index.ts'
import type { Logger } from '../../mesh/runtime/index.ts'
import { KeptTable } from '../capability/index.ts'

const ENTRIES_MAX = 4096
/** About 0.2 ms of SHA-256 on a slow core with SHA extensions, 0.6 ms without. */
const SLICE_BYTES = 128 * 1024

const EntrySchema = Type.Object({
  digest: Type.String({ pattern: '^sha256:[0-9a-f]{64}$' }),
  sizeBytes: Type.String(),
  mtimeNs: Type.String(),
  inode: Type.String(),
})
type Entry = Static<typeof EntrySchema>

export interface FileDigest {
  readonly digest: ModelDigest
  /** True when the file was read for it. */
  readonly isHashed: boolean
}

export class Digests {
  readonly #table: KeptTable<Entry>

  private constructor(table: KeptTable<Entry>) {
    this.#table = table
  }

  static async open(path: string, log: Logger): Promise<Digests> {
    return new Digests(await KeptTable.open({ path, isEntry: checker(EntrySchema), entriesMax: ENTRIES_MAX }, log))
  }

  /**
   * @throws SkeinError MODEL_FILE_INVALID when the file cannot be read or changed while it was; the signal's reason.
   */
  async of(path: string, signal: AbortSignal): Promise<FileDigest> {
    const before = await identify(path)
    const known = this.#table.get(path)
    if (known && same(known, before)) return { digest: asModelDigest(known.digest), isHashed: false }
    const hash = createHash('sha256')
    try {
      for await (const slice of createReadStream(path, { highWaterMark: SLICE_BYTES, signal })) hash.update(slice)
    } catch (cause) {
      signal.throwIfAborted()
      throw unreadable(path, cause)
    }
    const digest = asModelDigest(`sha256:${hash.digest('hex')}`)
    if (!same(before, await identify(path)))
      throw new SkeinError('MODEL_FILE_INVALID', `${path}: it changed while it was read`)
    await this.#table.put(path, { digest, ...before })
    return { digest, isHashed: true }
  }
}

async function identify(path: string): Promise<Omit<Entry, 'digest'>> {
  let found: BigIntStats
  try {
    found = await stat(path, { bigint: true })
  } catch (cause) {
    throw unreadable(path, cause)
  }
  return { sizeBytes: String(found.size), mtimeNs: String(found.mtimeNs), inode: String(found.ino) }
}

const same = (a: Omit<Entry, 'digest'>, b: Omit<Entry, 'digest'>): boolean =>
  a.sizeBytes === b.sizeBytes && a.mtimeNs === b.mtimeNs && a.inode === b.inode

const unreadable = (path: string, cause: unknown): SkeinError =>
  new SkeinError('MODEL_FILE_INVALID', `${path}: ${asSkeinError(cause).message}`, { cause })
