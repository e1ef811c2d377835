/** How a message looks on a device's own wire, and what it takes of the room there. */
import { encodeMessage, messageTopic, publishBytes, type DownMessage } from '../messages/index.ts'
import { answerLines, commandLine, failureLine } from '../link/index.ts'
import type { Outgoing, ReplyTo } from '../ports/index.ts'
import type { Session } from './session.ts'

/** Length, identifier and length of the correlation data of MQTT 5, and no other property. */
const correlationBytes = (replyTo: ReplyTo | undefined): number =>
  replyTo === undefined ? 0 : replyTo.correlation === undefined ? 1 : 4 + replyTo.correlation.length

const encoder = new TextEncoder()

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
  return publishBytes(topic, outgoing.body.length, correlationBytes(replyTo))
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
