/**
 * The node's end of model streams: says what it has, hands out tickets, tells hashes, and gives chunks on the stream
 * itself to whoever has no direct path. Members alone get here (`mesh/network/libp2p/gate.ts`).
 */
import {
  asSkeinError,
  type INBOUND,
  LIMITS,
  SkeinError,
  type Frame,
  type FrameSet,
  type ModelDigest,
  type ModelFound,
  type PeerId,
} from '../../../mesh/protocol/index.ts'
import { withDeadline, type Clock } from '../../../mesh/runtime/index.ts'
import type { FrameChannel } from '../../../mesh/network/index.ts'
import type { Pacer } from './pacer.ts'
import type { SharedFiles, SharedModel } from './shared-files.ts'
import type { Tickets } from './tickets.ts'

type Asked = typeof INBOUND.modelNode extends FrameSet<infer F> ? F : never
type AskerChannel = FrameChannel<Asked>

const QUANTIZATION_LENGTH_MAX = 32

/** Where chunks are given over HTTPS. */
export interface DirectDoor {
  readonly certificate: Uint8Array
  readonly addresses: readonly string[]
  readonly port: number
}

export interface ModelServerComponents {
  readonly clock: Clock
  readonly files: SharedFiles
  readonly tickets: Tickets
  readonly pacer: Pacer
  /** `undefined` while there is none. */
  readonly direct: () => DirectDoor | undefined
}

export class ModelServer {
  readonly #components: ModelServerComponents
  /** Bytes of models that were sent on streams. */
  sentBytes = 0

  constructor(components: ModelServerComponents) {
    this.#components = components
  }

  /** Answers one stream until its goodbye. @throws what the channel throws; STREAM_TIMEOUT when nothing is asked. */
  async serve(channel: AskerChannel): Promise<void> {
    for (;;) {
      const asked = await this.#next(channel)
      if (asked === undefined) throw new SkeinError('STREAM_TRUNCATED', 'the member left without a goodbye')
      if (asked.type === 'model.goodbye') return
      try {
        await this.#answer(asked, channel)
      } catch (thrown) {
        channel.closed.throwIfAborted()
        await channel.send(refusal(asSkeinError(thrown)))
      }
    }
  }

  #next(channel: AskerChannel): Promise<Asked | undefined> {
    const late = (): SkeinError => new SkeinError('STREAM_TIMEOUT', `nothing was asked for ${LIMITS.modelIdleMs} ms`)
    return withDeadline(this.#components.clock, LIMITS.modelIdleMs, late, undefined, (signal) =>
      channel.receive(signal),
    )
  }

  async #answer(asked: Exclude<Asked, { type: 'model.goodbye' }>, channel: AskerChannel): Promise<void> {
    const { files, pacer } = this.#components
    switch (asked.type) {
      case 'model.find': {
        const found = await files.find(asked.text)
        // of all that there is no files are told: who wants one asks for it
        const listed = asked.text === '' ? 0 : LIMITS.modelManifestsMax
        return channel.send({ type: 'model.found', models: found.map((model, i) => offerOf(model, i < listed)) })
      }
      case 'model.ask':
        return channel.send(await this.#grant(asked.digest, channel.peer))
      case 'model.hash': {
        // the first time that somebody asks, it is the whole file that is read
        pacer.checkOpen()
        const file = await files.open(asked.digest)
        const hashes = await file.hashes(asked.from, pacer, channel.closed)
        return channel.send({ type: 'model.hashes', from: asked.from, hashes })
      }
      case 'model.read':
        return this.#give(asked.ticket, asked.chunk, channel)
    }
  }

  async #grant(digest: ModelDigest, peer: PeerId): Promise<Frame> {
    const { files, tickets, direct } = this.#components
    const { sizeBytes } = await files.open(digest)
    const ticket = tickets.issue(peer, digest)
    const door = direct()
    return {
      type: 'model.granted',
      digest,
      sizeBytes,
      chunkBytes: LIMITS.modelChunkBytes,
      ticket,
      validMs: LIMITS.modelTicketMs,
      ...(door && { direct: { ...door, addresses: [...door.addresses] } }),
    }
  }

  async #give(secret: Uint8Array, chunk: number, channel: AskerChannel): Promise<void> {
    const { files, tickets, pacer } = this.#components
    const { digest } = tickets.check(secret, { peer: channel.peer })
    const file = await files.open(digest)
    const { start, end } = file.rangeOf(chunk)
    const done = pacer.begin(channel.peer)
    try {
      for (let at = start; at < end;) {
        const length = Math.min(LIMITS.modelSliceBytesMax, end - at)
        await pacer.pace(length, channel.closed)
        const bytes = await file.read(Buffer.allocUnsafeSlow(length), at, length)
        at += length
        this.sentBytes += length
        await channel.send({ type: 'model.bytes', bytes, leftBytes: end - at })
      }
    } finally {
      done()
    }
  }
}

function offerOf(model: SharedModel, isListed: boolean): ModelFound['models'][number] {
  const { digest, names, sizeBytes, quantization, parameters, contextTokens, parts } = model
  const manifest = parts && { text: parts.text, sizes: parts.files.map((file) => file.sizeBytes) }
  return {
    digest,
    name: (names[0] ?? digest).slice(0, LIMITS.modelNameLengthMax),
    sizeBytes,
    quantization: quantization.slice(0, QUANTIZATION_LENGTH_MAX),
    ...(parameters !== undefined && { parameters }),
    ...(contextTokens !== undefined && { contextTokens }),
    ...(isListed && manifest && { manifest }),
  }
}

function refusal({ code, message, retryAfterSeconds }: SkeinError): Frame {
  const retryAfterMs = retryAfterSeconds === undefined ? undefined : Math.ceil(retryAfterSeconds * 1000)
  return {
    type: 'model.refused',
    code,
    message: message.slice(0, 1024),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  }
}
