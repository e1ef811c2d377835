/** Server-sent events, as the WHATWG's HTML standard (§9.2) has them, of a stream that is bounded. */
import { ProtocolError } from './errors.ts'

export type ServerEvent =
  | { readonly type: 'event'; readonly name: string; readonly id: string | undefined; readonly data: string }
  | { readonly type: 'comment'; readonly text: string }

const EVENT_LENGTH_MAX = 8 * 1024 * 1024

/** @throws ProtocolError for an event of more than 8 MiB; what reading the body throws. */
export async function* serverEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent, void, undefined> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  const events = new EventReader()
  let rest = ''
  try {
    for (;;) {
      const { done, value } = await reader.read()
      rest += done ? decoder.decode() : decoder.decode(value, { stream: true })
      const lines = rest.split(/\r\n|\n|\r(?!$)/)
      rest = lines.pop()!
      if (rest.length > EVENT_LENGTH_MAX) throw tooLong()
      for (const line of lines) {
        const event = events.take(line)
        if (event !== undefined) yield event
      }
      // what has no blank line behind it never was whole
      if (done) return
    }
  } finally {
    await reader.cancel().catch(() => {})
  }
}

class EventReader {
  #data: string[] = []
  #name = 'message'
  #id: string | undefined
  #length = 0

  /** The event that `line` ends, or the comment that it is. @throws ProtocolError. */
  take(line: string): ServerEvent | undefined {
    if (line === '') return this.#end()
    if (line.startsWith(':')) return { type: 'comment', text: line.slice(1).trim() }
    if ((this.#length += line.length) > EVENT_LENGTH_MAX) throw tooLong()
    const { field, content } = fieldOf(line)
    if (field === 'data') this.#data.push(content)
    else if (field === 'event') this.#name = content
    else if (field === 'id' && !content.includes('\0')) this.#id = content
    return undefined
  }

  #end(): ServerEvent | undefined {
    const event = { type: 'event', name: this.#name, id: this.#id, data: this.#data.join('\n') } as const
    const isEvent = this.#data.length > 0
    this.#data = []
    this.#name = 'message'
    this.#length = 0
    return isEvent ? event : undefined
  }
}

const tooLong = (): ProtocolError => new ProtocolError('an event of more than 8 MiB')

function fieldOf(line: string): { readonly field: string; readonly content: string } {
  const colon = line.indexOf(':')
  if (colon === -1) return { field: line, content: '' }
  const content = line.slice(colon + 1)
  return { field: line.slice(0, colon), content: content.startsWith(' ') ? content.slice(1) : content }
}
