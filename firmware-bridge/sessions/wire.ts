/** How a message looks on a device's own wire, and what it takes of the room there. */
import { encodeMessage, messageTopic, publishBytes, type CompactError, type DownMessage } from '../messages/index.ts'
import { answerLines, commandLine, failureLine } from '../link/index.ts'
import type { Outgoing, ReplyTo } from '../ports/index.ts'
import type { Session } from './session.ts'

const encoder = new TextEncoder()

/** Longest topic and correlation data that a device may have answers sent with: more leaves no room for an answer. */
const REPLY_TOPIC_BYTES_MAX = 128
const CORRELATION_BYTES_MAX = 64

/** Properties of MQTT 5 of what is sent to a response topic: their length, the kind as content type, and correlation data. */
function propertyBytes(kind: string, replyTo: ReplyTo | undefined): number {
  if (replyTo === undefined) return 0
  const { correlation } = replyTo
  const bytes = 3 + kind.length + (correlation === undefined ? 0 : 3 + correlation.length)
  return (bytes < 128 ? 1 : 2) + bytes
}

/** Why a device may not be answered where it wants to be. The bridge may publish anywhere; a device names its own topics alone. */
export function replyRefusal(device: string, { topic, correlation }: ReplyTo): CompactError | undefined {
  const own = messageTopic(device, 'down', 'chunk').replace(/chunk$/, '')
  if (!topic.startsWith(own) || /[+#]/.test(topic)) return 'not_permitted'
  const isTooLarge = encoder.encode(topic).length > REPLY_TOPIC_BYTES_MAX
  return isTooLarge || (correlation?.length ?? 0) > CORRELATION_BYTES_MAX ? 'too_large' : undefined
}

/** `undefined` where the device's dialect has no words for it: it is told nothing. */
export function outgoingOf(session: Session, message: DownMessage, replyTo?: ReplyTo): Outgoing | undefined {
  switch (session.dialect) {
    case 'plain':
      return undefined
    case 'lines':
      return linesOf(session, message)
    case 'frames':
    case 'mqtt':
      return {
        of: 'message',
        kind: message.kind,
        body: encodeMessage(message, session.format),
        ...(replyTo && session.dialect === 'mqtt' && { replyTo }),
      }
  }
}

/** Bytes that count towards the device's `rx`. */
export function bytesOf(session: Session, outgoing: Outgoing, replyTo?: ReplyTo): number {
  if (outgoing.of === 'lines')
    return Math.max(...outgoing.text.split('\n').map((line) => encoder.encode(line).length + 1))
  if (session.dialect === 'frames') return outgoing.body.length
  const topic = replyTo?.topic ?? messageTopic(session.id, 'down', outgoing.kind)
  return publishBytes(topic, outgoing.body.length, propertyBytes(outgoing.kind, replyTo))
}

function linesOf(session: Session, message: DownMessage): Outgoing | undefined {
  switch (message.kind) {
    case 'chunk': {
      const lines = answerLines(message.t, session.rx)
      // the line that ends an answer stands behind its last chunk alone
      return { of: 'lines', text: (message.l ? lines : lines.slice(0, -1)).join('') }
    }
    case 'fail':
      return { of: 'lines', text: failureLine(message.c) }
    case 'cmd':
      return typeof message.c === 'string' ? { of: 'lines', text: commandLine(message.c, message.v) } : undefined
    case 'class':
      return typeof message.c === 'string'
        ? { of: 'lines', text: commandLine(`${message.c}_class`, message.label) }
        : undefined
    default:
      return undefined
  }
}
