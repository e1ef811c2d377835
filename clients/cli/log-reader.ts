/** Reads a log with its rotated parts, the oldest line first, and goes on as it grows. */
import { createReadStream } from 'node:fs'
import { open, stat, type FileHandle } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'
import { createGunzip } from 'node:zlib'
import { asSkeinError, SkeinError } from '../../mesh/protocol/index.ts'
import { oldLogs, sleep, type Clock, type OldLog } from '../../mesh/runtime/index.ts'

/** A longer line is cut into pieces: the file may be any file. */
const LINE_LENGTH_MAX = 256 * 1024
const CHUNK_BYTES = 64 * 1024
/** Of a log that is put aside again and again while it is opened. */
const OPEN_TRIES = 50
/** How often a log that is followed is looked at. */
const POLL_MS = 250

export interface ReadLogInit {
  readonly path: string
  /** Rotated files that were last written to before this (wall clock, ms since 1970) are left out. */
  readonly sinceMs?: number
  /** Called once, when all lines that were there have been given. */
  readonly onPresentRead?: () => Promise<void>
  /** Goes on as lines come, until `signal` aborts. The log need not be there yet. */
  readonly follow?: { readonly clock: Clock; readonly signal: AbortSignal }
}

/** Lines of pieces of text, each without its line feed. */
export class LineSplitter {
  readonly #decoder = new StringDecoder('utf8')
  #rest = '';

  *take(chunk: Buffer): Generator<string> {
    const lines = (this.#rest + this.#decoder.write(chunk)).split('\n')
    this.#rest = lines.pop()!
    yield* lines
    if (this.#rest.length <= LINE_LENGTH_MAX) return
    yield this.#rest
    this.#rest = ''
  }

  /** What came without a line feed. */
  *end(): Generator<string> {
    const rest = this.#rest + this.#decoder.end()
    this.#rest = ''
    if (rest !== '') yield rest
  }
}

/**
 * Every line of the log, the oldest first, through rotations, removals and truncations.
 *
 * @throws SkeinError NOT_FOUND when there is no log and it is not followed; DATA_DIR_UNUSABLE when it cannot be read; the
 *   signal's reason.
 */
export async function* readLog({ path, sinceMs = 0, onPresentRead, follow }: ReadLogInit): AsyncGenerator<string> {
  const { file, old } = await openAndList(path)
  if (file === undefined && old.length === 0 && follow === undefined)
    throw new SkeinError('NOT_FOUND', `there is no log ${path}; a service has one, and --log-file makes one`)
  const following = new Following(path, file, old.at(-1)?.number ?? 0)
  try {
    for (const each of old) {
      const found = await stat(each.path).catch(() => undefined)
      if (found === undefined || found.mtimeMs >= sinceMs) yield* readOld(each)
    }
    yield* following.readOn()
    if (follow === undefined) yield* following.end()
    await onPresentRead?.()
    while (follow !== undefined) {
      yield* following.look()
      await sleep(follow.clock, POLL_MS, follow.signal)
    }
  } finally {
    await following.close()
  }
}

/** A file that was compressed, or removed for its age, since it was listed is looked for again, or left out. */
async function* readOld(old: OldLog): AsyncGenerator<string> {
  try {
    yield* lines(old.isCompressed ? gunzipped(old.path) : createReadStream(old.path))
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') {
      // the rest of the log is worth more than a complaint about a part of it
      if (isDamaged(error)) return
      throw unreadable(old.path, error)
    }
    if (old.isCompressed) return
    const compressed = { ...old, path: `${old.path}.gz`, isCompressed: true }
    yield* readOld(compressed)
  }
}

function gunzipped(path: string): Readable {
  const source = createReadStream(path)
  const gunzip = createGunzip()
  source.on('error', (error) => gunzip.destroy(error))
  gunzip.on('close', () => source.destroy())
  return source.pipe(gunzip)
}

async function* lines(stream: Readable): AsyncGenerator<string> {
  const splitter = new LineSplitter()
  for await (const chunk of stream) yield* splitter.take(chunk as Buffer)
  yield* splitter.end()
}

interface Opened {
  readonly handle: FileHandle
  readonly inode: number
  position: number
}

/** The file that is written, and what becomes of it. */
class Following {
  readonly #path: string
  #file: Opened | undefined
  #splitter = new LineSplitter()
  /** Number of the newest file that was put aside before the one that is read. */
  newest: number

  constructor(path: string, file: Opened | undefined, newest: number) {
    this.#path = path
    this.#file = file
    this.newest = newest
  }

  /** What has come since. */
  async *look(): AsyncGenerator<string> {
    yield* this.readOn()
    const found = await stat(this.#path).catch(() => undefined)
    if (found === undefined || found.ino === this.#file?.inode) return
    // put aside after all that it will ever have was written
    yield* this.readOn()
    yield* this.end()
    const before = this.#file === undefined ? this.newest : this.newest + 1
    await this.close()
    const { file, old } = await openAndList(this.#path)
    this.#file = file
    this.newest = old.at(-1)?.number ?? 0
    for (const each of old) if (each.number > before) yield* readOld(each)
    yield* this.readOn()
  }

  async *readOn(): AsyncGenerator<string> {
    const file = this.#file
    if (file === undefined) return
    // emptied by someone
    if ((await file.handle.stat()).size < file.position) file.position = 0
    const buffer = Buffer.alloc(CHUNK_BYTES)
    for (;;) {
      const { bytesRead } = await file.handle.read(buffer, 0, buffer.length, file.position)
      if (bytesRead === 0) return
      file.position += bytesRead
      yield* this.#splitter.take(buffer.subarray(0, bytesRead))
    }
  }

  *end(): Generator<string> {
    yield* this.#splitter.end()
  }

  async close(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    await file?.handle.close()
  }
}

/**
 * The file that is written, and all that were put aside before it. One that is put aside in between may be compressed by
 * the time it is listed, and is known by nothing then: the next one is opened in its place.
 */
async function openAndList(path: string): Promise<{ file: Opened | undefined; old: OldLog[] }> {
  for (let tries = 1; ; tries++) {
    const file = await openLog(path)
    const old = await oldLogs(path)
    const inode = (await stat(path).catch(() => undefined))?.ino
    if (inode === file?.inode || tries === OPEN_TRIES) return { file, old }
    await file?.handle.close()
  }
}

async function openLog(path: string): Promise<Opened | undefined> {
  try {
    const handle = await open(path, 'r')
    return { handle, inode: (await handle.stat()).ino, position: 0 }
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw unreadable(path, error)
  }
}

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code

/** As zlib says it of a file that is cut or is none of its. */
const isDamaged = (error: unknown): boolean => /^Z_/.test(codeOf(error) ?? '')

const unreadable = (path: string, cause: unknown): SkeinError =>
  new SkeinError('DATA_DIR_UNUSABLE', `${path}: ${asSkeinError(cause).message}`, { cause })
