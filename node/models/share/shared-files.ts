/**
 * The model files that this node gives, opened once each, and the hashes of their chunks. A chunk is hashed when somebody
 * asks for its hash, on a thread of its own, with its neighbours behind it; what was hashed is remembered while the process
 * lives. A file that is no longer the one that was opened is given no further.
 */
import { open, stat, type FileHandle } from 'node:fs/promises'
import { LIMITS, SkeinError, type ModelDigest } from '../../../mesh/protocol/index.ts'
import type { Clock } from '../../../mesh/runtime/index.ts'
import { BufferPool, HashThread, type Hashing, type ModelParts } from '../store/index.ts'
import type { Pacer } from './pacer.ts'

const CHUNK = LIMITS.modelChunkBytes
/** Chunks that are hashed for one question: an asker who begins waits for these alone; while answers stream, for one. */
const AHEAD_CHUNKS = 8
/** Chunks in memory for hashing at once, whoever asks: while one is hashed another is read. */
const HASHED_AT_ONCE = 2
/** What is here is looked up at most this often for one model: its chunks are asked for by the hundred in a second. */
const SHELF_MS = 1000

/** A model that this node would give. */
export interface SharedModel {
  readonly digest: ModelDigest
  /** The first is shown. */
  readonly names: readonly string[]
  /** Under which it was pulled, such as `hf:…`. */
  readonly references: readonly string[]
  readonly path: string
  /** Of all its files. */
  readonly sizeBytes: number
  readonly quantization: string
  /** Its files, of one that is not one GGUF file: these are given, each by its own digest. */
  readonly parts?: ModelParts
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

/** What hashes chunks, and where they lie meanwhile. */
export interface ChunkHashing {
  readonly hashing: Pick<Hashing, 'digest'>
  readonly buffers: BufferPool
}

export class SharedFile {
  readonly path: string
  readonly sizeBytes: number
  readonly #handle: FileHandle
  readonly #chunkHashing: ChunkHashing
  readonly #identity: Identity
  readonly #hashes: (Promise<Uint8Array> | undefined)[]

  private constructor(path: string, handle: FileHandle, identity: Identity, chunkHashing: ChunkHashing) {
    this.path = path
    this.sizeBytes = identity.sizeBytes
    this.#handle = handle
    this.#identity = identity
    this.#chunkHashing = chunkHashing
    this.#hashes = new Array<undefined>(chunksOf(identity.sizeBytes))
  }

  /** @throws SkeinError MODEL_FILE_INVALID. */
  static async open(path: string, chunkHashing: ChunkHashing): Promise<SharedFile> {
    let handle: FileHandle | undefined
    try {
      handle = await open(path, 'r')
      return new SharedFile(path, handle, identityOf(await handle.stat({ bigint: true })), chunkHashing)
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
    try {
      for (let chunk = from; chunk < this.chunks && found.length < LIMITS.modelHashesMax; chunk++) {
        const known = this.#hashes[chunk]
        if (known === undefined && found.length >= (pacer.isBusy ? 1 : AHEAD_CHUNKS)) break
        if (known === undefined) await pacer.pace(this.#lengthOf(chunk), signal)
        found.push(await (known ?? this.#hash(chunk)))
      }
    } finally {
      this.#chunkHashing.buffers.clear()
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
    const { hashing, buffers } = this.#chunkHashing
    const buffer = await buffers.take()
    try {
      return await hashing.digest(await this.read(buffer, chunk * CHUNK, this.#lengthOf(chunk)))
    } finally {
      buffers.give(buffer)
    }
  }
}

/** Files by digest, opened when somebody asks. */
export class SharedFiles {
  readonly #shelf: Shelf
  readonly #clock: Clock
  readonly #hashing: HashThread
  readonly #buffers = new BufferPool(CHUNK, HASHED_AT_ONCE)
  readonly #open = new Map<ModelDigest, { readonly file: Promise<SharedFile>; readonly foundAtMs: number }>()

  constructor(shelf: Shelf, clock: Clock) {
    this.#shelf = shelf
    this.#clock = clock
    this.#hashing = new HashThread(clock, { isBackground: true })
  }

  /** Models that have `text` as a name, a digest or a reference, or the one file that has it as its digest; all when it is empty. */
  async find(text: string): Promise<readonly SharedModel[]> {
    const byDigest = new Map((await this.#shelf()).map((model) => [model.digest, model] as const))
    const all = [...byDigest.values()].slice(0, LIMITS.modelsPerNodeMax)
    if (text === '') return all
    const key = text.toLowerCase()
    const found = all.filter(
      ({ digest, names, references }) =>
        digest === text || references.includes(text) || names.some((name) => name.toLowerCase() === key),
    )
    return found.length > 0
      ? found
      : all
          .flatMap(filesOf)
          .filter(({ digest }) => digest === text)
          .slice(0, 1)
  }

  /** @throws SkeinError MODEL_NOT_STORED, MODEL_FILE_INVALID. */
  async open(digest: ModelDigest): Promise<SharedFile> {
    const opened = this.#opened(digest) ?? (await this.#find(digest))
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
    await this.#hashing.close()
  }

  /** The file, when it is open and was found a moment ago. */
  #opened(digest: ModelDigest): Promise<SharedFile> | undefined {
    const known = this.#open.get(digest)
    return known !== undefined && this.#clock.nowMs() - known.foundAtMs < SHELF_MS ? known.file : undefined
  }

  /** @throws SkeinError MODEL_NOT_STORED. */
  async #find(digest: ModelDigest): Promise<SharedFile> {
    const [model] = await this.find(digest)
    const single = model?.parts === undefined ? model : filesOf(model).find((file) => file.digest === digest)
    if (single === undefined) {
      await this.#forget(digest)
      const why = model === undefined ? 'this node does not have' : 'of several files, to be asked for one by one, is'
      throw new SkeinError('MODEL_NOT_STORED', `${why} ${digest}`)
    }
    const chunkHashing = { hashing: this.#hashing, buffers: this.#buffers }
    const file = this.#open.get(digest)?.file ?? SharedFile.open(single.path, chunkHashing)
    this.#open.set(digest, { file, foundAtMs: this.#clock.nowMs() })
    return file
  }

  async #forget(digest: ModelDigest): Promise<void> {
    const opened = this.#open.get(digest)
    this.#open.delete(digest)
    await opened?.file.then((file) => file.close()).catch(() => {})
  }
}

/** Files of a model of several, each as something that is given. */
const filesOf = ({ parts, names }: SharedModel): SharedModel[] =>
  (parts?.files ?? []).map((file) => ({ ...file, names: names.slice(0, 1), references: [], quantization: '' }))

export const chunksOf = (sizeBytes: number): number => Math.ceil(sizeBytes / CHUNK)

const identityOf = (found: { size: bigint; mtimeNs: bigint; ino: bigint }): Identity => ({
  sizeBytes: Number(found.size),
  mtimeNs: found.mtimeNs,
  inode: found.ino,
})

const unreadable = (cause: unknown): never => {
  throw new SkeinError('MODEL_FILE_INVALID', 'the file of the model cannot be read', { cause })
}
