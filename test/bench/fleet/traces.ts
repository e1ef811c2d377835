/** Requests of the fleet benchmark: recorded arrivals and lengths, and conversations made of recorded lengths. */
import { readFileSync } from 'node:fs'
import { NO_PREFIX, promptPrefix, type PromptPrefix } from '../../../coordinator/scheduler/index.ts'
import type { ChatMessage } from '../../../mesh/protocol/index.ts'
import { SeededRandom } from '../../../mesh/runtime/index.ts'

/** A stretch of tokens that is the same wherever its id is the same. */
export interface Segment {
  readonly id: string
  readonly tokens: number
}

export interface Request {
  readonly atMs: number
  readonly prompt: readonly Segment[]
  readonly promptTokens: number
  readonly answer: Segment
  /** As the coordinator sees them, at `BYTES_PER_TOKEN`. */
  readonly prefix: PromptPrefix
  readonly prefixWithAnswer: PromptPrefix
}

export interface Trace {
  readonly name: string
  readonly requests: readonly Request[]
}

export const BYTES_PER_TOKEN = 4
/** What every node's context holds. */
const PROMPT_TOKENS_MAX = 14_000

interface Row {
  readonly gapMs: number
  readonly prompt: number
  readonly generated: number
}

function stretches(file: string): Row[][] {
  const text = readFileSync(new URL(file, import.meta.url), 'utf8')
  return text
    .split('\n\n')
    .map((stretch) => stretch.split('\n').filter((line) => line !== '' && !line.startsWith('#')))
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.map(rowOf))
}

function rowOf(line: string): Row {
  const [gapMs, prompt, generated] = line.split(',').map(Number) as [number, number, number]
  return { gapMs, prompt: Math.min(prompt, PROMPT_TOKENS_MAX), generated: Math.max(generated, 1) }
}

/** As recorded; nothing is known of who asked, so that no two prompts begin alike. */
export function recorded(kind: 'conv' | 'code'): Trace[] {
  return stretches(`./azure-${kind}-2023.csv`).map((rows, i) => {
    let atMs = 0
    const requests = rows.map(({ gapMs, prompt, generated }, row) => ({
      atMs: (atMs += gapMs),
      prompt: [{ id: `${row}`, tokens: prompt }],
      promptTokens: prompt,
      answer: { id: `a${row}`, tokens: generated },
      prefix: NO_PREFIX,
      prefixWithAnswer: NO_PREFIX,
    }))
    return { name: `${kind} ${i + 1}`, requests }
  })
}

const SESSIONS = 300
/** Mean turns of a conversation, and mean time that a person reads and writes between an answer and the next turn. */
const TURNS_MEAN = 3.5
const THINK_MS = 20_000
/** At this speed the answer is taken to be read: the next turn comes after it, however late the answer really was. */
const READING_TOKENS_PER_MS = 0.02
/** Share of conversations that begin with a document, and its tokens. */
const DOCUMENT_SHARE = 0.1
const DOCUMENT_TOKENS = [3000, 7000] as const
/** Applications, each with a system prompt of its own. */
const APPLICATIONS = 3
const SYSTEM_TOKENS = 400

/**
 * Conversations: each turn's prompt is all before it. They begin in bursts (gamma intervals of shape 0.4) under a rate
 * that swings by half over the trace, as a day does; lengths of questions and answers are drawn from the recorded ones.
 */
export function sessions(seed: number): Trace {
  const random = new SeededRandom(seed)
  const rows = stretches('./azure-conv-2023.csv').flat()
  const draw = (): Row => rows[Math.floor(random.next() * rows.length)]!
  const requests: Request[] = []
  let beginMs = 0
  for (let session = 0; session < SESSIONS; session++) {
    const day = 1 + 0.5 * Math.sin((2 * Math.PI * session) / SESSIONS)
    beginMs += (4000 * gamma(0.4, random)) / day
    const application = Math.floor(random.next() * APPLICATIONS)
    const prompt: Segment[] = [{ id: `system ${application}`, tokens: SYSTEM_TOKENS }]
    const [least, most] = DOCUMENT_TOKENS
    if (random.next() < DOCUMENT_SHARE)
      prompt.push({ id: `document ${session}`, tokens: Math.floor(least + random.next() * (most - least)) })
    let atMs = beginMs
    for (let turn = 0; turn === 0 || random.next() > 1 / TURNS_MEAN; turn++) {
      prompt.push({ id: `question ${session} ${turn}`, tokens: Math.ceil(draw().prompt / 8) })
      const answer = { id: `answer ${session} ${turn}`, tokens: draw().generated }
      requests.push(requestOf(atMs, prompt, answer))
      prompt.push(answer)
      if (tokensOf(prompt) > PROMPT_TOKENS_MAX) break
      atMs += answer.tokens / READING_TOKENS_PER_MS - THINK_MS * Math.log(1 - random.next())
    }
  }
  return { name: `sessions ${seed}`, requests: requests.sort((a, b) => a.atMs - b.atMs) }
}

const tokensOf = (segments: readonly Segment[]): number => segments.reduce((sum, each) => sum + each.tokens, 0)

function requestOf(atMs: number, segments: readonly Segment[], answer: Segment): Request {
  const message = ({ id, tokens }: Segment): ChatMessage => ({
    role: id.startsWith('answer') ? 'assistant' : 'user',
    content: `${id} `
      .repeat(Math.ceil((tokens * BYTES_PER_TOKEN) / (id.length + 1)))
      .slice(0, tokens * BYTES_PER_TOKEN),
  })
  const messages = segments.map(message)
  return {
    atMs,
    prompt: [...segments],
    promptTokens: tokensOf(segments),
    answer,
    prefix: promptPrefix({ kind: 'chat', messages }),
    prefixWithAnswer: promptPrefix({ kind: 'chat', messages: [...messages, message(answer)] }),
  }
}

/** Marsaglia and Tsang (2000), mean 1; a shape below 1 by the power of a uniform draw. */
function gamma(shape: number, random: SeededRandom): number {
  const d = shape + 1 - 1 / 3
  const c = 1 / Math.sqrt(9 * d)
  for (;;) {
    const normal = Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next())
    const v = (1 + c * normal) ** 3
    if (v > 0 && Math.log(1 - random.next()) < normal ** 2 / 2 + d - d * v + d * Math.log(v))
      return (d * v * (1 - random.next()) ** (1 / shape)) / shape
  }
}
