/** Reads one streamed answer, over as many connections as it takes: each goes on behind the last event of the one before. */
import { createParser } from 'eventsource-parser'
import { ERRORS, isErrorCode, SkeinError, type ErrorCode } from '../../mesh/protocol/index.ts'

export interface GenerateListener {
  /** Text of the answer, as it comes. */
  text(text: string): void
  /** What the model thinks before, as it comes. */
  thought?(text: string): void
  /** Progress, such as `queued 2`. */
  status(text: string): void
  /** Who goes on from here; first who begins. */
  node?(name: string): void
}

export interface GenerateResult {
  readonly node: string | undefined
  readonly route: string | undefined
  readonly finishReason: string
  readonly usage:
    | {
        prompt_tokens: number
        completion_tokens: number
        completion_tokens_details?: { reasoning_tokens: number }
      }
    | undefined
}

interface StreamChunk {
  readonly error?: { code?: string; message?: string }
  readonly choices?: readonly {
    delta?: { content?: string; reasoning_content?: string }
    finish_reason?: string | null
  }[]
  readonly usage?: GenerateResult['usage'] | null
}

/** Errors after which the same request goes on with the same answer: the connection ended, and not the task. */
const RESUMABLE: ReadonlySet<ErrorCode> = new Set(['STREAM_TRUNCATED', 'COORDINATOR_UNREACHABLE', 'SHUTTING_DOWN'])

export const isResumable = (error: unknown): boolean => error instanceof SkeinError && RESUMABLE.has(error.code)

export class AnswerReading {
  readonly #listener: GenerateListener
  #taskId: string | undefined
  #lastEventId: string | undefined
  #finishReason: string | undefined
  #usage: GenerateResult['usage']
  #node: string | undefined
  #route: string | undefined

  constructor(listener: GenerateListener) {
    this.#listener = listener
  }

  /** The task, once a coordinator has admitted it. */
  get taskId(): string | undefined {
    return this.#taskId
  }

  /** What the next connection says that it has. */
  get lastEventId(): string | undefined {
    return this.#lastEventId
  }

  /**
   * Reads one connection to the end of the answer.
   *
   * @throws SkeinError the gateway's code when the answer failed; STREAM_TRUNCATED when it ends without being whole.
   */
  async read(response: Response, signal?: AbortSignal): Promise<GenerateResult> {
    const { headers } = response
    this.#taskId = headers.get('x-skein-task') ?? undefined
    this.#moved(headers.get('x-skein-node') ?? undefined)
    this.#route = headers.get('x-skein-route') ?? this.#route
    let isDone = false
    let failure: SkeinError | undefined
    const parser = createParser({
      onEvent: ({ data, id }) => {
        if (data === '[DONE]') isDone = true
        else failure ??= this.#take(JSON.parse(data) as StreamChunk)
        if (id !== undefined) this.#lastEventId = id
      },
      onComment: (comment) => this.#comment(comment.trim()),
    })
    const decoder = new TextDecoder()
    try {
      for await (const chunk of response.body!) parser.feed(decoder.decode(chunk as Uint8Array, { stream: true }))
    } catch (cause) {
      signal?.throwIfAborted()
      throw new SkeinError('STREAM_TRUNCATED', 'the connection to the coordinator broke', { cause })
    }
    if (failure) throw failure
    if (!isDone || this.#finishReason === undefined)
      throw new SkeinError('STREAM_TRUNCATED', 'the answer ended before it was whole')
    return { node: this.#node, route: this.#route, finishReason: this.#finishReason, usage: this.#usage }
  }

  #comment(comment: string): void {
    if (comment.startsWith('node ')) this.#moved(comment.slice('node '.length))
    else if (comment !== '' && comment !== 'keepalive') this.#listener.status(comment)
  }

  #moved(node: string | undefined): void {
    if (node === undefined || node === this.#node) return
    if (this.#node !== undefined) this.#listener.status(`moved to ${node}`)
    this.#node = node
    this.#listener.node?.(node)
  }

  /** The failure that the chunk tells of. */
  #take(chunk: StreamChunk): SkeinError | undefined {
    if (chunk.error) return errorOf(chunk.error.code, chunk.error.message ?? 'the answer failed')
    if (chunk.usage) this.#usage = chunk.usage
    const choice = chunk.choices?.[0]
    if (choice?.delta?.reasoning_content) this.#listener.thought?.(choice.delta.reasoning_content)
    if (choice?.delta?.content) this.#listener.text(choice.delta.content)
    if (choice?.finish_reason) this.#finishReason = choice.finish_reason
    return undefined
  }
}

function errorOf(code: string | undefined, message: string, status = 500): SkeinError {
  const known = (code ?? '').toUpperCase()
  if (isErrorCode(known)) return new SkeinError(known, message)
  const byStatus = (Object.keys(ERRORS) as ErrorCode[]).find((each) => ERRORS[each].http === status)
  return new SkeinError(byStatus ?? 'INTERNAL', message)
}

/** The error that a response of the coordinator tells of. */
export async function failureOf(response: Response): Promise<SkeinError> {
  const body = (await response.json().catch(() => undefined)) as
    { error?: { code?: string; message?: string } } | undefined
  return errorOf(
    body?.error?.code,
    body?.error?.message ?? `the coordinator answered ${response.status}`,
    response.status,
  )
}
