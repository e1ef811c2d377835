/** Asks members through the Skein that runs in the data directory (`door.ts`). */
import { Type } from 'typebox'
import {
  asModelDigest,
  asPeerId,
  isErrorCode,
  LIMITS,
  parser,
  SkeinError,
  type ModelDigest,
  type PeerId,
} from '../../../mesh/protocol/index.ts'
import { withDeadline, type Clock } from '../../../mesh/runtime/index.ts'
import type { MemberOffer } from '../store/index.ts'
import type { Asker, Grant } from './asker.ts'
import type { DoorAddress } from './door.ts'

/** Longer than the process behind the door waits for a member. */
const ANSWER_MS = 2 * LIMITS.modelAnswerMs
const OFFERS_MAX = LIMITS.modelHoldersMax * LIMITS.modelsPerNodeMax

const parseOffers = parser(
  Type.Object({
    offers: Type.Array(
      Type.Object({
        peerId: Type.String(),
        member: Type.String(),
        digest: Type.String({ pattern: '^sha256:[0-9a-f]{64}$' }),
        name: Type.String(),
        sizeBytes: Type.Integer({ minimum: 1, maximum: LIMITS.modelFileBytesMax }),
        quantization: Type.String(),
        manifest: Type.Optional(
          Type.Object({
            text: Type.String({ maxLength: LIMITS.modelManifestBytesMax }),
            sizes: Type.Array(Type.Integer({ minimum: 1, maximum: LIMITS.modelFileBytesMax }), {
              maxItems: LIMITS.adaptersMax + 1,
            }),
          }),
        ),
      }),
      { maxItems: OFFERS_MAX },
    ),
  }),
  'answer',
  'MODEL_PULL_FAILED',
)
const parseGrant = parser(
  Type.Object({
    grant: Type.Object({
      digest: Type.String({ pattern: '^sha256:[0-9a-f]{64}$' }),
      sizeBytes: Type.Integer({ minimum: 1 }),
      chunkBytes: Type.Integer({ minimum: 1 }),
      ticket: Type.String(),
      validMs: Type.Integer(),
      direct: Type.Optional(
        Type.Object({ certificate: Type.String(), addresses: Type.Array(Type.String()), port: Type.Integer() }),
      ),
    }),
  }),
  'answer',
  'MODEL_PULL_FAILED',
)

export class DoorAsker implements Asker {
  readonly #clock: Clock
  readonly #door: DoorAddress

  constructor(clock: Clock, door: DoorAddress) {
    this.#clock = clock
    this.#door = door
  }

  async find(text: string, signal: AbortSignal): Promise<readonly MemberOffer[]> {
    const { offers } = parseOffers(await this.#json('/find', { text }, signal))
    return offers.map(({ manifest, ...offer }) => ({
      ...offer,
      peerId: asPeerId(offer.peerId),
      digest: asModelDigest(offer.digest),
      ...(manifest && { manifest }),
    }))
  }

  async grant(peer: PeerId, digest: ModelDigest, signal: AbortSignal): Promise<Grant> {
    const { grant } = parseGrant(await this.#json('/grant', { peerId: peer, digest }, signal))
    const { direct, ...rest } = grant
    return {
      ...rest,
      digest: asModelDigest(grant.digest),
      ticket: Buffer.from(grant.ticket, 'base64'),
      ...(direct && { direct: { ...direct, certificate: Buffer.from(direct.certificate, 'base64') } }),
    }
  }

  hashes(peer: PeerId, digest: ModelDigest, from: number, signal: AbortSignal): Promise<Uint8Array> {
    return this.#post('/hashes', { peerId: peer, digest, from }, signal)
  }

  read(peer: PeerId, ticket: Uint8Array, chunk: number, signal: AbortSignal): Promise<Uint8Array> {
    return this.#post('/read', { peerId: peer, ticket: Buffer.from(ticket).toString('base64'), chunk }, signal)
  }

  async pace(bytes: number, signal: AbortSignal): Promise<void> {
    try {
      await this.#post('/pace', { bytes }, signal)
    } catch {
      // a courtesy: whoever cannot be asked any more has no answers that would suffer
      signal.throwIfAborted()
    }
  }

  close(): void {
    // nothing is held open: each question is a request of its own
  }

  async #json(path: string, body: object, signal: AbortSignal): Promise<unknown> {
    return JSON.parse(Buffer.from(await this.#post(path, body, signal)).toString('utf8'))
  }

  #post(path: string, body: object, outer: AbortSignal): Promise<Uint8Array> {
    const { url, key } = this.#door
    const late = (): SkeinError => new SkeinError('MODEL_PULL_FAILED', 'the Skein that runs here does not answer')
    return withDeadline(this.#clock, ANSWER_MS, late, outer, async (signal) => {
      const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
      let status: number
      let bytes: Uint8Array
      try {
        const response = await fetch(url + path, { method: 'POST', headers, body: JSON.stringify(body), signal })
        status = response.status
        bytes = new Uint8Array(await response.arrayBuffer())
      } catch (cause) {
        signal.throwIfAborted()
        throw new SkeinError('MODEL_PULL_FAILED', 'the Skein that ran here does not answer any more', { cause })
      }
      if (status === 200) return bytes
      throw refusalOf(status, bytes)
    })
  }
}

const parseRefusal = parser(
  Type.Object({
    error: Type.Object({
      code: Type.String(),
      message: Type.String(),
      retryAfterSeconds: Type.Optional(Type.Number({ minimum: 0 })),
    }),
  }),
  'answer',
  'MODEL_PULL_FAILED',
)

function refusalOf(status: number, bytes: Uint8Array): SkeinError {
  try {
    const { code, message, retryAfterSeconds } = parseRefusal(JSON.parse(Buffer.from(bytes).toString('utf8'))).error
    return new SkeinError(isErrorCode(code) ? code : 'MODEL_PULL_FAILED', message, {
      ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
    })
  } catch (cause) {
    return new SkeinError('MODEL_PULL_FAILED', `the Skein that runs here answers with status ${status}`, { cause })
  }
}
