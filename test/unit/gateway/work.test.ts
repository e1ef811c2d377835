/** Embeddings, classes and tensors over HTTP: what becomes of a body, how a result is written, and what is refused. */
import { beforeEach, describe, expect, it } from 'vitest'
import { LIMITS, SkeinError, type Tensor, type WorkResult } from '../../../mesh/protocol/index.ts'
import { tensorOf, tensorText } from '../../../coordinator/gateway/tensors.ts'
import { TWIN_DIGEST, TWIN_NODE } from '../../fixtures/mesh-service-twin.ts'
import { createHarness, turns, type Harness } from './harness.ts'

const vector = (...numbers: number[]): Uint8Array => new Uint8Array(Float32Array.from(numbers).buffer)
const VECTORS: WorkResult = { kind: 'embed', vectors: [vector(0.5, -1), vector(0, 1)], promptTokens: 7 }

let harness: Harness
const gives = (result: WorkResult): void => {
  harness.twin.worker = async () => ({
    digest: TWIN_DIGEST,
    result,
    nodes: [TWIN_NODE, { ...TWIN_NODE, name: 'attic' }],
    route: 'mesh',
    attempts: 3,
    timing: { queuedMs: 1, workMs: 2.5 },
  })
}
beforeEach(() => {
  harness = createHarness()
  gives(VECTORS)
})

const INPUT = { model: 'tiny', input: ['a', 'b'] }
const embed = (extra: object = {}, headers: Record<string, string> = {}) =>
  harness.post('/v1/embeddings', { ...INPUT, ...extra }, headers)
const errorOf = async (
  answer: Promise<{ statusCode: number; json: () => { error: { param: string; code: string } } }>,
) => {
  const { statusCode, json } = await answer
  const { param, code } = json().error
  return [statusCode, code, param]
}

