/**
 * What the engine itself can do, without a mesh: load time, prefill rate, tokens per second of 1, 2, 4 and 8 sequences
 * together, and the time from a commit to the first token, through the child process as the node uses it.
 *
 *   node test/bench/engine.ts [--model tiny|m135|b1] [--threads N] [--tokens N] [--server PATH [--rounds N]]
 *
 * `--server` is the path of llama.cpp's own `llama-server`: both then decode the same prompts of the same model on the same
 * threads, in turns, and the share of its rate is printed.
 */
import { parseArgs } from 'node:util'
import { asModelDigest, GREEDY, type Prompt } from '../../mesh/protocol/index.ts'
import { createLogger, SystemClock } from '../../mesh/runtime/index.ts'
import {
  createPowerSource,
  estimatedEnergy,
  estimateWatts,
  hardwareOf,
  hostFacts,
  measureEnergy,
  SystemEnergy,
} from '../../node/capability/index.ts'
import { createEngine, type Engine } from '../../node/engines/index.ts'
import { ensureModel, MODEL_NAMES } from '../fixtures/models/index.ts'
import { LlamaServer } from './llama-server.ts'
import { machine, median, print, spread } from './stats.ts'

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'm135' },
    threads: { type: 'string' },
    tokens: { type: 'string', default: '64' },
    server: { type: 'string' },
    rounds: { type: 'string', default: '5' },
  },
})
const SEQUENCES = [1, 2, 4, 8]
const PREFILL_WORDS = 150
const CONTEXT_TOKENS = 2048
const COMMIT_TRIALS = 20
/** What a source makes between `prepared` and the cut: a round trip's worth. */
const COMMIT_TOKENS = 3

const clock = new SystemClock()

interface Timed {
  readonly promptTokens: number
  readonly tokens: number
  readonly firstMs: number
  readonly lastMs: number
}

async function generate(engine: Engine, id: string, prompt: Prompt, maxTokens: number): Promise<Timed> {
  let firstMs: number | undefined
  let lastMs = 0
  let tokens = 0
  let promptTokens = 0
  const request = { id, prompt, sampling: { ...GREEDY, seed: 1 }, stop: [], maxTokens, isEndless: true, generated: [] }
  for await (const event of engine.generate(request, new AbortController().signal)) {
    if (event.type === 'tokens') {
      lastMs = clock.nowMs()
      firstMs ??= lastMs
      tokens += event.ids.length
    } else if (event.type === 'end') promptTokens = event.usage.promptTokens
  }
  return { promptTokens, tokens, firstMs: firstMs ?? lastMs, lastMs }
}

const promptOf = (sequence: number, of: number): string => `${sequence} geese of ${of} are`

/** Tokens per second of all together, from the first token of all to the last. */
function rateOf(runs: readonly Pick<Timed, 'tokens' | 'firstMs' | 'lastMs'>[]): number {
  const total = runs.reduce((sum, run) => sum + run.tokens - 1, 0)
  if (total <= 0) return Number.NaN
  const endedMs = Math.max(...runs.map((run) => run.lastMs))
  return (total * 1000) / (endedMs - Math.min(...runs.map((run) => run.firstMs)))
}

async function decodeRate(engine: Engine, sequences: number, tokens: number): Promise<number> {
  const runs = Array.from({ length: sequences }, (_, i) =>
    generate(engine, `decode-${sequences}-${i}`, { kind: 'text', text: promptOf(i, sequences) }, tokens),
  )
  return rateOf(await Promise.all(runs))
}

/** Both in turns, so that what else the machine does befalls both. */
async function compare(engine: Engine, server: LlamaServer, tokens: number, rounds: number): Promise<void> {
  for (const sequences of SEQUENCES) {
    const [ours, theirs]: [number[], number[]] = [[], []]
    for (let round = 0; round < rounds; round++) {
      ours.push(await decodeRate(engine, sequences, tokens))
      const runs = Array.from({ length: sequences }, (_, i) => server.generate(promptOf(i, sequences), tokens))
      theirs.push(rateOf(await Promise.all(runs)))
    }
    const share = median(ours) / median(theirs)
    print(
      `decode x ${sequences}  ${median(ours).toFixed(1)} tokens/s, llama-server ${median(theirs).toFixed(1)}: share ${share.toFixed(2)}`,
    )
  }
}

async function prefillRate(engine: Engine): Promise<{ rate: number; tokens: number }> {
  const text = Array.from({ length: PREFILL_WORDS }, (_, i) => `word${i}`).join(' ')
  const beganMs = clock.nowMs()
  const run = await generate(engine, 'prefill', { kind: 'text', text }, 1)
  return { rate: (run.promptTokens * 1000) / (run.firstMs - beganMs), tokens: run.promptTokens }
}

