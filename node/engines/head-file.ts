/** A model file of which the head is read, and which nobody vouches for: what is wrong with it is said with its path. */
import { open, type FileHandle } from 'node:fs/promises'
import { asSkeinError, SkeinError } from '../../mesh/protocol/index.ts'

export class HeadFile {
  readonly sizeBytes: number
  readonly #file: FileHandle
  readonly #path: string

  constructor(file: FileHandle, path: string, sizeBytes: number) {
    this.#file = file
    this.#path = path
    this.sizeBytes = sizeBytes
  }

  /** The error that names the file and what is wrong with it. */
  fail(why: string): SkeinError {
    return new SkeinError('MODEL_FILE_INVALID', `${this.#path}: ${why}`)
  }

  /** That of a file which does not have the `bytes` at `position`. */
  truncated(bytes: number, position: number): SkeinError {
    return this.fail(
      `truncated: ${bytes} bytes are missing or cut at offset ${position}, the file has ${this.sizeBytes}`,
    )
  }

  /**
   * Fills `target` from `position` on, with `bytesMin` at least; returns with how many.
   *
   * @throws SkeinError MODEL_FILE_INVALID when the file does not have them.
   */
  async readInto(target: Buffer, position: number, bytesMin: number): Promise<number> {
    let filled = 0
    while (filled < bytesMin) {
      const { bytesRead } = await this.#file.read(target, filled, target.length - filled, position + filled)
      // the file became shorter while it was read
      if (bytesRead === 0) throw this.truncated(bytesMin, position)
      filled += bytesRead
    }
    return filled
  }
}

/**
 * What `read` makes of the file at `path`, which is open meanwhile.
 *
 * @throws SkeinError MODEL_FILE_INVALID, naming the file and what is wrong with it.
 */
export async function readHeadOf<T>(path: string, read: (file: HeadFile) => Promise<T>): Promise<T> {
  const invalid = (why: string, cause?: unknown): SkeinError =>
    new SkeinError('MODEL_FILE_INVALID', `${path}: ${why}`, { cause })
  let file: FileHandle
  try {
    file = await open(path, 'r')
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    throw invalid(code === 'ENOENT' ? 'there is no such file' : `cannot be opened (${code})`, cause)
  }
  try {
    const info = await file.stat()
    if (!info.isFile()) throw invalid('is not a file')
    return await read(new HeadFile(file, path, info.size))
  } catch (thrown) {
    throw thrown instanceof SkeinError ? thrown : invalid(`cannot be read: ${asSkeinError(thrown).message}`, thrown)
  } finally {
    await file.close()
  }
}
