/**
 * Nodes are killed and restarted while they answer: every stream must end whole, with the text that an unbroken run gives.
 * The echo engine is exact, so that equality is a promise here and not a share.
 */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { eventually, SkeinProcess } from '../fixtures/skein-process.ts'

const LOCAL = ['--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0']
const MODEL = 'echo:paced?tps=60'
const NAMES = ['one', 'two', 'three', 'four']
const STREAMS = 48
const KILLS = 3
/** Some ten seconds of answer: longer than the kills and restarts take. */
const TOKENS = 600

interface Answer {
  readonly isWhole: boolean
  readonly text: string
  readonly moves: number
  /** What the last event was, where it was not `[DONE]`. */
  readonly last: string
}

const nodes = new Map<string, SkeinProcess>()
/** Streams that have begun and not ended, and the node that each says it comes from. */
const running = new Set<{ node: string }>()
let up: SkeinProcess

async function startNode(name: string, dataDir?: string): Promise<void> {
  const args = [
    'node',
    ...LOCAL,
    '--name',
    name,
    '--join',
    up.ready.invite!,
    '--model',
    MODEL,
    '--slots',
    String(STREAMS),
  ]
  nodes.set(name, await SkeinProcess.start({ args, ...(dataDir !== undefined && { dataDir }) }))
}

beforeAll(async () => {
  up = await SkeinProcess.start({ args: ['up', '--http', '127.0.0.1:0', '--name', 'first', ...LOCAL] })
  await Promise.all(NAMES.map((name) => startNode(name)))
  await eventually('all nodes are eligible', async () => {
    const { data } = (await (await fetch(`${up.http}/mesh/v1/nodes`)).json()) as { data: { eligible: boolean }[] }
    return data.filter((node) => node.eligible).length === NAMES.length || undefined
  })
})
afterAll(async () => {
  for (const node of nodes.values()) await node.kill()
  await up.kill()
})

async function ask(question: number): Promise<Answer> {
  const response = await fetch(`${up.http}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'paced',
      stream: true,
      max_tokens: TOKENS,
      messages: [{ role: 'user', content: `the geese fly in a skein over the quiet lake, question ${question}` }],
    }),
  })
  let body = ''
  const decoder = new TextDecoder()
  const stream = { node: response.headers.get('x-skein-node') ?? '' }
  running.add(stream)
  for await (const chunk of response.body!) {
    body += decoder.decode(chunk as Uint8Array, { stream: true })
    stream.node =
      body
        .match(/^: node (\S+)$/gm)
        ?.at(-1)
        ?.slice(': node '.length) ?? stream.node
  }
  running.delete(stream)
  const lines = body.split('\n').filter((line) => line.startsWith('data: '))
  const isWhole = lines.at(-1) === 'data: [DONE]'
  const chunks = lines.slice(0, -1).map((line) => JSON.parse(line.slice('data: '.length)) as StreamChunk)
  const text = chunks.map((chunk) => chunk.choices?.[0]?.delta.content ?? '').join('')
  return { isWhole, text, moves: body.split('resuming').length - 1, last: lines.at(-1) ?? body }
}

interface StreamChunk {
  readonly choices?: readonly { readonly delta: { readonly content?: string } }[]
}

/** The node that most streams come from. */
function busiest(): string | undefined {
  const counts = new Map<string, number>()
  for (const { node } of running) if (nodes.has(node)) counts.set(node, (counts.get(node) ?? 0) + 1)
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0]
}

it('every answer ends whole and unchanged while the nodes that give it are killed one after the other', async () => {
  const questions = [0, 1, 2]
  const unbroken = await Promise.all(questions.map(ask))
  expect(unbroken.every((answer) => answer.isWhole && answer.moves === 0)).toBe(true)
  const asked = Promise.all(Array.from({ length: STREAMS }, (_, i) => ask(i % questions.length)))
  for (let i = 0; i < KILLS; i++) {
    const name = await eventually('a node is answering', () => Promise.resolve(busiest()))
    const victim = nodes.get(name)!
    await victim.stop('SIGKILL')
    await startNode(name, victim.dataDir)
  }
  const answers = await asked
  for (const [i, answer] of answers.entries()) {
    expect(answer.isWhole, answer.last).toBe(true)
    expect(answer.text).toBe(unbroken[i % questions.length]!.text)
  }
  expect(answers.reduce((sum, answer) => sum + answer.moves, 0)).toBeGreaterThanOrEqual(KILLS)
})
