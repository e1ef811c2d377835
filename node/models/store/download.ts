/**
 * Fills a part from its source. One connection at first, until the head is known to be a model's; then several, each
 * taking the next segment of what is missing, while the hash follows the front. A connection that breaks goes on where
 * it was; one that gets nothing several times in a row gives its segment back and leaves, so that a source that allows
 * only two connections is served by two.
 */
import { asSkeinError, LIMITS, SkeinError } from '../../../mesh/protocol/index.ts'
import { sleep, type Clock, type Random } from '../../../mesh/runtime/index.ts'
import { mayPass, retryDelayMs, type Retry } from './backoff.ts'
import { checkSpace, type Disk, type KeepFree } from './disk.ts'
import { checkHead, HEAD_STEPS_BYTES } from './head-check.ts'
import type { Hashing } from './hash-thread.ts'
import type { Part } from './part.ts'
import { PrefixHash } from './prefix-hash.ts'
import type { ByteRange } from './ranges.ts'
import type { RemoteFile } from './source.ts'

export interface DownloadComponents {
  readonly clock: Clock
  readonly random: Random
  readonly disk: Disk
  readonly hashing: Hashing
}

export interface DownloadInit {
  readonly file: RemoteFile
  readonly part: Part
  /** Whether its head must be that of a GGUF model. */
  readonly isGguf: boolean
  readonly connections: number
  readonly keepFree?: KeepFree
  readonly onRetry: (retry: Retry) => void
  readonly onProgress: (doneBytes: number) => void
}

/** How often the record follows, and the disk is looked at. */
const FLUSH_MS = 1000
/** Each connection takes this share of what is missing at once, within bounds: the front must not be far from the rest. */
const SEGMENTS_PER_CONNECTION = 8
const SEGMENT_BYTES_MIN = 4 * 1024 ** 2
const SEGMENT_BYTES_MAX = 64 * 1024 ** 2
const MEMBER_CHUNKS_PER_CONNECTION = 2
/** Failures in a row after which a connection leaves the work to the others. */
const LEAVES_AFTER = 3

/**
 * Returns the SHA-256 of the whole file. Whatever happens, the part is left as it can be gone on with, open and flushed as
 * far as the disk allows.
 *
 * @throws SkeinError MODEL_PULL_FAILED, MODEL_SOURCE_CHANGED, MODEL_SOURCE_REFUSED, MODEL_FILE_INVALID, DISK_FULL,
 *   DATA_DIR_UNUSABLE; the signal's reason.
 */
export async function download(
  components: DownloadComponents,
  init: DownloadInit,
  signal: AbortSignal,
): Promise<string> {
  return new Download(components, init).run(signal)
}

class Download {
  readonly #components: DownloadComponents
  readonly #init: DownloadInit
  readonly #hash: PrefixHash
  readonly #stopping = new AbortController()
  #isModel: boolean
  /** Prefix at which the head is looked at again. */
  #lookAtBytes: number
  #connections = 0

  constructor(components: DownloadComponents, init: DownloadInit) {
    this.#components = components
    this.#init = init
    const { part } = init
    this.#hash = new PrefixHash(part.handle, components.hashing)
    // Several connections are at work only behind a head that was found good.
    this.#isModel = !init.isGguf || part.doneBytes > part.prefixBytes
    this.#lookAtBytes = Math.min(HEAD_STEPS_BYTES[0]!, part.identity.sizeBytes)
  }

