/** Streams of chat completions for `test/bench/gateway.ts`: many at once, counted with as little computing as can be. */
import { Agent, request, type ClientRequest } from 'node:http'

/** What the echo engine repeats; with the space behind it, one token. */
const WORD = 'tock'
const TOKEN = Buffer.from(`${WORD} `)

export class Load {
  /** Tokens that came since the start. */
  tokens = 0
  /** Streams that ended otherwise than they should. */
  failures = 0
  readonly #url: string
  readonly #authorization: string
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 2048 })
  readonly #sent = new Set<ClientRequest>()

  constructor(url: string, key: string) {
    this.#url = url
    this.#authorization = `Bearer ${key}`
  }

  /** One stream. Resolves at its end, or when it is hung up on, with the ms to its first token. */
  stream(model: string, maxTokens: number, onFirst?: () => void): Promise<number> {
    const body = JSON.stringify({
      ...{ model, stream: true, temperature: 0, max_tokens: maxTokens },
      messages: [{ role: 'user', content: WORD }],
    })
    const beganMs = performance.now()
    let firstMs = Number.NaN
    return new Promise((resolve) => {
      const headers = {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        authorization: this.#authorization,
      }
      const sent = request(`${this.#url}/v1/chat/completions`, { method: 'POST', agent: this.#agent, headers })
      this.#sent.add(sent)
      const over = (isFailure: boolean): void => {
        // what was hung up on did not fail
        if (this.#sent.delete(sent) && isFailure) this.failures++
        resolve(firstMs)
      }
      sent.on('error', () => over(true))
      sent.on('close', () => over(true))
      sent.on('response', (response) => {
        let rest: Buffer = Buffer.alloc(0)
        let last = rest
        response.on('data', (chunk: Buffer) => {
          const count = countTokens(rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk)
          rest = chunk.subarray(Math.max(0, chunk.length - TOKEN.length + 1))
          last = chunk
          this.tokens += count
          if (count === 0 || !Number.isNaN(firstMs)) return
          firstMs = performance.now() - beganMs
          onFirst?.()
        })
        response.on('end', () => over(response.statusCode !== 200 || !last.includes('[DONE]')))
        response.on('error', () => over(true))
      })
      sent.end(body)
    })
  }

  /** Hangs up on every stream that runs. */
  hangUp(): void {
    const sent = [...this.#sent]
    this.#sent.clear()
    for (const each of sent) each.destroy()
  }

  close(): void {
    this.hangUp()
    this.#agent.destroy()
  }
}

function countTokens(bytes: Buffer): number {
  let count = 0
  for (let at = bytes.indexOf(TOKEN); at !== -1; at = bytes.indexOf(TOKEN, at + TOKEN.length)) count++
  return count
}
