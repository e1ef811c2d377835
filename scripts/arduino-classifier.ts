/**
 * `node scripts/arduino-classifier.ts`: the int8 model of an Arduino sketch, from a trained net.
 *
 *   (nothing)          trains the posture of the OnBoardClassifier example on generated readings, from a fixed seed, and writes
 *                      its header
 *   --check            writes nothing: fails when the header is not what the training gives, or is not good enough
 *   --net FILE --out H --name NAME
 *                      instead a net of your own: JSON {inputScale, layers: [{weights: [[…]…], biases: […]}], examples: [[…]…]},
 *                      weights by output, ReLU between layers; `examples` are inputs that tell how large values become
 *
 * All scales are powers of two, so that the board needs shifts alone.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

interface Layer {
  weights: number[][]
  biases: number[]
}
interface Net {
  /** Units of int8 for an input of 1; a power of two. */
  inputScale: number
  layers: Layer[]
  examples: number[][]
}
interface QuantisedLayer {
  weights: number[][]
  biases: number[]
  shift: number
}
interface Example {
  readonly input: number[]
  readonly label: number
}

const INT8_MAX = 127
/** Of the last layer: sixteenths of a logit. */
const LOGIT_SCALE = 16

/** mulberry32 (T. Ettinger, public domain). */
function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** Angles from upright, in degrees: what upright, tilted and fallen are. */
const ANGLES = [
  [0, 20],
  [28, 58],
  [68, 110],
] as const

/** Gravity as an accelerometer of a person sees it, with its noise, in g. */
function reading(random: () => number): Example {
  const label = Math.floor(random() * ANGLES.length)
  const [from, to] = ANGLES[label]!
  const angle = ((from + random() * (to - from)) * Math.PI) / 180
  const around = random() * 2 * Math.PI
  const noise = (): number => (random() + random() + random() - 1.5) * 0.12
  const flat = Math.sin(angle)
  const input = [flat * Math.cos(around) + noise(), flat * Math.sin(around) + noise(), Math.cos(angle) + noise()]
  return { input, label }
}

const relu = (value: number): number => Math.max(0, value)
const dot = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, value, at) => sum + value * b[at]!, 0)
const applied = ({ weights, biases }: Layer, input: readonly number[]): number[] =>
  weights.map((row, at) => dot(row, input) + biases[at]!)

/** What each layer gives, before the ReLU. */
function forward(layers: readonly Layer[], input: readonly number[]): number[][] {
  const outputs: number[][] = []
  let values = [...input]
  for (const layer of layers) {
    const sums = applied(layer, values)
    outputs.push(sums)
    values = sums.map(relu)
  }
  return outputs
}

/** Two layers, trained by gradient descent on one example at a time. */
function train(random: () => number, steps: number): Layer[] {
  const layer = (inputs: number, outputs: number): Layer => ({
    weights: Array.from({ length: outputs }, () => Array.from({ length: inputs }, () => (random() - 0.5) * 1.5)),
    biases: Array.from({ length: outputs }, () => 0),
  })
  const layers = [layer(3, 8), layer(8, ANGLES.length)]
  for (let step = 0; step < steps; step++) {
    const { input, label } = reading(random)
    const rate = 0.05 * (1 - step / steps)
    const [sums, logits] = forward(layers, input) as [number[], number[]]
    const hidden = sums.map(relu)
    const exps = logits.map((logit) => Math.exp(logit - Math.max(...logits)))
    const total = exps.reduce((sum, value) => sum + value, 0)
    const errors = exps.map((value, at) => value / total - (at === label ? 1 : 0))
    const back = hidden.map((value, at) =>
      value > 0 ? errors.reduce((sum, e, k) => sum + e * layers[1]!.weights[k]![at]!, 0) : 0,
    )
    adjust(layers[1]!, hidden, errors, rate)
    adjust(layers[0]!, input, back, rate)
  }
  return layers
}

function adjust({ weights, biases }: Layer, input: readonly number[], errors: readonly number[], rate: number): void {
  errors.forEach((error, output) => {
    biases[output]! -= rate * error
    input.forEach((value, at) => (weights[output]![at]! -= rate * error * value))
  })
}

/** The largest power of two by which `largest` stays an int8. */
const powerFor = (largest: number): number => 2 ** Math.floor(Math.log2(INT8_MAX / Math.max(largest, 1e-6)))

