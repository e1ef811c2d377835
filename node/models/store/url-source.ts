/** A model behind an `https:` URL. Its digest is what the caller says, or whatever it turns out to be. */
import { HttpFile } from './http-file.ts'
import { originOf, type SourceClient } from './http.ts'
import { onnxRole } from './manifest.ts'
import { isOnnxPath, nameOfGraph } from './onnx-files.ts'
import { printable, type UrlReference } from './reference.ts'
import type { LocatedFiles, ModelSource, RemoteFile } from './source.ts'

export class UrlSource implements ModelSource {
  readonly reference: string
  readonly #client: SourceClient
  readonly #url: URL

  constructor(client: SourceClient, reference: UrlReference) {
    this.reference = reference.text
    this.#client = client
    this.#url = reference.url
  }

  /** An ONNX file is a model by itself: what a server has beside it cannot be known. */
  async locate(signal: AbortSignal): Promise<RemoteFile | LocatedFiles> {
    const remote = await this.#remote(signal)
    const { source, file, sizeBytes } = remote
    if (!isOnnxPath(file)) return remote
    const files = [{ ...onnxRole('model'), from: remote }]
    return { kind: 'files', source, file: nameOfGraph(file), sizeBytes, form: 'onnx', files }
  }

  async #remote(signal: AbortSignal): Promise<RemoteFile> {
    const file = new HttpFile(this.#client, { url: this.#url, headersFor: () => ({}) })
    const { sizeBytes, isRanged, validator } = await file.facts(signal)
    const remote: RemoteFile = {
      kind: 'remote',
      source: this.reference,
      file: printable(decoded(this.#url.pathname)),
      sizeBytes,
      isRanged,
      origin: originOf(this.#url),
      ...(validator !== undefined && { validator }),
      read: (range, readSignal) => file.read(range, remote, readSignal),
    }
    return remote
  }
}

/** A path with `%20` as a space; as it is when it is no valid encoding. */
function decoded(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch {
    return path
  }
}
