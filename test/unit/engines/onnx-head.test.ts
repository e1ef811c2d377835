import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { asSkeinError, SkeinError } from '../../../mesh/protocol/index.ts'
import { SeededRandom } from '../../../mesh/runtime/index.ts'
import { readOnnx, type OnnxSummary } from '../../../node/engines/onnx/onnx-head.ts'
import { describeOnnx } from '../../../node/engines/onnx/onnx-model.ts'
import {
  adderBytes,
  bytes,
  encoderBytes,
  FLOAT,
  graph,
  HALF,
  INT64,
  number,
  onnxBytes,
  STRING,
} from '../../fixtures/onnx.ts'

const bundled = (name: string): string =>
  fileURLToPath(new URL(`../../../node/models/bundled/${name}/model.onnx`, import.meta.url))

let dir: string
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'skein-onnx-'))
})
afterAll(() => rm(dir, { recursive: true, force: true }))

let files = 0
async function read(content: Uint8Array | string): Promise<OnnxSummary> {
  const path = join(dir, `${++files}.onnx`)
  await writeFile(path, content)
  return readOnnx(path)
}
async function refusal(reading: Promise<unknown>): Promise<string> {
  const error = await reading.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(SkeinError)
  expect((error as SkeinError).code).toBe('MODEL_FILE_INVALID')
  return (error as SkeinError).message
}

describe('the head of an ONNX file', () => {
  it('has signature, metadata and size of the bundled models', async () => {
    const sensor = await readOnnx(bundled('sensor'))
    expect(sensor.inputs).toEqual([
      { name: 'values', type: 'float32', shape: ['batch', 64] },
      { name: 'mask', type: 'float32', shape: ['batch', 64] },
    ])
    expect(sensor.outputs).toEqual([
      { name: 'anomaly', type: 'float32', shape: ['batch'] },
      { name: 'probabilities', type: 'float32', shape: ['batch', 7] },
    ])
    expect(sensor.metadata.get('window')).toBe('64')
    // 46,359 trained ones and the constants of the graph
    expect(sensor.parameters).toBeGreaterThanOrEqual(46_359)
    expect(sensor).toMatchObject({ quantization: 'F32', sizeBytes: 197_500 })
    const embedding = await readOnnx(bundled('embedding'))
    expect(embedding).toMatchObject({ quantization: 'F16' })
    expect(embedding.metadata.get('max_tokens')).toBe('256')
  })

  it('knows lengths by number, by name and not at all, and ranks that are not said', async () => {
    const { inputs } = await read(
      adderBytes({
        inputs: [
          { name: 'x', type: FLOAT, shape: ['n', undefined, 3] },
          { name: 'y', type: FLOAT },
          { name: 'scalar', type: INT64, shape: [] },
          { name: 'text', type: STRING, shape: [1] },
          { name: 'half', type: HALF, shape: [1] },
        ],
      }),
    )
    expect(inputs).toEqual([
      { name: 'x', type: 'float32', shape: ['n', '?', 3] },
      { name: 'y', type: 'float32' },
      { name: 'scalar', type: 'int64', shape: [] },
      { name: 'text', type: 'unsupported', shape: [1] },
      { name: 'half', type: 'unsupported', shape: [1] },
    ])
  })

  it('does not take weights for inputs, which old files list among them', async () => {
    const weights = [{ name: 'y', shape: [1, 3], data: Float32Array.of(1, 2, 3) }]
    const { inputs, parameters } = await read(adderBytes({ weights }))
    expect(inputs.map(({ name }) => name)).toEqual(['x'])
    expect(parameters).toBe(3)
  })

  it.each([
    ['nothing', ''],
    ['text', '{"model": "none"}'],
    ['zeros', new Uint8Array(4096)],
    ['a GGUF', 'GGUF\u0003\u0000\u0000\u0000 and so on'],
    ['a web page', '<!doctype html><html></html>'],
    ['a version alone', Buffer.from(number(1, 9))],
    ['a graph without outputs', onnxBytes({ inputs: [], outputs: [], nodes: [] })],
    ['a version that cannot be', Buffer.concat([Buffer.from(number(1, 90_000)), adderBytes().subarray(2)])],
    ['two graphs', Buffer.concat([adderBytes(), bytes(7, graph({ inputs: [], outputs: [], nodes: [] }))])],
    ['one cut off in what is passed over', Buffer.concat([adderBytes(), bytes(6, 'x'.repeat(90))]).subarray(0, -40)],
    ['a number without end', Buffer.concat([Buffer.from([8]), Buffer.alloc(20, 255)])],
    ['a field beyond the file', Buffer.concat([adderBytes(), Buffer.from([14 * 8 + 2, 0xff, 0xff, 0xff, 0xff, 0x0f])])],
  ])('refuses %s', async (_what, content) => {
    expect(await refusal(read(content))).toContain(`${files}.onnx`)
  })

  it('refuses weights in another file, wherever in the graph they are', async () => {
    const weights = [{ name: 'w', shape: [3], data: Float32Array.of(1, 2, 3), externalFile: '../../etc/passwd' }]
    expect(await refusal(read(adderBytes({ weights })))).toMatch(/another file/)
    const inner = graph({ inputs: [], outputs: [], nodes: [], weights })
    const nodes = [{ op: 'Loop', inputs: ['x'], outputs: ['z'], graph: inner }]
    expect(await refusal(read(adderBytes({ nodes })))).toMatch(/another file/)
  })

  it('refuses graphs in graphs beyond a bound', async () => {
    let inner = graph({ inputs: [], outputs: [], nodes: [] })
    for (let i = 0; i < 200; i++)
      inner = graph({ inputs: [], outputs: [], nodes: [{ op: 'If', inputs: [], outputs: ['z'], graph: inner }] })
    expect(
      await refusal(read(adderBytes({ nodes: [{ op: 'If', inputs: [], outputs: ['z'], graph: inner }] }))),
    ).toMatch(/nested/)
  })

  it('refuses a file of more than protobuf can have, and one of huge claims, without reading it', async () => {
    const path = join(dir, 'huge.onnx')
    await writeFile(path, adderBytes())
    await truncate(path, 2 ** 31 + 1)
    expect(await refusal(readOnnx(path))).toMatch(/2147483649 bytes/)
    const shape = Array.from({ length: 20 }, () => 1_000_000)
    const weights = [{ name: 'w', shape, data: Float32Array.of(1) }]
    expect(await refusal(read(adderBytes({ weights })))).toMatch(/counted/)
  })

  it('tells a file that is cut off, wherever', async () => {
    const whole = await readFile(bundled('sensor'))
    const path = join(dir, 'cut.onnx')
    for (let length = 1; length < whole.length - 2000; length += 9973) {
      await writeFile(path, whole.subarray(0, length))
      await refusal(readOnnx(path))
    }
  })

  it('reads whatever bytes there are, or says what is wrong with them', async () => {
    const random = new SeededRandom(5)
    const below = (end: number): number => Math.floor(random.next() * end)
    const originals = [adderBytes({ metadata: { name: 'adder' } }), encoderBytes(40, 8)]
    const path = join(dir, 'mutated.onnx')
    let refused = 0
    for (let round = 0; round < 600; round++) {
      const content = Buffer.from(originals[round % 2]!)
      for (let i = 0; i < 1 + below(6); i++) content[below(content.length)] = below(256)
      await writeFile(path, content.subarray(0, below(8) === 0 ? below(content.length) : content.length))
      try {
        const { inputs, outputs } = await readOnnx(path)
        expect(inputs.length + outputs.length).toBeGreaterThan(0)
      } catch (thrown) {
        expect(asSkeinError(thrown), `round ${round}`).toMatchObject({ code: 'MODEL_FILE_INVALID' })
        refused++
      }
    }
    expect(refused).toBeGreaterThan(50)
  })
})

