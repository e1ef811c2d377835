/**
 * The coordinator is killed in the middle of a batch, twice: at the end every line has one result, and none was asked again
 * that had one.
 */
import OpenAI, { toFile } from 'openai'
import { afterEach, expect, it } from 'vitest'
import { eventually } from '../fixtures/skein-process.ts'
import { echoed } from './harness/answer.ts'
import { FaultMesh } from './harness/fault-mesh.ts'

const LINES = 60
/** Half a second each: the killing finds some of them running. */
const TOKENS = 30
const ENDED_MS = 60_000

let mesh: FaultMesh
afterEach(() => mesh?.stop())

interface ResultLine {
  readonly custom_id: string
  readonly response: { readonly status_code: number; readonly body: OpenAI.ChatCompletion }
}

const promptOf = (i: number): string => `line ${i} goose flies on`

it('a batch goes on after kill -9 with the lines that have no result, exactly once', async () => {
  const args = ['--model', 'echo:paced?tps=60', '--slots', '4', '--threads', '1']
  mesh = await FaultMesh.start({ nodes: [{ name: 'one', args }] })
  const client = new OpenAI({ baseURL: `${mesh.http}/v1`, apiKey: 'none', maxRetries: 0 })
  const lines = Array.from({ length: LINES }, (_, i) => {
    const body = { model: 'paced', messages: [{ role: 'user', content: promptOf(i) }], max_tokens: TOKENS }
    return JSON.stringify({ custom_id: `line-${i}`, method: 'POST', url: '/v1/chat/completions', body })
  })
  const file = await client.files.create({
    file: await toFile(Buffer.from(lines.join('\n')), 'in.jsonl'),
    purpose: 'batch',
  })
  const made = await client.batches.create({
    input_file_id: file.id,
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
  })
  const completed = (least: number) =>
    eventually(
      `${least} lines have a result`,
      async () => {
        const batch = await client.batches.retrieve(made.id)
        expect(batch.request_counts!.failed).toBe(0)
        return batch.request_counts!.completed >= least ? batch : undefined
      },
      ENDED_MS,
    )

  for (const least of [10, 30]) {
    const { request_counts: before } = await completed(least)
    await mesh.coordinator.stop('SIGKILL')
    await mesh.startCoordinator()
    await completed(before!.completed)
  }
  await completed(LINES)
  const batch = await eventually(
    'the batch has ended',
    async () => {
      const found = await client.batches.retrieve(made.id)
      return found.status === 'completed' ? found : undefined
    },
    ENDED_MS,
  )
  expect(batch.request_counts).toEqual({ total: LINES, completed: LINES, failed: 0 })
  const text = await (await client.files.content(batch.output_file_id!)).text()
  const results = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as ResultLine)
  expect(results.map(({ custom_id }) => custom_id).toSorted()).toEqual(lines.map((_, i) => `line-${i}`).toSorted())
  for (const { custom_id, response } of results)
    expect(response.body.choices[0]!.message.content).toBe(echoed(promptOf(Number(custom_id.slice(5))), TOKENS))
  // one task for each line: what was asked before the killing was taken up, and not asked again
  const { data } = await mesh.get<{ data: { state: string; priority: string }[] }>('/mesh/v1/tasks?limit=200')
  expect(data.map(({ state, priority }) => `${state} ${priority}`)).toEqual(Array(LINES).fill('completed bulk'))
  const { data: used } = await mesh.get<{ data: { requests: number; completionTokens: number }[] }>('/mesh/v1/usage')
  expect(used).toMatchObject([{ requests: LINES, completionTokens: batch.usage!.output_tokens }])
})