/** From the commit of a held attempt, with tokens made elsewhere, to its first token; ms of each trial. */
async function commitTimes(engine: Engine): Promise<number[]> {
  const prompt: Prompt = { kind: 'text', text: Array.from({ length: PREFILL_WORDS }, (_, i) => `goose${i}`).join(' ') }
  const fixed = { prompt, sampling: { ...GREEDY, seed: 1 }, stop: [], maxTokens: 40 }
  const signal = new AbortController().signal
  const ids: number[] = []
  for await (const event of engine.generate({ ...fixed, id: 'whole', generated: [] }, signal))
    if (event.type === 'tokens') ids.push(...event.ids)
  const times: number[] = []
  for (let trial = 0; trial < COMMIT_TRIALS; trial++) {
    const { promise: hold, resolve } = Promise.withResolvers<readonly number[]>()
    const request = { ...fixed, id: `commit-${trial}`, generated: ids.slice(0, 10 + trial), hold }
    let committedMs: number | undefined
    for await (const event of engine.generate(request, signal)) {
      if (event.type === 'prepared') {
        committedMs = clock.nowMs()
        resolve(ids.slice(10 + trial, 10 + trial + COMMIT_TOKENS))
      } else if (event.type === 'tokens') {
        times.push(clock.nowMs() - committedMs!)
        break
      }
    }
  }
  return times
}

async function main(): Promise<void> {
  const name = MODEL_NAMES.find((candidate) => candidate === values.model)
  if (name === undefined) {
    process.stderr.write(`--model is one of ${MODEL_NAMES.join(', ')}\n`)
    process.exitCode = 2
    return
  }
  const path = await ensureModel(name)
  print(machine())
  const engine = createEngine('llama', { clock, log: createLogger('error') })
  const beganMs = clock.nowMs()
  const model = await engine.load({
    path,
    digest: asModelDigest(`sha256:${'0'.repeat(64)}`),
    slots: Math.max(...SEQUENCES),
    contextTokens: CONTEXT_TOKENS,
    ...(values.threads === undefined ? {} : { threads: Number(values.threads) }),
  })
  const { threads, engineBuild } = model.numerics
  print(`${name} ${model.quantization}, ${threads} threads, ${engineBuild}`)
  print(`load        ${Math.round(clock.nowMs() - beganMs)} ms`)
  try {
    await decodeRate(engine, 1, 8)
    if (values.server === undefined) await measure(engine)
    else await compareWith(values.server, engine, path, threads)
    print(`memory      ${Math.round(engine.stats().memoryBytes / 1024 / 1024)} MiB`)
  } finally {
    await engine.unload()
  }
}

async function measure(engine: Engine): Promise<void> {
  let stepMs = Number.NaN
  for (const sequences of SEQUENCES) {
    const rate = await decodeRate(engine, sequences, Number(values.tokens))
    if (sequences === 1) stepMs = 1000 / rate
    print(`decode x ${sequences}  ${rate.toFixed(1)} tokens/s`)
  }
  await energyOf(engine, 1000 / stepMs)
  const { rate, tokens } = await prefillRate(engine)
  print(`prefill     ${rate.toFixed(0)} tokens/s (${tokens} tokens)`)
  const times = await commitTimes(engine)
  print(
    `commit      ${spread(times)}, ${(median(times) / stepMs).toFixed(1)} decode steps with ${COMMIT_TOKENS} tokens`,
  )
}

/** As a node announces it: metered above the idle machine, or by rule of thumb. */
async function energyOf(engine: Engine, tokensPerSecond: number): Promise<void> {
  const meter = new SystemEnergy({ clock, power: createPowerSource(clock), hasNvidia: () => true })
  const decode = [{ sequences: 1, tokensPerSecond }]
  const speed = { prefillTokensPerSecond: 0, decode, measuredAtMs: 0 }
  const { signal } = new AbortController()
  const threads = values.threads === undefined ? undefined : Number(values.threads)
  const energy =
    (await measureEnergy(engine, clock, meter, { speed, signal })) ??
    estimatedEnergy(speed, estimateWatts(hardwareOf(hostFacts()), threads), 'estimated')
  if (energy) print(`energy      ${energy.joulesPerToken.toPrecision(2)} J/token (${energy.source})`)
}

async function compareWith(program: string, engine: Engine, model: string, threads: number): Promise<void> {
  const sequences = Math.max(...SEQUENCES)
  const server = await LlamaServer.start(clock, {
    path: program,
    model,
    threads,
    sequences,
    contextTokens: CONTEXT_TOKENS,
  })
  try {
    await server.generate(promptOf(0, 1), 8)
    await compare(engine, server, Number(values.tokens), Number(values.rounds))
  } finally {
    await server.stop()
  }
}

await main()
