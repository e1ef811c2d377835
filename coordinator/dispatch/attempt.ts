/**
 * One attempt: an `attempt` stream to a node, from `attempt.start` to its final frame. Delivers each token index once
 * and in order (invariant I2): a frame under another fencing token or with an index that was delivered is dropped and
 * counted, a gap ends the attempt.
 */
import {
  isErrorCode,
  LIMITS,
  packTokenIds,
  SkeinError,
  unpackTokenIds,
  type AttemptTokens,
  type Frame,
  type Route,
} from '../../mesh/protocol/index.ts'
import { sleep, type Clock } from '../../mesh/runtime/index.ts'
import type { AttemptChannel, AttemptFrame, AttemptStreams } from './attempt-streams.ts'
import type { TaskEvent } from './events.ts'
import type { NodeSnapshot } from '../scheduler/index.ts'
import type { Completion, Task } from './task.ts'
import { Watchdog } from './watchdog.ts'

/** A cancel that the node does not confirm within this long is followed by a reset. */
const CANCEL_MS = 250

export interface AttemptComponents {
  readonly clock: Clock
  readonly streams: AttemptStreams
  /** Counts dropped frames by reason. */
  readonly count: (reason: 'stale fence' | 'repeated index') => void
  /** From opening the stream to `attempt.accepted`, in ms. */
  readonly onAccepted: (acceptMs: number) => void
}

/**
 * Runs one attempt of `task` on `node`, under `signal`.
 *
 * @throws SkeinError when the attempt did not end the answer: the node's own code, NODE_LOST, ATTEMPT_STALLED, a frame
 *   error; or the reason of `signal`.
 */
export async function* runAttempt(
  components: AttemptComponents,
  task: Task,
  node: NodeSnapshot,
  fence: number,
  signal: AbortSignal,
): AsyncGenerator<TaskEvent, Completion, undefined> {
  const { clock, streams } = components
  const watchdog = new Watchdog(clock)
  const bound = AbortSignal.any([signal, watchdog.signal])
  let channel: AttemptChannel | undefined
  let ended = false
  let hasTokens = false
  const beganMs = clock.nowMs()
  try {
    watchdog.expect('assign to accept', LIMITS.assignToAcceptMs)
    channel = await streams.take(node.peerId, bound)
    await channel.send(startFrame(task, fence), bound)
    for (;;) {
      const frame = await channel.receive(bound)
      if (frame === undefined)
        throw new SkeinError('STREAM_TRUNCATED', `${node.name} ended the stream without a final frame`)
      if (frame.fence !== fence) {
        components.count('stale fence')
        continue
      }
      switch (frame.type) {
        case 'attempt.accepted':
          components.onAccepted(clock.nowMs() - beganMs)
          watchdog.expect('accept to first token', LIMITS.progressMs)
          yield started(node, task.attempts)
          break
        case 'attempt.progress':
          watchdog.expect('progress', LIMITS.progressMs)
          if (frame.phase === 'loading') yield status(`loading ${percent(frame.done, frame.total)}`)
          break
        case 'attempt.tokens': {
          watchdog.expect('between tokens', LIMITS.betweenTokensMs)
          const event = deliver(components, task, frame)
          if (event) yield event
          if (!hasTokens) streams.replenish(node.peerId)
          hasTokens = true
          break
        }
        case 'attempt.end':
          ended = true
          return completion(task, frame)
        case 'attempt.failed':
          ended = true
          throw new SkeinError(isErrorCode(frame.code) ? frame.code : 'ENGINE_FAILED', `${node.name}: ${frame.message}`)
      }
    }
  } finally {
    watchdog.stop()
    if (channel) finish(clock, channel, fence, ended)
  }
}

function startFrame(task: Task, fence: number): Frame {
  const { taskId, digest, prompt, sampling, stop, maxTokens } = task.init
  return {
    type: 'attempt.start',
    taskId,
    attempt: task.attempts,
    fence,
    digest,
    prompt,
    sampling,
    stop: [...stop],
    maxTokens,
    generated: packTokenIds(task.generated),
  }
}

/** The event for a token frame, or `undefined` when it is to be dropped. @throws SkeinError FRAME_UNEXPECTED on a gap. */
function deliver(components: AttemptComponents, task: Task, frame: AttemptTokens): TaskEvent | undefined {
  const ids = unpackTokenIds(frame.ids)
  if (ids === undefined || ids.length === 0 || ids.length > LIMITS.tokensPerFrameMax)
    throw new SkeinError('FRAME_MALFORMED', 'attempt.tokens: no whole number of ids')
  const index = task.generated.length
  if (frame.index < index) {
    components.count('repeated index')
    return undefined
  }
  if (frame.index > index) throw new SkeinError('FRAME_UNEXPECTED', `token ${frame.index} where ${index} was due`)
  if (index + ids.length > task.init.maxTokens)
    throw new SkeinError('FRAME_UNEXPECTED', `more than the ${task.init.maxTokens} tokens that were asked for`)
  for (const id of ids) task.generated.push(id)
  task.firstTokenAtMs ??= components.clock.nowMs()
  return { type: 'tokens', index, count: ids.length, text: frame.text }
}

function completion(task: Task, frame: Extract<AttemptFrame, { type: 'attempt.end' }>): Completion {
  // Usage is what was delivered (invariant I10); a node that counts otherwise is not believed.
  const usage = { ...frame.usage, completionTokens: task.generated.length }
  return { finishReason: frame.finishReason, text: frame.text, usage }
}

const started = (node: NodeSnapshot, attempt: number): TaskEvent => ({
  type: 'started',
  node: { peerId: node.peerId, name: node.name },
  route: (node.isSelf ? 'local' : 'mesh') satisfies Route,
  attempt,
})

const status = (text: string): TaskEvent => ({ type: 'status', text })

const percent = (done: number, total: number): string => `${total === 0 ? 0 : Math.floor((100 * done) / total)}%`

/** Closes an ended stream; one that has not ended is cancelled, and reset when the node does not confirm in time. */
function finish(clock: Clock, channel: AttemptChannel, fence: number, ended: boolean): void {
  const over = async (): Promise<void> => {
    if (ended) return channel.close()
    const reset = new AbortController()
    const confirmed = channel.send({ type: 'attempt.cancel', fence }).then(async () => {
      for (;;) {
        const frame = await channel.receive(reset.signal)
        if (frame === undefined || frame.type === 'attempt.failed' || frame.type === 'attempt.end') return
      }
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
