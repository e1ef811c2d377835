/**
 * Measures a loaded model through the engine port alone, so that what is announced is what attempts will get. Bounded:
 * it does as much as fits in its budget, and one short run is enough to say something.
 */
import { asSkeinError, GREEDY, SkeinError, type ModelSpeed } from '../../mesh/protocol/index.ts'
import { withDeadline, type Clock } from '../../mesh/runtime/index.ts'
import type { Engine, GenerationRequest } from '../engines/index.ts'

/** Whole measurement. A model that cannot do one short run in this time is left unmeasured. */
const MEASURE_MS = 10_000
/** No further single run is begun beyond this, so that the parallel one has its share of the time. */
const SINGLE_RUNS_MS = 4000
const SINGLE_RUNS = 3
/** Prompt words of the first run, which warms up, and of a slow machine; and what fills an engine's prefill chunks. */
const WORDS_MIN = 16
const WORDS_MAX = 128
const TOKENS_MIN = 4
const TOKENS_MAX = 16
/** What a run may cost in prefill and in decode, by which its prompt and answer are sized. */
const PROMPT_MS = 1500
const DECODE_MS = 750
/** Many sequences cost memory and time; beyond this the sum hardly grows. */
const SEQUENCES_MAX = 16
/** Intervals below what the clock resolves count as this. */
const CLOCK_MS = 0.01

/** Common words are about one token each in common vocabularies; the engine's own count is what is used. */
const WORDS = ['the', 'time', 'of', 'day', 'and', 'people', 'in', 'water', 'to', 'house', 'with', 'long', 'for', 'work']

interface Run {
  readonly promptTokens: number
  readonly prefillMs: number
  /** When each token came, in ms of the clock. */
  readonly tokenAtMs: readonly number[]
}

export interface MeasureInit {
  /** Sequences that the model was loaded for. */
  readonly slots: number
  readonly signal?: AbortSignal
}

/**
 * @throws SkeinError ENGINE_FAILED when not even one short run ended in time or gave a token; the signal's reason; what
 *   the engine throws.
 */
export async function measureModel(engine: Engine, clock: Clock, init: MeasureInit): Promise<ModelSpeed> {
  const runs: Run[] = []
  let decodeParallel: number | undefined
  const sequences = Math.min(init.slots, SEQUENCES_MAX)
  try {
    await withDeadline(clock, MEASURE_MS, outOfTime, init.signal, async (signal) => {
      await singleRuns(engine, clock, runs, signal)
      if (sequences > 1) decodeParallel = await parallelRun(engine, clock, sequences, decodeTokens(runs), signal)
    })
  } catch (thrown) {
    if (init.signal?.aborted || !(thrown instanceof OutOfTime)) throw thrown
  }
  // The warm-up counts only when there is nothing better.
  const counted = runs.length > 1 ? runs.slice(1) : runs
  const prefill = median(counted.map(prefillRate))
  const decode = median(counted.flatMap((run) => decodeRate([run]) ?? []))
  if (prefill === undefined || decode === undefined)
    throw new SkeinError('ENGINE_FAILED', 'the model gave too few tokens in time to be measured')
  return {
    prefillTokensPerSecond: prefill,
    decode: [
      { sequences: 1, tokensPerSecond: decode },
      ...(decodeParallel === undefined ? [] : [{ sequences, tokensPerSecond: decodeParallel }]),
    ],
    measuredAtMs: Math.round(clock.wallMs()),
  }
}

class OutOfTime extends SkeinError {
  constructor() {
    super('ENGINE_FAILED', `the measurement took more than ${MEASURE_MS} ms`)
  }
}
const outOfTime = (): SkeinError => new OutOfTime()