describe('POST /v1/embeddings', () => {
  it('answers as OpenAI does, with the headers of every answer', async () => {
    const { statusCode, headers, json } = await embed()
    expect(statusCode).toBe(200)
    expect(json()).toEqual({
      object: 'list',
      data: [
        { object: 'embedding', index: 0, embedding: [0.5, -1] },
        { object: 'embedding', index: 1, embedding: [0, 1] },
      ],
      model: 'tiny',
      usage: { prompt_tokens: 7, total_tokens: 7 },
    })
    expect(headers).toMatchObject({
      'content-type': 'application/json; charset=utf-8',
      'x-request-id': expect.stringMatching(/^req_/),
      'x-skein-node': 'desk-pc, attic',
      'x-skein-route': 'mesh',
      'x-skein-attempts': '3',
      'server-timing': 'queue;dur=1.0, work;dur=2.5',
    })
    expect(harness.twin.works[0]).toMatchObject({
      model: 'tiny',
      tenant: 'local',
      work: { kind: 'embed', texts: ['a', 'b'] },
    })
  })

  it('writes vectors in base64 when asked, and passes dimensions on', async () => {
    const { json } = await embed({ encoding_format: 'base64', dimensions: 2, user: 'me' })
    expect(json().data[0].embedding).toBe(Buffer.from(vector(0.5, -1)).toString('base64'))
    expect(harness.twin.works[0]!.work).toEqual({ kind: 'embed', texts: ['a', 'b'], dimensions: 2 })
  })

  it('takes one text, mends half a surrogate pair, and honours what skein says', async () => {
    await embed({ input: 'a\ud800', skein: { local_only: true, deadline_ms: 50 } }, { 'x-skein-priority': 'bulk' })
    expect(harness.twin.works[0]).toMatchObject({
      work: { texts: ['a\ufffd'] },
      localOnly: true,
      deadlineMs: 50,
      priority: 'bulk',
    })
  })

  it.each<[string, object, string, string]>([
    ['token ids', { input: [1, 2] }, 'unsupported_parameter', 'input'],
    ['several token lists', { input: [[1], [2]] }, 'unsupported_parameter', 'input'],
    ['nothing', { input: [] }, 'invalid_request', 'input'],
    ['what is no text', { input: ['a', { text: 'b' }] }, 'invalid_request', 'input[1]'],
    ['too many texts', { input: Array(LIMITS.workInputsMax + 1).fill('a') }, 'invalid_request', 'input'],
    ['a text that is too long', { input: ['a'.repeat(LIMITS.workTextLengthMax + 1)] }, 'invalid_request', 'input[0]'],
    ['another encoding', { encoding_format: 'int8' }, 'unsupported_parameter', 'encoding_format'],
    ['no dimensions', { dimensions: 0 }, 'invalid_request', 'dimensions'],
    ['too many dimensions', { dimensions: LIMITS.embeddingDimensionsMax + 1 }, 'invalid_request', 'dimensions'],
    ['no model', { model: undefined }, 'invalid_request', 'model'],
    ['a misspelt wish', { skein: { localonly: true } }, 'invalid_request', 'skein'],
  ])('refuses %s', async (_what, body, code, param) => {
    expect(await errorOf(embed(body))).toEqual([400, code, param])
    expect(harness.twin.works).toHaveLength(0)
  })

  it('tells what kept it from being done, with its status and when to come back', async () => {
    harness.twin.worker = () => Promise.reject(new SkeinError('SATURATED', 'full', { retryAfterSeconds: 9 }))
    const { statusCode, headers } = await embed()
    expect([statusCode, headers['retry-after']]).toEqual([503, '9'])
  })

  it('holds only so many results at once, and writes a large one whole', async () => {
    const most = LIMITS.workInputsMax
    const many = Array.from({ length: most }, () => vector(...Array.from({ length: 32 }, (_, i) => i / 7)))
    const open: (() => void)[] = []
    harness.twin.worker = async () => {
      await new Promise<void>((resolve) => open.push(resolve))
      return {
        digest: TWIN_DIGEST,
        result: { kind: 'embed', vectors: many, promptTokens: 1 },
        nodes: [TWIN_NODE],
        route: 'local',
        attempts: 1,
        timing: { queuedMs: 0, workMs: 0 },
      }
    }
    const input = Array(most).fill('a')
    const asked = Array.from({ length: LIMITS.workInputsOpenMax / most }, () => embed({ input }))
    await turns()
    while (open.length < asked.length) await turns()
    expect(await errorOf(embed({ input: 'a' }))).toEqual([503, 'saturated', null])
    for (const resolve of open.splice(0)) resolve()
    const answers = await Promise.all(asked)
    expect(answers[0]!.json().data).toHaveLength(most)
    const late = embed({ input: 'a' })
    while (open.length === 0) await turns()
    open[0]!()
    expect((await late).statusCode).toBe(200)
  })
})

it('models say what they do', async () => {
  const features = ['chat', 'completion', 'logprobs']
  for (const url of ['/v1/models', '/mesh/v1/models'])
    expect((await harness.get(url)).json().data[0]).toMatchObject({ features })
})

describe('POST /mesh/v1/classify', () => {
  it('gives the classes of each text, the likeliest first', async () => {
    const score = (label: string, score: number) => ({ label, score })
    gives({ kind: 'classify', classes: [[score('b', 0.25), score('a', 0.75)], [score('a', 1)]], promptTokens: 3 })
    const { json } = await harness.post('/mesh/v1/classify', { ...INPUT, top: 1 })
    expect(json()).toEqual({
      data: [
        { index: 0, classes: [score('a', 0.75)] },
        { index: 1, classes: [score('a', 1)] },
      ],
      object: 'list',
      model: 'tiny',
      usage: { prompt_tokens: 3, total_tokens: 3 },
    })
    expect(harness.twin.works[0]!.work).toEqual({ kind: 'classify', texts: ['a', 'b'] })
    const all = await harness.post('/mesh/v1/classify', INPUT)
    expect(all.json().data[0].classes).toEqual([score('a', 0.75), score('b', 0.25)])
  })
})

