/**
 * The model files that this node gives, opened once each, and the hashes of their chunks. A chunk is hashed when somebody
 * asks for its hash, by the thread pool, with its neighbours behind it; what was hashed is remembered while the process
 * lives. A file that is no longer the one that was opened is given no further.
 */
import { webcrypto } from 'node:crypto'
import { open, stat, type FileHandle } from 'node:fs/promises'
import { LIMITS, SkeinError, type ModelDigest } from '../../../mesh/protocol/index.ts'
import type { Pacer } from './pacer.ts'

const CHUNK = LIMITS.modelChunkBytes
/** Chunks that are hashed for one question: an asker who begins waits for these alone; while answers stream, for one. */
const AHEAD_CHUNKS = 8

/** A model that this node would give. */
export interface SharedModel {
  readonly digest: ModelDigest
  /** The first is shown. */
  readonly names: readonly string[]
  /** Under which it was pulled, such as `hf:…`. */
  readonly references: readonly string[]
  readonly path: string
  readonly sizeBytes: number
  readonly quantization: string
  readonly parameters?: number
  readonly contextTokens?: number
}

/** What is here, now. */
export type Shelf = () => Promise<readonly SharedModel[]>

interface Identity {
  readonly sizeBytes: number
  readonly mtimeNs: bigint
  readonly inode: bigint
}

export class SharedFile {
  readonly path: string
  readonly sizeBytes: number
  readonly #handle: FileHandle
  readonly #identity: Identity
  readonly #hashes: (Promise<Uint8Array> | undefined)[]

  private constructor(path: string, handle: FileHandle, identity: Identity) {
    this.path = path
    this.sizeBytes = identity.sizeBytes
    this.#handle = handle
    this.#identity = identity
    this.#hashes = new Array<undefined>(chunksOf(identity.sizeBytes))
  }

  /** @throws SkeinError MODEL_FILE_INVALID. */
  static async open(path: string): Promise<SharedFile> {
    let handle: FileHandle | undefined
    try {
      handle = await open(path, 'r')
      return new SharedFile(path, handle, identityOf(await handle.stat({ bigint: true })))
    } catch (cause) {
      await handle?.close()
      throw new SkeinError('MODEL_FILE_INVALID', 'the file of the model cannot be read', { cause })
    }
  }

  get chunks(): number {
    return this.#hashes.length
  }

  /** @throws SkeinError MODEL_FILE_INVALID when another file is at its path now, or it was written to. */
  async check(): Promise<void> {
    const now = await stat(this.path, { bigint: true }).then(identityOf, () => undefined)
    const was = this.#identity
    if (now?.sizeBytes !== was.sizeBytes || now.mtimeNs !== was.mtimeNs || now.inode !== was.inode)
      throw new SkeinError('MODEL_FILE_INVALID', 'the file of the model has changed since it was opened')
  }

