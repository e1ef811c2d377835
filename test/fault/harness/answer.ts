/**
 * One streamed answer as the official `openai` client reads it, beside the bytes that it was made of: comments, `id:` lines
 * and `[DONE]` never reach the client's user, and are half of what is promised.
 */
import OpenAI from 'openai'

export interface Question {
  readonly model: string
  readonly prompt: string
  readonly maxTokens: number
  readonly temperature?: number
  readonly seed?: number
  /** Beside OpenAI's: where it may go, and how long. */
  readonly skein?: { readonly local_only?: boolean; readonly deadline_ms?: number }
  /** `Idempotency-Key`: the answer may be resumed, and its events bear ids. */
  readonly key?: string
  /** `Last-Event-ID`: what comes behind this many tokens alone. */
  readonly after?: number
}

interface Timed {
  /** On `performance.now()`. */
  readonly atMs: number
  readonly text: string
}

export class Answer {
  readonly question: Question
  readonly askedAtMs = performance.now()
  /** Texts that the client was given, in order. */
  readonly deltas: Timed[] = []
  readonly comments: Timed[] = []
  /** Values of the `id:` lines. */
  readonly ids: number[] = []
  taskId = ''
  /** The node that the last word came from, as headers and comments tell. */
  node = ''
  finishReason: string | undefined
  promptTokens: number | undefined
  completionTokens: number | undefined
  /** What the client threw. */
  error: Error | undefined
  hasDone = false
  hasEnded = false
  /** Resolves at the end, whatever it was. */
  readonly ended: Promise<this>
  readonly #abort = new AbortController()
  #rest = ''

  constructor(baseUrl: string, question: Question) {
    this.question = question
    this.ended = this.#read(baseUrl)
  }

  get text(): string {
    return this.deltas.map((delta) => delta.text).join('')
  }

  /** Hangs up. */
  leave(): void {
    this.#abort.abort()
  }

  /** How often the comments say that the answer moved. */
  get moves(): number {
    return this.comments.filter(({ text }) => /\bresum|\bmov/.test(text)).length
  }

  async #read(baseUrl: string): Promise<this> {
    const { model, prompt, maxTokens, key, after, ...sampling } = this.question
    const decoder = new TextDecoder()
    const client = new OpenAI({
      baseURL: `${baseUrl}/v1`,
      apiKey: 'none',
      maxRetries: 0,
      fetch: async (url, init) => {
        const response = await fetch(url, init)
        this.taskId = response.headers.get('x-skein-task') ?? ''
        this.node = response.headers.get('x-skein-node') ?? ''
        const recorded = response.body?.pipeThrough(
          new TransformStream<Uint8Array, Uint8Array>({
            transform: (chunk, controller) => {
              this.#scan(decoder.decode(chunk, { stream: true }))
              controller.enqueue(chunk)
            },
          }),
        )
        return new Response(recorded ?? null, response)
      },
    })
    const headers = {
      ...(key !== undefined && { 'idempotency-key': key }),
      ...(after !== undefined && { 'last-event-id': String(after) }),
    }
    try {
      const stream = await client.chat.completions.create(
        {
          model,
          stream: true,
          max_tokens: maxTokens,
          temperature: 0,
          ...sampling,
          messages: [{ role: 'user', content: prompt }],
          stream_options: { include_usage: true },
        },
        { headers, signal: this.#abort.signal },
      )
      for await (const chunk of stream) {
        const choice = chunk.choices[0]
        const text = choice?.delta.content
        if (text) this.deltas.push({ atMs: performance.now(), text })
        if (choice?.finish_reason) this.finishReason = choice.finish_reason
        if (!chunk.usage) continue
        this.promptTokens = chunk.usage.prompt_tokens
        this.completionTokens = chunk.usage.completion_tokens
      }
    } catch (error) {
      this.error = error as Error
    }
    this.hasEnded = true
    return this
  }

  /** What the client does not show of the stream. */
  #scan(piece: string): void {
    const lines = (this.#rest + piece).split('\n')
    this.#rest = lines.pop()!
    const atMs = performance.now()
    for (const line of lines) {
      if (line.startsWith('id: ')) this.ids.push(Number(line.slice('id: '.length)))
      else if (line === 'data: [DONE]') this.hasDone = true
      else if (line.startsWith(': ')) {
        const text = line.slice(': '.length)
        this.comments.push({ atMs, text })
        this.node = /^node (\S+)$/.exec(text)?.[1] ?? this.node
      }
    }
  }
}

/** What the echo engine answers: the words of a prompt of short words over and over, each with the space behind it. */
export function echoed(prompt: string, tokens: number): string {
  const words = prompt.split(' ')
  return Array.from({ length: tokens }, (_, i) => `${words[i % words.length]} `).join('')
}
