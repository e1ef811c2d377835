/**
 * A hub as Hugging Face's is, on loopback: an API and a `resolve` door on one origin, the bytes on another. What it says
 * was checked against huggingface_hub (commit ee0a4510f, August 2026), file by file:
 *
 * - `hf_api.py`, `list_repo_tree` and `RepoFile`: `GET /api/models/ID/tree/REVISION?recursive=…` answers a list of
 *   `{type: "file" | "directory", path, size, oid, lfs?: {oid, size, pointerSize}, xetHash?}`; `lfs.oid` is the SHA-256.
 * - `utils/_pagination.py`: further pages by `Link: <URL>; rel="next"`.
 * - `file_download.py`, `get_hf_file_metadata`, and `constants.py`: `/ID/resolve/REVISION/FILE` redirects, with
 *   `X-Repo-Commit`, `X-Linked-Etag` (the SHA-256 in quotes), `X-Linked-Size`; a renamed repository redirects relatively.
 * - `utils/_http.py`, `hf_raise_for_status`: `X-Error-Code` is RepoNotFound, RevisionNotFound, EntryNotFound, GatedRepo,
 *   with `X-Error-Message`; a repository that does not exist is answered with 401. 429 comes with `Retry-After` or
 *   `RateLimit: "api";r=0;t=55`. Ranges that are ignored come as 200.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** What befalls one answer of the file server. */
export interface Fault {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** The connection is reset behind this many bytes of the body. */
  readonly cutAfter?: number
  /** Nothing more comes behind this many bytes. */
  readonly stallAfter?: number
  /** The body ends, as if it were whole, this many bytes too early. */
  readonly shortBy?: number
}

/** A file behind the file server. */
export interface ServedFile {
  bytes: Buffer
  etag?: string
  isRanged?: boolean
  /** Of the version, a server may look at what is asked for, or tell what it sends. */
  tellsVersion?: 'when asked' | 'always, unasked'
}

export interface SeenRequest {
  readonly origin: 'hub' | 'files'
  readonly path: string
  readonly range: string | undefined
  readonly authorization: string | undefined
  sentBytes: number
}

export interface Repository {
  commit: string
  readonly files: Record<string, Buffer>
  readonly access?: 'gated' | 'private'
  readonly movedTo?: string
  /** Without the digest that files in LFS have. */
  readonly isPlain?: boolean
}

/** Texts are kept by git itself. */
const isInLfs = (repository: Repository, path: string): boolean =>
  repository.isPlain !== true && !path.endsWith('.json')

export const COMMIT = 'a'.repeat(40)
export const TOKEN = 'hf_test_token'

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done).off('close', done)
      resolve()
    }
    response.on('drain', done).on('close', done)
    if (response.destroyed) done()
  })
}

export class HubDouble {
  readonly repositories: Record<string, Repository> = {}
  /** Behind `/files/NAME` of the file server. */
  readonly files: Record<string, ServedFile> = {}
  readonly seen: SeenRequest[] = []
  /** For the next answers of the file server that are asked for more than one byte, in this order. */
  readonly faults: Fault[] = []
  /** For the next answers of the hub. */
  readonly hubFaults: Fault[] = []
  pageSize = 1000
  /** Of each connection of the file server; unbounded when 0. */
  bytesPerSecond = 0
  /** Answers of the file server that go on. */
  answers = 0
  /** Answers that it gives at once; further ones are refused with 429. Unbounded when 0. */
  answersMax = 0
  /** Signed addresses with a lower number are refused with 403. */
  validFrom = 0
  /** Called before each answer of the file server. */
  onFile: (request: SeenRequest) => void = () => {}
  readonly #hub: Server
  readonly #fileServer: Server

  private constructor() {
    this.#hub = createServer((request, response) => this.#answerHub(request, response))
    this.#fileServer = createServer((request, response) => void this.#answerFile(request, response))
  }

