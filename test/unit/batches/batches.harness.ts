/** Batches in a folder of their own, over a ledger in memory and a desk that a test plays. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  Batches,
  isEnded,
  type Batch,
  type LineAnswer,
  type LineDesk,
  type LineRequest,
} from '../../../coordinator/batches/index.ts'
import { parseJsonBody } from '../../../coordinator/gateway/json-body.ts'
import { MemoryLedger } from '../../../coordinator/ledger/index.ts'
import { LIMITS, SkeinError, type ErrorCode } from '../../../mesh/protocol/index.ts'
import { ManualClock, SeededRandom, silentLogger, SystemClock } from '../../../mesh/runtime/index.ts'

/** For a disk that is busy with other things. */
const PATIENCE_MS = 10_000

export const ENDPOINT = '/v1/chat/completions'
const GRANT = { routes: ['inference'], models: ['*'], priority: 'interactive', localOnly: false } as const

export const inputLine = (customId: string, more: object = {}): string =>
  JSON.stringify({ custom_id: customId, method: 'POST', url: ENDPOINT, body: { model: 'tiny', n: customId, ...more } })

export const answered = ({ body }: LineRequest): LineAnswer => ({
  status: 200,
  requestId: 'req_x',
  body: JSON.stringify({ said: body['n'], usage: { prompt_tokens: 2, completion_tokens: 3 } }),
})

export const failed = (code: ErrorCode, more: Partial<LineAnswer['failure']> = {}): LineAnswer => {
  const error = new SkeinError(code, `it is ${code}`)
  const body = JSON.stringify({ error: { code: code.toLowerCase() } })
  return {
    status: error.row.http,
    requestId: 'req_x',
    body,
    failure: { error, isAdmitted: true, isKnown: false, ...more },
  }
}

/** Answers as the test says, and remembers who asked. */
export class DeskTwin implements LineDesk {
  readonly asked: LineRequest[] = []
  answer: (line: LineRequest, signal: AbortSignal) => LineAnswer | Promise<LineAnswer> = answered
  models = ['tiny']
  most = 0
  rooms = 64
  #running = 0

  parse(bytes: Buffer): unknown {
    return parseJsonBody(bytes)
  }

  knows(model: string): boolean {
    return this.models.includes(model)
  }

  room(): number {
    return this.rooms
  }

  async ask(line: LineRequest, signal: AbortSignal): Promise<LineAnswer> {
    this.asked.push(line)
    this.most = Math.max(this.most, ++this.#running)
    try {
      return await this.answer(line, signal)
    } finally {
      this.#running--
    }
  }

  tokensOf(body: unknown) {
    const { usage } = body as { usage: { prompt_tokens: number; completion_tokens: number } }
    return {
      inputTokens: usage.prompt_tokens,
      cachedTokens: 0,
      outputTokens: usage.completion_tokens,
      thoughtTokens: 0,
    }
  }
}

/** Waits for the end of a line until the signal aborts. */
export const hangs = (_line: LineRequest, signal: AbortSignal): Promise<LineAnswer> =>
  new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })

export class BatchesPlace {
  readonly directory: string
  readonly clock = new ManualClock()
  ledger = new MemoryLedger({ clock: new SystemClock() }, { commitMs: 0 })
  desk = new DeskTwin()
  diskBytesMax = 10 * 1024 ** 2
  batches!: Batches
  #seed = 1

  private constructor(directory: string) {
    this.directory = directory
  }

  static async make(): Promise<BatchesPlace> {
    const place = new BatchesPlace(join(await mkdtemp(join(tmpdir(), 'skein-batches-')), 'files'))
    await place.start()
    return place
  }

  async start(): Promise<void> {
    const random = new SeededRandom(this.#seed++)
    const components = { clock: this.clock, random, log: silentLogger, store: this.ledger }
    this.batches = new Batches(components, { directory: this.directory, diskBytesMax: this.diskBytesMax })
    await this.batches.start()
    this.batches.serve(this.desk)
  }

  /** The process is gone, whatever it was about to write, and comes back with a new desk. */
  async crash(): Promise<void> {
    this.ledger = this.ledger.reopen()
    void this.batches.rest()
    await turns()
    this.desk = new DeskTwin()
  }

  async remove(): Promise<void> {
    await this.batches.stop()
    await rm(join(this.directory, '..'), { recursive: true })
  }

  async upload(text: string | Uint8Array, tenant = 'one'): Promise<string> {
    const upload = await this.batches.files.upload()
    try {
      await upload.write(Buffer.from(text))
      return (await upload.finish({ tenant, name: 'in.jsonl', retentionMs: LIMITS.fileRetentionMs })).id
    } finally {
      await upload.discard()
    }
  }

  async create(lines: readonly string[], windowMs = 86_400_000): Promise<Batch> {
    const inputFileId = await this.upload(lines.join('\n'))
    return this.batches.create({
      ...{ tenant: 'one', grant: GRANT, endpoint: ENDPOINT, inputFileId, window: '24h', windowMs },
      outputRetentionMs: LIMITS.fileRetentionMs,
    })
  }

  /** The batch when it has ended; hand-moved time goes on meanwhile. */
  async ended({ id }: Batch): Promise<Batch> {
    await this.until(
      () => isEnded(this.batches.get(id)!),
      () => this.clock.advance(100),
    )
    return this.batches.get(id)!
  }

  /** Waits for something that the disk, or what `step` does, brings about. */
  async until(holds: () => boolean, step: () => Promise<void> = () => Promise.resolve()): Promise<void> {
    const endMs = performance.now() + PATIENCE_MS
    while (!holds()) {
      if (performance.now() > endMs) throw new TypeError('it does not come about')
      await step()
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  }

  async output(id: string): Promise<
    {
      id: string
      custom_id: string
      response: { status_code: number; body: { said: string } } | null
      error: { code: string } | null
    }[]
  > {
    const text = await readFile(join(this.directory, id), 'utf8')
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as never)
  }
}

export async function turns(count = 5): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve))
}
