/**
 * A log that is a file, with rotation: `skein.log` is written; above `logFileBytesMax` it becomes `skein.log.000001`, which
 * is then compressed to `skein.log.000001.gz`; `logFilesMax` of those are kept.
 *
 * Lines are handed over at once and written in the background, in order, one write at a time: a slow disk delays no
 * answer. What is not yet written is bounded. While the file cannot be written (a full disk, a folder that is gone), what
 * goes over the bound is dropped and counted; the count is logged as soon as lines can be written again. Nothing here
 * throws after `open`, and nothing is flushed to the disk before it is compressed.
 */
import { writeSync } from 'node:fs'
import { mkdir, open, readdir, rename, rm, stat, type FileHandle } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { asSkeinError, LIMITS, SkeinError } from '../protocol/index.ts'
import type { CancelTimer, Clock } from './clock.ts'
import { compressLog } from './log-compress.ts'

/** Bytes of one write. */
const BATCH_BYTES = 256 * 1024
/** The file is looked for under its name this often: someone may have removed it, or moved it away. */
const LOOK_MS = 1000
const LINE_FEED = 0x0a
const NUMBER = /^\.(\d{6,12})(\.gz)?$/
/** A disk that is full becomes emptier; that it is so when Skein starts is no reason not to start. */
const PASSING = new Set(['ENOSPC', 'EDQUOT'])

export interface LogFileComponents {
  readonly clock: Clock
}

export interface LogFileInit {
  readonly path: string
  /** Size in bytes at which the file is put aside; `logFileBytesMax` when absent. */
  readonly fileBytesMax?: number
  /** How many are kept beside the one that is written; `logFilesMax` when absent. */
  readonly filesMax?: number
}

/** A file that was put aside, the older the smaller its number. */
export interface OldLog {
  readonly number: number
  readonly path: string
  readonly isCompressed: boolean
}

/**
 * What was put aside of the log at `path`, the oldest first. One that is there twice, since its compression was cut off
 * before its end, is the one that is to be compressed again.
 */
export async function oldLogs(path: string): Promise<OldLog[]> {
  const names = await readdir(dirname(path)).catch((): string[] => [])
  const found = new Map<number, OldLog>()
  for (const name of names) {
    if (!name.startsWith(basename(path))) continue
    const match = NUMBER.exec(name.slice(basename(path).length))
    if (match === null) continue
    const old = { number: Number(match[1]), path: join(dirname(path), name), isCompressed: match[2] !== undefined }
    if (!old.isCompressed || !found.has(old.number)) found.set(old.number, old)
  }
  return [...found.values()].sort((a, b) => a.number - b.number)
}

export class LogFile {
  readonly #clock: Clock
  readonly #path: string
  readonly #fileBytesMax: number
  readonly #filesMax: number
  #file: FileHandle | undefined
  #bytes = 0
  #inode = 0
  #lookedAtMs = Number.NEGATIVE_INFINITY
  #lines: Buffer[] = []
  #pendingBytes = 0
  /** What could not be written goes first; `isCut` when it begins in the middle of a line. */
  #rest: { readonly bytes: Buffer; readonly isCut: boolean } | undefined
  #dropped = 0
  #trouble: string | undefined
  #cancelRetry: CancelTimer | undefined
  #writing: Promise<void> | undefined
  #compressing: Promise<void> = Promise.resolve()
  #isClosed = false

  private constructor({ clock }: LogFileComponents, init: LogFileInit) {
    this.#clock = clock
    this.#path = init.path
    this.#fileBytesMax = init.fileBytesMax ?? LIMITS.logFileBytesMax
    this.#filesMax = init.filesMax ?? LIMITS.logFilesMax
  }

