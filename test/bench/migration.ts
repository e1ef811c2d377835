/**
 * What a move costs the client: `node test/bench/migration.ts [--trials N] [--faults LIST] [--models LIST]`, or
 * `npm run bench:migration -- --trials 10`.
 *
 * Two nodes and a coordinator as real processes, one answer at a time, greedy, read by the official client. In each trial
 * the node that answers is hurt at a random moment, and two times are taken:
 *
 * - detection: from the fault to the end of the attempt in the ledger, which is when the coordinator gave it up. For
 *   planned moves: from the wish to the assignment of the target
 * - gap: the longest time between two pieces of text around the fault, less the usual one
 *
 * beside what the gap should be: detection + prefill of the prompt and the tokens so far. Prefill is given twice: as
 * predicted, the time to the first token of unbroken answers to prompts of that length, measured before; and as it was in the
 * trial, from the assignment of the target to its first token. What is left of the gap then is Skein's own part of it.
 * Faults: `kill` (SIGKILL), `freeze` (SIGSTOP of agent and engine), `unplug` (the cable of its network namespace; root
 * alone) and `drain`.
 * Models: `m135` (a real one of 135M weights, one thread each node) and `echo` (50 tokens/s, prefill at 2,000/s, exact).
 */
import { parseArgs } from 'node:util'
import { ensureModel } from '../fixtures/models/index.ts'
import { NamespaceNetwork } from '../fixtures/namespaces.ts'
import { eventually } from '../fixtures/skein-process.ts'
import type { Answer } from '../fault/harness/answer.ts'
import { FaultMesh, type AttemptOnRecord } from '../fault/harness/fault-mesh.ts'
import { sleep } from '../fault/harness/processes.ts'
import { machine, median, ms, percentile, print, spread } from './stats.ts'

const FAULTS = ['kill', 'freeze', 'unplug', 'drain'] as const
type Fault = (typeof FAULTS)[number]
const PLANNED: Fault = 'drain'
const MODELS = ['m135', 'echo'] as const
type Model = (typeof MODELS)[number]
const NODES = ['one', 'two']

const ECHO = 'echo:echo?tps=50&prefill=2000'
const PROMPT_WORDS = 40
/** Pieces of text before the fault, at least, and how many more at most. */
const BEFORE = 12
const BEFORE_SPREAD = 12
/** Enough to outlast the preparation of a planned move, which takes its processor from the answer here. */
const AFTER = 30
/** Pieces of the target that a gap may still be seen in; what comes later is the target's own rhythm. */
const ARRIVED = 3
/** A bound for what should take a second or two. */
const PATIENCE_MS = 60_000
const CALIBRATION = { lengths: [30, 120], rounds: 6 }
const DETECTION_MAX_MS: Readonly<Record<Fault, number>> = {
  kill: 100,
  freeze: 2000,
  unplug: 2000,
  drain: Infinity,
}
const PLANNED_STEPS_MAX = 3
const UNPLANNED_OVER_MS = 50

interface Trial {
  readonly detectionMs: number
  readonly gapMs: number
  /** The same over as many steps just before the fault, when nothing happened to the answer. */
  readonly calmGapMs: number
  /** The same over the steps at the change from one node to the other. */
  readonly seamGapMs: number
  readonly stepMs: number
  /** Of prompt and tokens so far, as predicted. */
  readonly prefillMs: number
  /** From the assignment of the target to its first token. */
  readonly firstTokenMs: number
}

/** Time to the first token as a line over the tokens to be prefilled. */
interface Prefill {
  readonly baseMs: number
  readonly perTokenMs: number
}

let words = 0
/** A prompt that no node has seen: what a cache would save must not be saved. */
const prompt = (length: number): string => Array.from({ length }, () => `w${(words++).toString(36)}`).join(' ')

class Bench {
  readonly #mesh: FaultMesh
  readonly #network: NamespaceNetwork | undefined

  constructor(mesh: FaultMesh, network: NamespaceNetwork | undefined) {
    this.#mesh = mesh
    this.#network = network
  }

  async prefill(model: Model): Promise<Prefill> {
    const points: { tokens: number; firstMs: number }[] = []
    for (let i = 0; i < CALIBRATION.rounds; i++)
      for (const length of CALIBRATION.lengths) {
        const { body, firstMs } = await this.#firstToken(model, length)
        points.push({ tokens: body, firstMs })
      }
    const [short, long] = CALIBRATION.lengths.map((_, at) => {
      const own = points.filter((_point, i) => i % CALIBRATION.lengths.length === at)
      return { tokens: own[0]!.tokens, firstMs: median(own.map(({ firstMs }) => firstMs)) }
    })
    const perTokenMs = (long!.firstMs - short!.firstMs) / (long!.tokens - short!.tokens)
    return { perTokenMs, baseMs: short!.firstMs - perTokenMs * short!.tokens }
  }

