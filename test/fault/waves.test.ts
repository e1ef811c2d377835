/**
 * Two hundred streams in waves over four nodes with few slots, while nodes are killed and started again at random (by a
 * seed). Every answer must be whole; the exact engine's must be equal to the letter, and greedy answers of the model equal
 * an unbroken run's up to a token where the model itself was near to another one.
 */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { SeededRandom } from '../../mesh/runtime/index.ts'
import { BUNDLED_CHAT_MODEL } from '../../node/models/store/index.ts'
import type { Answer } from './harness/answer.ts'
import { expectEchoed, expectWhole } from './harness/checks.ts'
import { FaultMesh, type TaskOnRecord } from './harness/fault-mesh.ts'
import { sleep } from './harness/processes.ts'

const NODES = ['one', 'two', 'three', 'four']
const SEED = Number(process.env['SKEIN_WAVES_SEED'] ?? 1)
const WAVES = 5
/** Of each wave: half of them echo, half of them the model. */
const STREAMS = 40
const QUESTIONS = STREAMS / 2
const ECHO_TOKENS = 120
const MODEL_TOKENS = 120
const WAVE_MS = 2500
/** What stories are told about. */
const ABOUT = ['a fox', 'an owl', 'a king', 'a robot'].flatMap((who) =>
  ['a lamp', 'a bell', 'a map', 'a boat', 'a key'].map((what) => `${who} and ${what}`),
)
/**
 * A near tie falls otherwise in a batch of another shape (docs/ARCHITECTURE.md, "Exactness"): so far apart, in nats, are the two
 * likeliest tokens there at most. A token that was lost or repeated is mostly no second choice of the model; what the exact
 * engine's answers say shows it in every case.
 */
const NEAR_TIE_NATS = 0.25
/** Of answers of the model; stories have many ways to go on that are as good as each other. */
const EQUAL_SHARE_MIN = 0.85
/** Nodes that are left alone at any time. */
const SPARED = 2

const random = new SeededRandom(SEED)
const between = (from: number, to: number): number => from + Math.floor(random.next() * (to - from))
let mesh: FaultMesh

beforeAll(async () => {
  const models = ['--model', 'echo:paced?tps=80', '--model', BUNDLED_CHAT_MODEL]
  const args = [...models, '--slots', '4', '--threads', '1', '--context', '1024']
  mesh = await FaultMesh.start({ nodes: NODES.map((name) => ({ name, args })) })
})
afterAll(() => mesh?.stop())

const askModel = (question: number, key?: string): Answer =>
  mesh.ask({
    model: 'skein-tiny',
    prompt: `Tell me a story about ${ABOUT[question]}.`,
    maxTokens: MODEL_TOKENS,
    ...(key !== undefined && { key }),
  })

/** Kills and starts nodes until `isOver`. Returns how many it killed. */
async function havoc(isOver: () => boolean): Promise<number> {
  const down = new Set<string>()
  const starts: Promise<void>[] = []
  let kills = 0
  while (!isOver()) {
    await sleep(between(300, 1200))
    const up = NODES.filter((name) => !down.has(name))
    if (up.length <= SPARED) continue
    const victim = up[between(0, up.length)]!
    down.add(victim)
    kills++
    await mesh.node(victim).stop('SIGKILL')
    const pauseMs = between(0, 1500)
    starts.push(
      sleep(pauseMs)
        .then(() => mesh.startNode(victim))
        .then(() => void down.delete(victim)),
    )
  }
  await Promise.all(starts)
  return kills
}

interface Likely {
  readonly token: string
  readonly top_logprobs: readonly { readonly logprob: number }[]
}

/** How far apart the two likeliest tokens are where `text` leaves what the model says unbroken, in nats; 0 where it does not. */
async function tieAt(question: number, text: string): Promise<number> {
  const messages = [{ role: 'user', content: `Tell me a story about ${ABOUT[question]}.` }]
  const asked = {
    model: 'skein-tiny',
    messages,
    max_tokens: MODEL_TOKENS,
    temperature: 0,
    logprobs: true,
    top_logprobs: 2,
  }
  const headers = { 'content-type': 'application/json' }
  const response = await fetch(`${mesh.http}/v1/chat/completions`, {
    ...{ method: 'POST', headers, body: JSON.stringify(asked) },
  })
  expect(response.status).toBe(200)
  const answer = (await response.json()) as { choices: [{ logprobs: { content: Likely[] } }] }
  let said = ''
  for (const { token, top_logprobs: top } of answer.choices[0].logprobs.content) {
    said += token
    if (!text.startsWith(said)) return top[0]!.logprob - top[1]!.logprob
  }
  return 0
}

const share = (equal: readonly boolean[]): number => equal.filter(Boolean).length / equal.length
const percent = (value: number): string => `${(100 * value).toFixed(1)} %`

it('every answer of two hundred is whole while nodes die and come back', { timeout: 400_000 }, async () => {
  const questions = Array.from({ length: QUESTIONS }, (_, i) => i)
  const alone: string[] = []
  for (const question of questions) alone.push((await askModel(question).ended).text)
  const together = await Promise.all(questions.map(async (question) => (await askModel(question).ended).text))
  const unbroken = share(questions.map((question) => alone[question] === together[question]))

  const echoes: Answer[] = []
  const spoken: Answer[] = []
  let isOver = false
  const killing = havoc(() => isOver)
  for (let wave = 0; wave < WAVES; wave++) {
    for (const i of questions) {
      const key = i % 2 ? { key: `w${wave}-${i}` } : {}
      echoes.push(mesh.ask({ model: 'paced', prompt: `wave ${wave} goose ${i} flies`, maxTokens: ECHO_TOKENS, ...key }))
      spoken.push(askModel(i, key.key && `${key.key}-m`))
    }
    await sleep(WAVE_MS)
  }
  await Promise.all([...echoes, ...spoken].map((answer) => answer.ended))
  isOver = true
  const kills = await killing

  const tasks: TaskOnRecord[] = []
  for (const answer of echoes) tasks.push(await expectEchoed(mesh, answer))
  for (const answer of spoken) tasks.push(await expectWhole(mesh, answer))
  const moves = tasks.reduce((sum, task) => sum + task.attempts.length - 1, 0)
  const broken = share(spoken.map((answer, i) => answer.text === alone[i % QUESTIONS]))
  const ties: number[] = []
  for (const [i, { text }] of spoken.entries())
    if (text !== alone[i % QUESTIONS]) ties.push(await tieAt(i % QUESTIONS, text))
  process.stdout.write(
    `seed ${SEED}: ${tasks.length} answers, ${kills} kills, ${moves} further attempts; greedy answers equal to an unbroken run: ` +
      `${percent(broken)}; two unbroken runs with other batch sizes: ${percent(unbroken)}; the others leave it where two tokens ` +
      `are ${ties.map((nats) => nats.toFixed(4)).join(', ')} nats apart\n`,
  )
  expect(kills).toBeGreaterThan(3)
  expect(moves).toBeGreaterThan(kills)
  expect(Math.max(0, ...ties)).toBeLessThanOrEqual(NEAR_TIE_NATS)
  expect(broken).toBeGreaterThanOrEqual(EQUAL_SHARE_MIN)
})
