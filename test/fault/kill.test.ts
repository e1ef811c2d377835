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
const KILLS = 4
const TOKENS = 240

interface Answer {
  readonly isWhole: boolean
  readonly text: string
  readonly moves: number
  /** What the last event was, where it was not `[DONE]`. */
  readonly last: string
}

const nodes = new Map<string, SkeinProcess>()
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
  const body = await response.text()
  const lines = body.split('\n').filter((line) => line.startsWith('data: '))
  const isWhole = lines.at(-1) === 'data: [DONE]'
  const chunks = lines.slice(0, -1).map((line) => JSON.parse(line.slice('data: '.length)) as StreamChunk)
  const text = chunks.map((chunk) => chunk.choices?.[0]?.delta.content ?? '').join('')
  return { isWhole, text, moves: body.split('resuming').length - 1, last: lines.at(-1) ?? body }
}

interface StreamChunk {
  readonly choices?: readonly { readonly delta: { readonly content?: string } }[]
}

it('every answer ends whole and unchanged while the nodes that give it are killed one after the other', async () => {
  const questions = [0, 1, 2]
  const unbroken = await Promise.all(questions.map(ask))
  expect(unbroken.every((answer) => answer.isWhole && answer.moves === 0)).toBe(true)
  const asked = Promise.all(Array.from({ length: STREAMS }, (_, i) => ask(i % questions.length)))
  for (let i = 0; i < KILLS; i++) {
    const name = NAMES[i % NAMES.length]!
    const victim = nodes.get(name)!
    // alternately as a power cut and as its owner would stop it
    await victim.stop(i % 2 === 0 ? 'SIGKILL' : 'SIGTERM')
    await startNode(name, victim.dataDir)
  }
  const answers = await asked
  for (const [i, answer] of answers.entries()) {
    expect(answer.isWhole, answer.last).toBe(true)
    expect(answer.text).toBe(unbroken[i % questions.length]!.text)
  }
  expect(answers.reduce((sum, answer) => sum + answer.moves, 0)).toBeGreaterThan(0)
})
