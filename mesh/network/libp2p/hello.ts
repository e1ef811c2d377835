/**
 * The hello: each side shows its certificate, the dialler first.
 *
 *   dialler ── hello.certificate ──▶ acceptor      verifies the dialler
 *           ◀─ hello.certificate ──                (or hello.refused, and the connection is closed)
 *   verifies ── hello.accepted ───▶                (or hello.refused)
 *
 * Either side may run it again on a link of a member, to show a renewed certificate.
 */
import {
  asSkeinError,
  type INBOUND,
  LIMITS,
  PROTOCOL_VERSION,
  SkeinError,
  type Frame,
  type Signed,
} from '../../protocol/index.ts'
import { withDeadline, type Clock, type Logger } from '../../runtime/index.ts'
import type { Counters } from '../counters.ts'
import type { MembershipStore } from '../membership/store.ts'
import type { FrameChannel } from '../transport.ts'
import type { Link, Links } from './links.ts'

/** Longest message that is told to a peer, as its frame allows. */
const MESSAGE_CHARACTERS_MAX = 1024

export interface HelloComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly store: MembershipStore
  readonly links: Links
  readonly counters: Counters
  /** A revocation list that a peer has shown; resolves once it was taken over or found old. */
  readonly onRevocations: (signed: Signed) => Promise<void>
}

type HelloFrame = (typeof INBOUND.helloAcceptor)['frame'] | (typeof INBOUND.helloCaller)['frame']
type HelloChannel = FrameChannel<HelloFrame>

export class Hello {
  readonly #components: HelloComponents

  constructor(components: HelloComponents) {
    this.#components = components
  }

  /** Shows our certificate on `link` and judges the answer. @throws SkeinError when either side refuses. */
  async call(link: Link, channel: HelloChannel): Promise<void> {
    const { links } = this.#components
    await this.#timed(link, async (signal) => {
      await channel.send(this.#ours(), signal)
      await this.#judge(link, channel, signal)
      await channel.send({ type: 'hello.accepted' }, signal)
    }).catch((error: unknown) => this.#refuse(link, channel, error))
    links.accept(link)
    await channel.close()
  }

  /** Answers a peer's hello. @throws SkeinError when either side refuses. */
  async answer(link: Link, channel: HelloChannel): Promise<void> {
    const { links } = this.#components
    await this.#timed(link, async (signal) => {
      await this.#judge(link, channel, signal)
      await channel.send(this.#ours(), signal)
      const last = await channel.receive(signal)
      if (last?.type === 'hello.refused') throw await this.#told(last)
      if (last?.type !== 'hello.accepted')
        throw new SkeinError('FRAME_UNEXPECTED', `a hello ended with ${last?.type ?? 'nothing'}`)
    }).catch((error: unknown) => this.#refuse(link, channel, error))
    links.accept(link)
    await channel.close()
  }

  async #judge(link: Link, channel: HelloChannel, signal: AbortSignal): Promise<void> {
    const frame = await channel.receive(signal)
    if (frame?.type === 'hello.refused') throw await this.#told(frame)
    if (frame?.type !== 'hello.certificate')
      throw new SkeinError('FRAME_UNEXPECTED', `a hello began with ${frame?.type ?? 'nothing'}`)
    if (frame.version !== PROTOCOL_VERSION)
      throw new SkeinError(
        'VERSION_MISMATCH',
        `the peer speaks version ${frame.version}, we speak ${PROTOCOL_VERSION}; update the older one`,
      )
    if (frame.revocations) await this.#takeRevocations(frame.revocations)
    await this.#components.links.verify(link, frame.certificate)
  }

  #ours(): Frame {
    const { store } = this.#components
    return {
      type: 'hello.certificate',
      version: PROTOCOL_VERSION,
      certificate: store.signedCertificate,
      ...(store.signedRevocations && { revocations: store.signedRevocations }),
    }
  }

  /** What a revoked peer needs to believe that it is. */
  #proof(error: SkeinError): { revocations?: Signed } {
    const { signedRevocations } = this.#components.store
    return error.code === 'CERTIFICATE_REVOKED' && signedRevocations ? { revocations: signedRevocations } : {}
  }

  /** The peer refused us; a revocation that it can prove is taken over. */
  async #told(frame: Extract<Frame, { type: 'hello.refused' }>): Promise<ToldError> {
    if (frame.revocations) await this.#takeRevocations(frame.revocations)
    return new ToldError('NOT_A_MEMBER', `the peer refused our certificate: ${frame.message} (${frame.code})`)
  }

  /** A list that does not verify proves nothing, neither about a certificate beside it nor about us. */
  async #takeRevocations(revocations: Signed): Promise<void> {
    await this.#components.onRevocations(revocations).catch((error: unknown) => {
      this.#components.log.debug({ err: error }, 'a revocation list was refused')
    })
  }

  #timed(link: Link, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const late = (): Error => new SkeinError('STREAM_TIMEOUT', `the hello of ${link.peer} took too long`)
    return withDeadline(this.#components.clock, LIMITS.helloMs, late, undefined, work)
  }

  /** Tells the peer why, closes the connection, and throws. */
  async #refuse(link: Link, channel: HelloChannel, thrown: unknown): Promise<never> {
    const error = asSkeinError(thrown, 'NOT_A_MEMBER')
    this.#components.counters.add('hello_refused')
    this.#components.log.info({ peer: link.peer, code: error.code, reason: error.message }, 'hello refused')
    if (!(error instanceof ToldError) && !channel.closed.aborted) {
      const message = error.message.slice(0, MESSAGE_CHARACTERS_MAX)
      const late = (): Error => error
      await withDeadline(this.#components.clock, LIMITS.heartbeatIntervalMs, late, undefined, async (signal) => {
        await channel.send({ type: 'hello.refused', code: error.code, message, ...this.#proof(error) }, signal)
        await channel.close()
        // the peer closes the connection when it has read why; a reset sent now could overtake the frame
        await aborted(AbortSignal.any([channel.closed, signal]))
      }).catch(() => undefined)
    }
    this.#components.links.drop(link, error)
    throw error
  }
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })

/** The peer refused us: there is nobody to tell. */
class ToldError extends SkeinError {}
