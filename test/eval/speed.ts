/** How fast the bundled language model speaks on one core, in its engine, alone. */
import { createEngine } from '../../node/index.ts'
import { BUNDLED_CHAT_MODEL } from '../../node/models/store/index.ts'
import { asModelDigest } from '../../mesh/protocol/index.ts'
import { silentLogger, SystemClock } from '../../mesh/runtime/index.ts'
import { median } from '../bench/stats.ts'
import type { Figure } from './figure.ts'

const ROUNDS = 5
const TOKENS = 200
/** Tokens per second on one core. */
const LEAST = 100

export async function measureSpeed(): Promise<Figure[]> {
  const engine = createEngine('llama', { clock: new SystemClock(), log: silentLogger })
  const digest = asModelDigest(`sha256:${'0'.repeat(64)}`)
  await engine.load({ path: BUNDLED_CHAT_MODEL, digest, slots: 1, threads: 1 })
  try {
    const rates: number[] = []
    for (let round = 0; round < ROUNDS; round++) rates.push(await tokensPerSecond(engine, round))
    return [{ name: 'speed, tokens per second on one core', value: median(rates), least: LEAST, of: ROUNDS }]
  } finally {
    await engine.unload()
  }
}

async function tokensPerSecond(engine: ReturnType<typeof createEngine>, round: number): Promise<number> {
  const request = {
    id: `speed-${round}`,
    prompt: { kind: 'text', text: 'Once upon a time' } as const,
    sampling: {
      temperature: 1,
      topP: 1,
      topK: 0,
      minP: 0,
      presencePenalty: 0,
      frequencyPenalty: 0,
      seed: round,
    },
    stop: [],
    maxTokens: TOKENS,
    generated: [],
  }
  for await (const event of engine.generate(request, new AbortController().signal))
    if (event.type === 'end') return (event.usage.completionTokens / event.timing.decodeMs) * 1000
  throw new TypeError('the engine ended without an end')
}
