/**
 * Serves `work` streams: what a model does in one step, for coordinators alone. Nothing is held, fenced or moved: whoever
 * loses the stream asks again elsewhere, so that a broken stream ends its work here. Work takes a slot of its model as an
 * attempt does, and counts in load reports like one.
 */
import {
  asSkeinError,
  INBOUND,
  LIMITS,
  SkeinError,
  tensorsFault,
  workResultFault,
  type Frame,
  type FrameSet,
  type ModelDigest,
  type WorkEnd,
  type WorkKind,
  type WorkResult,
  type WorkStart,
} from '../../mesh/protocol/index.ts'
import { withDeadline, type CancelTimer, type Clock, type Logger } from '../../mesh/runtime/index.ts'
import type { FrameChannel, Member, PeerTransport } from '../../mesh/network/index.ts'
import type { Engine } from '../engines/index.ts'
import type { ModelHost, Slot } from '../models/index.ts'

/** Half of what the contract of `work.progress` says forgives a late timer. */
const PROGRESS_MS = Math.min(1000, LIMITS.workProgressMs / 2)
/** Work waits this long for a slot: its coordinator knew an older load, and may know a free one elsewhere by then. */
const SLOT_MS = 5000
/** A coordinator that does not take the final frame within this long is gone. */
const SEND_MS = 10_000
const MESSAGE_LENGTH_MAX = 1024
const PARAM_LENGTH_MAX = 128

type WorkChannel = FrameChannel<typeof INBOUND.workNode extends FrameSet<infer F> ? F : never>
type Phase = 'waiting' | 'loading' | 'working'

export interface WorkServiceComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly transport: PeerTransport
  readonly host: (digest: ModelDigest) => ModelHost | undefined
  /** @throws SkeinError NODE_DRAINING while this node takes no new work, NOT_SERVED when none of these two; LOCAL_ONLY. */
  readonly admit: (coordinator: Member, start: WorkStart) => void
  /** As `ExecutorComponents.onUse`. */
  readonly onUse: (use: { readonly requests?: number; readonly tokens?: number }) => void
}

/** One stream on its way to its final frame. */
interface Piece {
  readonly ending: AbortController
  /** Holds a slot. */
  isRunning: boolean
  phase: Phase
}

export class WorkService {
  readonly #components: WorkServiceComponents
  readonly #log: Logger
  readonly #pieces = new Map<Piece, Promise<void>>()
  /** Pieces that an engine was given: those of one task must have names of their own. */
  #works = 0

  constructor(components: WorkServiceComponents) {
    this.#components = components
    this.#log = components.log.scope('work')
  }

  start(): void {
    this.#components.transport.handle('work', INBOUND.workNode, (channel, member) => this.#serve(channel, member))
  }

  /** Pieces that hold a slot. */
  get running(): number {
    let running = 0
    for (const { isRunning } of this.#pieces.keys()) if (isRunning) running++
    return running
  }

  /** Streams whose final frame is not out yet. */
  get open(): number {
    return this.#pieces.size
  }

  /** Resolves when those that are open now have their final frame, or are lost. Does not reject. */
  async settled(): Promise<void> {
    await Promise.all(this.#pieces.values())
  }

  /** Ends all of it; each stream is told `reason`. */
  endAll(reason: SkeinError): void {
    for (const { ending } of this.#pieces.keys()) ending.abort(reason)
  }

  async #serve(channel: WorkChannel, member: Member): Promise<void> {
    if (!member.certificate.roles.includes('coordinator'))
      throw new SkeinError('FORBIDDEN', `${member.certificate.name} is no coordinator and may not ask for work`)
    const start = await this.#receiveFirst(channel)
    const piece: Piece = { ending: new AbortController(), isRunning: false, phase: 'waiting' }
    const answered = this.#answer(channel, member, start, piece)
    this.#pieces.set(piece, answered)
    await answered
  }

  async #receiveFirst(channel: WorkChannel): Promise<WorkStart> {
    const late = (): SkeinError => new SkeinError('STREAM_TIMEOUT', 'a work stream without its first frame')
    const first = await withDeadline(this.#components.clock, LIMITS.attemptStartMs, late, channel.closed, (signal) =>
      channel.receive(signal),
    )
    if (first?.type !== 'work.start') throw new SkeinError('FRAME_UNEXPECTED', 'a work stream begins with work.start')
    return first
  }

  /** From the first frame to the final one. Does not reject. */
  async #answer(channel: WorkChannel, member: Member, start: WorkStart, piece: Piece): Promise<void> {
    const { ending } = piece
    void this.#listen(channel, piece)
    const stopTelling = this.#tell(channel, piece)
    let final: Frame
    try {
      final = await this.#run(member, start, piece)
    } catch (thrown) {
      const error = asSkeinError(ending.signal.aborted ? ending.signal.reason : thrown, 'ENGINE_FAILED')
      this.#log.debug({ task: start.taskId, code: error.code }, error.message)
      final = failedFrame(error)
    }
    stopTelling()
    await this.#finish(channel, final)
    this.#pieces.delete(piece)
  }

  async #finish(channel: WorkChannel, final: Frame): Promise<void> {
    const stalled = (): SkeinError => new SkeinError('STREAM_TIMEOUT', 'the coordinator does not take the final frame')
    try {
      await withDeadline(this.#components.clock, SEND_MS, stalled, undefined, (signal) => channel.send(final, signal))
      await channel.close()
    } catch (thrown) {
      channel.abort(asSkeinError(thrown))
    }
  }

