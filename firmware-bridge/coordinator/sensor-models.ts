/** Sensor models of the mesh, asked over the gateway's `/mesh/v1/infer`. */
import { Type } from 'typebox'
import { parser, SkeinError } from '../../mesh/protocol/index.ts'
import { withDeadline, type Clock } from '../../mesh/runtime/index.ts'
import type { SensorModels, SensorVerdict } from '../streams/index.ts'
import { textOf, type EndpointRequest, type Endpoints } from './endpoints.ts'

const LOOK_MS = 15_000
const ANSWER_BYTES_MAX = 256 * 1024
/** In the order of the bundled model's outputs (its card); of other models the number of the class is told. */
const LABELS = ['normal', 'spike', 'stuck', 'drift', 'dropout', 'step', 'noise_burst']
const BUNDLED = 'skein-sensor'

const Tensor = Type.Object({ data: Type.Unknown() })
const parseAnswer = parser(
  Type.Object({ outputs: Type.Object({ anomaly: Tensor, probabilities: Type.Optional(Tensor) }) }),
  'answer of a sensor model',
  'ENGINE_FAILED',
)

/**
 * Models with the bundled one's signature: `values` and `mask` [1, window] in, `anomaly` [1] and, where there are classes,
 * `probabilities` [1, n] out.
 */
export class HttpSensorModels implements SensorModels {
  readonly #clock: Clock
  readonly #endpoints: Endpoints

  constructor(clock: Clock, endpoints: Endpoints) {
    this.#clock = clock
    this.#endpoints = endpoints
  }

  async look(
    model: string,
    device: string,
    values: readonly number[],
    window: number,
    signal: AbortSignal,
  ): Promise<SensorVerdict> {
    // what has not been read yet is missing at the beginning
    const missing = Array.from({ length: window - values.length }, () => 0)
    const inputs = {
      values: { type: 'float32', shape: [1, window], data: [[...missing, ...values]] },
      mask: { type: 'float32', shape: [1, window], data: [[...missing, ...values.map(() => 1)]] },
    }
    const request: EndpointRequest = {
      method: 'POST',
      path: '/mesh/v1/infer',
      body: { model, inputs },
      headers: { 'x-skein-device': device, 'x-skein-deadline-ms': String(LOOK_MS) },
    }
    const late = (): SkeinError => new SkeinError('TASK_EXPIRED', 'a sensor model did not answer in time')
    return withDeadline(this.#clock, LOOK_MS, late, signal, async (inner) => {
      const { response } = await this.#endpoints.ask(request, inner)
      const { outputs } = parseAnswer(JSON.parse(await textOf(response, ANSWER_BYTES_MAX)))
      return verdictOf(model, numbersOf(outputs.anomaly.data), numbersOf(outputs.probabilities?.data))
    })
  }
}

function verdictOf(model: string, [anomaly]: readonly number[], probabilities: readonly number[]): SensorVerdict {
  if (anomaly === undefined || !(anomaly >= 0 && anomaly <= 1))
    throw new SkeinError('ENGINE_FAILED', `${model} has an anomaly that is no number from 0 to 1`)
  const likeliest = probabilities.indexOf(Math.max(...probabilities))
  const label = model === BUNDLED ? LABELS[likeliest] : String(Math.max(0, likeliest))
  return { label: label ?? 'anomaly', score: anomaly }
}

const numbersOf = (data: unknown): number[] =>
  Array.isArray(data) ? data.flat(8).filter((value): value is number => typeof value === 'number') : []
