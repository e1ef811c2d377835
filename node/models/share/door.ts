/**
 * The door that a running Skein keeps for commands of the same machine, which may not use its identity themselves: who in
 * the mesh has a model, tickets, hashes, and chunks where there is no direct path. It listens on loopback, and asks for a
 * key that only who may read the data directory has. What goes through it is JSON, and bytes as they are.
 *
 *   POST /find    { text }                      → { offers }
 *   POST /grant   { peerId, digest }            → { grant }, its bytes in base64
 *   POST /hashes  { peerId, digest, from }      → bytes
 *   POST /read    { peerId, ticket, chunk }     → bytes
 *   POST /pace    { bytes }                     → {} when a command may take so many more: answers of this node go before
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Type } from 'typebox'
import { asModelDigest, asPeerId, asSkeinError, LIMITS, parser, SkeinError } from '../../../mesh/protocol/index.ts'
import { withDeadline, type Clock, type Logger, type Random, type Startable } from '../../../mesh/runtime/index.ts'
import type { Asker } from './asker.ts'
import { DEFAULT_BUSY_BYTES_PER_SECOND, Pacer } from './pacer.ts'

const BODY_BYTES_MAX = 16 * 1024
const KEY_BYTES = 32
const CONNECTIONS_MAX = 64
/** However little is let through, it is not held up for longer. */
const PACE_MS_MAX = 10_000
const CHUNKS_MAX = LIMITS.modelFileBytesMax / LIMITS.modelChunkBytes

const peerId = Type.String({ pattern: '^[1-9A-HJ-NP-Za-km-z]{40,64}$' })
const digest = Type.String({ pattern: '^sha256:[0-9a-f]{64}$' })
const chunk = Type.Integer({ minimum: 0, maximum: CHUNKS_MAX })
const parse = {
  find: parser(Type.Object({ text: Type.String({ maxLength: 1024 }) }), 'find', 'INVALID_REQUEST'),
  grant: parser(Type.Object({ peerId, digest }), 'grant', 'INVALID_REQUEST'),
  hashes: parser(Type.Object({ peerId, digest, from: chunk }), 'hashes', 'INVALID_REQUEST'),
  read: parser(
    Type.Object({ peerId, ticket: Type.String({ pattern: '^[A-Za-z0-9+/]{43}=$' }), chunk }),
    'read',
    'INVALID_REQUEST',
  ),
  pace: parser(
    Type.Object({ bytes: Type.Integer({ minimum: 1, maximum: LIMITS.modelChunkBytes }) }),
    'pace',
    'INVALID_REQUEST',
  ),
}

/** How a command finds the door. */
export interface DoorAddress {
  readonly url: string
  readonly key: string
}

export interface LocalDoorComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly asker: Asker
  /** Whether answers stream here now. */
  readonly isBusy: () => boolean
  /** Rate of what commands take while they do; `DEFAULT_BUSY_BYTES_PER_SECOND` when absent. */
  readonly busyBytesPerSecond?: number | undefined
}

export class LocalDoor implements Startable {
  readonly name = 'door for commands'
  readonly #components: LocalDoorComponents
  readonly #server: Server
  readonly #pacer: Pacer
  readonly #key: string
  #url: string | undefined

