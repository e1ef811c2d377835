/** The asker's end of a model stream: one question after the other, each with its one answer. */
import {
  asSkeinError,
  INBOUND,
  isErrorCode,
  LIMITS,
  SkeinError,
  type Frame,
  type FrameSet,
  type ModelDigest,
  type ModelFound,
  type PeerId,
} from '../../../mesh/protocol/index.ts'
import { withDeadline, type Clock } from '../../../mesh/runtime/index.ts'
import type { FrameChannel, PeerTransport } from '../../../mesh/network/index.ts'
import type { Grant } from './asker.ts'

type Answer = typeof INBOUND.modelAsker extends FrameSet<infer F> ? F : never
type AnswerOf<T extends Answer['type']> = Extract<Answer, { type: T }>

export class ModelLink {
  readonly #clock: Clock
  readonly #channel: FrameChannel<Answer>
  /** The last question: the next one waits for it. */
  #last: Promise<unknown> = Promise.resolve()

  private constructor(clock: Clock, channel: FrameChannel<Answer>) {
    this.#clock = clock
    this.#channel = channel
  }

  /** @throws SkeinError DIAL_FAILED, NOT_A_MEMBER, STREAM_TIMEOUT; the signal's reason. */
  static async open(
    components: { readonly clock: Clock; readonly transport: PeerTransport },
    peer: PeerId,
    signal: AbortSignal,
  ): Promise<ModelLink> {
    const { clock, transport } = components
    const late = (): SkeinError => new SkeinError('STREAM_TIMEOUT', `${peer} does not answer`)
    const channel = await withDeadline(clock, LIMITS.modelAnswerMs, late, signal, (bound) =>
      transport.open(peer, 'model', INBOUND.modelAsker, { signal: bound }),
    )
    return new ModelLink(clock, channel)
  }

  get isOpen(): boolean {
    return !this.#channel.closed.aborted
  }

  /** @throws SkeinError with the code of the refusal; what the channel throws; STREAM_TIMEOUT; the signal's reason. */
  async find(text: string, signal: AbortSignal): Promise<ModelFound['models']> {
    const { models } = await this.#ask({ type: 'model.find', text }, 'model.found', signal)
    return models
  }

  /** @throws as `find`, FRAME_UNEXPECTED for the grant of another model or of other chunks than ours. */
  async grant(digest: ModelDigest, signal: AbortSignal): Promise<Grant> {
    const { type: _type, ...grant } = await this.#ask({ type: 'model.ask', digest }, 'model.granted', signal)
    if (grant.digest !== digest || grant.chunkBytes !== LIMITS.modelChunkBytes)
      throw this.#strange('a ticket for something else than was asked for')
    return grant
  }

  /** @throws as `find`, FRAME_UNEXPECTED for hashes of other chunks. */
  async hashes(digest: ModelDigest, from: number, signal: AbortSignal): Promise<Uint8Array> {
    const answer = await this.#ask({ type: 'model.hash', digest, from }, 'model.hashes', signal)
    if (answer.from !== from || answer.hashes.length % 32 !== 0)
      throw this.#strange('hashes of other chunks than were asked for')
    return answer.hashes
  }

  /** All bytes of one chunk. @throws as `find`, FRAME_UNEXPECTED for more than a chunk has. */
  read(ticket: Uint8Array, chunk: number, signal: AbortSignal): Promise<Uint8Array> {
    return this.#alone(signal, async () => {
      const parts: Uint8Array[] = []
      let bytes = 0
      let answer = await this.#exchange({ type: 'model.read', ticket, chunk }, 'model.bytes', signal)
      for (;;) {
        parts.push(answer.bytes)
        bytes += answer.bytes.length
        if (bytes + answer.leftBytes > LIMITS.modelChunkBytes)
          throw new SkeinError('FRAME_UNEXPECTED', 'more bytes than a chunk has')
        if (answer.leftBytes === 0) return Buffer.concat(parts, bytes)
        answer = await this.#exchange(undefined, 'model.bytes', signal)
      }
    })
  }

  /** Says goodbye, in order; resets what is under way. Does not throw. */
  close(): void {
    void this.#channel
      .send({ type: 'model.goodbye' })
      .then(() => this.#channel.close())
      .catch(() => this.#channel.abort(new SkeinError('CLIENT_CLOSED', 'nothing more is wanted')))
  }

  #ask<T extends Answer['type']>(question: Frame, wanted: T, signal: AbortSignal): Promise<AnswerOf<T>> {
    return this.#alone(signal, () => this.#exchange(question, wanted, signal))
  }

  /** Runs `work` when the questions before it are answered. What fails in the middle of an answer breaks the stream. */
  async #alone<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const before = this.#last
    const done = Promise.withResolvers<void>()
    this.#last = done.promise
    let isAsked = false
    try {
      await before
      signal.throwIfAborted()
      isAsked = true
      return await work()
    } catch (thrown) {
      if (isAsked && !(thrown instanceof Refusal)) this.#broken(thrown)
      throw thrown
    } finally {
      done.resolve()
    }
  }

  async #exchange<T extends Answer['type']>(
    question: Frame | undefined,
    wanted: T,
    outer: AbortSignal,
  ): Promise<AnswerOf<T>> {
    const late = (): SkeinError => new SkeinError('STREAM_TIMEOUT', `no answer within ${LIMITS.modelAnswerMs} ms`)
    const answer = await withDeadline(this.#clock, LIMITS.modelAnswerMs, late, outer, async (signal) => {
      if (question !== undefined) await this.#channel.send(question, signal)
      return this.#channel.receive(signal)
    })
    if (answer === undefined) throw new SkeinError('STREAM_TRUNCATED', 'the member closed the stream')
    if (answer.type === 'model.refused') throw new Refusal(answer)
    if (answer.type !== wanted) throw new SkeinError('FRAME_UNEXPECTED', `${answer.type} instead of ${wanted}`)
    return answer as AnswerOf<T>
  }

  #strange(what: string): SkeinError {
    const error = new SkeinError('FRAME_UNEXPECTED', what)
    this.#broken(error)
    return error
  }

  /** An answer may still come for a question that nobody waits for: the stream is of no more use. */
  #broken(thrown: unknown): void {
    this.#channel.abort(asSkeinError(thrown, 'STREAM_TRUNCATED'))
  }
}

/** A no, with which the stream goes on. */
class Refusal extends SkeinError {
  constructor({ code, message, retryAfterMs }: AnswerOf<'model.refused'>) {
    super(isErrorCode(code) ? code : 'MODEL_SOURCE_REFUSED', message, {
      ...(retryAfterMs !== undefined && { retryAfterSeconds: retryAfterMs / 1000 }),
    })
  }
}