  static async start(): Promise<HubDouble> {
    const double = new HubDouble()
    for (const server of [double.#hub, double.#fileServer]) await once(server.listen(0, '127.0.0.1'), 'listening')
    return double
  }

  async stop(): Promise<void> {
    for (const server of [this.#hub, this.#fileServer]) {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#hub.address() as AddressInfo).port}`
  }

  get filesUrl(): string {
    return `http://127.0.0.1:${(this.#fileServer.address() as AddressInfo).port}`
  }

  /** Bytes of models that were sent. */
  get sentBytes(): number {
    return this.seen.reduce((sum, { sentBytes }) => sum + sentBytes, 0)
  }

  /** Requests of the file server for more than the first byte. */
  get reads(): SeenRequest[] {
    return this.seen.filter(({ origin, range }) => origin === 'files' && range !== 'bytes=0-0')
  }

  addModel(id: string, path: string, bytes: Buffer): void {
    const repository = (this.repositories[id] ??= { commit: COMMIT, files: {} })
    repository.files[path] = bytes
    this.#serveBlob(bytes)
  }

  #serveBlob(bytes: Buffer): string {
    const name = sha256Of(bytes)
    this.files[name] ??= { bytes, etag: `"cdn-${name.slice(0, 16)}"` }
    return name
  }

  #answerHub(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', this.endpoint)
    this.#see('hub', request)
    const fault = this.hubFaults.shift()
    if (fault?.status !== undefined) return void response.writeHead(fault.status, fault.headers).end()
    const tree = /^\/api\/models\/([^/]+\/[^/]+)\/tree\/([^/]+)$/.exec(url.pathname)
    const resolve = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(url.pathname)
    const [, id = '', revision = '', path = ''] = tree ?? resolve ?? []
    const repository = this.repositories[id]
    const refuse = (status: number, code: string, message: string): void =>
      void response.writeHead(status, { 'x-error-code': code, 'x-error-message': message }).end(message)
    const isKnown = request.headers.authorization === `Bearer ${TOKEN}`
    if (repository === undefined || (repository.access === 'private' && !isKnown))
      return refuse(401, 'RepoNotFound', 'Invalid username or password.')
    if (repository.access === 'gated' && !isKnown)
      return refuse(403, 'GatedRepo', 'Access to this model is restricted.')
    if (repository.movedTo !== undefined)
      return void response
        .writeHead(307, { location: request.url!.replace(id, repository.movedTo) })
        .end('Temporary Redirect')
    if (decodeURIComponent(revision) !== 'main' && revision !== repository.commit)
      return refuse(404, 'RevisionNotFound', `Invalid rev id: ${revision}`)
    if (tree) return this.#answerTree(repository, url, response)
    const bytes = repository.files[decodeURIComponent(path)]
    if (bytes === undefined) return refuse(404, 'EntryNotFound', 'Entry not found')
    const blob = this.#serveBlob(bytes)
    response.writeHead(302, {
      location: `${this.filesUrl}/files/${blob}?signature=${this.seen.length}`,
      'x-repo-commit': repository.commit,
      ...(isInLfs(repository, decodeURIComponent(path)) && {
        'x-linked-etag': `"${blob}"`,
        'x-linked-size': String(bytes.length),
      }),
    })
    response.end(`Found. Redirecting to ${this.filesUrl}`)
  }

  #answerTree(repository: Repository, url: URL, response: ServerResponse): void {
    const entries = Object.entries(repository.files).map(([path, bytes]) => {
      const oid = createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex')
      const lfs = { oid: sha256Of(bytes), size: bytes.length, pointerSize: 134 }
      return { type: 'file', oid, size: bytes.length, path, ...(isInLfs(repository, path) && { lfs }) }
    })
    const all = [{ type: 'directory', oid: COMMIT, size: 0, path: 'images' }, ...entries]
    const start = Number(url.searchParams.get('cursor') ?? 0)
    const page = all.slice(start, start + this.pageSize)
    url.searchParams.set('cursor', String(start + this.pageSize))
    const link = start + this.pageSize < all.length ? { link: `<${url.href}>; rel="next"` } : {}
    response.writeHead(200, { 'content-type': 'application/json', ...link }).end(JSON.stringify(page))
  }

  async #answerFile(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.filesUrl)
    const seen = this.#see('files', request)
    const isProbe = seen.range === 'bytes=0-0'
    if (!isProbe) this.onFile(seen)
    const fault = isProbe ? undefined : this.faults.shift()
    const file = this.files[url.pathname.replace('/files/', '')]
    if (fault?.status !== undefined || file === undefined)
      return void response.writeHead(fault?.status ?? 404, fault?.headers).end()
    if (Number(url.searchParams.get('signature') ?? Infinity) < this.validFrom)
      return void response.writeHead(403).end()
    if (this.answersMax > 0 && this.answers >= this.answersMax) return void response.writeHead(429).end()
    const { bytes, etag, isRanged = true } = file
    const asked = isRanged ? /^bytes=(\d+)-(\d*)$/.exec(seen.range ?? '') : null
    const ifRange = file.tellsVersion === 'always, unasked' ? undefined : request.headers['if-range']
    const isSame = ifRange === undefined || ifRange === etag
    const start = asked && isSame ? Number(asked[1]) : 0
    const end = asked && isSame && asked[2] !== '' ? Math.min(Number(asked[2]) + 1, bytes.length) : bytes.length
    if (start >= bytes.length) return void response.writeHead(416, { 'content-range': `bytes */${bytes.length}` }).end()
    const isPart = asked !== null && isSame
    response.writeHead(isPart ? 206 : 200, {
      'content-length': end - start - (fault?.shortBy ?? 0),
      ...(isPart && { 'content-range': `bytes ${start}-${end - 1}/${bytes.length}` }),
      ...(isRanged && { 'accept-ranges': 'bytes' }),
      ...(etag !== undefined && (file.tellsVersion !== 'when asked' || isProbe || !isPart) && { etag }),
    })
    this.answers++
    await this.#send(bytes.subarray(start, end - (fault?.shortBy ?? 0)), response, seen, fault)
    this.answers--
  }

  async #send(body: Buffer, response: ServerResponse, seen: SeenRequest, fault: Fault | undefined): Promise<void> {
    const until = fault?.cutAfter ?? fault?.stallAfter ?? body.length
    const chunkBytes = this.bytesPerSecond > 0 ? Math.max(1024, this.bytesPerSecond >> 5) : 64 * 1024
    for (let at = 0; at < Math.min(until, body.length);) {
      const chunk = body.subarray(at, Math.min(at + chunkBytes, until))
      at += chunk.length
      seen.sentBytes += chunk.length
      if (!response.write(chunk)) await drained(response)
      if (response.destroyed) return
      if (this.bytesPerSecond > 0)
        await new Promise((resolve) => setTimeout(resolve, (chunk.length / this.bytesPerSecond) * 1000))
    }
    if (fault?.cutAfter !== undefined) {
      // what was sent arrives, and then the end
      response.socket?.destroySoon()
    } else if (fault?.stallAfter === undefined) response.end()
  }

  #see(origin: SeenRequest['origin'], request: IncomingMessage): SeenRequest {
    const { range, authorization } = request.headers
    const seen: SeenRequest = { origin, path: request.url ?? '', range, authorization, sentBytes: 0 }
    this.seen.push(seen)
    return seen
  }
}