  async #firstToken(model: Model, length: number): Promise<{ body: number; firstMs: number }> {
    const answer = await this.#ask(model, length, 2)
    if (answer.error) throw answer.error
    return { body: answer.promptTokens!, firstMs: answer.deltas[0]!.atMs - answer.askedAtMs }
  }

  #ask(model: Model, length: number, maxTokens: number): Promise<Answer> {
    return this.#mesh.ask({ model, prompt: prompt(length), maxTokens }).ended
  }

  async trial(model: Model, fault: Fault, prefill: Prefill): Promise<Trial | undefined> {
    const before = BEFORE + Math.floor(Math.random() * BEFORE_SPREAD)
    const answer = this.#mesh.ask({ model, prompt: prompt(PROMPT_WORDS), maxTokens: 2 * (before + AFTER) })
    await eventually(
      'the answer is on its way',
      () => Promise.resolve(answer.deltas.length >= before || undefined),
      PATIENCE_MS,
    )
    const victim = answer.node
    const stepMs = median(steps(answer, 1, before))
    await sleep(Math.random() * stepMs)
    const [atMs, wallMs] = [performance.now(), Date.now()]
    await this.#hurt(fault, victim)
    await eventually('the answer is whole', () => Promise.resolve(answer.hasEnded || undefined), PATIENCE_MS)
    if (answer.error || !answer.hasDone) throw answer.error ?? new TypeError(`${fault}: the stream was cut`)
    const { attempts } = await this.#mesh.task(answer.taskId)
    await this.#heal(model, fault, victim)
    const decided = decision(attempts, fault)
    const first = answer.deltas.findIndex((delta) => delta.atMs > atMs)
    if (decided === undefined || first < 1) return undefined
    const tokens = answer.promptTokens! + decided.from
    const end = Math.min(decided.to + ARRIVED, answer.deltas.length)
    const longest = (from: number, to: number): number => Math.max(...steps(answer, Math.max(1, from), to)) - stepMs
    return {
      detectionMs: decided.atMs - wallMs,
      gapMs: longest(first, end),
      calmGapMs: longest(first - (end - first), first),
      seamGapMs: longest(decided.to, end),
      stepMs,
      prefillMs: prefill.baseMs + prefill.perTokenMs * tokens,
      firstTokenMs: decided.firstTokenMs,
    }
  }

  async #direct(node: string, directive: 'cordon' | 'uncordon' | 'drain'): Promise<void> {
    const response = await fetch(`${this.#mesh.http}/mesh/v1/nodes/${node}/${directive}`, { method: 'POST' })
    if (!response.ok) throw new TypeError(`${directive} ${node}: ${response.status} ${await response.text()}`)
  }

  async #hurt(fault: Fault, victim: string): Promise<void> {
    if (fault === 'kill') this.#mesh.node(victim).child.kill('SIGKILL')
    else if (fault === 'freeze') await this.#mesh.freeze(victim)
    else if (fault === 'unplug') await this.#network!.cable(NODES.indexOf(victim), 'down')
    else await this.#direct(victim, 'drain')
  }

  async #heal(model: Model, fault: Fault, victim: string): Promise<void> {
    if (fault === 'kill') {
      await this.#mesh.startNode(victim)
      await this.#warmUp(model)
    } else if (fault === 'freeze') await this.#mesh.thaw(victim)
    else if (fault === 'unplug') await this.#network!.cable(NODES.indexOf(victim), 'up')
    else await this.#direct(victim, 'uncordon')
    await this.#mesh.eligible(victim)
  }

  /** A process that has just begun is no usual target: answers on both nodes make it one. */
  async #warmUp(model: Model): Promise<void> {
    await Promise.all(Array.from({ length: 2 * NODES.length }, () => this.#ask(model, PROMPT_WORDS, 3)))
  }
}

/** Times between pieces of text, from piece `from` (counted from 1) up to `to`. */
const steps = ({ deltas }: Answer, from: number, to: number): number[] =>
  deltas.slice(from, to).map((delta, i) => delta.atMs - deltas[from + i - 1]!.atMs)

/** When the coordinator decided, the tokens that it had by then, and what the target took to its first one. */
interface Decision {
  readonly atMs: number
  /** Tokens of the source. */
  readonly to: number
  readonly from: number
  readonly firstTokenMs: number
}

