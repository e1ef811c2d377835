/** Follows the coordinator's events, over as many connections as it takes: each goes on behind the last event of the one before. */
import { createParser } from 'eventsource-parser'
import { asSkeinError, SkeinError, type ErrorCode } from '../../mesh/protocol/index.ts'
import { sleep, type Clock } from '../../mesh/runtime/index.ts'
import type { EventView } from '../../coordinator/index.ts'

/** What stands in for events that could not be told any more. */
export interface MissedEvents {
  readonly type: 'events.missed'
  readonly atMs: number
}
export type ToldEvent = EventView | MissedEvents

export interface EventSource {
  /** Opens a connection. @throws SkeinError. */
  readonly open: (after: string | undefined, signal: AbortSignal) => Promise<Response>
  readonly clock: Clock
}

export interface EventListener {
  event(event: ToldEvent): void
  /** The connection broke, and is made again. */
  lost(): void
}

/** A connection that broke is made again for so long, counted anew whenever one was open. */
const RETRY_MS = 30_000
const RETRY_MS_MIN = 250
const RETRY_MS_MAX = 4000

/** Ends of a connection after which another one may go on. */
const RESUMABLE: ReadonlySet<ErrorCode> = new Set(['COORDINATOR_UNREACHABLE', 'STREAM_TRUNCATED', 'SHUTTING_DOWN'])

/**
 * Tells `listener` of each event until the signal aborts.
 *
 * @throws SkeinError the gateway's code; what broke the connection, when it could not be made again. The signal's reason.
 */
export async function followEvents(source: EventSource, listener: EventListener, signal: AbortSignal): Promise<never> {
  const { clock, open } = source
  let after: string | undefined
  let hasOpened = false
  let brokenAtMs: number | undefined
  let delayMs = RETRY_MS_MIN
  for (;;) {
    try {
      const response = await open(after, signal)
      hasOpened = true
      brokenAtMs = undefined
      delayMs = RETRY_MS_MIN
      await read(response, signal, (event, id) => {
        after = id ?? after
        listener.event(event)
      })
    } catch (thrown) {
      signal.throwIfAborted()
      const error = asSkeinError(thrown)
      if (!hasOpened || !RESUMABLE.has(error.code)) throw error
      if (brokenAtMs === undefined) listener.lost()
      brokenAtMs ??= clock.nowMs()
      if (clock.nowMs() - brokenAtMs >= RETRY_MS) throw error
    }
    await sleep(clock, delayMs, signal)
    delayMs = Math.min(2 * delayMs, RETRY_MS_MAX)
  }
}

/** Reads one connection to its end. @throws SkeinError STREAM_TRUNCATED at its end, since events have none. */
async function read(
  response: Response,
  signal: AbortSignal,
  take: (event: ToldEvent, id: string | undefined) => void,
): Promise<never> {
  const parser = createParser({ onEvent: ({ data, id }) => take(JSON.parse(data) as ToldEvent, id) })
  const decoder = new TextDecoder()
  let cause: unknown
  try {
    for await (const chunk of response.body!) parser.feed(decoder.decode(chunk as Uint8Array, { stream: true }))
  } catch (thrown) {
    signal.throwIfAborted()
    cause = thrown
  }
  throw new SkeinError('STREAM_TRUNCATED', 'the connection to the coordinator broke', { cause })
}
