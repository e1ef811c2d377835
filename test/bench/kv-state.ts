/**
 * What a KV state in a file spares: the time to the first token of a conversation that goes on after another had its
 * sequence, by prefill and by restore, and how long writing and reading hold up an answer beside it.
 *
 *   node test/bench/kv-state.ts [--model tiny|m135|b1] [--threads N] [--tokens N,N,N] [--dir DIR]
 *
 * `--dir` is where the files go; their bandwidth is measured there.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { asModelDigest, GREEDY, SkeinError, type Usage } from '../../mesh/protocol/index.ts'
import { createLogger, sleep, SystemClock } from '../../mesh/runtime/index.ts'
import { createEngine, type Engine } from '../../node/engines/index.ts'
import { ensureModel, MODEL_NAMES, type ModelName } from '../fixtures/models/index.ts'
import { machine, print, spread } from './stats.ts'

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'm135' },
    threads: { type: 'string' },
    tokens: { type: 'string', default: '256,1024,2048' },
    dir: { type: 'string', default: tmpdir() },
  },
})
const CONTEXT_TOKENS = 4096
const BYTES_MAX = 4 * 1024 ** 3
/** Of the answer beside it, before and while the others take turns. */
const GAPS = 40
const MIB = 1024 ** 2

const clock = new SystemClock()
const never = new AbortController().signal
let attempts = 0

/** Some three tokens a word, whatever the vocabulary. */
const story = (who: string, words: number): string =>
  Array.from({ length: words }, (_, i) => `${who}${(i * 7919) % 1000}`).join(' ')

interface Turn {
  readonly firstMs: number
  readonly usage: Usage
}

async function ask(engine: Engine, text: string): Promise<Turn> {
  const beganMs = clock.nowMs()
  let firstMs: number | undefined
  const request = {
    id: `turn-${++attempts}`,
    prompt: { kind: 'text', text } as const,
    sampling: { ...GREEDY, seed: 1 },
    stop: [],
    maxTokens: 1,
    generated: [],
  }
  for await (const event of engine.generate(request, never)) {
    // a token that ends the answer has no event of its own
    if (event.type === 'tokens' || event.type === 'end') firstMs ??= clock.nowMs() - beganMs
    if (event.type === 'end') return { firstMs: firstMs!, usage: event.usage }
  }
  throw new SkeinError('INTERNAL', 'an answer without an end')
}

/** A prompt of about `tokens`. */
async function wordsFor(engine: Engine, tokens: number): Promise<number> {
  const { usage } = await ask(engine, story('dog', 50))
  return Math.round((50 * tokens) / usage.promptTokens)
}

async function load(name: ModelName, dir: string | undefined, slots: number): Promise<Engine> {
  const engine = createEngine('llama', { clock, log: createLogger('error') })
  const { numerics } = await engine.load({
    path: await ensureModel(name),
    digest: asModelDigest(`sha256:${'0'.repeat(64)}`),
    slots,
    contextTokens: CONTEXT_TOKENS,
    ...(values.threads !== undefined && { threads: Number(values.threads) }),
    ...(dir !== undefined && { kvStates: { dir, bytesMax: BYTES_MAX } }),
  })
  if (attempts === 0) print(`${name}, ${numerics.threads} threads, ${numerics.engineBuild}`)
  return engine
}

/** A conversation whose sequence another had meanwhile, without files and with them. */
async function compare(name: ModelName, dir: string): Promise<void> {
  const sizes = values.tokens.split(',').map(Number)
  const plain = await load(name, undefined, 1)
  const words: number[] = []
  for (const tokens of sizes) words.push(await wordsFor(plain, tokens))
  const prefilled: Turn[] = []
  for (const [i, each] of words.entries()) prefilled.push(await ask(plain, story(`f${i}x`, each)))
  await plain.unload()
  const engine = await load(name, dir, 1)
  for (const [i, each] of words.entries()) {
    const fox = story(`f${i}x`, each)
    await ask(engine, fox)
    await ask(engine, story(`g${i}x`, each))
    const { firstMs, usage } = await ask(engine, fox)
    const before = prefilled[i]!
    print(
      `${String(usage.promptTokens).padStart(5)} tokens  prefill ${before.firstMs.toFixed(0)} ms, restore ` +
        `${firstMs.toFixed(0)} ms (${usage.cachedTokens} tokens from the file): ${(before.firstMs / firstMs).toFixed(1)} times`,
    )
  }
  const kv = engine.stats().kv!
  print(
    `state ${(kv.bytesPerToken / 1024).toFixed(1)} KiB a token, prefill ${kv.prefillTokensPerSecond?.toFixed(0)} tokens/s; ` +
      `writing ${(kv.writeBytesPerSecond / MIB).toFixed(0)} MiB/s, reading and checking ${(kv.readBytesPerSecond / MIB).toFixed(0)} MiB/s`,
  )
  print(`decisions ${JSON.stringify(kv.decisions)}`)
  await engine.unload()
}

/** An answer streams while the conversations beside it take turns at the other sequence. */
async function disturb(name: ModelName, dir: string): Promise<void> {
  const engine = await load(name, dir, 2)
  const sizes = values.tokens.split(',').map(Number)
  const words = await wordsFor(engine, sizes[Math.floor((sizes.length - 1) / 2)]!)
  for (const who of ['fox', 'hen']) await ask(engine, story(who, words))
  const leaving = new AbortController()
  const gaps: number[] = []
  const request = {
    id: 'beside',
    prompt: { kind: 'text', text: 'geese' } as const,
    sampling: { ...GREEDY, seed: 1 },
    stop: [],
    maxTokens: CONTEXT_TOKENS,
    isEndless: true,
    generated: [],
  }
  const beside = (async () => {
    let lastMs: number | undefined
    for await (const event of engine.generate(request, leaving.signal)) {
      if (event.type !== 'tokens') continue
      if (lastMs !== undefined) gaps.push(clock.nowMs() - lastMs)
      lastMs = clock.nowMs()
    }
  })().catch(() => {})
  while (gaps.length < GAPS) await sleep(clock, 100)
  print(`gaps of an answer alone       ${spread(gaps.splice(0))}`)
  for (const who of ['owl', 'fox', 'hen', 'owl']) await ask(engine, story(who, words))
  const kv = engine.stats().kv!
  print(`gaps while others take turns  ${spread(gaps)}, chunks of prefill included`)
  print(`longest stall by a file       ${kv.stallMsMax.toFixed(0)} ms; saved ${kv.saved}, restored ${kv.restored}`)
  leaving.abort()
  await beside
  await engine.unload()
}

const name = MODEL_NAMES.find((candidate) => candidate === values.model)
if (name === undefined) {
  process.stderr.write(`--model is one of ${MODEL_NAMES.join(', ')}\n`)
  process.exitCode = 2
} else {
  print(machine())
  const dir = await mkdtemp(join(values.dir, 'skein-kv-'))
  try {
    await compare(name, dir)
    await disturb(name, dir)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}
