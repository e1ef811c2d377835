/** Server-sent events of one connection, bounded, and given up when they fall silent. */
import { createParser } from 'eventsource-parser'
import { SkeinError } from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock } from '../../mesh/runtime/index.ts'

export interface StreamedEvent {
  readonly event: string | undefined
  readonly data: string
  readonly id: string | undefined
}

export interface EventStreamListener {
  event(event: StreamedEvent): void
  comment(text: string): void
}

/** Text that is no whole event yet. */
const BUFFER_LENGTH_MAX = 4 * 1024 * 1024

/**
 * Reads `response` to its end. What the listener throws ends it too.
 *
 * @param silenceMs without a byte for so long the connection counts as broken.
 * @throws SkeinError STREAM_TRUNCATED when the connection broke; the signal's reason.
 */
export async function readEvents(
  response: Response,
  clock: Clock,
  silenceMs: number,
  listener: EventStreamListener,
  signal: AbortSignal,
): Promise<void> {
  const parser = createParser({
    onEvent: ({ event, data, id }) => listener.event({ event, data, id }),
    onComment: (text) => listener.comment(text.trim()),
    maxBufferSize: BUFFER_LENGTH_MAX,
  })
  const reader = response.body!.getReader() as ReadableStreamDefaultReader<Uint8Array>
  const decoder = new TextDecoder()
  const truncated = (cause?: unknown): SkeinError =>
    new SkeinError('STREAM_TRUNCATED', 'the connection to the coordinator broke', { cause })
  const giveUp = (): void => void reader.cancel().catch(() => undefined)
  signal.addEventListener('abort', giveUp, { once: true })
  let isSilent = false
  let cancelWatch: CancelTimer = () => undefined
  const watch = (): void => {
    cancelWatch()
    cancelWatch = clock.timer(silenceMs, () => {
      isSilent = true
      giveUp()
    })
  }
  try {
    for (;;) {
      watch()
      const { done, value } = await reader.read().catch((cause: unknown) => {
        signal.throwIfAborted()
        throw truncated(cause)
      })
      signal.throwIfAborted()
      if (isSilent) throw truncated()
      if (done) return
      parser.feed(decoder.decode(value, { stream: true }))
    }
  } finally {
    cancelWatch()
    signal.removeEventListener('abort', giveUp)
    giveUp()
  }
}
