/**
 * Kept answers in files, within a bound of bytes: one file for each, written beside its place and renamed into it. Nothing
 * is flushed: what a crash tears has another digest than its first line says, is deleted when it is read, and was never
 * more than a copy. The folder may be deleted at any time, also while it is in use.
 *
 * Files are written one after another, and not waited for. What is looked for before the folder was looked through is
 * looked for by its name.
 */
import { mkdir, open, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { LIMITS } from '../../mesh/protocol/index.ts'
import type { Clock, Logger } from '../../mesh/runtime/index.ts'
import type { AnswerKey } from './key.ts'
import { decodeAnswer, encodeAnswer, type KeptAnswer } from './kept-answer.ts'

/** Of files that wait to be written; what comes above it is kept in memory alone. */
const PENDING_BYTES_MAX = 32 * 1024 * 1024
const NAME = /^[0-9a-f]{64}$/

interface FileEntry {
  readonly bytes: number
  /** Wall clock, in ms: also the file's time of change. */
  readonly madeAtMs: number
}

export interface DiskTierInit {
  readonly dir: string
  readonly bytesMax: number
}

/** What happened since the start. */
export interface DiskCounters {
  /** Answers that made place. */
  evicted: number
  /** Files whose content was not what had been written. */
  corrupted: number
  /** Answers that were not written: the disk refused, or too many waited. */
  unwritten: number
}

export class DiskTier {
  readonly counters: DiskCounters = { evicted: 0, corrupted: 0, unwritten: 0 }
  readonly #init: DiskTierInit
  readonly #clock: Clock
  readonly #log: Logger
  /** In the order of their last use, as far as that is known. */
  readonly #files = new Map<AnswerKey, FileEntry>()
  #bytes = 0
  #pendingBytes = 0
  #isKnown = false
  #isClosing = false
  #isRefused = false
  /** What is done to the files, one after another. */
  #tail: Promise<void> = Promise.resolve()

  constructor({ clock, log }: { readonly clock: Clock; readonly log: Logger }, init: DiskTierInit) {
    this.#init = init
    this.#clock = clock
    this.#log = log
  }

  get entries(): number {
    return this.#files.size
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Begins to look through what an earlier life has left. */
  start(): void {
    this.#then(() => this.#scan())
  }

  /** Resolves when what was begun is done. Does not throw. */
  async settled(): Promise<void> {
    await this.#tail
  }

  /** Writes what waits, and nothing that comes after. Does not throw. */
  async close(): Promise<void> {
    this.#isClosing = true
    await this.#tail
  }

  /** Does not throw: what cannot be read is not there. */
  async get(key: AnswerKey): Promise<KeptAnswer | undefined> {
    if (this.#isKnown && !this.#files.has(key)) return undefined
    const bytes = await this.#read(key)
    if (bytes === undefined) return void this.#forget(key)
    const answer = decodeAnswer(key, bytes)
    if (answer === undefined) {
      this.counters.corrupted++
      this.#log.warn({ answer: key.slice(0, 12) }, 'a kept answer is damaged; it is deleted')
      this.delete(key)
      return undefined
    }
    const entry = this.#files.get(key)
    if (entry) this.#files.delete(key)
    if (entry) this.#files.set(key, entry)
    return answer
  }

  put(key: AnswerKey, answer: KeptAnswer): void {
    if (this.#isClosing) return
    const bytes = encodeAnswer(key, answer)
    const isTooMuch = this.#pendingBytes + bytes.length > PENDING_BYTES_MAX
    if (isTooMuch || bytes.length > Math.min(LIMITS.cachedAnswerBytesMax, this.#init.bytesMax))
      return void this.counters.unwritten++
    this.#pendingBytes += bytes.length
    this.#then(async () => {
      this.#pendingBytes -= bytes.length
      await this.#write(key, bytes, answer.madeAtMs)
      await this.#makeRoom()
    })
  }

  delete(key: AnswerKey): void {
    this.#forget(key)
    this.#then(() => rm(this.#path(key), { force: true }))
  }

  /** Deletes those from before `wallMs`. Returns how many. */
  expire(wallMs: number): number {
    const old = [...this.#files].filter(([, { madeAtMs }]) => madeAtMs < wallMs)
    for (const [key] of old) this.delete(key)
    return old.length
  }

  async clear(): Promise<void> {
    this.#then(async () => {
      await rm(this.#init.dir, { recursive: true, force: true })
      this.#files.clear()
      this.#bytes = 0
    })
    await this.#tail
  }

  #path(key: AnswerKey): string {
    return join(this.#init.dir, key.slice(0, 2), key)
  }

  #forget(key: AnswerKey): void {
    this.#bytes -= this.#files.get(key)?.bytes ?? 0
    this.#files.delete(key)
  }

  #note(key: AnswerKey, entry: FileEntry): void {
    this.#forget(key)
    this.#files.set(key, entry)
    this.#bytes += entry.bytes
  }

  #then(act: () => Promise<void>): void {
    this.#tail = this.#tail.then(act).then(
      () => void (this.#isRefused = false),
      (error: NodeJS.ErrnoException) => {
        if (!this.#isRefused) this.#log.warn({ code: error.code }, 'answers cannot be kept on the disk')
        this.#isRefused = true
        this.counters.unwritten++
      },
    )
  }

  async #read(key: AnswerKey): Promise<Buffer | undefined> {
    try {
      await using file = await open(this.#path(key), 'r')
      const { size } = await file.stat()
      // what is larger was not written here; its digest need not be taken to know that
      if (size > LIMITS.cachedAnswerBytesMax) return Buffer.alloc(0)
      return await file.readFile()
    } catch {
      return undefined
    }
  }

  async #write(key: AnswerKey, bytes: Buffer, madeAtMs: number): Promise<void> {
    const path = this.#path(key)
    const beside = `${path}.tmp`
    await mkdir(join(path, '..'), { recursive: true, mode: 0o700 })
    try {
      await writeFile(beside, bytes, { mode: 0o600 })
      await utimes(beside, madeAtMs / 1000, madeAtMs / 1000)
      await rename(beside, path)
    } catch (error) {
      await rm(beside, { force: true })
      throw error
    }
    this.#note(key, { bytes: bytes.length, madeAtMs })
  }

  async #makeRoom(): Promise<void> {
    for (const key of this.#files.keys()) {
      if (this.#bytes <= this.#init.bytesMax && this.#files.size <= LIMITS.cachedAnswersMax) return
      this.#forget(key)
      this.counters.evicted++
      await rm(this.#path(key), { force: true })
    }
  }

  /** Notes what there is, the oldest first, and deletes what a crash has left of files that were being written. */
  async #scan(): Promise<void> {
    const found: [AnswerKey, FileEntry][] = []
    for (const folder of await namesIn(this.#init.dir))
      for (const name of await namesIn(join(this.#init.dir, folder))) {
        if (this.#isClosing) return
        const path = join(this.#init.dir, folder, name)
        if (NAME.test(name)) {
          const facts = await stat(path).catch(() => undefined)
          if (facts?.isFile()) found.push([name as AnswerKey, { bytes: facts.size, madeAtMs: facts.mtimeMs }])
        } else if (name.endsWith('.tmp')) await rm(path, { force: true })
      }
    found.sort(([, a], [, b]) => a.madeAtMs - b.madeAtMs)
    for (const [key, entry] of found) this.#note(key, entry)
    this.#isKnown = true
    this.expire(this.#clock.wallMs() - LIMITS.cachedAnswerMs)
    await this.#makeRoom()
  }
}

/** Empty where there is no such folder. */
const namesIn = (dir: string): Promise<string[]> => readdir(dir).catch(() => [])