  /**
   * SHA-256 of the chunks from `from` on, 32 bytes each: all that are known, and some that are hashed for it.
   *
   * @throws SkeinError INVALID_REQUEST for a chunk that the file does not have, MODEL_FILE_INVALID; the signal's reason.
   */
  async hashes(from: number, pacer: Pacer, signal: AbortSignal): Promise<Uint8Array> {
    this.#checkChunk(from)
    const found: Uint8Array[] = []
    for (let chunk = from; chunk < this.chunks && found.length < LIMITS.modelHashesMax; chunk++) {
      const known = this.#hashes[chunk]
      if (known === undefined && found.length >= (pacer.isBusy ? 1 : AHEAD_CHUNKS)) break
      if (known === undefined) await pacer.pace(this.#lengthOf(chunk), signal)
      found.push(await (known ?? this.#hash(chunk)))
    }
    return Buffer.concat(found)
  }

  /** Bytes `offset` to `offset + length` of the file, as far as it goes, in `buffer`. @throws SkeinError MODEL_FILE_INVALID. */
  async read(buffer: Buffer, offset: number, length: number): Promise<Buffer> {
    let filled = 0
    while (filled < length) {
      const { bytesRead } = await this.#handle.read(buffer, filled, length - filled, offset + filled).catch(unreadable)
      if (bytesRead === 0) throw new SkeinError('MODEL_FILE_INVALID', 'the file of the model became shorter')
      filled += bytesRead
    }
    return buffer.subarray(0, filled)
  }

  /** Where `chunk` lies. @throws SkeinError INVALID_REQUEST for one that the file does not have. */
  rangeOf(chunk: number): { readonly start: number; readonly end: number } {
    this.#checkChunk(chunk)
    return { start: chunk * CHUNK, end: chunk * CHUNK + this.#lengthOf(chunk) }
  }

  async close(): Promise<void> {
    await this.#handle.close()
  }

  #checkChunk(chunk: number): void {
    if (chunk >= this.chunks)
      throw new SkeinError('INVALID_REQUEST', `the model has ${this.chunks} chunks, and none of number ${chunk}`)
  }

  #lengthOf(chunk: number): number {
    return Math.min(CHUNK, this.sizeBytes - chunk * CHUNK)
  }

  #hash(chunk: number): Promise<Uint8Array> {
    const hash = this.#hashAlone(chunk)
    this.#hashes[chunk] = hash
    // one that failed is tried again by whoever asks next
    hash.catch(() => (this.#hashes[chunk] = undefined))
    return hash
  }

  async #hashAlone(chunk: number): Promise<Uint8Array> {
    const length = this.#lengthOf(chunk)
    const bytes = await this.read(Buffer.allocUnsafeSlow(length), chunk * CHUNK, length)
    return sha256(bytes)
  }
}

/** Files by digest, opened when somebody asks. */
export class SharedFiles {
  readonly #shelf: Shelf
  readonly #open = new Map<ModelDigest, Promise<SharedFile>>()

  constructor(shelf: Shelf) {
    this.#shelf = shelf
  }

  /** Models that have `text` as a name, a digest or a reference; all when it is empty. */
  async find(text: string): Promise<readonly SharedModel[]> {
    const byDigest = new Map((await this.#shelf()).map((model) => [model.digest, model] as const))
    const all = [...byDigest.values()].slice(0, LIMITS.modelsPerNodeMax)
    if (text === '') return all
    const key = text.toLowerCase()
    return all.filter(
      ({ digest, names, references }) =>
        digest === text || references.includes(text) || names.some((name) => name.toLowerCase() === key),
    )
  }

  /** @throws SkeinError MODEL_NOT_STORED, MODEL_FILE_INVALID. */
  async open(digest: ModelDigest): Promise<SharedFile> {
    const [model] = await this.find(digest)
    if (model === undefined) {
      await this.#forget(digest)
      throw new SkeinError('MODEL_NOT_STORED', `this node does not have ${digest}`)
    }
    const opened = this.#open.get(digest) ?? SharedFile.open(model.path)
    this.#open.set(digest, opened)
    try {
      const file = await opened
      await file.check()
      return file
    } catch (thrown) {
      await this.#forget(digest)
      throw thrown
    }
  }

  /** Closes all. Does not throw. */
  async close(): Promise<void> {
    for (const digest of [...this.#open.keys()]) await this.#forget(digest)
  }

  async #forget(digest: ModelDigest): Promise<void> {
    const opened = this.#open.get(digest)
    this.#open.delete(digest)
    await opened?.then((file) => file.close()).catch(() => {})
  }
}

export const chunksOf = (sizeBytes: number): number => Math.ceil(sizeBytes / CHUNK)

/** By the thread pool: the event loop has tokens to carry. */
export async function sha256(bytes: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await webcrypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>))
}

const identityOf = (found: { size: bigint; mtimeNs: bigint; ino: bigint }): Identity => ({
  sizeBytes: Number(found.size),
  mtimeNs: found.mtimeNs,
  inode: found.ino,
})

const unreadable = (cause: unknown): never => {
  throw new SkeinError('MODEL_FILE_INVALID', 'the file of the model cannot be read', { cause })
}
