/** A model that is on this machine already. */
import { realpath, stat } from 'node:fs/promises'
import { basename } from 'node:path'
import { LIMITS, SkeinError } from '../../../mesh/protocol/index.ts'
import type { FileReference } from './reference.ts'
import type { LocalFile, ModelSource } from './source.ts'

export class FileSource implements ModelSource {
  readonly reference: string
  readonly #path: string

  constructor({ text, path }: FileReference) {
    this.reference = text
    this.#path = path
  }

  async locate(): Promise<LocalFile> {
    try {
      // the file itself: a link to it may be gone tomorrow
      const path = await realpath(this.#path)
      const info = await stat(path)
      if (!info.isFile()) throw new SkeinError('MODEL_FILE_INVALID', `${this.#path}: not a file`)
      if (info.size > LIMITS.modelFileBytesMax)
        throw new SkeinError('MODEL_FILE_INVALID', `${this.#path}: larger than any model`)
      return { kind: 'local', source: path, file: basename(this.#path), path, sizeBytes: info.size }
    } catch (thrown) {
      if (thrown instanceof SkeinError) throw thrown
      const { code } = thrown as NodeJS.ErrnoException
      const why = code === 'ENOENT' ? 'there is no such file' : `cannot be read (${code})`
      throw new SkeinError('MODEL_FILE_INVALID', `${this.#path}: ${why}`, { cause: thrown })
    }
  }
}
