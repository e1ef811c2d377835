/** Coordinators that say what a test tells them, and time that does not pass by itself. */
import { Skein, type SdkClock } from '../../../clients/sdk/index.ts'

export interface Asked {
  readonly url: string
  readonly headers: Headers
  readonly body: Record<string, unknown>
}

/** How one request is answered; `undefined` when nobody does. */
export type Reply = (asked: Asked) => Response | undefined

/** Time jumps to where it is slept to. */
export class JumpingClock implements SdkClock {
  slept: number[] = []
  #nowMs = 0

  nowMs(): number {
    return this.#nowMs
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    this.slept.push(ms)
    this.#nowMs += ms
    return signal?.aborted ? Promise.reject(signal.reason as Error) : Promise.resolve()
  }

  random(): number {
    return 0.5
  }
}

export interface SdkHarness {
  readonly skein: Skein
  readonly asked: Asked[]
  readonly clock: JumpingClock
}

/** Each request takes the next of `replies`; the last one stays. */
export function sdk(replies: readonly Reply[], url: string | readonly string[] = 'http://a'): SdkHarness {
  const asked: Asked[] = []
  const clock = new JumpingClock()
  const answer: typeof fetch = (input, init = {}) => {
    const { headers, body } = init
    const one = {
      url: input as string,
      headers: new Headers(headers),
      body: typeof body === 'string' ? (JSON.parse(body) as Record<string, unknown>) : {},
    }
    asked.push(one)
    const reply = replies[Math.min(asked.length, replies.length) - 1]!(one)
    return reply === undefined ? Promise.reject(new TypeError('refused')) : Promise.resolve(reply)
  }
  return { skein: new Skein({ url, fetch: answer, clock, patienceMs: 10_000 }), asked, clock }
}

export const nobody: Reply = () => undefined

export const refusal =
  (status: number, code: string, headers: Record<string, string> = {}): Reply =>
  () =>
    Response.json({ error: { message: `it is ${code}`, code, type: 'x', param: null } }, { status, headers })

/** A stream of these events, in pieces of a few bytes; cut off behind them unless it ends in `[DONE]`. */
export const stream =
  (events: readonly (object | string)[], headers: Record<string, string> = {}): Reply =>
  () => {
    const text = events
      .map((event, i) => (typeof event === 'string' ? `${event}\n\n` : `id: ${i}\ndata: ${JSON.stringify(event)}\n\n`))
      .join('')
    const bytes = new TextEncoder().encode(text)
    let at = 0
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        if (at >= bytes.length) return controller.close()
        controller.enqueue(bytes.subarray(at, (at += 7)))
      },
    })
    return new Response(body, { headers: { 'content-type': 'text/event-stream', ...headers } })
  }

export const says = (content: string): object => ({ choices: [{ delta: { content }, finish_reason: null }] })
export const ends = (reason = 'stop'): object => ({ choices: [{ delta: {}, finish_reason: reason }] })
export const DONE = 'data: [DONE]'