  /**
   * Opens the log, making it and its folder if need be. What a process that was killed left uncompressed is compressed.
   *
   * @throws SkeinError CONFIG_INVALID when it cannot be written; a full disk is no reason.
   */
  static async open(components: LogFileComponents, init: LogFileInit): Promise<LogFile> {
    const log = new LogFile(components, init)
    try {
      await log.#reopen()
      await log.#endCutLine()
    } catch (error) {
      if (!PASSING.has(codeOf(error) ?? ''))
        throw new SkeinError('CONFIG_INVALID', `--log-file ${init.path}: ${asSkeinError(error).message}`, {
          cause: error,
        })
      log.#failed(error)
    }
    log.#tidy()
    return log
  }

  /** Lines that were lost for want of room and are not yet told of in the log. */
  get dropped(): number {
    return this.#dropped
  }

  /** Takes a line with its line feed. Returns at once, and never throws. */
  write(line: string): void {
    if (this.#isClosed) return
    const bytes = Buffer.from(line)
    if (bytes.length > LIMITS.logLineBytesMax || this.#pendingBytes + bytes.length > LIMITS.logBufferBytesMax) {
      this.#dropped++
      if (bytes.length > LIMITS.logLineBytesMax) this.#trouble ??= `a line of ${bytes.length} bytes is too long`
      else this.#trouble ??= 'the disk is slower than the log'
    } else {
      this.#lines.push(bytes)
      this.#pendingBytes += bytes.length
    }
    this.#wake()
  }

  /** Resolves when what was written is in the file, or waits for the file to be writable again. */
  async settled(): Promise<void> {
    await this.#writing
  }

  /** Writes what is left, as far as that is possible, and waits for the compression. Calling it again does nothing. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#cancelRetry?.()
    await this.#writing
    if (this.#pendingBytes > 0 || this.#rest !== undefined || this.#dropped > 0) await this.#drain()
    await this.#compressing
    await this.#file?.close().catch(() => undefined)
    this.#file = undefined
  }

  /** For the last moment of a process, when nothing can be waited for: writes what no write in progress has taken. */
  flushSync(): void {
    if (this.#file === undefined || this.#trouble !== undefined) return
    try {
      const left = Buffer.concat(this.#lines)
      if (left.length > 0) writeSync(this.#file.fd, left)
    } catch {
      // the process ends, and this was the way to say so
    }
    this.#lines = []
    this.#pendingBytes = 0
  }

  #wake(): void {
    if (this.#writing !== undefined || this.#cancelRetry !== undefined) return
    this.#writing = this.#drain().finally(() => (this.#writing = undefined))
  }

  /** Until nothing is left or the file cannot be written; then again after a while. */
  async #drain(): Promise<void> {
    try {
      while (this.#rest !== undefined || this.#lines.length > 0 || this.#dropped > 0) {
        await this.#lookAtFile()
        this.#rest ??= { bytes: this.#takeBatch(), isCut: false }
        const { bytes, isCut } = this.#rest
        if (!isCut && this.#bytes > 0 && this.#bytes + bytes.length > this.#fileBytesMax) await this.#rotate()
        await this.#writeOut(bytes, isCut)
        if (this.#lines.length === 0 && this.#rest === undefined) this.#noteDropped()
      }
    } catch (error) {
      this.#failed(error)
    }
  }

  #failed(error: unknown): void {
    this.#trouble = asSkeinError(error).message
    if (this.#isClosed) return
    this.#cancelRetry = this.#clock.timer(LIMITS.logRetryMs, () => {
      this.#cancelRetry = undefined
      this.#wake()
    })
  }

  #takeBatch(): Buffer {
    const bytesMax = Math.min(BATCH_BYTES, this.#fileBytesMax)
    let bytes = 0
    let count = 0
    while (count < this.#lines.length && (count === 0 || bytes + this.#lines[count]!.length <= bytesMax))
      bytes += this.#lines[count++]!.length
    this.#pendingBytes -= bytes
    return Buffer.concat(this.#lines.splice(0, count))
  }

  async #writeOut(batch: Buffer, isCut: boolean): Promise<void> {
    let written = 0
    try {
      while (written < batch.length) {
        const { bytesWritten } = await this.#file!.write(batch, written)
        written += bytesWritten
        this.#bytes += bytesWritten
      }
      this.#rest = undefined
    } catch (error) {
      const isLineCut = written === 0 ? isCut : batch[written - 1] !== LINE_FEED
      this.#rest = { bytes: batch.subarray(written), isCut: isLineCut }
      throw error
    }
  }

  /** Once lines can be written again, and behind those that were kept. */
  #noteDropped(): void {
    if (this.#dropped === 0) {
      this.#trouble = undefined
      return
    }
    const [count, cause] = [this.#dropped, this.#trouble ?? 'unknown']
    const time = new Date(this.#clock.wallMs()).toISOString()
    const note = { level: WARN, time, scope: 'skein:log', dropped: count, msg: `${count} lines were dropped: ${cause}` }
    const bytes = Buffer.from(`${JSON.stringify(note)}\n`)
    this.#dropped = 0
    this.#trouble = undefined
    this.#lines.push(bytes)
    this.#pendingBytes += bytes.length
  }

  /** Opens the file anew when it is not, or when its name leads elsewhere by now. */
  async #lookAtFile(): Promise<void> {
    const nowMs = this.#clock.nowMs()
    if (this.#file !== undefined && nowMs - this.#lookedAtMs < LOOK_MS && this.#trouble === undefined) return
    this.#lookedAtMs = nowMs
    const found = await stat(this.#path).catch(() => undefined)
    if (this.#file === undefined || found?.ino !== this.#inode) await this.#reopen()
    // someone may have emptied it
    else this.#bytes = found.size
  }

  async #reopen(): Promise<void> {
    const before = this.#file
    this.#file = undefined
    await before?.close().catch(() => undefined)
    await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 })
    const file = await open(this.#path, 'a+', 0o600)
    const { size, ino } = await file.stat()
    this.#file = file
    this.#bytes = size
    const isOther = ino !== this.#inode
    this.#inode = ino
    if (isOther && this.#rest?.isCut === true) this.#forgetCutLine(this.#rest.bytes)
  }

  /** The first half of the line is in the file that went away: the second half would be no line. */
  #forgetCutLine(rest: Buffer): void {
    const end = rest.indexOf(LINE_FEED)
    this.#rest = end === -1 ? undefined : { bytes: rest.subarray(end + 1), isCut: false }
    this.#dropped++
  }

  /** A process that was killed, or that found the disk full, may have left half a line: ours is none of its. */
  async #endCutLine(): Promise<void> {
    if (this.#bytes === 0) return
    const { buffer } = await this.#file!.read(Buffer.alloc(1), 0, 1, this.#bytes - 1)
    if (buffer[0] !== LINE_FEED) this.#rest = { bytes: Buffer.of(LINE_FEED), isCut: true }
  }

  /** Puts the file aside under the next number and begins a new one. What waits to be written goes to the new one. */
  async #rotate(): Promise<void> {
    const number = ((await oldLogs(this.#path)).at(-1)?.number ?? 0) + 1
    await rename(this.#path, `${this.#path}.${String(number).padStart(6, '0')}`).catch((error: unknown) => {
      // another process that writes here was first: the name leads to its new file
      if (codeOf(error) !== 'ENOENT') throw error
    })
    await this.#reopen()
    this.#tidy()
  }

  /** Compresses what was put aside and removes what is too old, one after the other, beside the writing. */
  #tidy(): void {
    this.#compressing = this.#compressing.then(async () => {
      for (const old of await oldLogs(this.#path)) if (!old.isCompressed) await compressLog(old.path)
      for (const old of (await oldLogs(this.#path)).slice(0, -this.#filesMax))
        await rm(old.path, { force: true }).catch(() => undefined)
    })
  }
}

/** As pino numbers it. */
const WARN = 40

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code
