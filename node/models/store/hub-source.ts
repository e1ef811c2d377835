/**
 * Models of Hugging Face, or of what speaks its API (`HF_ENDPOINT`): which files to take, their digests, their bytes.
 *
 *   GET /api/models/OWNER/REPO/tree/REVISION?recursive=true   files, with size and, in `lfs.oid`, SHA-256; pages by Link
 *   GET /OWNER/REPO/resolve/REVISION/FILE                     a redirect to where the bytes are, which may be another
 *     host; its headers have X-Repo-Commit, X-Linked-Size and X-Linked-Etag (the SHA-256)
 */
import { Type } from 'typebox'
import { checker, LIMITS, SkeinError } from '../../../mesh/protocol/index.ts'
import { HttpFile } from './http-file.ts'
import { originOf, type HeadersFor, type SourceClient } from './http.ts'
import { chooseGraph, filesOfGraph, isOnnxPath, nameInHub } from './onnx-files.ts'
import { chooseFile, isSplitFile, splitModel, type HubFile } from './quantization.ts'
import { checkUrl, hasClimb, printable, type HubReference } from './reference.ts'
import type { FileOfModel, LocatedFiles, ModelSource, RemoteFile } from './source.ts'

export interface HubInit {
  /** Base URL, such as `https://huggingface.co`. */
  readonly endpoint: URL
  /** Sent to the endpoint's own origin, and nowhere else. */
  readonly token?: string
}

const DEFAULT_ENDPOINT = 'https://huggingface.co'
const PAGES_MAX = 100
const SHA256 = /^[0-9a-f]{64}$/
const COMMIT = /^[0-9a-f]{40}$/

const isListing = checker(
  Type.Array(
    Type.Object({
      type: Type.String(),
      path: Type.String({ maxLength: 4096 }),
      size: Type.Optional(Type.Number({ minimum: 0 })),
      oid: Type.Optional(Type.String()),
      lfs: Type.Optional(Type.Union([Type.Null(), Type.Object({ oid: Type.String() })])),
    }),
  ),
)

/**
 * The hub that the environment names: `HF_ENDPOINT`, `HF_TOKEN`.
 *
 * @throws SkeinError CONFIG_INVALID for an endpoint that is none, MODEL_SOURCE_REFUSED for `http:` to a public host.
 */
export function hubOf(environment: Readonly<Record<string, string | undefined>>): HubInit {
  const text = environment['HF_ENDPOINT']?.trim() || DEFAULT_ENDPOINT
  if (!URL.canParse(text)) throw new SkeinError('CONFIG_INVALID', `HF_ENDPOINT: ${printable(text)} is not a URL`)
  const endpoint = new URL(text.replace(/\/+$/, ''))
  checkUrl(endpoint)
  const token = environment['HF_TOKEN']?.trim()
  if (token !== undefined && !/^[\x21-\x7e]{0,512}$/.test(token))
    throw new SkeinError('CONFIG_INVALID', 'HF_TOKEN: it has characters that no token has')
  return { endpoint, ...(token && { token }) }
}

export class HubSource implements ModelSource {
  readonly reference: string
  readonly #client: SourceClient
  readonly #hub: HubInit
  readonly #wanted: HubReference

  constructor(client: SourceClient, hub: HubInit, wanted: HubReference) {
    this.reference = wanted.text
    this.#client = client
    this.#hub = hub
    this.#wanted = wanted
  }

