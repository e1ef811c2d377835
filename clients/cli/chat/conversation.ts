/** A conversation in the terminal: what is sent, and what is kept of it in a file. */
import { SkeinError } from '../../../mesh/protocol/index.ts'
import type { ChatMessage } from '../coordinator-client.ts'

export interface Attachment {
  readonly name: string
  readonly text: string
}

const FORMAT = 'skein-conversation'
const VERSION = 1
const ROLES: ReadonlySet<unknown> = new Set(['system', 'user', 'assistant'])
/** Of a file that is read back. */
export const MESSAGES_MAX = 10_000

export class Conversation {
  #system: string | undefined
  #messages: ChatMessage[]

  constructor(system: string | undefined, messages: readonly ChatMessage[] = []) {
    this.#system = system
    this.#messages = [...messages]
  }

  get system(): string | undefined {
    return this.#system
  }
  set system(text: string | undefined) {
    this.#system = text
  }

  /** Without the system message. */
  get messages(): readonly ChatMessage[] {
    return this.#messages
  }

  /** All that is sent for the next answer. */
  get sent(): ChatMessage[] {
    return [
      ...(this.#system === undefined ? [] : [{ role: 'system' as const, content: this.#system }]),
      ...this.#messages,
    ]
  }

  add(message: ChatMessage): void {
    this.#messages.push(message)
  }

  clear(): void {
    this.#messages = []
  }

  /** Takes back the last question and its answer; the question. */
  takeBack(): string | undefined {
    const at = this.#messages.findLastIndex(({ role }) => role === 'user')
    if (at < 0) return undefined
    const [question] = this.#messages.splice(at)
    return question!.content
  }

  toMarkdown(): string {
    const names = { system: 'System', user: 'You', assistant: 'Answer' } as const
    return `${this.sent.map(({ role, content }) => `## ${names[role]}\n\n${content}`).join('\n\n')}\n`
  }

  toJson(): string {
    return `${JSON.stringify({ format: FORMAT, version: VERSION, system: this.#system, messages: this.#messages }, null, 1)}\n`
  }

  /** @throws SkeinError CONFIG_INVALID when `text` is no conversation that was saved. */
  static fromJson(text: string, path: string): Conversation {
    const wrong = (why: string): SkeinError =>
      new SkeinError('CONFIG_INVALID', `${path} is no saved conversation: ${why}`)
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch {
      throw wrong('it is not JSON')
    }
    const { format, version, system, messages } = (value ?? {}) as Record<string, unknown>
    if (format !== FORMAT || version !== VERSION) throw wrong(`it has no "format": "${FORMAT}" of version ${VERSION}`)
    if (system !== undefined && typeof system !== 'string') throw wrong('its system message is no text')
    if (!Array.isArray(messages) || messages.length > MESSAGES_MAX)
      throw wrong(`it has no list of at most ${MESSAGES_MAX} messages`)
    return new Conversation(
      system,
      messages.map((message: unknown) => messageOf(message, wrong)),
    )
  }
}

function messageOf(value: unknown, wrong: (why: string) => SkeinError): ChatMessage {
  const { role, content, reasoning_content: thought } = (value ?? {}) as Record<string, unknown>
  if (!ROLES.has(role) || typeof content !== 'string' || (thought !== undefined && typeof thought !== 'string'))
    throw wrong('a message has no role or no text')
  return { role: role as ChatMessage['role'], content, ...(thought !== undefined && { reasoning_content: thought }) }
}

/** The question with the files that were attached before it, as text. */
export function withAttachments(question: string, attachments: readonly Attachment[]): string {
  const files = attachments.map(({ name, text }) => {
    const fence = '`'.repeat(Math.max(3, ...[...text.matchAll(/`+/g)].map(([ticks]) => ticks.length + 1)))
    return `File ${name}:\n${fence}\n${text.replace(/\n$/, '')}\n${fence}`
  })
  return [...files, question].join('\n\n')
}