describe('what an ONNX model can do', () => {
  async function described(content: Uint8Array, companions: Readonly<Record<string, unknown>> = {}) {
    const folder = await mkdtemp(join(dir, 'model-'))
    await writeFile(join(folder, 'model.onnx'), content)
    for (const [name, value] of Object.entries(companions))
      await writeFile(join(folder, name), typeof value === 'string' ? value : JSON.stringify(value))
    return describeOnnx(join(folder, 'model.onnx'))
  }

  it('is tensors alone without a tokenizer, and vectors of texts with one', async () => {
    expect((await described(encoderBytes(40, 8))).features).toEqual(['infer'])
    const model = await described(encoderBytes(40, 8), { 'tokenizer.json': '{}' })
    expect(model.features).toEqual(['embed', 'infer'])
    expect(model.text).toMatchObject({ tokensMax: 512, padId: 0, embed: { pooling: 'mean' } })
    expect(model.companions.map(({ role }) => role)).toEqual(['tokenizer'])
    expect((await described(adderBytes(), { 'tokenizer.json': '{}' })).features).toEqual(['infer'])
  })

  it('takes the smallest bound on the length of a text, and the metadata before all', async () => {
    const companions = {
      'tokenizer.json': '{}',
      'config.json': { max_position_embeddings: 514, model_type: 'roberta', pad_token_id: 1 },
      'tokenizer_config.json': { model_max_length: 1e30 },
    }
    expect((await described(encoderBytes(40, 8), companions)).text).toMatchObject({ tokensMax: 512, padId: 1 })
    const metadata = { max_tokens: '77', pad_token_id: '3', pooling: 'cls' }
    const said = await described(encoderBytes(40, 8, { metadata }), companions)
    expect(said.text).toMatchObject({ tokensMax: 77, padId: 3, embed: { pooling: 'cls' } })
  })

  it.each([
    ['a property that is no number', encoderBytes(40, 8, { metadata: { max_tokens: 'many' } }), {}],
    ['a config.json that is none', encoderBytes(40, 8), { 'config.json': '{' }],
    ['a config.json of other types', encoderBytes(40, 8), { 'config.json': { pad_token_id: 'zero' } }],
  ])('refuses %s', async (_what, content, companions) => {
    await refusal(described(content, { 'tokenizer.json': '{}', ...companions }))
  })

  it('is nothing when no request can have its tensors, and says which', async () => {
    const inputs = [{ name: 'words\u0007', type: STRING, shape: [1] }]
    expect(await refusal(described(adderBytes({ inputs })))).toMatch(/words\? is of a type/)
    const many = Array.from({ length: 40 }, (_, i) => ({ name: `x${i}`, type: FLOAT, shape: [1] }))
    expect(await refusal(described(adderBytes({ inputs: many })))).toMatch(/40 inputs/)
  })
})