function quantise({ inputScale, layers, examples }: Net): QuantisedLayer[] {
  let scale = inputScale
  const outputs = examples.map((input) => forward(layers, input))
  return layers.map(({ weights, biases }, index) => {
    const weightScale = powerFor(Math.max(...weights.flat().map(Math.abs)))
    const isLast = index === layers.length - 1
    const largest = Math.max(...outputs.map((each) => Math.max(...each[index]!)))
    const sumScale = scale * weightScale
    const target = isLast ? LOGIT_SCALE : powerFor(largest)
    // a sum is shifted to the right alone
    const shift = Math.max(0, Math.log2(sumScale / target))
    scale = sumScale / 2 ** shift
    return {
      weights: weights.map((row) => row.map((weight) => Math.round(weight * weightScale))),
      biases: biases.map((bias) => Math.round(bias * sumScale)),
      shift,
    }
  })
}

/** As the board computes it. */
function classify(layers: readonly QuantisedLayer[], input: readonly number[], inputScale: number): number {
  let values = input.map((value) => Math.max(-128, Math.min(INT8_MAX, Math.round(value * inputScale))))
  for (const [index, { weights, biases, shift }] of layers.entries()) {
    const half = shift > 0 ? 1 << (shift - 1) : 0
    const sums = weights.map((row, at) => (dot(row, values) + biases[at]! + half) >> shift)
    values = index === layers.length - 1 ? sums : sums.map((sum) => Math.max(0, Math.min(INT8_MAX, sum)))
  }
  return values.indexOf(Math.max(...values))
}

function headerOf(name: string, layers: readonly QuantisedLayer[], inputScale: number): string {
  const upper = name.toUpperCase()
  const width = Math.max(...layers.flatMap(({ weights }) => [weights.length, weights[0]!.length]))
  const arrays = layers.map(({ weights, biases }, at) => {
    const rows = weights.map((row) => `    ${row.join(', ')},`).join('\n')
    return (
      `static const int8_t ${upper}_WEIGHTS_${at}[] PROGMEM = {\n${rows}\n};\n` +
      `static const int32_t ${upper}_BIASES_${at}[] PROGMEM = {${biases.join(', ')}};\n`
    )
  })
  const table = layers.map(
    ({ weights, shift }, at) =>
      `    {${weights[0]!.length}, ${weights.length}, ${shift}, ${upper}_WEIGHTS_${at}, ${upper}_BIASES_${at}},`,
  )
  return (
    `// Written by scripts/arduino-classifier.ts.\n#pragma once\n#include <SkeinClassifier.h>\n\n` +
    `#define ${upper}_WIDTH ${width}\n// Units for an input of 1.\n#define ${upper}_INPUT_SCALE ${inputScale}\n\n` +
    `${arrays.join('\n')}\nstatic const SkeinLayer ${upper}_LAYERS[] = {\n${table.join('\n')}\n};\n`
  )
}

const HEADER = fileURLToPath(new URL('../clients/arduino/examples/OnBoardClassifier/posture_model.h', import.meta.url))
const ACCURACY_MIN = 0.97

function posture(isCheck: boolean): number {
  const inputScale = 64
  const layers = train(seeded(2026), 60_000)
  const random = seeded(7)
  const held = Array.from({ length: 4000 }, () => reading(random))
  const quantised = quantise({ inputScale, layers, examples: held.map(({ input }) => input) })
  const share = (isRight: (example: Example) => boolean): number => held.filter(isRight).length / held.length
  const largestOf = (values: readonly number[]): number => values.indexOf(Math.max(...values))
  const float = share(({ input, label }) => largestOf(forward(layers, input)[1]!) === label)
  const int8 = share(({ input, label }) => classify(quantised, input, inputScale) === label)
  process.stdout.write(`right about ${(100 * float).toFixed(1)} % in floats, ${(100 * int8).toFixed(1)} % in int8\n`)
  const header = headerOf('posture', quantised, inputScale)
  if (!isCheck) writeFileSync(HEADER, header)
  return int8 >= ACCURACY_MIN && readFileSync(HEADER, 'utf8') === header ? 0 : 1
}

const { values } = parseArgs({
  options: {
    check: { type: 'boolean', default: false },
    net: { type: 'string' },
    out: { type: 'string' },
    name: { type: 'string', default: 'model' },
  },
})
if (values.net === undefined) process.exitCode = posture(values.check)
else {
  const net = JSON.parse(readFileSync(values.net, 'utf8')) as Net
  const header = headerOf(values.name, quantise(net), net.inputScale)
  if (values.out === undefined) process.stdout.write(header)
  else writeFileSync(values.out, header)
}