  /** Ends the work when its coordinator cancels it, or the stream is lost. Does not reject. */
  async #listen(channel: WorkChannel, { ending }: Piece): Promise<void> {
    try {
      const frame = await channel.receive()
      if (frame?.type === 'work.start') throw new SkeinError('FRAME_UNEXPECTED', 'work.start for the second time')
      ending.abort(new SkeinError('CLIENT_CLOSED', 'cancelled by the coordinator'))
    } catch (thrown) {
      const error = asSkeinError(thrown, 'STREAM_TRUNCATED')
      ending.abort(error)
      channel.abort(error)
    }
  }

  /** Says again and again what the piece does. A frame that is not taken yet is not followed by another. */
  #tell(channel: WorkChannel, piece: Piece): () => void {
    const { clock } = this.#components
    let isSending = false
    let cancel: CancelTimer = () => {}
    const again = (): void => {
      cancel = clock.timer(PROGRESS_MS, again)
      if (isSending) return
      isSending = true
      channel
        .send({ type: 'work.progress', phase: piece.phase })
        .catch((thrown: unknown) => piece.ending.abort(asSkeinError(thrown)))
        .finally(() => (isSending = false))
    }
    cancel = clock.timer(PROGRESS_MS, again)
    return () => cancel()
  }

  /** @throws SkeinError why the work is not done here. */
  async #run(member: Member, start: WorkStart, piece: Piece): Promise<WorkEnd> {
    const { clock, admit } = this.#components
    admit(member, start)
    const host = this.#hostOf(start)
    const late = (): SkeinError => new SkeinError('ENGINE_FAILED', `not done within ${LIMITS.workMs} ms`)
    return withDeadline(clock, LIMITS.workMs, late, piece.ending.signal, async (signal) => {
      const beganMs = clock.nowMs()
      const slot = await this.#slotOf(host, signal)
      try {
        // a drain, or a pause, that began meanwhile does not know of this piece
        admit(member, start)
        piece.isRunning = true
        this.#components.onUse({ requests: 1 })
        return await this.#inSlot(host, start, piece, { beganMs, signal })
      } finally {
        piece.isRunning = false
        slot.release()
      }
    })
  }

  async #inSlot(
    host: ModelHost,
    { taskId, work }: WorkStart,
    piece: Piece,
    { beganMs, signal }: { readonly beganMs: number; readonly signal: AbortSignal },
  ): Promise<WorkEnd> {
    const { clock, onUse } = this.#components
    if (!host.isResident) piece.phase = 'loading'
    const engine = await host.ready(signal)
    piece.phase = 'working'
    if (engine.work === undefined || !host.capability.features.includes(work.kind)) throw notDone(work.kind)
    const workingMs = clock.nowMs()
    const result = await this.#resultOf(host, engine, () =>
      engine.work!({ id: `${taskId}#${++this.#works}`, work }, signal),
    )
    const fault = workResultFault(work, result)
    if (fault !== undefined) throw new SkeinError('ENGINE_FAILED', `the engine gave ${fault}`)
    if (result.kind !== 'infer') onUse({ tokens: result.promptTokens })
    const timing = { waitMs: Math.round(workingMs - beganMs), workMs: Math.round(clock.nowMs() - workingMs) }
    return { type: 'work.end', result, timing }
  }

  async #resultOf(host: ModelHost, engine: Engine, work: () => Promise<WorkResult>): Promise<WorkResult> {
    try {
      return await work()
    } catch (thrown) {
      const error = asSkeinError(thrown, 'ENGINE_FAILED')
      if (error.code === 'ENGINE_CRASHED') host.crashed(engine, error)
      throw error
    }
  }

  /** @throws SkeinError MODEL_NOT_FOUND, why the model cannot be loaded, INVALID_REQUEST. */
  #hostOf({ digest, work }: WorkStart): ModelHost {
    const fault = work.kind === 'infer' ? tensorsFault(work.tensors) : undefined
    if (fault !== undefined) throw new SkeinError('INVALID_REQUEST', fault, { param: 'inputs' })
    const host = this.#components.host(digest)
    if (host === undefined) throw new SkeinError('MODEL_NOT_FOUND', `this node does not have ${digest}`)
    if (host.failure) throw host.failure
    // what it can do is known for certain when it has been loaded
    if (host.isResident && !host.capability.features.includes(work.kind)) throw notDone(work.kind)
    return host
  }

  /** @throws SkeinError NO_FREE_SLOT, the signal's reason. */
  async #slotOf(host: ModelHost, signal: AbortSignal): Promise<Slot> {
    const full = (): SkeinError => new SkeinError('NO_FREE_SLOT', `all ${host.slots} slots are taken`)
    return withDeadline(this.#components.clock, SLOT_MS, full, signal, async (bounded) => {
      for (;;) {
        const slot = host.acquire()
        if (slot !== undefined) return slot
        if (host.failure) throw host.failure
        if (host.running < host.slots) throw new SkeinError('NODE_DRAINING', 'the model is being unloaded')
        await host.slotFree(bounded)
      }
    })
  }
}

const notDone = (kind: WorkKind): SkeinError =>
  new SkeinError('INVALID_REQUEST', `the model does not ${kind}`, { param: 'model' })

const failedFrame = ({ code, message, param }: SkeinError): Frame => ({
  type: 'work.failed',
  code,
  message: message.slice(0, MESSAGE_LENGTH_MAX),
  ...(param !== undefined && { param: param.slice(0, PARAM_LENGTH_MAX) }),
})
