/** The command line's way to a running coordinator: its HTTP API, found by flag, environment or data directory. */
import { createParser } from 'eventsource-parser'
import { ERRORS, isErrorCode, SkeinError, type ErrorCode } from '../../mesh/protocol/index.ts'
import { DataDir } from '../../mesh/runtime/index.ts'
import type { InviteView, ModelView, NodeName, NodeView, SelfView } from '../../coordinator/index.ts'

export const DEFAULT_HTTP = '127.0.0.1:7337'

export interface ClientTarget {
  readonly url: string
  readonly apiKey: string | undefined
}

/** Where the coordinator is: `--url`, else what runs in the data directory, else the default address. */
export function findCoordinator(options: { url?: string; apiKey?: string; data: string }): ClientTarget {
  const instance = DataDir.instance(options.data)
  const apiKey = options.apiKey ?? instance?.apiKey
  return { url: (options.url ?? instance?.http ?? `http://${DEFAULT_HTTP}`).replace(/\/+$/, ''), apiKey }
}

export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant'
  readonly content: string
}

export interface GenerateInit {
  readonly model: string
  readonly messages: readonly ChatMessage[]
  readonly maxTokens?: number
  readonly temperature?: number
  readonly seed?: number
}

export interface GenerateListener {
  /** Text of the answer, as it comes. */
  text(text: string): void
  /** Progress, such as `queued 2`. */
  status(text: string): void
}

export interface GenerateResult {
  readonly node: string | undefined
  readonly route: string | undefined
  readonly finishReason: string
  readonly usage: { prompt_tokens: number; completion_tokens: number } | undefined
}

export class CoordinatorClient {
  readonly #target: ClientTarget

  constructor(target: ClientTarget) {
    this.#target = target
  }

  async nodes(): Promise<NodeView[]> {
    return ((await this.#call('GET', '/mesh/v1/nodes')) as { data: NodeView[] }).data
  }

  async models(): Promise<(ModelView & { id: string })[]> {
    return ((await this.#call('GET', '/mesh/v1/models')) as { data: (ModelView & { id: string })[] }).data
  }

  self(): Promise<SelfView> {
    return this.#call('GET', '/mesh/v1/self') as Promise<SelfView>
  }

  invite(uses: number, validMs: number): Promise<InviteView> {
    return this.#call('POST', '/mesh/v1/invites', { uses, valid_ms: validMs }) as Promise<InviteView>
  }

  revoke(member: string): Promise<NodeName> {
    return this.#call('DELETE', `/mesh/v1/nodes/${encodeURIComponent(member)}`) as Promise<NodeName>
  }

  /** Whether `/health/ready` says yes, and its reason. */
  async ready(): Promise<{ ready: boolean; reason: string }> {
    const response = await this.#fetch('GET', '/health/ready')
    return (await response.json()) as { ready: boolean; reason: string }
  }

  /**
   * A streamed chat completion.
   *
   * @throws SkeinError the gateway's code, also for one that comes in the middle of the stream; STREAM_TRUNCATED when the
   *   stream ends without saying that it is whole.
   */
  async generate(init: GenerateInit, listener: GenerateListener, signal?: AbortSignal): Promise<GenerateResult> {
    const { model, messages, maxTokens, temperature, seed } = init
    const body = {
      model,
      messages,
      max_tokens: maxTokens,
      temperature,
      seed,
      stream: true,
      stream_options: { include_usage: true },
    }
    const response = await this.#fetch('POST', '/v1/chat/completions', body, signal)
    if (!response.ok) throw await failure(response)
    const reading = new StreamReading(listener)
    const decoder = new TextDecoder()
    for await (const chunk of response.body!) reading.feed(decoder.decode(chunk as Uint8Array, { stream: true }))
    return reading.result(response.headers)
  }

  async #call(method: string, path: string, body?: unknown): Promise<unknown> {
    const response = await this.#fetch(method, path, body)
    if (!response.ok) throw await failure(response)
    return response.json()
  }

  async #fetch(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = {}
    if (body !== undefined) headers['content-type'] = 'application/json'
    if (this.#target.apiKey !== undefined) headers['authorization'] = `Bearer ${this.#target.apiKey}`
    try {
      return await fetch(this.#target.url + path, {
        method,
        headers,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        ...(signal && { signal }),
      })
    } catch (cause) {
      signal?.throwIfAborted()
      throw new SkeinError(
        'COORDINATOR_UNREACHABLE',
        `no coordinator answers at ${this.#target.url}; start one with: skein up`,
        { cause },
      )
    }
  }
}

interface StreamChunk {
  readonly error?: { code?: string; message?: string }
  readonly choices?: readonly { delta?: { content?: string }; finish_reason?: string | null }[]
  readonly usage?: GenerateResult['usage'] | null
}

/** Reads the server-sent events of one answer. */
class StreamReading {
  readonly #parser
  readonly #listener: GenerateListener
  #finishReason: string | undefined
  #usage: GenerateResult['usage']
  #node: string | undefined
  #done = false
  #error: SkeinError | undefined

  constructor(listener: GenerateListener) {
    this.#listener = listener
    this.#parser = createParser({
      onEvent: ({ data }) => this.#take(data),
      onComment: (comment) => this.#comment(comment.trim()),
    })
  }

  feed(text: string): void {
    this.#parser.feed(text)
  }

  result(headers: Headers): GenerateResult {
    if (this.#error) throw this.#error
    if (!this.#done || this.#finishReason === undefined)
      throw new SkeinError('STREAM_TRUNCATED', 'the answer ended before it was whole')
    return {
      node: headers.get('x-skein-node') ?? this.#node,
      route: headers.get('x-skein-route') ?? undefined,
      finishReason: this.#finishReason,
      usage: this.#usage,
    }
  }

  #comment(comment: string): void {
    if (comment.startsWith('node ')) this.#node = comment.slice('node '.length)
    else if (comment !== '' && comment !== 'keepalive') this.#listener.status(comment)
  }

  #take(data: string): void {
    if (data === '[DONE]') {
      this.#done = true
      return
    }
    const chunk = JSON.parse(data) as StreamChunk
    if (chunk.error) this.#error = errorOf(chunk.error.code, chunk.error.message ?? 'the answer failed')
    if (chunk.usage) this.#usage = chunk.usage
    const choice = chunk.choices?.[0]
    if (choice?.delta?.content) this.#listener.text(choice.delta.content)
    if (choice?.finish_reason) this.#finishReason = choice.finish_reason
  }
}

function errorOf(code: string | undefined, message: string, status = 500): SkeinError {
  const known = (code ?? '').toUpperCase()
  if (isErrorCode(known)) return new SkeinError(known, message)
  const byStatus = (Object.keys(ERRORS) as ErrorCode[]).find((each) => ERRORS[each].http === status)
  return new SkeinError(byStatus ?? 'INTERNAL', message)
}

async function failure(response: Response): Promise<SkeinError> {
  const body = (await response.json().catch(() => undefined)) as
    { error?: { code?: string; message?: string } } | undefined
  return errorOf(
    body?.error?.code,
    body?.error?.message ?? `the coordinator answered ${response.status}`,
    response.status,
  )
}
