/** `skein batches`: many requests in a file, answered when nobody else needs the mesh. */
import { createWriteStream, openAsBlob } from 'node:fs'
import { basename } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { InvalidArgumentError, Option, type Command } from 'commander'
import { asSkeinError, SkeinError } from '../../../mesh/protocol/index.ts'
import { sleep, SystemClock } from '../../../mesh/runtime/index.ts'
import type { BatchEndpoint, BatchView } from '../../../coordinator/index.ts'
import { addClientOptions, createContext, type ClientOptions } from '../context.ts'
import type { CoordinatorClient } from '../coordinator-client.ts'
import { interruptSignal } from '../interrupt.ts'
import { formatDuration, table, type Output } from '../output.ts'

const PAGE_MAX = 100
const PAGE_DEFAULT = 20
/** How far it is, is asked at first after this long, and less often later. */
const LOOK_MS_MIN = 50
const LOOK_MS_MAX = 2000

/** What lines may ask; named here, since the coordinator's own list comes with all of its code. */
const ENDPOINTS: Readonly<Record<BatchEndpoint, true>> = {
  '/v1/chat/completions': true,
  '/v1/completions': true,
  '/v1/embeddings': true,
  '/v1/responses': true,
}

interface ListOptions extends ClientOptions {
  readonly limit: number
}

interface RunOptions extends ClientOptions {
  readonly out: string
  readonly errors?: string
  readonly endpoint: BatchEndpoint
  readonly window: string
}

function limit(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1 || value > PAGE_MAX)
    throw new InvalidArgumentError(`a whole number from 1 to ${PAGE_MAX}`)
  return value
}

export function registerBatches(program: Command): void {
  const batches = program.command('batches').description('many requests in a file, answered when nobody else asks')

  addClientOptions(batches.command('list').description('list batches, the newest first'))
    .addOption(new Option('--limit <n>', 'how many').argParser(limit).default(PAGE_DEFAULT))
    .action(async (options: ListOptions) => {
      const { output, client } = createContext(options)
      const listed = await client().batches(options.limit)
      if (output.json) return output.value(listed)
      if (listed.length === 0) return output.note('no batches')
      output.line(renderBatches(listed, new SystemClock().wallMs()))
    })

  addClientOptions(batches.command('show').description('how far a batch is').argument('<batch>', 'its id')).action(
    async (batch: string, options: ClientOptions) => {
      const { output, client } = createContext(options)
      show(output, await client().batch(batch))
    },
  )

  addClientOptions(batches.command('cancel').description('end a batch').argument('<batch>', 'its id')).action(
    async (batch: string, options: ClientOptions) => {
      const { output, client } = createContext(options)
      show(output, await client().cancelBatch(batch))
    },
  )

  addClientOptions(
    batches
      .command('run')
      .description('answer the requests of a file, and write what came of them')
      .argument('<file>', 'JSONL, a request a line'),
  )
    .addOption(new Option('--out <file>', 'where the answers go').makeOptionMandatory())
    .addOption(new Option('--errors <file>', 'where the errors go (default: beside the answers, with .errors)'))
    .addOption(
      new Option('--endpoint <path>', 'what all lines ask')
        .choices(Object.keys(ENDPOINTS))
        .default('/v1/chat/completions'),
    )
    .addOption(new Option('--window <time>', 'what has no answer by then has none (24h, 7d)').default('24h'))
    .action(async (file: string, options: RunOptions) => {
      const { output, client } = createContext(options)
      await run(client(), file, options, output)
    })
}

/** @throws SkeinError when not every line has an answer; Interrupted: the batch goes on. */
async function run(client: CoordinatorClient, path: string, options: RunOptions, output: Output): Promise<void> {
  const { out, errors = `${out}.errors`, endpoint, window } = options
  const signal = interruptSignal()
  const content = await blobOf(path)
  const file = await client.upload(content, basename(path))
  const made = await client.createBatch({ input_file_id: file.id, endpoint, completion_window: window })
  output.note(`${made.id}; interrupted, it goes on: skein batches show ${made.id}`)
  const batch = await ended(client, made, output, signal)
  if (batch.output_file_id) await download(client, batch.output_file_id, out)
  if (batch.error_file_id) await download(client, batch.error_file_id, errors)
  show(output, batch)
  const { total, completed } = batch.request_counts
  if (batch.status === 'completed' && completed === total) return
  const problems = (batch.errors?.data ?? []).map(
    ({ line, message }) => `\n  ${line ? `line ${line}: ` : ''}${message}`,
  )
  const where = batch.error_file_id ? `; see ${errors}` : ''
  throw new SkeinError(
    'INVALID_REQUEST',
    `${batch.id} is ${batch.status}: ${completed} of ${total} have an answer${where}${problems.join('')}`,
  )
}

/** @throws SkeinError USAGE. */
async function blobOf(path: string): Promise<Blob> {
  try {
    return await openAsBlob(path)
  } catch (error) {
    throw new SkeinError('USAGE', `${path} cannot be read: ${asSkeinError(error).message}`)
  }
}

async function ended(
  client: CoordinatorClient,
  made: BatchView,
  output: Output,
  signal: AbortSignal,
): Promise<BatchView> {
  const clock = new SystemClock(true)
  let told = ''
  let lookMs = LOOK_MS_MIN
  for (let batch = made; ; batch = await client.batch(made.id)) {
    const words = progressOf(batch)
    if (words !== told) output.note((told = words))
    if (['completed', 'failed', 'expired', 'cancelled'].includes(batch.status)) return batch
    await sleep(clock, lookMs, signal)
    lookMs = Math.min(1.5 * lookMs, LOOK_MS_MAX)
  }
}

async function download(client: CoordinatorClient, id: string, path: string): Promise<void> {
  const { body } = await client.content(id)
  if (body) await pipeline(Readable.fromWeb(body as never), createWriteStream(path))
}

export function progressOf({ status, request_counts: { total, completed, failed } }: BatchView): string {
  const share = total === 0 ? '' : ` (${Math.floor((100 * (completed + failed)) / total)} %)`
  return `${status}: ${completed} of ${total} answered, ${failed} failed${share}`
}

function show(output: Output, batch: BatchView): void {
  if (output.json) output.value(batch)
  else output.line(renderBatch(batch))
}

export function renderBatch(batch: BatchView): string {
  const { id, endpoint, input_file_id, output_file_id, error_file_id, errors } = batch
  const rows = [
    ['batch', id],
    ['state', progressOf(batch)],
    ['endpoint', endpoint],
    ['input', input_file_id],
    ['answers', output_file_id ?? '-'],
    ['errors', error_file_id ?? '-'],
    ...(errors?.data ?? []).map(({ line, message }) => [line === null ? 'problem' : `line ${line}`, message]),
  ]
  return table(rows)
}

/** @param nowMs wall clock, against which ages are told. */
export function renderBatches(batches: readonly BatchView[], nowMs: number): string {
  const rows = batches.map((batch) => {
    const { total, completed, failed } = batch.request_counts
    const made = `${formatDuration(nowMs - 1000 * (batch.created_at ?? 0))} ago`
    return [batch.id, batch.status, String(total), String(completed), String(failed), batch.endpoint, made]
  })
  return table([['BATCH', 'STATE', 'LINES', 'ANSWERED', 'FAILED', 'ENDPOINT', 'MADE'], ...rows])
}
