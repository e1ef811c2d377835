/**
 * Files of clients: what each is, in the ledger, and what is in it, as a blob in a folder of the data directory. A blob is
 * written before its event and deleted behind it, so that a crash leaves blobs that no event names (the next start deletes
 * them) and never a file without its content. What all blobs may take together is bounded.
 */
import { createReadStream } from 'node:fs'
import { chmod, mkdir, open, readdir, rm, stat, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { asSkeinError, LIMITS, mintId, SkeinError } from '../../mesh/protocol/index.ts'
import type { Clock, Logger, Random } from '../../mesh/runtime/index.ts'
import type { BatchEvent, BatchEventOf, FilePurpose, Ledger } from '../ledger/index.ts'

export type BatchStore = Pick<Ledger, 'recordBatches' | 'batchEvents' | 'forgetBatches'>

export interface FilesComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly store: BatchStore
}

export interface FilesInit {
  /** Folder of the blobs; made if need be. */
  readonly directory: string
  /** Bytes of all blobs together. */
  readonly diskBytesMax: number
}

export interface StoredFile {
  readonly id: string
  readonly tenant: string
  readonly name: string
  readonly purpose: FilePurpose
  readonly bytes: number
  readonly createdAtMs: number
  readonly expiresAtMs: number
}

/** What a file is to be, once its content is whole. */
export interface FileRequest {
  readonly tenant: string
  readonly name: string
  /** How long it is kept. */
  readonly retentionMs: number
}

const NO_ROOM: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])

/** A failure of the disk, in words of the registry. */
export function diskError(thrown: unknown): SkeinError {
  const { code = '' } = thrown as NodeJS.ErrnoException
  if (thrown instanceof SkeinError) return thrown
  if (NO_ROOM.has(code)) return new SkeinError('FILE_STORE_FULL', 'the disk is full', { cause: thrown })
  return new SkeinError('DATA_DIR_UNUSABLE', `the files cannot be read or written: ${asSkeinError(thrown).message}`, {
    cause: thrown,
  })
}

/** Writes all of `data` at `position`. */
export async function writeAll(handle: FileHandle, data: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < data.length;) at += (await handle.write(data, at, data.length - at, position + at)).bytesWritten
}

export class FileStore {
  readonly #components: FilesComponents
  readonly #init: FilesInit
  /** In the order of their making. */
  readonly #files = new Map<string, StoredFile>()
  /** Of all blobs, those that are being written included. */
  #usedBytes = 0
  /** Uploads that have begun and not ended. */
  #uploads = 0

  constructor(components: FilesComponents, init: FilesInit) {
    this.#components = components
    this.#init = init
  }

  get usedBytes(): number {
    return this.#usedBytes
  }

