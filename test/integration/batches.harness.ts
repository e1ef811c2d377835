/** Batches as a client of the official library makes them, waits for them and reads what came of them. */
import { toFile, type OpenAI } from 'openai'
import type { Batch, BatchCreateParams } from 'openai/resources/batches'
import { expect } from 'vitest'

type Endpoint = BatchCreateParams['endpoint']
interface ResultLine {
  readonly id: string
  readonly custom_id: string
  readonly response: {
    readonly status_code: number
    readonly request_id: string
    readonly body: Record<string, unknown>
  } | null
  readonly error: { readonly code: string; readonly message: string } | null
}

export const chat = (content: string, more: object = {}): object => ({
  model: 'tiny',
  messages: [{ role: 'user', content }],
  ...more,
})
export const lineOf = (customId: string, body: object, url: Endpoint = '/v1/chat/completions'): string =>
  JSON.stringify({ custom_id: customId, method: 'POST', url, body })

export async function upload(client: OpenAI, lines: readonly string[]): Promise<string> {
  const file = await client.files.create({
    file: await toFile(Buffer.from(lines.join('\n')), 'in.jsonl'),
    purpose: 'batch',
  })
  return file.id
}

export async function create(
  client: OpenAI,
  lines: readonly string[],
  endpoint: Endpoint = '/v1/chat/completions',
): Promise<Batch> {
  const input_file_id = await upload(client, lines)
  return client.batches.create({ input_file_id, endpoint, completion_window: '24h' })
}

const ENDS = ['completed', 'failed', 'expired', 'cancelled']

export async function until(client: OpenAI, { id }: Batch, holds: (batch: Batch) => boolean): Promise<Batch> {
  for (;;) {
    const batch = await client.batches.retrieve(id)
    if (holds(batch)) return batch
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
export const ended = (client: OpenAI, batch: Batch): Promise<Batch> =>
  until(client, batch, ({ status }) => ENDS.includes(status))

/** The lines of a file of results, each once. */
export async function results(client: OpenAI, id: string | undefined): Promise<Map<string, ResultLine>> {
  const text = await (await client.files.content(id!)).text()
  expect(text.endsWith('\n')).toBe(true)
  const lines = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as ResultLine)
  const byId = new Map(lines.map((line) => [line.custom_id, line]))
  expect(byId.size).toBe(lines.length)
  return byId
}
