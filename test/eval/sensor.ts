/**
 * How well the bundled sensor model finds anomalies, beside two simple baselines on the same windows. These are of
 * scripts/bundled-model/sensor; no training saw them.
 */
import { readFileSync } from 'node:fs'
import { Tensor } from 'onnxruntime-node'
import { print } from '../bench/stats.ts'
import type { Figure } from './figure.ts'
import { openModel, pathOf, share, type OnnxModel } from './onnx.ts'

export const WINDOW = 64
const MISSING = -32_768
const FALSE_ALARMS = 0.01

export interface Window {
  readonly kind: string
  /** `normal`, or the anomaly that it has. */
  readonly label: string
  /** In time order; 0 where missing. */
  readonly readings: Float32Array
  /** 1 where a reading is present, else 0. */
  readonly mask: Float32Array
}

type Row = [kind: string, label: string, offset: number, size: number, steps: string]

function windowOf([kind, label, offset, size, steps]: Row): Window {
  const bytes = Buffer.from(steps, 'base64')
  const each = Array.from({ length: WINDOW }, (_, i) => bytes.readInt16LE(2 * i))
  return {
    kind,
    label,
    readings: Float32Array.from(each, (step) => (step === MISSING ? 0 : offset + step * size)),
    mask: Float32Array.from(each, (step) => (step === MISSING ? 0 : 1)),
  }
}

export function readWindows(): { seen: Window[]; unseen: Window[] } {
  const text = readFileSync(pathOf('test/eval/bundled/sensor.json'), 'utf8')
  const { seen, unseen } = JSON.parse(text) as { seen: Row[]; unseen: Row[] }
  return { seen: seen.map(windowOf), unseen: unseen.map(windowOf) }
}

export interface Judgement {
  readonly anomaly: number
  readonly probabilities: readonly number[]
}

/** All windows in one batch. */
export async function judge(model: OnnxModel, windows: readonly Window[]): Promise<Judgement[]> {
  const join = (parts: Float32Array[]): Tensor =>
    new Tensor('float32', Float32Array.from(parts.flatMap((part) => [...part])), [windows.length, WINDOW])
  const outputs = await model.session.run({
    values: join(windows.map(({ readings }) => readings)),
    mask: join(windows.map(({ mask }) => mask)),
  })
  const anomaly = outputs['anomaly']!.data as Float32Array
  const probabilities = outputs['probabilities']!.data as Float32Array
  const classes = probabilities.length / windows.length
  return windows.map((_, i) => ({
    anomaly: anomaly[i]!,
    probabilities: [...probabilities.subarray(i * classes, (i + 1) * classes)],
  }))
}

/** The chance that an anomaly scores above a normal window; a tie counts half. */
export function auroc(anomalies: readonly number[], normal: readonly number[]): number {
  const sorted = [...normal].sort((a, b) => a - b)
  /** How many normal scores are below `score`, or with `orEqual` not above it. */
  const below = (score: number, orEqual: boolean): number => {
    let low = 0
    for (let high = sorted.length; low < high;) {
      const middle = (low + high) >> 1
      if (sorted[middle]! < score || (orEqual && sorted[middle] === score)) low = middle + 1
      else high = middle
    }
    return low
  }
  const won = anomalies.reduce((sum, score) => sum + (below(score, false) + below(score, true)) / 2, 0)
  return won / (anomalies.length * normal.length)
}

const present = ({ readings, mask }: Window): number[] => [...readings].filter((_, i) => mask[i] === 1)
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / (values.length || 1)

/** Baseline: the largest distance from the mean, in standard deviations. */
export function zScore(window: Window): number {
  const values = present(window)
  const middle = mean(values)
  const deviation = Math.sqrt(mean(values.map((value) => (value - middle) ** 2)))
  return deviation === 0 ? 0 : Math.max(...values.map((value) => Math.abs(value - middle))) / deviation
}

/** Baseline: the largest change between neighbours, as a multiple of the mean change. */
export function rateOfChange({ readings, mask }: Window): number {
  const changes: number[] = []
  for (let i = 1; i < WINDOW; i++)
    if (mask[i] === 1 && mask[i - 1] === 1) changes.push(Math.abs(readings[i]! - readings[i - 1]!))
  const usual = mean(changes)
  return usual === 0 ? 0 : Math.max(...changes) / usual
}

interface Scored {
  readonly label: string
  readonly score: number
}

/** The score that the share `falseAlarms` of normal windows lies above. */
function thresholdAt(scored: readonly Scored[], falseAlarms: number): number {
  const normal = scored.filter(({ label }) => label === 'normal').map(({ score }) => score)
  return normal.sort((a, b) => b - a)[Math.floor(falseAlarms * normal.length)]!
}

