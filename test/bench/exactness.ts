/**
 * How often an answer that goes on elsewhere is token for token the unbroken one (docs/RELIABILITY.md, exactness classes
 * E1 and E2), beside how often two unbroken runs are: batches of another shape move the last bits of the numbers, and
 * with them now and then a token. Two engines, one with 8 sequences and one with 3, so that their batches differ.
 *
 *   node test/bench/exactness.ts [--prompts N]
 */
import { parseArgs } from 'node:util'
import { asModelDigest, GREEDY, type Sampling } from '../../mesh/protocol/index.ts'
import { createLogger, SeededRandom, SystemClock } from '../../mesh/runtime/index.ts'
import { createEngine, type Engine } from '../../node/engines/index.ts'
import { CORPUS } from '../fixtures/models/corpus.ts'
import { BUNDLED_CHAT_MODEL } from '../../node/models/store/index.ts'
import { ensureModel } from '../fixtures/models/index.ts'
import { machine, print } from './stats.ts'

const { values } = parseArgs({ options: { prompts: { type: 'string', default: '200' } } })
const PROMPTS = Number(values.prompts)
const SLOTS_A = 8
const SLOTS_B = 3
const CONTEXT_TOKENS = 512
const WORDS = CORPUS.split(/\s+/)
/** z of a two-sided interval of 95 %. */
const Z = 1.96

const random = new SeededRandom(1)
const below = (end: number): number => Math.floor(random.next() * end)
const clock = new SystemClock()

interface Measured {
  readonly name: string
  readonly path: () => Promise<string>
  /** Of an answer: what two cores make of 200 prompts within three minutes. */
  readonly maxTokens: number
  readonly text: () => string
}

const words = (count: number): string => Array.from({ length: count }, () => WORDS[below(WORDS.length)]).join(' ')
/** Random weights, whose distributions are flat, and trained ones. */
const MODELS: readonly Measured[] = [
  { name: 'tiny', path: () => ensureModel('tiny'), maxTokens: 64, text: () => words(6) },
  { name: 'm135', path: () => ensureModel('m135'), maxTokens: 12, text: () => words(6) },
  {
    name: 'skein-tiny',
    path: () => Promise.resolve(BUNDLED_CHAT_MODEL),
    maxTokens: 120,
    text: () => `Once upon a time there was a ${words(1)} named ${words(1)}.`,
  },
]

interface Job {
  readonly text: string
  readonly sampling: Sampling
  readonly generated: readonly number[]
  readonly maxTokens: number
}

async function load(path: string, slots: number): Promise<Engine> {
  const engine = createEngine('llama', { clock, log: createLogger('error') })
  const digest = asModelDigest(`sha256:${'0'.repeat(64)}`)
  await engine.load({ path, digest, slots, contextTokens: CONTEXT_TOKENS, threads: 1 })
  return engine
}

async function answer(engine: Engine, id: string, { text, ...job }: Job): Promise<number[]> {
  const ids = [...job.generated]
  const request = { id, prompt: { kind: 'text' as const, text }, stop: [], ...job }
  for await (const event of engine.generate(request, new AbortController().signal))
    if (event.type === 'tokens') ids.push(...event.ids)
  return ids
}

/** All answers, `slots` of them at a time, each begun when another has ended. */
async function answers(engine: Engine, slots: number, jobs: readonly Job[]): Promise<number[][]> {
  const results: number[][] = []
  let next = 0
  const work = async (): Promise<void> => {
    while (next < jobs.length) {
      const at = next++
      results[at] = await answer(engine, String(at), jobs[at]!)
    }
  }
  await Promise.all(Array.from({ length: slots }, work))
  return results
}

/** The jobs as they go on behind a random token of their answers. */
const broken = (jobs: readonly Job[], whole: readonly (readonly number[])[]): Job[] =>
  jobs.map((job, i) => ({ ...job, generated: whole[i]!.slice(0, 1 + below(Math.max(1, whole[i]!.length - 1))) }))

/** With Wilson's interval, which holds near 0 and 1 too. */
function tell(what: string, some: readonly (readonly number[])[], others: readonly (readonly number[])[]): void {
  const count = some.length
  const equal = some.filter((ids, i) => ids.join() === others[i]!.join()).length
  const share = equal / count
  const centre = (share + Z ** 2 / (2 * count)) / (1 + Z ** 2 / count)
  const half = (Z / (1 + Z ** 2 / count)) * Math.sqrt((share * (1 - share)) / count + Z ** 2 / (4 * count ** 2))
  const percent = (value: number): string => `${(100 * value).toFixed(1)} %`
  print(
    `  ${what.padEnd(44)} ${percent(share)}  (95 %: ${percent(centre - half)} to ${percent(centre + half)}, n ${count})`,
  )
}

async function measure({ name, path, maxTokens, text: newText }: Measured): Promise<void> {
  const file = await path()
  const [a, b] = await Promise.all([load(file, SLOTS_A), load(file, SLOTS_B)])
  try {
    const texts = Array.from({ length: PROMPTS }, newText)
    const jobs = (temperature: number): Job[] =>
      texts.map((text, seed) => ({ text, sampling: { ...GREEDY, temperature, seed }, generated: [], maxTokens }))
    const [greedy, sampled] = [jobs(0), jobs(0.8)]
    // an engine each core, both at work
    const [wholeA, wholeB] = await Promise.all([answers(a, SLOTS_A, greedy), answers(b, SLOTS_B, greedy)])
    const [drawnA, continuedB] = await Promise.all([
      answers(a, SLOTS_A, sampled),
      answers(b, SLOTS_B, broken(greedy, wholeA)),
    ])
    const redrawnB = await answers(b, SLOTS_B, broken(sampled, drawnA))
    print(`${name}, answers of at most ${maxTokens} tokens`)
    tell('greedy, two unbroken runs', wholeA, wholeB)
    tell('E1: greedy, continued on the other engine', wholeA, continuedB)
    tell('E2: temperature 0.8, continued on the other', drawnA, redrawnB)
  } finally {
    await Promise.all([a.unload(), b.unload()])
  }
}

print(machine())
const beganMs = clock.nowMs()
for (const model of MODELS) await measure(model)
print(`${Math.round((clock.nowMs() - beganMs) / 1000)} s`)
