/**
 * The unfinished file of one pull, and what is known of it: which of its bytes are there, and of what file they are. The
 * record never claims bytes that the disk may still lose: the file is flushed before the record is replaced, so that
 * after a crash the pull goes on from what the record says.
 */
import { open, readFile, rm } from 'node:fs/promises'
import { Type, type Static } from 'typebox'
import { checker, LIMITS } from '../../../mesh/protocol/index.ts'
import { writeFileAtomic } from '../../../mesh/runtime/index.ts'
import { asStoreError, type Disk, type PartHandle } from './disk.ts'
import { RangeSet, type ByteRange } from './ranges.ts'

const RANGES_MAX = 4096
/** A block of most file systems. */
const RECORD_STEP_BYTES = 4096

const RecordSchema = Type.Object({
  version: Type.Literal(1),
  /** For people who look at what is unfinished. */
  name: Type.String({ maxLength: LIMITS.modelNameLengthMax }),
  reference: Type.String({ maxLength: 8192 }),
  sizeBytes: Type.Integer({ minimum: 1, maximum: LIMITS.modelFileBytesMax }),
  sha256: Type.Optional(Type.String({ pattern: '^[0-9a-f]{64}$' })),
  validator: Type.Optional(Type.String({ maxLength: 1024 })),
  done: Type.Array(Type.Tuple([Type.Integer({ minimum: 0 }), Type.Integer({ minimum: 0 })]), { maxItems: RANGES_MAX }),
})
const isRecord = checker(RecordSchema)
export type PartRecord = Static<typeof RecordSchema>

/** What the bytes are of. */
export type PartIdentity = Omit<PartRecord, 'version' | 'done'>

export interface PartPaths {
  readonly data: string
  readonly record: string
}

/** The record of a part; `undefined` when there is none that can be read. */
export async function readPartRecord(path: string): Promise<PartRecord | undefined> {
  try {
    const parsed: unknown = JSON.parse(await readFile(path, 'utf8'))
    return isRecord(parsed) ? parsed : undefined
  } catch {
    return undefined
  }
}

export const doneBytesOf = ({ done }: Pick<PartRecord, 'done'>): number =>
  done.reduce((sum, [start, end]) => sum + end - start, 0)

/** Whether bytes of a file that `kept` describes are bytes of `wanted`. */
const isSame = (kept: PartIdentity, wanted: PartIdentity): boolean =>
  kept.sizeBytes === wanted.sizeBytes &&
  (wanted.sha256 === undefined
    ? kept.sha256 === undefined && wanted.validator !== undefined && kept.validator === wanted.validator
    : kept.sha256 === wanted.sha256)

export class Part {
  readonly identity: PartIdentity
  readonly handle: PartHandle
  /** Bytes that were there when it was opened. */
  readonly resumedBytes: number
  readonly #paths: PartPaths
  readonly #done: RangeSet
  /** What nobody fetches yet, in ascending order. */
  #gaps: ByteRange[]
  #isDirty = false

  private constructor(paths: PartPaths, identity: PartIdentity, handle: PartHandle, done: RangeSet) {
    this.#paths = paths
    this.identity = identity
    this.handle = handle
    this.#done = done
    this.#gaps = done.gaps(identity.sizeBytes)
    this.resumedBytes = done.bytes
  }

  /**
   * Opens the part of `identity`: what is kept of the same file, or an empty one. The caller holds its lock.
   *
   * @throws SkeinError DISK_FULL, DATA_DIR_UNUSABLE.
   */
  static async open(disk: Disk, paths: PartPaths, identity: PartIdentity): Promise<Part> {
    const kept = await readPartRecord(paths.record)
    const ranges = kept !== undefined && isSame(kept, identity) ? kept.done : []
    const done = new RangeSet(ranges.map(([start, end]) => ({ start, end: Math.min(end, identity.sizeBytes) })))
    let handle: PartHandle | undefined
    try {
      handle = await disk.open(paths.data)
      if (done.bytes === 0) await handle.truncate(0)
      const part = new Part(paths, identity, handle, done)
      // Even of nothing there is a record: what has none would be found by nobody.
      if (done.bytes === 0) await part.#record([])
      return part
    } catch (thrown) {
      await handle?.close()
      throw asStoreError(thrown, paths.data)
    }
  }