  async locate(signal: AbortSignal): Promise<RemoteFile | LocatedFiles> {
    const { file, revision, text } = this.#wanted
    if (file !== undefined && isSplitFile(file)) throw splitModel(text, file)
    const listed = file === undefined || isOnnxPath(file) ? await this.#list(signal) : []
    const graph = chooseGraph(listed, this.#wanted)
    if (graph !== undefined) return this.#onnx(graph, listed, signal)
    const chosen = file === undefined ? chooseFile(listed, this.#wanted) : { path: file }
    return (await this.#remote(chosen, revision, signal)).remote
  }

  /** An ONNX model: its graph, and what stands beside it, all of one commit. */
  async #onnx(graph: HubFile, listed: readonly HubFile[], signal: AbortSignal): Promise<LocatedFiles> {
    const { revision, repository } = this.#wanted
    const [first, ...beside] = filesOfGraph(graph, listed)
    const { remote, pinned } = await this.#remote(graph, revision, signal)
    const others = beside.map(async ({ file, ...role }): Promise<FileOfModel> => {
      const { remote: from } = await this.#remote(file, pinned, signal)
      return { ...role, from }
    })
    const { file: _file, ...role } = first!
    const files = [{ ...role, from: remote }, ...(await Promise.all(others))]
    return {
      kind: 'files',
      source: remote.source,
      file: nameInHub(repository, graph.path),
      sizeBytes: files.reduce((sum, { from }) => sum + from.sizeBytes, 0),
      form: 'onnx',
      files,
    }
  }

  async #remote(
    { path, ...listed }: Pick<HubFile, 'path' | 'sha256' | 'gitSha1'>,
    revision: string,
    signal: AbortSignal,
  ): Promise<{ readonly remote: RemoteFile; readonly pinned: string }> {
    const facts = await this.#file(revision, path).facts(signal)
    // Pinned: a branch that moves while its file is pulled would mix two files.
    const commit = facts.headers.get('x-repo-commit') ?? ''
    const pinned = COMMIT.test(commit) ? commit : revision
    const linked = (facts.headers.get('x-linked-etag') ?? '').replace(/^(?:W\/)?"|"$/g, '')
    const sha256 = [linked, listed.sha256].find((each) => each !== undefined && SHA256.test(each))
    const { owner, repository } = this.#wanted
    const pinnedFile = this.#file(pinned, path)
    const remote: RemoteFile = {
      kind: 'remote',
      source: `hf:${owner}/${repository}:${printable(path)}@${pinned}`,
      file: printable(path),
      sizeBytes: facts.sizeBytes,
      isRanged: facts.isRanged,
      origin: originOf(this.#hub.endpoint),
      ...(facts.validator !== undefined && { validator: facts.validator }),
      ...(sha256 !== undefined && { sha256 }),
      ...(sha256 === undefined && listed.gitSha1 !== undefined && { gitSha1: listed.gitSha1 }),
      read: (range, readSignal) => pinnedFile.read(range, remote, readSignal),
    }
    return { remote, pinned }
  }

  #file(revision: string, path: string): HttpFile {
    const { owner, repository } = this.#wanted
    const encoded = path.split('/').map(encodeURIComponent).join('/')
    const url = this.#url(`${owner}/${repository}/resolve/${encodeURIComponent(revision)}/${encoded}`)
    return new HttpFile(this.#client, { url, headersFor: this.#headersFor })
  }

  #url(path: string): URL {
    const { endpoint } = this.#hub
    return new URL(`${endpoint.pathname.replace(/\/$/, '')}/${path}`, endpoint)
  }

  /** The token goes to the hub's origin alone: where a redirect leads gets none. */
  readonly #headersFor: HeadersFor = (url) => {
    const { endpoint, token } = this.#hub
    return token !== undefined && url.origin === endpoint.origin ? { authorization: `Bearer ${token}` } : {}
  }

  async #list(signal: AbortSignal): Promise<HubFile[]> {
    const { owner, repository, revision } = this.#wanted
    const files: HubFile[] = []
    let bytesLeft: number = LIMITS.pullListingBytesMax
    let next: URL | undefined = this.#url(
      `api/models/${owner}/${repository}/tree/${encodeURIComponent(revision)}?recursive=true`,
    )
    for (let pages = 0; next !== undefined && pages < PAGES_MAX; pages++) {
      const open = await this.#client.open(next, { headersFor: this.#headersFor, accept: 'application/json' }, signal)
      const chunks: Uint8Array[] = []
      for await (const chunk of open.body()) {
        bytesLeft -= chunk.length
        if (bytesLeft < 0) throw this.#strange(`its list of files has over ${LIMITS.pullListingBytesMax} bytes`)
        chunks.push(chunk)
      }
      files.push(...this.#parse(Buffer.concat(chunks)))
      next = this.#nextPage(open.response.headers.get('link') ?? '', open.url)
    }
    return files
  }

  #parse(body: Buffer): HubFile[] {
    let listing: unknown
    try {
      listing = JSON.parse(body.toString('utf8'))
    } catch {
      throw this.#strange('its list of files is no JSON')
    }
    if (!isListing(listing)) throw this.#strange('its list of files has another form than expected')
    return listing
      .filter(({ type, path }) => type === 'file' && !hasClimb(path))
      .map(({ path, size = 0, lfs, oid }) => ({
        path,
        sizeBytes: size,
        ...(lfs && SHA256.test(lfs.oid) && { sha256: lfs.oid }),
        ...(!lfs && oid !== undefined && COMMIT.test(oid) && { gitSha1: oid }),
      }))
  }

  /** `Link: <URL>; rel="next"`. A mirror may pass on the address of the hub behind it: the mirror itself is asked. */
  #nextPage(link: string, page: URL): URL | undefined {
    const address = /<([^<>]{1,4096})>\s*;\s*rel="?next"?/.exec(link)?.[1]
    if (address === undefined || !URL.canParse(address, page.href)) return undefined
    const next = new URL(address, page)
    const { endpoint } = this.#hub
    if (next.origin === endpoint.origin) return next
    if (next.origin === DEFAULT_ENDPOINT) return this.#url(`${next.pathname.slice(1)}${next.search}`)
    throw this.#strange(`its list of files goes on at ${originOf(next)}`)
  }

  #strange(what: string): SkeinError {
    return new SkeinError('MODEL_SOURCE_REFUSED', `${originOf(this.#hub.endpoint)}: ${what}`)
  }
}