  async run(outer: AbortSignal): Promise<string> {
    const signal = AbortSignal.any([outer, this.#stopping.signal])
    const { part } = this.#init
    const flushing = this.#flushAtTimes(signal)
    try {
      this.#hash.advance(part.prefixBytes)
      await this.#lookAtHead()
      while (!this.#isModel && part.missingBytes > 0) await this.#connect(signal)
      while (part.missingBytes > 0) await this.#connectAll(signal)
      const digest = await this.#hash.finish(part.identity.sizeBytes)
      await part.flush()
      return digest
    } catch (thrown) {
      outer.throwIfAborted()
      const cause: unknown = this.#stopping.signal.reason ?? thrown
      throw cause
    } finally {
      this.#stopping.abort(new SkeinError('CLIENT_CLOSED', 'the download has ended'))
      await Promise.all([flushing, this.#hash.stop()])
      // Of a full disk the earlier record stands, which claims less.
      await part.flush().catch(() => {})
    }
  }

  async #connectAll(signal: AbortSignal): Promise<void> {
    const { file, connections } = this.#init
    // while chunks of members are checked and written, as many others come
    const wanted = file.members === undefined ? connections : MEMBER_CHUNKS_PER_CONNECTION * connections
    const count = file.isRanged ? Math.min(LIMITS.pullConnectionsMax, wanted) : 1
    const all = Array.from({ length: count }, () =>
      this.#connect(signal).catch((thrown: unknown) => {
        // the first that fails for good ends the others
        this.#stopping.abort(thrown)
        throw thrown
      }),
    )
    await Promise.allSettled(all)
    signal.throwIfAborted()
  }

  /** One connection: takes what is next until there is nothing more, or until the head is known. */
  async #connect(signal: AbortSignal): Promise<void> {
    const { part } = this.#init
    this.#connections++
    const wasModel = this.#isModel
    for (let range = this.#next(part); range; range = this.#next(part)) {
      if (!(await this.#fetch(range, signal))) return
      if (wasModel !== this.#isModel) break
    }
    this.#connections--
  }

  #next(part: Part): ByteRange | undefined {
    return part.take(this.#segmentBytes(), this.#init.file.members === undefined ? 1 : LIMITS.modelChunkBytes)
  }

  #segmentBytes(): number {
    const { part, connections, file } = this.#init
    if (!file.isRanged) return part.identity.sizeBytes
    // one chunk at a time: the next goes to whichever member has time for it
    if (file.members !== undefined) return LIMITS.modelChunkBytes
    if (!this.#isModel) return Math.max(1, this.#lookAtBytes - part.prefixBytes)
    const share = Math.ceil(part.missingBytes / (connections * SEGMENTS_PER_CONNECTION))
    return Math.min(SEGMENT_BYTES_MAX, Math.max(SEGMENT_BYTES_MIN, share))
  }

  /** Fetches `range`, however often it breaks off. `false` when the connection left and gave back what it had taken. */
  async #fetch(range: ByteRange, signal: AbortSignal): Promise<boolean> {
    const { part, onRetry } = this.#init
    const { clock, random } = this.#components
    const rest = { start: range.start, end: range.end }
    for (let failures = 0; rest.start < rest.end;) {
      const before = rest.start
      try {
        await this.#readInto(rest, signal)
      } catch (thrown) {
        signal.throwIfAborted()
        if (!mayPass(thrown)) throw thrown
        this.#checkMayGoOn()
        failures = rest.start > before ? 1 : failures + 1
        if (failures >= LEAVES_AFTER && this.#connections > 1) {
          this.#connections--
          part.giveBack(rest)
          return false
        }
        const delayMs = retryDelayMs(thrown, failures, random)
        if (delayMs === undefined || failures >= LIMITS.pullFailuresMax) throw thrown
        onRetry({ error: thrown, delayMs })
        await sleep(clock, delayMs, signal)
      }
    }
    return true
  }

  /**
   * Reads and writes `rest`, whose start follows. A byte that is there is never written again: what was hashed must stay
   * what is on the disk, whatever a source sends the second time. So of a source without ranges, which begins anew each
   * time, what is there already is passed over.
   */
  async #readInto(rest: { start: number; readonly end: number }, signal: AbortSignal): Promise<void> {
    const { part, file } = this.#init
    let at = file.isRanged ? rest.start : 0
    const range = file.isRanged ? { ...rest } : { start: 0, end: file.sizeBytes }
    for await (const chunk of file.read(range, signal)) {
      signal.throwIfAborted()
      const fresh = chunk.subarray(Math.max(0, rest.start - at), Math.max(0, rest.end - at))
      at += chunk.length
      if (fresh.length === 0) continue
      await part.write(rest.start, fresh)
      rest.start += fresh.length
      await this.#wrote()
    }
  }

  /** @throws SkeinError MODEL_SOURCE_CHANGED when nothing could tell whether the file is still the same. */
  #checkMayGoOn(): void {
    const { file } = this.#init
    if (file.sha256 === undefined && file.validator === undefined)
      throw new SkeinError(
        'MODEL_SOURCE_CHANGED',
        `${file.origin}: the connection broke off, and it has no version to go on with`,
      )
  }

  async #wrote(): Promise<void> {
    const { part, onProgress } = this.#init
    onProgress(part.doneBytes)
    this.#hash.advance(part.prefixBytes)
    await this.#lookAtHead()
  }

  /** Looks at the head when enough of it is there to be worth it. @throws SkeinError MODEL_FILE_INVALID. */
  async #lookAtHead(): Promise<void> {
    const { part, file } = this.#init
    const { sizeBytes } = part.identity
    if (this.#isModel || part.prefixBytes < this.#lookAtBytes) return
    const prefixBytes = part.prefixBytes
    try {
      const { kind } = await checkHead(part.path, part.handle, prefixBytes, sizeBytes)
      this.#isModel = kind === 'model'
    } catch (thrown) {
      const { code, message } = asSkeinError(thrown)
      throw new SkeinError(code, message.replaceAll(part.path, `${file.origin}, ${file.file}`), { cause: thrown })
    }
    const next = HEAD_STEPS_BYTES.find((bytes) => bytes > prefixBytes)
    // A head that is longer than any known one is looked at when the whole file is there.
    if (next === undefined && !this.#isModel) this.#isModel = prefixBytes < sizeBytes
    this.#lookAtBytes = Math.min(next ?? sizeBytes, sizeBytes)
  }

  /** Follows with the record, and watches the disk, until `signal` aborts. A full disk ends the download. */
  async #flushAtTimes(signal: AbortSignal): Promise<void> {
    const { part, keepFree } = this.#init
    const { clock, disk } = this.#components
    try {
      for (;;) {
        await sleep(clock, FLUSH_MS, signal)
        await part.flush()
        await checkSpace(disk, part.path, part.missingBytes, keepFree)
      }
    } catch (thrown) {
      // Ended by the signal: whoever aborted it knows why.
      if (!signal.aborted) this.#stopping.abort(thrown)
    }
  }
}