  get path(): string {
    return this.#paths.data
  }

  get doneBytes(): number {
    return this.#done.bytes
  }

  get missingBytes(): number {
    return this.identity.sizeBytes - this.#done.bytes
  }

  /** Bytes from the beginning that are there without a gap. */
  get prefixBytes(): number {
    return this.#done.prefixEnd
  }

  /**
   * The first of what nobody fetches yet, at most `bytesMax` of it; `undefined` when there is no more. It ends at a
   * multiple of `stepBytes` where there is one within reach, so that whoever gives whole steps gives none twice.
   */
  take(bytesMax: number, stepBytes = 1): ByteRange | undefined {
    const [first, ...rest] = this.#gaps
    if (first === undefined) return undefined
    const far = first.start + bytesMax
    const step = far - (far % stepBytes)
    const end = Math.min(first.end, step > first.start ? step : far)
    this.#gaps = end < first.end ? [{ start: end, end: first.end }, ...rest] : rest
    return { start: first.start, end }
  }

  /** What was taken and will not be fetched by its taker. */
  giveBack(range: ByteRange): void {
    if (range.start < range.end) this.#gaps = [...this.#gaps, range].sort((a, b) => a.start - b.start)
  }

  /** @throws SkeinError DISK_FULL, DATA_DIR_UNUSABLE. */
  async write(position: number, bytes: Uint8Array): Promise<void> {
    try {
      for (let offset = 0; offset < bytes.length;) {
        const left = bytes.length - offset
        const { bytesWritten } = await this.handle.write(bytes, offset, left, position + offset)
        offset += bytesWritten
      }
    } catch (thrown) {
      throw asStoreError(thrown, this.#paths.data)
    }
    this.#done.add({ start: position, end: position + bytes.length })
    this.#isDirty = true
  }

  /** Makes what was written durable, then says so in the record. @throws SkeinError DISK_FULL, DATA_DIR_UNUSABLE. */
  async flush(): Promise<void> {
    if (!this.#isDirty) return
    this.#isDirty = false
    // As of now: what is written while the disk flushes may not be claimed.
    const done = this.#done.ranges.slice(0, RANGES_MAX).map(({ start, end }): [number, number] => [start, end])
    try {
      await this.handle.datasync()
      await this.#record(done)
    } catch (thrown) {
      this.#isDirty = true
      throw asStoreError(thrown, this.#paths.record)
    }
  }

  /**
   * Replaces the record. On a disk that is full there is no room for a second one: then it is written over, which the room
   * that it leaves free at its end allows. A crash in that instant costs the record; without it, all would be lost for sure.
   */
  async #record(done: [number, number][]): Promise<void> {
    const record: PartRecord = { version: 1, ...this.identity, done }
    const text = JSON.stringify(record)
    const padded = text.padEnd(Math.ceil((text.length + 1) / RECORD_STEP_BYTES) * RECORD_STEP_BYTES)
    try {
      await writeFileAtomic(this.#paths.record, padded)
    } catch (thrown) {
      if (asStoreError(thrown, this.#paths.record).code !== 'DISK_FULL') throw thrown
      const file = await open(this.#paths.record, 'r+').catch(() => {
        throw thrown
      })
      try {
        if ((await file.stat()).size < Buffer.byteLength(padded)) throw thrown
        await file.write(padded, 0, 'utf8')
        await file.sync()
      } finally {
        await file.close()
      }
    }
  }

  async close(): Promise<void> {
    await this.handle.close()
  }

  /** Removes a part that is closed. */
  static async discard(paths: PartPaths): Promise<void> {
    // the record first: it must not outlive the bytes that it claims
    await rm(paths.record, { force: true })
    await rm(paths.data, { force: true })
  }
}
