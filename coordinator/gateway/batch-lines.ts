/**
 * Lines of batches as requests of this gateway. They go through the server by `inject`, without a socket: what checks a
 * request, makes its task and writes its answer is what does so for every client, and what any of them learns to do lines can
 * do too. A line has no secret to show; it is let in by a token that is made for it alone and is good while it is asked.
 */
import type { FastifyInstance } from 'fastify'
import type { Readable } from 'node:stream'
import { isErrorCode, LIMITS, mintId, SkeinError, type TaskId } from '../../mesh/protocol/index.ts'
import type { Clock, Random } from '../../mesh/runtime/index.ts'
import type { Access, Caller } from '../access/index.ts'
import { readingsOf, type MeshService } from '../admission/index.ts'
import type { BatchTokens, LineAnswer, LineDesk, LineRequest } from '../batches/index.ts'
import { parseJsonBody, withoutNulls } from './json-body.ts'
import { errorBody } from './openai-errors.ts'
import type { RequestHeaders } from './request-options.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Of a line of a batch. */
    line?: OpenLine
  }
}

/** What the server knows of a line that is asked. */
export interface OpenLine {
  readonly caller: Caller
  /** It has become this task. */
  admitted(taskId: TaskId): void
}

/** Bears the token of a line; of no meaning to anybody else. */
const LINE_HEADER = 'x-skein-line'
const TOKEN_BYTES = 32

/** Lines that are asked now, by their tokens. */
export class OpenLines {
  readonly #random: Random
  readonly #lines = new Map<string, OpenLine>()

  constructor(random: Random) {
    this.#random = random
  }

  of(headers: RequestHeaders): OpenLine | undefined {
    const token = headers[LINE_HEADER]
    return typeof token === 'string' ? this.#lines.get(token) : undefined
  }

  /** Lets requests with the headers that it gives `ask` in as `line`, until that is done. */
  async during<T>(line: OpenLine, ask: (headers: Record<string, string>) => Promise<T>): Promise<T> {
    const token = Buffer.from(this.#random.bytes(TOKEN_BYTES)).toString('base64url')
    this.#lines.set(token, line)
    try {
      return await ask({ [LINE_HEADER]: token })
    } finally {
      this.#lines.delete(token)
    }
  }
}

export interface BatchDeskComponents {
  readonly service: MeshService
  readonly access: Access
  readonly clock: Clock
  readonly random: Random
  readonly lines: OpenLines
}

/** What lines cannot ask: nobody is there to read a stream, and nobody comes back. */
const REFUSED = ['stream', 'background'] as const

interface Injected {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly body: string
}

/** What was seen of a model's nodes. */
interface Seen {
  readonly atMs: number
  readonly slots: number
  readonly inUse: number
  /** Tasks of more urgent classes that have no slot. */
  readonly waiting: number
}

/** Nodes report their load four times a second; to look more often shows nothing new. */
const SEEN_MS = 100
const SEEN_MAX = 64

export class BatchDesk implements LineDesk {
  readonly #seen = new Map<string, Seen>()
  readonly #app: FastifyInstance
  readonly #components: BatchDeskComponents

  constructor(app: FastifyInstance, components: BatchDeskComponents) {
    this.#app = app
    this.#components = components
  }

  parse(bytes: Buffer): unknown {
    return parseJsonBody(bytes)
  }

  knows(model: string): boolean {
    return this.#digestsOf(model).size > 0
  }

  /** All slots of the nodes that may take work, without those that others hold and those that more urgent tasks wait for. */
  room(model: string, asked: number): number {
    const { slots, inUse, waiting } = this.#look(model)
    return Math.max(1, slots - Math.max(0, inUse - asked) - waiting)
  }

  #look(model: string): Seen {
    const { service, clock } = this.#components
    const atMs = clock.nowMs()
    const seen = this.#seen.get(model)
    if (seen && atMs - seen.atMs < SEEN_MS) return seen
    const digests = this.#digestsOf(model)
    let slots = 0
    let inUse = 0
    for (const node of service.nodes())
      for (const each of node.eligible ? node.models : [])
        if (digests.has(each.digest)) {
          slots += each.slots
          inUse += each.slotsInUse
        }
    const { bulk: _bulk, ...urgent } = service.stats().dispatch.waiting
    const waiting = Object.values(urgent).reduce((sum, count) => sum + count, 0)
    if (this.#seen.size >= SEEN_MAX) this.#seen.clear()
    const now = { atMs, slots, inUse, waiting }
    this.#seen.set(model, now)
    return now
  }