function decision(attempts: readonly AttemptOnRecord[], fault: Fault): Decision | undefined {
  const [source, next] = attempts
  // a move is prepared in rounds, each an attempt: the last one is the target
  const target = fault === PLANNED ? attempts.findLast(({ assigned }) => assigned.reason === fault) : next
  const firstTokenMs = target?.ended?.observed.firstTokenMs
  if (!next || !target || !source?.ended || firstTokenMs === undefined) return undefined
  const atMs = fault === PLANNED ? next.assigned.atMs : source.ended.atMs
  return { atMs, to: source.ended.to, from: target.assigned.from, firstTokenMs }
}

const verdict = (isMet: boolean): string => (isMet ? 'met' : 'MISSED')

function report(model: Model, fault: Fault, trials: readonly Trial[], asked: number): void {
  if (trials.length === 0) return print(`${model}, ${fault}: no answer moved in ${asked} trials`)
  const of = (value: (trial: Trial) => number): number[] => trials.map(value)
  const detection = of((trial) => trial.detectionMs)
  print(`${model}, ${fault}: ${trials.length} of ${asked} moved; usual step ${ms(median(of((trial) => trial.stepMs)))}`)
  const bound = DETECTION_MAX_MS[fault]
  const target = bound === Infinity ? '' : `; target ${bound} ms ${verdict(percentile(detection, 0.99) <= bound)}`
  print(`  detection ${spread(detection)}${target}`)
  print(`  gap       ${spread(of((trial) => trial.gapMs))}`)
  if (fault === PLANNED) {
    const inSteps = (gap: (trial: Trial) => number): string => {
      const shares = of((trial) => gap(trial) / trial.stepMs)
      const p99 = percentile(shares, 0.99)
      const met = verdict(p99 <= PLANNED_STEPS_MAX)
      return `in steps p50 ${median(shares).toFixed(2)}, p99 ${p99.toFixed(2)}; target ${PLANNED_STEPS_MAX} ${met}`
    }
    print(`            ${inSteps((trial) => trial.gapMs)}`)
    print(`  calm      ${spread(of((trial) => trial.calmGapMs))}: the longest step of as many just before`)
    print(`  seam      ${spread(of((trial) => trial.seamGapMs))}: at the change of nodes alone`)
    print(`            ${inSteps((trial) => trial.seamGapMs)}`)
    return
  }
  const over = of((trial) => trial.gapMs - trial.detectionMs - trial.prefillMs)
  print(`  predicted ${spread(of((trial) => trial.detectionMs + trial.prefillMs))}`)
  print(`  over it   ${spread(over)}`)
  const own = of((trial) => trial.gapMs - trial.detectionMs - trial.firstTokenMs)
  print(`  prefill   ${spread(of((trial) => trial.firstTokenMs))}, as it was`)
  print(
    `  Skein's   ${spread(own)}; target ${UNPLANNED_OVER_MS} ms ${verdict(percentile(own, 0.99) <= UNPLANNED_OVER_MS)}`,
  )
}

function listOf<T extends string>(text: string | undefined, known: readonly T[]): readonly T[] {
  if (text === undefined) return known
  const asked = text.split(',')
  const unknown = asked.find((each) => !(known as readonly string[]).includes(each))
  if (unknown !== undefined) throw new TypeError(`${unknown} is none of ${known.join(', ')}`)
  return asked as T[]
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { trials: { type: 'string', default: '50' }, faults: { type: 'string' }, models: { type: 'string' } },
  })
  const trials = Number(values.trials)
  const isRoot = process.getuid?.() === 0
  const faults = listOf(values.faults, FAULTS).filter((fault) => fault !== 'unplug' || isRoot)
  if (!isRoot) print('unplug is left out: network namespaces need root')
  const network = isRoot
    ? await NamespaceNetwork.create('mig', NODES.length, { subnet: '10.79.0', hasGateway: true })
    : undefined
  const args = ['--model', ECHO, '--model', await ensureModel('m135'), '--slots', '8', '--threads', '1']
  const nodes = NODES.map((name) => ({ name, args: [...args, '--context', '1024'] }))
  const mesh = await FaultMesh.start({ nodes, ...(network && { network }) })
  try {
    print(machine())
    const bench = new Bench(mesh, network)
    for (const model of listOf(values.models, MODELS)) {
      const prefill = await bench.prefill(model)
      print(`${model}: first token after ${ms(prefill.baseMs)} + ${prefill.perTokenMs.toFixed(3)} ms a token of prompt`)
      for (const fault of faults) {
        const done: (Trial | undefined)[] = []
        while (done.length < trials) done.push(await bench.trial(model, fault, prefill))
        report(
          model,
          fault,
          done.filter((trial) => trial !== undefined),
          trials,
        )
      }
    }
  } finally {
    await mesh.stop()
    await network?.remove()
  }
}

await main()
process.exit(0)
