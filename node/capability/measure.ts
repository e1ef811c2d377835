/**
 * Measures a loaded model through the engine port alone, so that what is announced is what attempts will get. Bounded:
 * it does as much as fits in its budget, and one short run is enough to say something.
 */
import { GREEDY, SkeinError, type ModelSpeed } from '../../mesh/protocol/index.ts'
import { withDeadline, type Clock } from '../../mesh/runtime/index.ts'
import type { Engine, GenerationRequest } from '../engines/index.ts'

/** Whole measurement. A model that cannot do one short run in this time is left unmeasured. */
const MEASURE_MS = 10_000
/** No further single run is begun beyond this, so that the parallel one has its share of the time. */
const SINGLE_RUNS_MS = 4000
const SINGLE_RUNS = 3
/** The first, short run warms up and tells how long a prompt the budget allows. */
const WARM_UP_WORDS = 16
const WARM_UP_TOKENS = 4
/** Long enough to fill an engine's prefill chunks, short enough for a slow machine. */
const PROMPT_WORDS_MAX = 128
const PROMPT_MS = 2000
const DECODE_TOKENS = 16
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
      if (sequences > 1) decodeParallel = await parallelRun(engine, clock, sequences, signal)
    })
  } catch (thrown) {
    if (init.signal?.aborted || !(thrown instanceof OutOfTime)) throw thrown
  }
  // The warm-up counts only when there is nothing better.
  const counted = runs.length > 1 ? runs.slice(1) : runs
  const prefill = median(counted.map((run) => (run.promptTokens * 1000) / Math.max(run.prefillMs, CLOCK_MS)))
  const decode = median(counted.flatMap((run) => decodeRate([run]) ?? []))
  if (prefill === undefined || decode === undefined)
    throw new SkeinError('ENGINE_FAILED', 'the model gave too few tokens in time to be measured')
  return {
    prefillTokensPerSecond: prefill,
    decode: [
      { sequences: 1, tokensPerSecond: decode },
      ...(decodeParallel === undefined ? [] : [{ sequences, tokensPerSecond: decodeParallel }]),
    ],
    measuredAtMs: clock.wallMs(),
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
  const warmUp = await generate(engine, clock, request(0, WARM_UP_WORDS, WARM_UP_TOKENS), signal)
  runs.push(warmUp)
  const rate = warmUp.promptTokens / Math.max(warmUp.prefillMs, CLOCK_MS)
  const words = Math.round(Math.max(WARM_UP_WORDS, Math.min(PROMPT_WORDS_MAX, rate * PROMPT_MS)))
  for (let i = 1; i <= SINGLE_RUNS && clock.nowMs() - beganMs < SINGLE_RUNS_MS; i++)
    runs.push(await generate(engine, clock, request(i, words, DECODE_TOKENS), signal))
}

/** Tokens per second of `sequences` together, or `undefined` when they never ran at once. */
async function parallelRun(
  engine: Engine,
  clock: Clock,
  sequences: number,
  signal: AbortSignal,
): Promise<number | undefined> {
  const together = Array.from({ length: sequences }, (_, i) =>
    generate(engine, clock, request(SINGLE_RUNS + 1 + i, WARM_UP_WORDS, DECODE_TOKENS), signal),
  )
  // All must have let go of the engine before it is given to anyone else, even when one fails.
  const settled = await Promise.allSettled(together)
  const failed = settled.find((each) => each.status === 'rejected')
  if (failed) throw failed.reason
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
    generated: [],
  }
}

function median(values: readonly number[]): number | undefined {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]
}