function measure(scored: readonly Scored[], threshold: number) {
  const scoresOf = (wanted: boolean): number[] =>
    scored.filter(({ label }) => (label === 'normal') === wanted).map(({ score }) => score)
  const above = (scores: readonly number[]): number => share(scores.map((score) => score > threshold))
  return {
    auroc: auroc(scoresOf(false), scoresOf(true)),
    falseAlarms: above(scoresOf(true)),
    recall: above(scoresOf(false)),
    recallOf: (kind: string) => above(scored.filter(({ label }) => label === kind).map(({ score }) => score)),
  }
}

/** By the set of windows: what was measured when the model was built, less what another processor may change. */
const LEAST = {
  seen: { auroc: 0.985, recall: 0.82, quiet: 0.98, classes: 0.93, lead: 0.65 },
  unseen: { auroc: 0.965, recall: 0.86, quiet: 0.93, classes: 0.88, lead: 0.15 },
} as const
const WINDOWS_PER_SECOND_LEAST = 100
const SIZE_MAX_BYTES = 300_000

type Say = (line: string) => void

async function figuresOf(model: OnnxModel, set: keyof typeof LEAST, windows: readonly Window[], say: Say) {
  const classes = JSON.parse(model.metadata.get('classes') ?? '[]') as string[]
  const judged = await judge(model, windows)
  const labels = windows.map(({ label }) => label)
  const scores = judged.map(({ anomaly }, i) => ({ label: labels[i]!, score: anomaly }))
  const ours = measure(scores, Number(model.metadata.get('threshold')))
  const right = judged.map(
    ({ probabilities }, i) => classes[probabilities.indexOf(Math.max(...probabilities))] === labels[i],
  )
  // beside baselines all choose the threshold on the very windows that they are measured on: in use it is the model's own
  const chosen = { name: 'model at 1 %', ...measure(scores, thresholdAt(scores, FALSE_ALARMS)) }
  const beside = Object.entries({ 'z-score': zScore, 'rate of change': rateOfChange }).map(([name, score]) => {
    const scored = windows.map((window) => ({ label: window.label, score: score(window) }))
    return { name, ...measure(scored, thresholdAt(scored, FALSE_ALARMS)) }
  })
  for (const one of [{ name: 'model', ...ours }, chosen, ...beside]) {
    const kinds = classes.slice(1).map((kind) => `${kind} ${one.recallOf(kind).toFixed(3)}`)
    say(
      `  ${set}, ${one.name}: AUROC ${one.auroc.toFixed(3)}, false alarms ${one.falseAlarms.toFixed(3)}, ` +
        `recall ${one.recall.toFixed(3)} (${kinds.join(', ')})`,
    )
  }
  const least = LEAST[set]
  const lead = chosen.recall - Math.max(...beside.map(({ recall }) => recall))
  const of = windows.length
  return [
    { name: `sensor, ${set}: AUROC`, value: ours.auroc, least: least.auroc, of },
    { name: `sensor, ${set}: normal without alarm`, value: 1 - ours.falseAlarms, least: least.quiet, of },
    { name: `sensor, ${set}: recall`, value: ours.recall, least: least.recall, of },
    { name: `sensor, ${set}: recall above baselines by`, value: lead, least: least.lead, of },
    { name: `sensor, ${set}: right class`, value: share(right), least: least.classes, of },
  ]
}

/**
 * Runs the model on its held-out windows: sensors of the kinds that it was trained on, and of others. The baselines and
 * each kind of anomaly are told by `say`.
 */
export async function evaluateSensor(say: Say = print): Promise<readonly Figure[]> {
  const model = await openModel('node/models/bundled/sensor/model.onnx')
  try {
    const { seen, unseen } = readWindows()
    const figures: Figure[] = [
      ...(await figuresOf(model, 'seen', seen, say)),
      ...(await figuresOf(model, 'unseen', unseen, say)),
    ]
    const rounds = 300
    const beganMs = performance.now()
    for (let i = 0; i < rounds; i++) await judge(model, seen.slice(i, i + 1))
    const perSecond = (1000 * rounds) / (performance.now() - beganMs)
    const spared = SIZE_MAX_BYTES - model.sizeBytes
    return [
      ...figures,
      { name: 'sensor, windows per second on one core', value: perSecond, least: WINDOWS_PER_SECOND_LEAST, of: rounds },
      { name: `sensor, bytes below ${SIZE_MAX_BYTES}`, value: spared, least: 0, of: 1 },
    ]
  } finally {
    await model.session.release()
  }
}
