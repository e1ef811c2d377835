/** A lean streaming client for measurements: raw HTTP, keep-alive, and no more parsing than the figures need. */
import { Agent, request, type ClientRequest, type IncomingMessage } from 'node:http'
import { once } from 'node:events'

export interface StreamFigures {
  /** From sending the request to the first byte of text, in ms. */
  readonly firstTokenMs: number
  readonly totalMs: number
  readonly tokens: number
  readonly node: string
  /** How it stood to kept answers, where there are any. */
  readonly cache: string | string[] | undefined
}

export class BenchClient {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1024 })
  readonly #url: string
  readonly #sent = new Set<ClientRequest>()

  constructor(url: string) {
    this.#url = url
  }

  /** Streams one chat completion to its end. Rejects unless it ends with `[DONE]`. */
  async stream(
    model: string,
    maxTokens: number,
    prompt: string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<StreamFigures> {
    const body = JSON.stringify({
      model,
      stream: true,
      temperature: 0,
      max_tokens: maxTokens,
      stream_options: { include_usage: true },
      messages: [{ role: 'user', content: prompt }],
    })
    const beganMs = performance.now()
    const sent = request(`${this.#url}/v1/chat/completions`, {
      method: 'POST',
      agent: this.#agent,
      headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body), ...headers },
    })
    this.#sent.add(sent)
    sent.once('close', () => this.#sent.delete(sent))
    sent.end(body)
    const [response] = (await once(sent, 'response')) as [IncomingMessage]
    let firstTokenMs = Number.NaN
    let tail = ''
    for await (const chunk of response) {
      const text = (chunk as Buffer).toString()
      if (Number.isNaN(firstTokenMs) && /"content":"[^"]/.test(text)) firstTokenMs = performance.now() - beganMs
      tail = (tail + text).slice(-2000)
    }
    if (!tail.trimEnd().endsWith('[DONE]')) throw new TypeError(`a broken stream: ${tail.slice(-300)}`)
    const tokens = Number(/"completion_tokens":(\d+)/.exec(tail)?.[1])
    return {
      firstTokenMs,
      totalMs: performance.now() - beganMs,
      tokens,
      node: String(response.headers['x-skein-node']),
      cache: response.headers['x-skein-cache'],
    }
  }

  /** Hangs up on every stream that runs. */
  abortAll(): void {
    for (const sent of this.#sent) sent.destroy()
  }

  close(): void {
    this.#agent.destroy()
  }
}
