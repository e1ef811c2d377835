/** What a publish on one of our topics is to a listener. */
import { parseTopic } from '../messages/index.ts'
import type { Incoming, Origin, ReplyTo } from '../ports/index.ts'

export interface Publish {
  readonly topic: string
  readonly payload: string | Uint8Array
  readonly replyTo?: ReplyTo
  readonly isRetained?: boolean
}

/** `undefined` for what no device says. */
export function incomingOf(publish: Publish): { readonly origin: Origin; readonly incoming: Incoming } | undefined {
  const parsed = parseTopic(publish.topic)
  if (!parsed.ok) return undefined
  const topic = parsed.value
  const body = typeof publish.payload === 'string' ? new TextEncoder().encode(publish.payload) : publish.payload
  const rest = {
    ...(publish.replyTo && { replyTo: publish.replyTo }),
    ...(publish.isRetained === true && { isRetained: true }),
  }
  switch (topic.of) {
    case 'message':
      if (topic.direction !== 'up') return undefined
      return {
        origin: { of: 'device', device: topic.device },
        incoming: { of: 'message', wire: 'mqtt', kind: topic.kind, body, ...rest },
      }
    case 'value':
      return {
        origin: { of: 'device', device: topic.device },
        incoming: {
          of: 'value',
          capability: topic.capability,
          body,
          ...(publish.isRetained === true && { isRetained: true }),
        },
      }
    case 'claim':
      if (topic.direction !== 'up') return undefined
      return {
        origin: { of: 'chip', chip: topic.chip },
        incoming: { of: 'message', wire: 'mqtt', kind: 'claim', body, ...rest },
      }
    case 'bridge':
      return undefined
  }
}