  constructor(components: LocalDoorComponents) {
    this.#components = components
    const { clock, isBusy, busyBytesPerSecond = DEFAULT_BUSY_BYTES_PER_SECOND } = components
    this.#pacer = new Pacer(clock, { busyBytesPerSecond, isBusy, refusal: () => undefined })
    this.#key = Buffer.from(components.random.bytes(KEY_BYTES)).toString('base64url')
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        components.log.debug({ err: asSkeinError(error) }, 'a command hung up')
        response.destroy()
      })
    })
    this.#server.maxConnections = CONNECTIONS_MAX
  }

  /** `undefined` before the start, and where loopback cannot be listened on. */
  get address(): DoorAddress | undefined {
    return this.#url === undefined ? undefined : { url: this.#url, key: this.#key }
  }

  /** Does not throw: without the door, commands cannot fetch from members while this process runs, and that is all. */
  async start(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.on('error', (err) => {
        this.#components.log.warn({ err }, 'commands of this machine cannot ask the mesh for models')
        resolve()
      })
      this.#server.listen(0, '127.0.0.1', () => {
        this.#url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
        resolve()
      })
    })
  }

  async stop(): Promise<void> {
    this.#components.asker.close()
    if (this.#url === undefined) return
    this.#url = undefined
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController()
    response.on('close', () => gone.abort(new SkeinError('CLIENT_CLOSED', 'the command hung up')))
    try {
      this.#admit(request)
      const answer = await this.#ask(request.url ?? '', await bodyOf(request), gone.signal)
      const isBytes = answer instanceof Uint8Array
      response.writeHead(200, { 'content-type': isBytes ? 'application/octet-stream' : 'application/json' })
      response.end(isBytes ? answer : JSON.stringify(answer))
    } catch (thrown) {
      const { code, message, row, retryAfterSeconds } = asSkeinError(thrown)
      response.writeHead(row.http, { 'content-type': 'application/json', connection: 'close' })
      response.end(JSON.stringify({ error: { code, message, retryAfterSeconds } }))
    }
  }

  /** @throws SkeinError UNAUTHENTICATED, METHOD_NOT_ALLOWED, FORBIDDEN for what a web page may have sent. */
  #admit({ method, headers }: IncomingMessage): void {
    if (headers.origin !== undefined) throw new SkeinError('FORBIDDEN', 'this is not for web pages')
    const shown = hashOf(headers.authorization ?? '')
    if (!timingSafeEqual(shown, hashOf(`Bearer ${this.#key}`)))
      throw new SkeinError('UNAUTHENTICATED', 'the key of this door is in the data directory')
    if (method !== 'POST') throw new SkeinError('METHOD_NOT_ALLOWED', 'there is only POST')
  }

  async #ask(path: string, body: unknown, signal: AbortSignal): Promise<object> {
    const { asker } = this.#components
    switch (path) {
      case '/find':
        return { offers: await asker.find(parse.find(body).text, signal) }
      case '/grant': {
        const asked = parse.grant(body)
        const grant = await asker.grant(asPeerId(asked.peerId), asModelDigest(asked.digest), signal)
        const { ticket, direct, ...rest } = grant
        const certificate = direct && { certificate: base64(direct.certificate) }
        return { grant: { ...rest, ticket: base64(ticket), ...(direct && { direct: { ...direct, ...certificate } }) } }
      }
      case '/hashes': {
        const asked = parse.hashes(body)
        return asker.hashes(asPeerId(asked.peerId), asModelDigest(asked.digest), asked.from, signal)
      }
      case '/read': {
        const asked = parse.read(body)
        return asker.read(asPeerId(asked.peerId), Buffer.from(asked.ticket, 'base64'), asked.chunk, signal)
      }
      case '/pace':
        await this.#pace(parse.pace(body).bytes, signal)
        return {}
      default:
        throw new SkeinError('NOT_FOUND', 'there is nothing at that address')
    }
  }

  async #pace(bytes: number, outer: AbortSignal): Promise<void> {
    const late = (): SkeinError => new SkeinError('STREAM_TIMEOUT', 'held up for long enough')
    try {
      await withDeadline(this.#components.clock, PACE_MS_MAX, late, outer, (signal) => this.#pacer.pace(bytes, signal))
    } catch {
      outer.throwIfAborted()
    }
  }
}

/** @throws SkeinError BODY_TOO_LARGE, INVALID_JSON. */
async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length
    if (bytes > BODY_BYTES_MAX) throw new SkeinError('BODY_TOO_LARGE', `at most ${BODY_BYTES_MAX} bytes`)
    parts.push(part)
  }
  try {
    return JSON.parse(Buffer.concat(parts).toString('utf8'))
  } catch (cause) {
    throw new SkeinError('INVALID_JSON', 'the body is not JSON', { cause })
  }
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')
const hashOf = (text: string): Buffer => createHash('sha256').update(text).digest()
