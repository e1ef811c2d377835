/**
 * The results of a batch on disk: one line each, appended and made durable in groups. The file is itself the record of what
 * has been answered: after a crash the lines that are whole count, and half a line at the end is cut off.
 */
import { createReadStream } from 'node:fs'
import { open, stat, type FileHandle } from 'node:fs/promises'
import { LIMITS, type SkeinError } from '../../mesh/protocol/index.ts'
import { diskError, writeAll, type FileStore } from './files.ts'
import { rawLines } from './lines.ts'

/** What a line of a result says besides its answer: an id, the client's id, a status, punctuation; escaped. */
const ENVELOPE_BYTES = 8 * 1024
const RESULT_LINE_BYTES_MAX = LIMITS.batchAnswerBytesMax + ENVELOPE_BYTES

/** Made so that the number of the line can be read from it. */
const ID = /^\{"id":"batch_req_[a-z2-7]{24}_(\d{1,6})",/

/** What a line of a batch came to. */
export interface LineResult {
  /** Of the input's line, from 1. */
  readonly number: number
  readonly customId: string
  readonly response?: { readonly status: number; readonly requestId: string; readonly body: string }
  /** Why there is no response. */
  readonly error?: { readonly code: string; readonly message: string }
}

/** As OpenAI has it. */
export function resultText(batchId: string, { number, customId, response, error }: LineResult): string {
  const id = `batch_req_${batchId.slice('batch_'.length)}_${number}`
  const answer = response
    ? `{"status_code":${response.status},"request_id":${JSON.stringify(response.requestId)},"body":${response.body}}`
    : 'null'
  return `{"id":"${id}","custom_id":${JSON.stringify(customId)},"response":${answer},"error":${error ? JSON.stringify(error) : 'null'}}\n`
}

interface Waiting {
  readonly text: string
  readonly isForced: boolean
  resolve(): void
  reject(error: SkeinError): void
}

export class ResultFile {
  readonly id: string
  readonly #files: FileStore
  readonly #handle: FileHandle
  #bytes: number
  #waiting: Waiting[] = []
  #writing: Promise<void> | undefined

  private constructor(files: FileStore, id: string, handle: FileHandle, bytes: number) {
    this.#files = files
    this.id = id
    this.#handle = handle
    this.#bytes = bytes
  }

  /**
   * Opens the file, made if need be, and cuts off what a crash left half written.
   *
   * @param onLine is told of each line that is there: the number of the line that it answers, and its value.
   * @throws SkeinError DATA_DIR_UNUSABLE, FILE_STORE_FULL.
   */
  static async open(
    files: FileStore,
    id: string,
    onLine: (number: number, value: unknown) => void,
  ): Promise<ResultFile> {
    const path = files.pathOf(id)
    try {
      const handle = await open(path, 'a+', 0o600)
      await handle.close()
      const whole = await wholeBytes(path, onLine)
      const writer = await open(path, 'r+')
      const { size } = await writer.stat()
      if (size > whole) {
        await writer.truncate(whole)
        await writer.sync()
        files.count(whole - size)
      }
      return new ResultFile(files, id, writer, whole)
    } catch (error) {
      throw diskError(error)
    }
  }

  get bytes(): number {
    return this.#bytes
  }

  /**
   * Adds a line. Resolves when it is durable.
   *
   * @param isForced it is written also where files may take no more: the last word on a line, which is short.
   * @throws SkeinError FILE_STORE_FULL, DATA_DIR_UNUSABLE: nothing of it is there, and it may be added again.
   */
  append(text: string, isForced = false): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ text, isForced, resolve, reject })
      this.#writing ??= this.#write().finally(() => (this.#writing = undefined))
    })
  }

  /** Lets go of the file, when what was added is durable. */
  async close(): Promise<void> {
    await this.#writing
    await this.#handle.close().catch(() => undefined)
  }

  async #write(): Promise<void> {
    // what one turn of the event loop adds goes together
    await Promise.resolve()
    while (this.#waiting.length > 0) {
      const group = this.#waiting.splice(0).filter((each) => this.#reserved(each))
      if (group.length === 0) continue
      const data = Buffer.from(group.map(({ text }) => text).join(''))
      try {
        await writeAll(this.#handle, data, this.#bytes)
        await this.#handle.datasync()
        this.#bytes += data.length
        for (const { resolve } of group) resolve()
      } catch (error) {
        this.#files.count(-data.length)
        await this.#handle.truncate(this.#bytes).catch(() => undefined)
        for (const { reject } of group) reject(diskError(error))
      }
    }
  }

  /** Whether there is room for it. */
  #reserved({ text, isForced, reject }: Waiting): boolean {
    const bytes = Buffer.byteLength(text)
    try {
      if (isForced) this.#files.count(bytes)
      else this.#files.reserve(bytes)
      return true
    } catch (error) {
      reject(diskError(error))
      return false
    }
  }
}

/** Bytes of the lines at the beginning that are whole. */
async function wholeBytes(path: string, onLine: (number: number, value: unknown) => void): Promise<number> {
  const source = createReadStream(path)
  const { size } = await stat(path)
  let whole = 0
  for await (const { offset, bytes } of rawLines(source, RESULT_LINE_BYTES_MAX)) {
    const end = offset + (bytes?.length ?? 0) + 1
    const number = bytes && end <= size ? ID.exec(bytes.toString('utf8', 0, 64))?.[1] : undefined
    const value = number === undefined ? undefined : valueOf(bytes!)
    if (value === undefined) break
    onLine(Number(number), value)
    whole = end
  }
  source.destroy()
  return whole
}

function valueOf(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    return undefined
  }
}