/** Collects into `runs`, so that what ended before the time was over is not lost. */
async function singleRuns(engine: Engine, clock: Clock, runs: Run[], signal: AbortSignal): Promise<void> {
  const beganMs = clock.nowMs()
  runs.push(await generate(engine, clock, request(0, WORDS_MIN, TOKENS_MIN), signal))
  for (let i = 1; i <= SINGLE_RUNS && clock.nowMs() - beganMs < SINGLE_RUNS_MS; i++) {
    // Sized by the run before: the first one was cold, and says too little.
    const words = between(WORDS_MIN, prefillRate(runs.at(-1)!) * (PROMPT_MS / 1000), WORDS_MAX)
    runs.push(await generate(engine, clock, request(i, words, decodeTokens(runs)), signal))
  }
}

const prefillRate = (run: Run): number => (run.promptTokens * 1000) / Math.max(run.prefillMs, CLOCK_MS)

/** As many tokens as the last of `runs` would decode in `DECODE_MS`. */
const decodeTokens = (runs: readonly Run[]): number =>
  between(TOKENS_MIN, (decodeRate(runs.slice(-1)) ?? 0) * (DECODE_MS / 1000), TOKENS_MAX)

const between = (least: number, value: number, most: number): number =>
  Math.round(Math.min(most, Math.max(least, value)))

/** Tokens per second of `sequences` together, or `undefined` when they never ran at once. */
async function parallelRun(
  engine: Engine,
  clock: Clock,
  sequences: number,
  maxTokens: number,
  signal: AbortSignal,
): Promise<number | undefined> {
  const together = Array.from({ length: sequences }, (_, i) =>
    generate(engine, clock, request(SINGLE_RUNS + 1 + i, WORDS_MIN, maxTokens), signal),
  )
  // All must have let go of the engine before it is given to anyone else, even when one fails.
  const settled = await Promise.allSettled(together)
  const failed = settled.find((each) => each.status === 'rejected')
  if (failed) throw asSkeinError(failed.reason, 'ENGINE_FAILED')
  return decodeRate(settled.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : [])))
}

async function generate(
  engine: Engine,
  clock: Clock,
  generation: GenerationRequest,
  signal: AbortSignal,
): Promise<Run> {
  const tokenAtMs: number[] = []
  for await (const event of engine.generate(generation, signal)) {
    if (event.type === 'tokens') for (const _ of event.ids) tokenAtMs.push(clock.nowMs())
    if (event.type === 'end') {
      const promptTokens = Math.max(0, event.usage.promptTokens - event.usage.cachedTokens)
      return { promptTokens, prefillMs: event.timing.prefillMs, tokenAtMs }
    }
  }
  throw new SkeinError('ENGINE_FAILED', 'a generation ended without its end')
}

/** Tokens per second of all `runs` in the time in which every one of them was decoding. */
function decodeRate(runs: readonly Run[]): number | undefined {
  const fromMs = Math.max(...runs.map((run) => run.tokenAtMs[0] ?? Number.POSITIVE_INFINITY))
  const toMs = Math.min(...runs.map((run) => run.tokenAtMs.at(-1) ?? Number.NEGATIVE_INFINITY))
  if (!(toMs >= fromMs)) return undefined
  let tokens = 0
  // A run's first token belongs to its prefill.
  for (const run of runs) for (const atMs of run.tokenAtMs.slice(1)) if (atMs >= fromMs && atMs <= toMs) tokens++
  return tokens === 0 ? undefined : (tokens * 1000) / Math.max(toMs - fromMs, CLOCK_MS)
}

/** Each prompt begins differently, so that no prefix cache answers for the model. */
function request(run: number, words: number, maxTokens: number): GenerationRequest {
  const text = Array.from({ length: words }, (_, i) => WORDS[(i * (run + 3) + run) % WORDS.length]).join(' ')
  return {
    id: `measure-${run}`,
    prompt: { kind: 'text', text: `${run} ${text}` },
    sampling: { ...GREEDY, seed: run },
    stop: [],
    maxTokens,
    // one that ends at once would tell nothing of its speed
    isEndless: true,
    generated: [],
  }
}

function median(values: readonly number[]): number | undefined {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]
}
