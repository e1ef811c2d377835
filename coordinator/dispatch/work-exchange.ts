/** One part of work on one node: a `work` stream, from its first frame to its final one. */
import {
  INBOUND,
  isErrorCode,
  LIMITS,
  SkeinError,
  workResultFault,
  type FrameSet,
  type Leave,
  type ModelDigest,
  type TaskId,
  type Work,
  type WorkEnd,
  type WorkResult,
} from '../../mesh/protocol/index.ts'
import { deadline, sleep, type Clock } from '../../mesh/runtime/index.ts'
import type { FrameChannel, PeerTransport } from '../../mesh/network/index.ts'
import type { NodeSnapshot } from '../scheduler/index.ts'
import { Watchdog } from './watchdog.ts'

/** A cancel that the node does not confirm within this long is followed by a reset. */
const CANCEL_MS = 250

type WorkChannel = FrameChannel<typeof INBOUND.workCoordinator extends FrameSet<infer F> ? F : never>

export interface PartOfWork {
  readonly node: NodeSnapshot
  readonly taskId: TaskId
  readonly digest: ModelDigest
  readonly work: Work
  readonly tenant: string
  /** Where the node is in the cloud. */
  readonly leave?: Leave
}

export interface PartResult {
  readonly result: WorkResult
  /** The node's own, for its turn and its model; in ms. */
  readonly waitMs: number
}

/**
 * What `part.node` makes of it.
 *
 * @throws SkeinError what the node says, NODE_LOST and its kin, ATTEMPT_STALLED when the node says nothing for
 *   `workProgressMs` or has no result within `workMs`, FRAME_MALFORMED for a result that is none; the signal's reason.
 */
export async function exchangeWork(
  { clock, transport }: { readonly clock: Clock; readonly transport: PeerTransport },
  part: PartOfWork,
  signal: AbortSignal,
): Promise<PartResult> {
  const { node, taskId, digest, work, tenant, leave } = part
  const watchdog = new Watchdog(clock)
  const late = (): SkeinError => new SkeinError('ATTEMPT_STALLED', `no result within ${LIMITS.workMs} ms`)
  const limit = deadline(clock, LIMITS.workMs, late)
  const bounded = AbortSignal.any([signal, watchdog.signal, limit.signal])
  let channel: WorkChannel | undefined
  let isEnded = false
  watchdog.expect('progress of work', LIMITS.workProgressMs)
  try {
    channel = await transport.open(node.peerId, 'work', INBOUND.workCoordinator, { signal: bounded })
    await channel.send({ type: 'work.start', taskId, digest, work, tenant, ...(leave && { leave }) }, bounded)
    for (;;) {
      const frame = await channel.receive(bounded)
      if (frame === undefined)
        throw new SkeinError('STREAM_TRUNCATED', `${node.name} ended the stream without a final frame`)
      watchdog.expect('progress of work', LIMITS.workProgressMs)
      if (frame.type === 'work.progress') continue
      isEnded = true
      if (frame.type === 'work.end') return checked(part, frame)
      const { code, message, param } = frame
      throw new SkeinError(
        isErrorCode(code) ? code : 'ENGINE_FAILED',
        `${node.name}: ${message}`,
        param === undefined ? {} : { param },
      )
    }
  } finally {
    watchdog.stop()
    limit.cancel()
    if (channel) finish(clock, channel, isEnded)
  }
}

/** @throws SkeinError FRAME_MALFORMED: what a node says is not believed. */
function checked({ node, work }: PartOfWork, { result, timing }: WorkEnd): PartResult {
  const fault = workResultFault(work, result)
  if (fault !== undefined) throw new SkeinError('FRAME_MALFORMED', `${node.name} gave ${fault}`)
  return { result, waitMs: timing.waitMs }
}

/** Closes an ended stream; one that has not ended is cancelled, and reset when the node does not confirm in time. */
function finish(clock: Clock, channel: WorkChannel, isEnded: boolean): void {
  const over = async (): Promise<void> => {
    if (isEnded) return channel.close()
    const reset = new AbortController()
    const confirmed = channel.send({ type: 'work.cancel' }, reset.signal).then(async () => {
      while ((await channel.receive(reset.signal))?.type === 'work.progress') continue
    })
    await Promise.race([confirmed, sleep(clock, CANCEL_MS)]).catch(() => {})
    reset.abort(new SkeinError('CLIENT_CLOSED', 'cancelled'))
    confirmed.catch(() => {})
    channel.abort(new SkeinError('CLIENT_CLOSED', 'cancelled'))
  }
  over().catch(() => {
    // a stream that cannot be closed is already gone
  })
}
