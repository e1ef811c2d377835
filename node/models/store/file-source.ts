/** A model that is on this machine already: a GGUF file, or an ONNX model with what stands beside it. */
import { readdir, realpath, stat } from 'node:fs/promises'
import { basename, join, relative, sep } from 'node:path'
import { LIMITS, SkeinError } from '../../../mesh/protocol/index.ts'
import { describeOnnx } from '../../engines/index.ts'
import { onnxRole } from './manifest.ts'
import { chooseGraph, isOnnxPath, nameOfGraph } from './onnx-files.ts'
import type { FileReference } from './reference.ts'
import type { FileOfModel, LocalFile, LocatedFiles, ModelSource } from './source.ts'

/** Of a folder: more is no folder of one model. */
const ENTRIES_MAX = 4096

export class FileSource implements ModelSource {
  readonly reference: string
  readonly #path: string

  constructor({ text, path }: FileReference) {
    this.reference = text
    this.#path = path
  }

  /** @throws SkeinError MODEL_FILE_INVALID, MODEL_REFERENCE_INVALID listing what a folder has. */
  async locate(): Promise<LocalFile | LocatedFiles> {
    try {
      const isFolder = (await stat(this.#path)).isDirectory()
      if (isFolder) return await this.#onnx(await this.#graphIn(this.#path))
      if (isOnnxPath(this.#path)) return await this.#onnx(this.#path)
      return await this.#file(this.#path)
    } catch (thrown) {
      if (thrown instanceof SkeinError) throw thrown
      const { code } = thrown as NodeJS.ErrnoException
      const why = code === 'ENOENT' ? 'there is no such file' : `cannot be read (${code})`
      throw new SkeinError('MODEL_FILE_INVALID', `${this.#path}: ${why}`, { cause: thrown })
    }
  }

  async #file(given: string): Promise<LocalFile> {
    // the file itself: a link to it may be gone tomorrow
    const path = await realpath(given)
    const info = await stat(path)
    if (!info.isFile()) throw new SkeinError('MODEL_FILE_INVALID', `${given}: not a file`)
    if (info.size > LIMITS.modelFileBytesMax)
      throw new SkeinError('MODEL_FILE_INVALID', `${given}: larger than any model`)
    return { kind: 'local', source: path, file: basename(given), path, sizeBytes: info.size }
  }

  /** What belongs to the graph at `path` is what it is served with from there. */
  async #onnx(path: string): Promise<LocatedFiles> {
    const { companions } = await describeOnnx(path)
    const files: FileOfModel[] = []
    for (const part of [{ role: 'model', path }, ...companions])
      files.push({ ...onnxRole(part.role), from: await this.#file(part.path) })
    const sizeBytes = files.reduce((sum, { from }) => sum + from.sizeBytes, 0)
    return { kind: 'files', source: this.#path, file: nameOfGraph(path), sizeBytes, form: 'onnx', files }
  }

  async #graphIn(folder: string): Promise<string> {
    const below = ['.', 'onnx'].map((each) => readdir(join(folder, each), { withFileTypes: true }).catch(() => []))
    const files = (await Promise.all(below)).flat().filter((entry) => !entry.isDirectory())
    const paths = files.map(({ parentPath, name }) => relative(folder, join(parentPath, name)).split(sep).join('/'))
    const listed = paths.slice(0, ENTRIES_MAX).map((path) => ({ path, sizeBytes: 0 }))
    const wanted = { kind: 'hub', owner: '', repository: '', quantization: 'onnx', revision: '', text: folder } as const
    if (!listed.some(({ path }) => isOnnxPath(path)))
      throw new SkeinError(
        'MODEL_FILE_INVALID',
        `${folder}: not a file, and a folder without an .onnx file; a GGUF file is given by its own path`,
      )
    return join(folder, ...chooseGraph(listed, wanted)!.path.split('/'))
  }
}
