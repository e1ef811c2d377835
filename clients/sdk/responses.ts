/** Answers that are kept by the coordinator: begun in the background, read later, at any age and from any place. */
import { wishesOf, type MeshWishes } from './answers.ts'
import type { CallOptions } from './chat.ts'
import { newId } from './clock.ts'
import { ProtocolError, SkeinApiError, UnreachableError } from './errors.ts'
import { errorOf, type Gateways } from './gateways.ts'
import { serverEvents } from './sse.ts'

export interface ResponseRequest extends MeshWishes {
  readonly model: string
  readonly input: string
  readonly instructions?: string
  /** The answer that this one goes on behind. */
  readonly previousResponseId?: string
  readonly maxOutputTokens?: number
  readonly temperature?: number
}

export interface KeptResponse {
  readonly id: string
  readonly status: 'queued' | 'in_progress' | 'completed' | 'incomplete' | 'failed' | 'cancelled'
  /** As far as it is made. */
  readonly text: string
  /** Of one that failed. */
  readonly error: { readonly code: string; readonly message: string } | undefined
}

export type ResponsePart =
  | { readonly type: 'text'; readonly text: string; readonly sequence: number }
  | { readonly type: 'end'; readonly response: KeptResponse; readonly sequence: number }

const LAST = new Set(['response.completed', 'response.incomplete', 'response.failed'])

export class Responses {
  readonly #gateways: Gateways

  constructor(gateways: Gateways) {
    this.#gateways = gateways
  }

  /** Begins an answer and comes back at once: nobody has to wait for it. @throws SkeinApiError and its kinds. */
  async begin(request: ResponseRequest, { signal, idempotencyKey = newId() }: CallOptions = {}): Promise<KeptResponse> {
    const { model, input, instructions, previousResponseId, maxOutputTokens, temperature, ...wishes } = request
    const body = {
      ...{ model, input, background: true, store: true },
      ...(instructions !== undefined && { instructions }),
      ...(previousResponseId !== undefined && { previous_response_id: previousResponseId }),
      ...(maxOutputTokens !== undefined && { max_output_tokens: maxOutputTokens }),
      ...(temperature !== undefined && { temperature }),
      ...wishesOf(wishes),
    }
    const headers = { 'idempotency-key': idempotencyKey }
    return keptOf(await this.#gateways.json({ method: 'POST', path: '/v1/responses', body, headers, signal }, true))
  }

  /** @throws SkeinApiError and its kinds. */
  async get(id: string, options: Pick<CallOptions, 'signal'> = {}): Promise<KeptResponse> {
    return keptOf(await this.#gateways.json({ method: 'GET', path: pathOf(id), ...options }))
  }

  /** Ends it; one that has ended stays as it is. @throws SkeinApiError and its kinds. */
  async cancel(id: string, options: Pick<CallOptions, 'signal'> = {}): Promise<KeptResponse> {
    const ask = { method: 'POST', path: `${pathOf(id)}/cancel`, ...options } as const
    return keptOf(await this.#gateways.json(ask, true))
  }

  /**
   * Reads it as it is made, from its start or from behind the part with the number `after`; a stream that breaks is gone on
   * with. The last part is the whole answer.
   *
   * @throws SkeinApiError and its kinds.
   */
  async *follow(
    id: string,
    { after, signal }: { readonly after?: number; readonly signal?: AbortSignal } = {},
  ): AsyncGenerator<ResponsePart, void, undefined> {
    const { clock, patienceMs } = this.#gateways
    let last = after
    let givenUpMs = clock.nowMs() + patienceMs
    for (let round = 0; ; round++) {
      try {
        for await (const part of this.#read(id, last, signal)) {
          round = 0
          givenUpMs = clock.nowMs() + patienceMs
          last = part.sequence
          yield part
          if (part.type === 'end') return
        }
        throw new UnreachableError('the stream ended before the answer did')
      } catch (thrown) {
        await this.#gateways.rest(thrown, round, givenUpMs, signal)
      }
    }
  }

  async *#read(id: string, after: number | undefined, signal?: AbortSignal): AsyncGenerator<ResponsePart, void> {
    const path = `${pathOf(id)}?stream=true${after === undefined ? '' : `&starting_after=${after}`}`
    const response = await this.#gateways.once({ method: 'GET', path, signal })
    if (response.body === null) throw new ProtocolError('an answer without a body')
    try {
      for await (const event of serverEvents(response.body)) {
        if (event.type === 'comment') continue
        const part = partOf(event.name, event.data)
        if (part !== undefined) yield part
      }
    } catch (thrown) {
      signal?.throwIfAborted()
      throw thrown instanceof SkeinApiError ? thrown : new UnreachableError('the connection broke off', thrown)
    }
  }
}

/** @throws UnreachableError for an event that ends the stream and not the answer; ProtocolError. */
function partOf(name: string, data: string): ResponsePart | undefined {
  const event = recordOf(data)
  const sequence = event['sequence_number']
  if (name === 'error') throw new UnreachableError(errorOf({ error: event }).message)
  if (typeof sequence !== 'number') throw new ProtocolError(`${name}: no sequence_number`)
  if (LAST.has(name)) return { type: 'end', response: keptOf(event['response']), sequence }
  if (name !== 'response.output_text.delta') return undefined
  return { type: 'text', text: String(event['delta']), sequence }
}

function recordOf(data: string): Record<string, unknown> {
  try {
    const event = JSON.parse(data) as unknown
    if (typeof event === 'object' && event !== null) return event as Record<string, unknown>
  } catch {
    // told below
  }
  throw new ProtocolError('an event that is no JSON object')
}

interface WireItem {
  readonly type: string
  readonly content?: readonly { readonly type: string; readonly text?: string }[]
}

function keptOf(body: unknown): KeptResponse {
  const { id, status, output, error } = (body ?? {}) as Record<string, unknown>
  if (typeof id !== 'string' || typeof status !== 'string' || !Array.isArray(output))
    throw new ProtocolError('no response')
  const texts = (output as WireItem[])
    .filter(({ type }) => type === 'message')
    .flatMap(({ content = [] }) => content.map(({ text = '' }) => text))
  return {
    id,
    status: status as KeptResponse['status'],
    text: texts.join(''),
    error: (error ?? undefined) as KeptResponse['error'],
  }
}

const pathOf = (id: string): string => `/v1/responses/${encodeURIComponent(id)}`