  /**
   * Reads what is recorded, and makes the folder agree with it.
   *
   * @param unfinished blobs that are to be no files before their batch has ended.
   * @throws SkeinError LEDGER_UNAVAILABLE, DATA_DIR_UNUSABLE.
   */
  async open(events: readonly BatchEvent[], unfinished: ReadonlySet<string>): Promise<void> {
    for (const event of events) this.#apply(event)
    try {
      await mkdir(this.#init.directory, { recursive: true, mode: 0o700 })
      await chmod(this.#init.directory, 0o700)
      await this.#compare(unfinished)
    } catch (error) {
      throw diskError(error)
    }
  }

  list(): readonly StoredFile[] {
    return [...this.#files.values()]
  }

  get(id: string): StoredFile | undefined {
    return this.#files.get(id)
  }

  pathOf(id: string): string {
    return join(this.#init.directory, id)
  }

  newId(): string {
    return mintId('file', (length) => this.#components.random.bytes(length)).replace('_', '-')
  }

  /** Counts `bytes` against the room that there is. @throws SkeinError FILE_STORE_FULL. */
  reserve(bytes: number): void {
    const { diskBytesMax } = this.#init
    if (this.#usedBytes + bytes > diskBytesMax)
      throw new SkeinError(
        'FILE_STORE_FULL',
        `files may take ${diskBytesMax} bytes, of which ${this.#usedBytes} are taken; delete some, or give them more room (--files-disk)`,
      )
    this.#usedBytes += bytes
  }

  /** Counts bytes that are written whether there is room or not, or gives some back. */
  count(bytes: number): void {
    this.#usedBytes += bytes
  }

  /** Begins a file; its content follows. @throws SkeinError FILE_STORE_FULL, DATA_DIR_UNUSABLE. */
  async upload(): Promise<Upload> {
    if (this.#files.size + this.#uploads >= LIMITS.filesMax)
      throw new SkeinError('FILE_STORE_FULL', `there are ${LIMITS.filesMax} files already; delete some`)
    this.#uploads++
    try {
      const id = this.newId()
      const handle = await open(this.pathOf(id), 'wx', 0o600)
      return new Upload(this, id, handle, (request, bytes) => this.#finish(id, request, bytes))
    } catch (error) {
      this.#uploads--
      throw diskError(error)
    }
  }

  /** Of an upload that has ended, well or not. */
  released(): void {
    this.#uploads--
  }

  /** What an output of a batch becomes when the batch has ended. */
  outputEvent(id: string, request: FileRequest, bytes: number): BatchEventOf<'file.added'> {
    const atMs = this.#components.clock.wallMs()
    const { tenant, name, retentionMs } = request
    const expiresAtMs = atMs + retentionMs
    return { type: 'file.added', atMs, id, tenant, name, purpose: 'batch_output', bytes, expiresAtMs }
  }

  /** Takes note of what others have recorded. */
  recorded(event: BatchEvent): void {
    this.#apply(event)
  }

  /** Deletes a file; who reads it now reads on. @throws SkeinError LEDGER_UNAVAILABLE. */
  async delete(id: string): Promise<void> {
    const file = this.#files.get(id)
    if (file === undefined) return
    const event = { type: 'file.deleted', atMs: this.#components.clock.wallMs(), id } as const
    await this.#components.store.recordBatches([event])
    if (!this.#files.delete(id)) return
    this.#usedBytes -= file.bytes
    await this.#unlink(id)
    // a file that is gone is no part of any history: whoever has its id asks in vain
    await this.#components.store.forgetBatches([id]).catch(() => undefined)
  }

  /** Ids of those whose time is over. */
  expired(): string[] {
    const nowMs = this.#components.clock.wallMs()
    return this.list().flatMap(({ id, expiresAtMs }) => (expiresAtMs <= nowMs ? [id] : []))
  }

  /** The content. @throws SkeinError DATA_DIR_UNUSABLE when its blob is not there. */
  async read(id: string): Promise<AsyncIterable<Buffer>> {
    try {
      const handle = await open(this.pathOf(id), 'r')
      return createReadStream('', { fd: handle, highWaterMark: 64 * 1024 })
    } catch (error) {
      throw diskError(error)
    }
  }

  /** Deletes a blob that is no file. */
  async discard(id: string, bytes: number): Promise<void> {
    this.#usedBytes -= bytes
    await this.#unlink(id)
  }

  async #finish(id: string, { tenant, name, retentionMs }: FileRequest, bytes: number): Promise<StoredFile> {
    const atMs = this.#components.clock.wallMs()
    const expiresAtMs = atMs + retentionMs
    const event = { type: 'file.added', atMs, id, tenant, name, purpose: 'batch', bytes, expiresAtMs } as const
    await this.#components.store.recordBatches([event])
    this.#apply(event)
    return this.#files.get(id)!
  }

  #apply(event: BatchEvent): void {
    if (event.type === 'file.deleted') this.#files.delete(event.id)
    if (event.type !== 'file.added') return
    const { type: _type, atMs, ...file } = event
    this.#files.set(event.id, { ...file, createdAtMs: atMs })
  }

  async #compare(unfinished: ReadonlySet<string>): Promise<void> {
    const { log, store, clock } = this.#components
    const blobs = new Set(await readdir(this.#init.directory))
    for (const name of blobs) {
      if (this.#files.has(name) || unfinished.has(name)) this.#usedBytes += (await stat(this.pathOf(name))).size
      else await rm(this.pathOf(name), { recursive: true, force: true })
    }
    const lost = this.list().filter(({ id }) => !blobs.has(id))
    if (lost.length === 0) return
    log.warn({ files: lost.length }, 'the content of files is not there (a backup has none of it); they are deleted')
    await store.recordBatches(lost.map(({ id }) => ({ type: 'file.deleted', atMs: clock.wallMs(), id })))
    for (const { id } of lost) this.#files.delete(id)
  }

  async #unlink(id: string): Promise<void> {
    await rm(this.pathOf(id), { force: true }).catch((error: unknown) => {
      // the next start deletes it
      this.#components.log.warn({ file: id, err: error }, 'a blob could not be deleted')
    })
  }
}

/** Makes a blob of so many bytes a file. */
type Record = (request: FileRequest, bytes: number) => Promise<StoredFile>

/** One file on its way. Either `finish` or `discard` must end it. */
export class Upload {
  readonly id: string
  readonly #files: FileStore
  readonly #handle: FileHandle
  readonly #record: Record
  #bytes = 0
  #isOver = false

  constructor(files: FileStore, id: string, handle: FileHandle, record: Record) {
    this.#files = files
    this.id = id
    this.#handle = handle
    this.#record = record
  }

  get bytes(): number {
    return this.#bytes
  }

  /** @throws SkeinError BODY_TOO_LARGE, FILE_STORE_FULL, DATA_DIR_UNUSABLE. */
  async write(chunk: Uint8Array): Promise<void> {
    if (this.#bytes + chunk.length > LIMITS.batchFileBytesMax)
      throw new SkeinError('BODY_TOO_LARGE', `the file is larger than ${LIMITS.batchFileBytesMax} bytes`, {
        param: 'file',
      })
    this.#files.reserve(chunk.length)
    const at = this.#bytes
    this.#bytes += chunk.length
    try {
      await writeAll(this.#handle, chunk, at)
    } catch (error) {
      throw diskError(error)
    }
  }

  /** Makes it a file. Resolves when it is durable. @throws SkeinError LEDGER_UNAVAILABLE, FILE_STORE_FULL, DATA_DIR_UNUSABLE. */
  async finish(request: FileRequest): Promise<StoredFile> {
    try {
      await this.#handle.sync()
    } catch (error) {
      throw diskError(error)
    }
    await this.#handle.close()
    const file = await this.#record(request, this.#bytes)
    this.#over()
    return file
  }

  /** Leaves nothing of it. Does nothing to one that was finished. */
  async discard(): Promise<void> {
    if (!this.#over()) return
    await this.#handle.close().catch(() => undefined)
    await this.#files.discard(this.id, this.#bytes)
  }

  #over(): boolean {
    if (this.#isOver) return false
    this.#isOver = true
    this.#files.released()
    return true
  }
}
