/**
 * Digests of model files. Hashing reads a whole file, so each is hashed once and remembered by what changes when the
 * file does. The hash runs on the main thread in slices of well under a millisecond, one for each read, so that
 * heartbeats and tokens pass between them; the cache makes it happen once in a file's life. A file that a pull brought was
 * hashed as it came.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { Type, type Static } from 'typebox'
import { asModelDigest, asSkeinError, checker, SkeinError, type ModelDigest } from '../../mesh/protocol/index.ts'
import type { Logger } from '../../mesh/runtime/index.ts'
import { KeptTable } from '../capability/index.ts'
import { FileIdentitySchema, hashedFile, identityOf, isSameFile, type FileIdentity } from './store/index.ts'

const ENTRIES_MAX = 4096
/** About 0.2 ms of SHA-256 on a slow core with SHA extensions, 0.6 ms without. */
const SLICE_BYTES = 128 * 1024

const EntrySchema = Type.Object({
  digest: Type.String({ pattern: '^sha256:[0-9a-f]{64}$' }),
  ...FileIdentitySchema.properties,
})
type Entry = Static<typeof EntrySchema>

export interface FileDigest {
  readonly digest: ModelDigest
  /** True when the file was read for it. */
  readonly isHashed: boolean
}

export class Digests {
  readonly #table: KeptTable<Entry>
  readonly #storeDir: string | undefined

  private constructor(table: KeptTable<Entry>, storeDir: string | undefined) {
    this.#table = table
    this.#storeDir = storeDir
  }

  /** @param storeDir the model store, whose pulls have hashed its files already. */
  static async open(path: string, log: Logger, storeDir?: string): Promise<Digests> {
    const table = await KeptTable.open({ path, isEntry: checker(EntrySchema), entriesMax: ENTRIES_MAX }, log)
    return new Digests(table, storeDir)
  }

  /**
   * @throws SkeinError MODEL_FILE_INVALID when the file cannot be read or changed while it was; the signal's reason.
   */
  async of(path: string, signal: AbortSignal): Promise<FileDigest> {
    const before = await identify(path)
    const known = this.#table.get(path)
    if (known && isSameFile(known, before)) return { digest: asModelDigest(known.digest), isHashed: false }
    const pulled = await this.#pulled(path)
    if (pulled && isSameFile(pulled.identity, before)) {
      await this.#table.put(path, { digest: pulled.digest, ...before })
      return { digest: pulled.digest, isHashed: false }
    }
    const hash = createHash('sha256')
    try {
      for await (const slice of createReadStream(path, { highWaterMark: SLICE_BYTES, signal })) hash.update(slice)
    } catch (cause) {
      signal.throwIfAborted()
      throw unreadable(path, cause)
    }
    const digest = asModelDigest(`sha256:${hash.digest('hex')}`)
    if (!isSameFile(before, await identify(path)))
      throw new SkeinError('MODEL_FILE_INVALID', `${path}: it changed while it was read`)
    await this.#table.put(path, { digest, ...before })
    return { digest, isHashed: true }
  }

  /** What the store knows of the file. Without its index all files are read. */
  async #pulled(path: string): ReturnType<typeof hashedFile> {
    return this.#storeDir === undefined ? undefined : hashedFile(this.#storeDir, path).catch(() => undefined)
  }
}

async function identify(path: string): Promise<FileIdentity> {
  try {
    return await identityOf(path)
  } catch (thrown) {
    throw unreadable(path, thrown)
  }
}

const unreadable = (path: string, cause: unknown): SkeinError =>
  new SkeinError('MODEL_FILE_INVALID', `${path}: ${asSkeinError(cause).message}`, { cause })