  async ask(line: LineRequest, signal: AbortSignal): Promise<LineAnswer> {
    const { service, random } = this.#components
    const requestId = mintId('req', (length) => random.bytes(length))
    const tasks = new Set<TaskId>()
    const isCancelled = (): boolean => signal.aborted && (signal.reason as SkeinError).code !== 'SHUTTING_DOWN'
    const cancel = (taskId: TaskId): void => void service.cancel(taskId).catch(() => undefined)
    const admitted = (taskId: TaskId): void => {
      tasks.add(taskId)
      if (isCancelled()) cancel(taskId)
    }
    const onAbort = (): void => {
      if (isCancelled()) for (const taskId of tasks) cancel(taskId)
    }
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      const answer = await this.#inject(line, { caller: this.#callerOf(line), admitted }, requestId, signal)
      return toAnswer(answer, requestId, tasks.size > 0)
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof SkeinError) return refused(error, requestId, tasks.size > 0)
      throw error
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  tokensOf(body: unknown): BatchTokens {
    const usage = membersOf(membersOf(body)['usage'])
    const inputDetails = membersOf(usage['prompt_tokens_details'] ?? usage['input_tokens_details'])
    const outputDetails = membersOf(usage['completion_tokens_details'] ?? usage['output_tokens_details'])
    return {
      inputTokens: countOf(usage['prompt_tokens'] ?? usage['input_tokens']),
      cachedTokens: countOf(inputDetails['cached_tokens']),
      outputTokens: countOf(usage['completion_tokens'] ?? usage['output_tokens']),
      thoughtTokens: countOf(outputDetails['reasoning_tokens']),
    }
  }

  /** @throws SkeinError UNAUTHENTICATED when the key was revoked or is over; FORBIDDEN when it may not ask any more. */
  #callerOf({ tenant, grant }: LineRequest): Caller {
    const caller = this.#components.access.standing(tenant, grant)
    if (!caller.isAdmin && !caller.grant.routes.includes('inference'))
      throw new SkeinError('FORBIDDEN', "this key has no routes of the class 'inference' any more")
    return caller
  }

  #inject(line: LineRequest, open: OpenLine, requestId: string, signal: AbortSignal): Promise<Injected> {
    const { batchId, number, attempt, endpoint } = line
    const body = bodyOf(line.body)
    return this.#components.lines.during(open, async (token) => {
      const response = await this.#app.inject({
        method: 'POST',
        url: endpoint,
        headers: {
          ...token,
          'content-type': 'application/json',
          'x-request-id': requestId,
          'idempotency-key': `${batchId}/${number}/${attempt}`,
        },
        payload: JSON.stringify(body),
        payloadAsStream: true,
        signal,
      })
      return { status: response.statusCode, headers: response.headers, body: await textOf(response.stream()) }
    })
  }

  #digestsOf(model: string): ReadonlySet<string> {
    const readings = readingsOf(model)
    const meant = this.#components.service
      .models()
      .filter(({ digest, aliases }) => readings.some((name) => name === digest || aliases.includes(name)))
    return new Set(meant.map(({ digest }) => digest))
  }
}

/** The line's own body, of the class that nobody waits for. @throws SkeinError INVALID_REQUEST. */
function bodyOf(given: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const body = withoutNulls({ ...given }) as Record<string, unknown>
  for (const param of REFUSED)
    if (body[param] === true)
      throw new SkeinError('INVALID_REQUEST', `${param} must be false in a line of a batch`, { param })
  const { skein = {} } = body
  // what is no object is for the schema to refuse
  return typeof skein === 'object' ? { ...body, skein: { ...skein, priority: 'bulk' } } : body
}

/** @throws SkeinError INVALID_REQUEST when it is longer than a line of results may be. */
async function textOf(stream: Readable): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    bytes += chunk.length
    // leaving the loop destroys the stream, and what writes it hears of that
    if (bytes > LIMITS.batchAnswerBytesMax)
      throw new SkeinError('INVALID_REQUEST', `the answer is longer than ${LIMITS.batchAnswerBytesMax} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function toAnswer({ status, headers, body }: Injected, requestId: string, isAdmitted: boolean): LineAnswer {
  if (status === 200) return { status, requestId, body }
  const told = membersOf(membersOf(JSON.parse(body))['error'])
  const code = String(told['code']).toUpperCase()
  const seconds = Number(headers['retry-after'])
  const error = new SkeinError(isErrorCode(code) ? code : 'INTERNAL', String(told['message']), {
    ...(seconds > 0 && { retryAfterSeconds: seconds }),
  })
  return { status, requestId, body, failure: { error, isAdmitted, isKnown: headers['x-skein-replayed'] === 'true' } }
}

const refused = (error: SkeinError, requestId: string, isAdmitted: boolean): LineAnswer => ({
  ...{ status: error.row.http, requestId, body: JSON.stringify(errorBody(error, requestId)) },
  failure: { error, isAdmitted, isKnown: false },
})

const membersOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}

const countOf = (value: unknown): number => (typeof value === 'number' && value >= 0 ? value : 0)