describe('POST /mesh/v1/infer', () => {
  const infer = (inputs: unknown) => harness.post('/mesh/v1/infer', { model: 'tiny', inputs })

  it('takes tensors and gives tensors', async () => {
    const tensor: Tensor = { name: 'y', type: 'float32', shape: [2, 1], data: vector(1.5, Number.NaN) }
    gives({ kind: 'infer', tensors: [tensor] })
    const { json } = await infer({ x: { data: [[1, 2]] }, mask: { type: 'bool', data: [true, false] } })
    expect(json()).toEqual({
      outputs: { y: { type: 'float32', shape: [2, 1], data: [[1.5], ['NaN']] } },
      model: 'tiny',
    })
    expect(harness.twin.works[0]!.work).toEqual({
      kind: 'infer',
      tensors: [
        { name: 'x', type: 'float32', shape: [1, 2], data: vector(1, 2) },
        { name: 'mask', type: 'bool', shape: [2], data: Uint8Array.of(1, 0) },
      ],
    })
  })

  it.each<[string, unknown, string]>([
    ['rows of two lengths', { x: { data: [[1, 2], [3]] } }, 'inputs.x'],
    ['another shape', { x: { shape: [3], data: [1, 2] } }, 'inputs.x'],
    ['an overflowing shape', { x: { shape: [4194304, 4194304, 4194304], data: [1] } }, 'inputs.x'],
    ['a text among numbers', { x: { data: [1, 'a'] } }, 'inputs.x'],
    ['a number that the type does not have', { x: { type: 'uint8', data: [256] } }, 'inputs.x'],
    ['a fraction among integers', { x: { type: 'int32', data: [1.5] } }, 'inputs.x'],
    ['an integer beyond 2^53', { x: { type: 'int64', data: [2 ** 53] } }, 'inputs.x'],
    ['what no float32 can hold', { x: { data: [1e39] } }, 'inputs.x'],
    ['nine dimensions', { x: { data: [[[[[[[[[1]]]]]]]]] } }, 'inputs.x'],
    ['a name that is too long', { ['x'.repeat(129)]: { data: 1 } }, 'inputs'],
    ['nothing', {}, 'inputs'],
  ])('refuses %s', async (_what, inputs, param) => {
    expect(await errorOf(infer(inputs))).toEqual([400, 'invalid_request', param])
  })
})

describe('tensors in JSON', () => {
  const back = (tensor: Tensor): unknown => JSON.parse([...tensorText(tensor)].join(''))

  it.each<[string, object]>([
    ['a number', { type: 'float64', shape: [], data: 0.1 }],
    ['infinities', { type: 'float32', shape: [3], data: ['Infinity', '-Infinity', 'NaN'] }],
    ['large integers', { type: 'int64', shape: [2], data: ['9223372036854775807', -5] }],
    [
      'small ones',
      {
        type: 'int8',
        shape: [2, 2],
        data: [
          [-128, 127],
          [0, 1],
        ],
      },
    ],
    ['bytes', { type: 'uint8', shape: [1, 1, 2], data: [[[0, 255]]] }],
    ['booleans', { type: 'bool', shape: [2], data: [true, false] }],
    ['none', { type: 'int32', shape: [0], data: [] }],
  ])('%s come back as they went', (_what, body) => {
    expect(back(tensorOf('x', body as Parameters<typeof tensorOf>[1]))).toEqual(body)
  })

  it('takes elements in one list where the shape is given, and never writes empty rows', () => {
    const tensor = tensorOf('x', { type: 'int8', shape: [2, 2], data: [1, 2, 3, 4] })
    expect(back(tensor)).toMatchObject({
      shape: [2, 2],
      data: [
        [1, 2],
        [3, 4],
      ],
    })
    const empty: Tensor = { name: 'x', type: 'int8', shape: [4_194_304, 4_194_304, 0], data: new Uint8Array() }
    expect(back(empty)).toMatchObject({ data: [] })
  })
})
