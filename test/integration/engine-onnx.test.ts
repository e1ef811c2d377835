import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { asModelDigest, SkeinError, type Tensor, type Work, type WorkResult } from '../../mesh/protocol/index.ts'
import { silentLogger, SystemClock } from '../../mesh/runtime/index.ts'
import { createEngine, type ChildEngine, type Engine, type LoadedModel } from '../../node/engines/index.ts'
import { OnnxEngine } from '../../node/engines/onnx/onnx-engine.ts'
import { dot, embed, readTokenizer } from '../eval/embedding.ts'
import { openModel, type OnnxModel } from '../eval/onnx.ts'
import { codeOf, collect, request } from '../compliance/engine.suite.ts'
import { adderBytes, classifierBytes, encoderBytes, FLOAT, HALF, tokenNumber } from '../fixtures/onnx.ts'

const components = { clock: new SystemClock(), log: silentLogger }
const digest = asModelDigest(`sha256:${'0'.repeat(64)}`)
const never = new AbortController().signal
const bundled = (name: string): string =>
  fileURLToPath(new URL(`../../node/models/bundled/${name}/model.onnx`, import.meta.url))

let works = 0
const workOf = (engine: Engine, work: Work, signal = never): Promise<WorkResult> =>
  engine.work!({ id: `work-${++works}`, work }, signal)
async function vectorsOf(engine: Engine, texts: readonly string[], dimensions?: number): Promise<Float32Array[]> {
  const work: Work = { kind: 'embed', texts: [...texts], ...(dimensions !== undefined && { dimensions }) }
  const result = (await workOf(engine, work)) as WorkResult & { kind: 'embed' }
  return result.vectors.map((vector) => new Float32Array(vector.slice().buffer))
}
const load = (engine: Engine, path: string): Promise<LoadedModel> => engine.load({ path, digest, slots: 2, threads: 1 })
const floats = (name: string, shape: number[], values: readonly number[]): Tensor => ({
  name,
  type: 'float32',
  shape,
  data: new Uint8Array(Float32Array.from(values).buffer),
})
const numbersOf = ({ data }: Tensor): number[] => [...new Float32Array(data.slice().buffer)]
const farthest = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Math.max(...Array.from(a, (each, i) => Math.abs(each - b[i]!)))

let dir: string
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'skein-onnx-'))
})
afterAll(() => rm(dir, { recursive: true, force: true }))

/** A folder of a model, its tokenizer one of test/fixtures/tokenizers. */
async function folderOf(name: string, model: Uint8Array, files: Readonly<Record<string, unknown>> = {}) {
  const folder = join(dir, name)
  const golden = new URL('../fixtures/tokenizers/wordpiece.json', import.meta.url)
  const { tokenizer } = JSON.parse(readFileSync(golden, 'utf8')) as { tokenizer: object }
  for (const [file, value] of Object.entries({ 'tokenizer.json': tokenizer, ...files })) {
    await mkdir(dirname(join(folder, file)), { recursive: true })
    await writeFile(join(folder, file), JSON.stringify(value))
  }
  await writeFile(join(folder, 'model.onnx'), model)
  return join(folder, 'model.onnx')
}

describe('the bundled embedding model in its engine process', () => {
  const engine = createEngine('onnx', components) as ChildEngine
  let model: LoadedModel
  let direct: OnnxModel
  const tokenize = readTokenizer()
  const TEXTS = [
    'washer is broken',
    'Shopping list: milk, eggs, bread. '.repeat(12),
    '🙂',
    '钥匙在抽屉里',
    'the keys are in the drawer',
    'x',
  ]
  beforeAll(async () => {
    model = await load(engine, bundled('embedding'))
    direct = await openModel('node/models/bundled/embedding/model.onnx')
  }, 60_000)
  afterAll(async () => {
    await engine.unload()
    await direct?.session.release()
  })

  it('says what it loaded', () => {
    expect(model).toMatchObject({
      engine: 'onnx',
      contextTokens: 256,
      features: ['embed', 'infer'],
      isGenerator: false,
    })
    expect(model.numerics.engineBuild).toMatch(/^onnxruntime-node 1\./)
  })

  it('gives the vectors that the library gives', async () => {
    const ours = await vectorsOf(engine, TEXTS)
    const theirs = await embed(direct, tokenize, TEXTS)
    ours.forEach((vector, i) => expect(farthest(vector, theirs[i]!), TEXTS[i]).toBeLessThan(1e-5))
  })

  it('gives a text one vector, alone or beside others', async () => {
    const together = await vectorsOf(engine, TEXTS)
    for (const [i, text] of TEXTS.entries()) {
      const [alone] = await vectorsOf(engine, [text])
      expect(farthest(alone!, together[i]!), text).toBeLessThan(1e-5)
      expect(dot(alone!, alone!)).toBeCloseTo(1, 5)
    }
  })

  it('gives the first numbers alone when fewer are asked for, and refuses more', async () => {
    const [whole] = await vectorsOf(engine, ['the keys'])
    const [short] = await vectorsOf(engine, ['the keys'], 32)
    expect(short).toHaveLength(32)
    expect(dot(short!, short!)).toBeCloseTo(1, 5)
    expect(short![0]! / short![1]!).toBeCloseTo(whole![0]! / whole![1]!, 3)
    await expect(vectorsOf(engine, ['the keys'], 257)).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
      param: 'dimensions',
    })
  })

  it('finds a note by other words', async () => {
    const notes = ['train tickets to Oslo are booked', 'the washing machine is leaking', 'rent is due on Monday']
    const [query, ...others] = await vectorsOf(engine, ['laundry machine loses water', ...notes])
    const scores = others.map((note) => dot(query!, note))
    expect(scores.indexOf(Math.max(...scores))).toBe(1)
  })

  it('gives texts without tokens one vector, and refuses those with too many, saying which', async () => {
    const [empty, blank, other] = await vectorsOf(engine, ['', ' ', 'fine'])
    expect(farthest(empty!, blank!)).toBeLessThan(1e-5)
    expect(farthest(empty!, other!)).toBeGreaterThan(0.05)
    const long = vectorsOf(engine, ['fine', 'word '.repeat(300)])
    await expect(long).rejects.toThrow(/text 2 of 2 has 300 tokens.*256/)
    expect(await codeOf(long)).toBe('CONTEXT_LENGTH_EXCEEDED')
  })

  it('refuses what the model cannot do, naming the parameter', async () => {
    await expect(workOf(engine, { kind: 'classify', texts: ['a'] })).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
      param: 'model',
    })
    expect(await codeOf(collect(engine.generate(request(), never)))).toBe('INVALID_REQUEST')
  })

  it('lives on when tensors are wrong in a way that only the arithmetic shows', async () => {
    const far = BigInt64Array.of(1n, 1_000_000n)
    const tensor = (name: string, data: BigInt64Array): Tensor => ({
      name,
      type: 'int64',
      shape: [1, 2],
      data: new Uint8Array(data.buffer),
    })
    const wrong: Work = {
      kind: 'infer',
      tensors: [tensor('input_ids', far), tensor('attention_mask', BigInt64Array.of(1n, 1n))],
    }
    await expect(workOf(engine, wrong)).rejects.toMatchObject({ code: 'INVALID_REQUEST', param: 'inputs' })
    const length = 20_000
    const long = ['input_ids', 'attention_mask'].map((name) => ({
      ...tensor(name, new BigInt64Array(length).fill(1n)),
      shape: [1, length],
    }))
    const tooLong = workOf(engine, { kind: 'infer', tensors: long })
    await expect(tooLong).rejects.toMatchObject({ code: 'CONTEXT_LENGTH_EXCEEDED', param: 'inputs' })
    expect(await vectorsOf(engine, ['still here'])).toHaveLength(1)
  })

  it('rejects with the reason of an abort, and is free for the next', async () => {
    const reason = new SkeinError('CLIENT_CLOSED', 'the client hung up')
    const controller = new AbortController()
    const texts = Array.from({ length: 64 }, (_, i) => `note ${i} `.repeat(40))
    const running = workOf(engine, { kind: 'embed', texts }, controller.signal)
    controller.abort(reason)
    await expect(running).rejects.toBe(reason)
    await expect(workOf(engine, { kind: 'embed', texts }, AbortSignal.abort(reason))).rejects.toBe(reason)
    expect(await vectorsOf(engine, ['next'])).toHaveLength(1)
    expect(engine.stats().running).toBe(0)
  })

  it('costs its work when the process is killed, and a new load starts another', async () => {
    const texts = Array.from({ length: 64 }, (_, i) => `note ${i} `.repeat(40))
    const running = [0, 1].map(() => codeOf(workOf(engine, { kind: 'embed', texts })))
    process.kill(engine.pid!, 'SIGKILL')
    expect(await Promise.all(running)).toEqual(['ENGINE_CRASHED', 'ENGINE_CRASHED'])
    expect(await codeOf(vectorsOf(engine, ['gone']))).toBe('ENGINE_CRASHED')
    await load(engine, bundled('embedding'))
    expect(await vectorsOf(engine, ['back'])).toHaveLength(1)
  }, 60_000)

  it('ends running work when it is unloaded', async () => {
    const running = codeOf(
      workOf(engine, { kind: 'embed', texts: Array.from({ length: 64 }, () => 'a b c '.repeat(40)) }),
    )
    await engine.unload()
    expect(await running).toBe('ENGINE_FAILED')
    expect(await codeOf(vectorsOf(engine, ['gone']))).toBe('ENGINE_FAILED')
  }, 60_000)
})

describe('the onnx engine', () => {
  const engine = new OnnxEngine({ log: silentLogger })
  const using = async <T>(path: string, use: (model: LoadedModel) => Promise<T>): Promise<T> => {
    const model = await load(engine, path)
    try {
      return await use(model)
    } finally {
      await engine.unload()
    }
  }

  it('puts the windows of a sensor through the bundled model', async () => {
    await using(bundled('sensor'), async (model) => {
      expect(model.features).toEqual(['infer'])
      const calm = Array.from({ length: 64 }, (_, i) => 21 + Math.sin(i / 20) + 0.1 * (((i * 7919) % 17) / 17))
      const spike = calm.map((each, i) => each + (i === 40 ? 9 : 0))
      const ones = Array<number>(128).fill(1)
      const tensors = [floats('values', [2, 64], [...calm, ...spike]), floats('mask', [2, 64], ones)]
      const result = (await workOf(engine, { kind: 'infer', tensors })) as WorkResult & { kind: 'infer' }
      expect(result.tensors.map(({ name, type, shape }) => [name, type, shape])).toEqual([
        ['anomaly', 'float32', [2]],
        ['probabilities', 'float32', [2, 7]],
      ])
      const [quiet, loud] = numbersOf(result.tensors[0]!)
      expect(quiet).toBeLessThan(0.5)
      expect(loud).toBeGreaterThan(0.88)
      const short = [floats('values', [1, 63], Array<number>(63).fill(1)), floats('mask', [1, 64], ones.slice(64))]
      await expect(workOf(engine, { kind: 'infer', tensors: short })).rejects.toThrow(
        /values.*\[1, 63\].*\[batch, 64\]/,
      )
    })
  }, 30_000)

  /** Of the text of the ids `ids`: the mean of their rows, of length 1. */
  const mean = (ids: readonly number[], width: number): number[] => {
    const sum = Array.from({ length: width }, (_, i) => ids.reduce((total, id) => total + tokenNumber(id, i), 0))
    const length = Math.hypot(...sum)
    return sum.map((each) => each / length)
  }
  const idsOf = (text: string): number[] => {
    const golden = new URL('../fixtures/tokenizers/wordpiece.json', import.meta.url)
    const { samples } = JSON.parse(readFileSync(golden, 'utf8')) as { samples: [string, number[]][] }
    return samples.find(([sample]) => sample === text)![1]
  }

  it.each([
    ['the mean of its tokens', {}, (ids: number[]) => ids],
    [
      'its first token',
      { '1_Pooling/config.json': { pooling_mode_cls_token: true } },
      (ids: number[]) => ids.slice(0, 1),
    ],
    ['its last token', { '1_Pooling/config.json': { pooling_mode_lasttoken: true } }, (ids: number[]) => ids.slice(-1)],
  ])('makes the vector of a text of %s, padding left out', async (_what, files, tokensOf) => {
    const path = await folderOf(`encoder-${Object.keys(files).length}-${works}`, encoderBytes(700, 16), files)
    await using(path, async (model) => {
      expect(model.features).toEqual(['embed', 'infer'])
      const texts = ['Hello, world!', '1234567890 3.14 1,000', 'naïve café']
      const vectors = await vectorsOf(engine, texts)
      texts.forEach((text, i) => expect(farthest(vectors[i]!, mean(tokensOf(idsOf(text)), 16))).toBeLessThan(1e-5))
    })
  })

  it('tells the classes of texts, the likeliest first', async () => {
    const labels = { 0: 'NEGATIVE', 1: 'NEUTRAL', 2: 'POSITIVE' }
    const classes = async (config: object) => {
      const path = await folderOf(`classifier-${works}`, classifierBytes(700, 3), { 'config.json': config })
      return using(path, async (model) => {
        expect(model.features).toEqual(['classify', 'infer'])
        const texts = ['Hello, world!', 'naïve café']
        return ((await workOf(engine, { kind: 'classify', texts })) as WorkResult & { kind: 'classify' }).classes
      })
    }
    const logits = (text: string): number[] =>
      [0, 1, 2].map((i) => idsOf(text).reduce((sum, id) => sum + tokenNumber(id, i), 0))
    const [first] = await classes({ id2label: labels })
    const powers = logits('Hello, world!').map(Math.exp)
    const total = powers.reduce((a, b) => a + b, 0)
    for (const { label, score } of first!)
      expect(score).toBeCloseTo(powers[Object.values(labels).indexOf(label)]! / total, 5)
    expect(first!.map(({ score }) => score)).toEqual(first!.map(({ score }) => score).sort((a, b) => b - a))
    const [, second] = await classes({ id2label: labels, problem_type: 'multi_label_classification' })
    for (const { label, score } of second!)
      expect(score).toBeCloseTo(1 / (1 + Math.exp(-logits('naïve café')[Object.values(labels).indexOf(label)]!)), 5)
  })

  it.each<[string, () => Promise<string>, string, RegExp]>([
    ['a file that is none', () => file('none.onnx', 'GGUF and so on'), 'MODEL_FILE_INVALID', /none\.onnx/],
    [
      'an operator that nobody has',
      () => file('op.onnx', adderBytes({ nodes: [{ op: 'Conjure', inputs: ['x', 'y'], outputs: ['z'] }] })),
      'MODEL_LOAD_FAILED',
      /op\.onnx.*Conjure/,
    ],
    [
      'operators of a domain of their own',
      () =>
        file(
          'own.onnx',
          adderBytes({ nodes: [{ op: 'Add', inputs: ['x', 'y'], outputs: ['z'], domain: 'com.example' }] }),
        ),
      'MODEL_LOAD_FAILED',
      /own\.onnx.*com\.example/,
    ],
    [
      'a graph whose wires lead nowhere',
      () => file('wires.onnx', adderBytes({ nodes: [{ op: 'Add', inputs: ['x', 'missing'], outputs: ['z'] }] })),
      'MODEL_LOAD_FAILED',
      /wires\.onnx/,
    ],
    [
      'tensors that no request can have',
      () =>
        file(
          'half.onnx',
          adderBytes({
            inputs: [
              { name: 'x', type: HALF, shape: [1] },
              { name: 'y', type: FLOAT },
            ],
          }),
        ),
      'MODEL_FILE_INVALID',
      /x is of a type/,
    ],
    [
      'a tokenizer that is none',
      () => folderOf('broken', encoderBytes(40, 8), { 'tokenizer.json': { model: { type: 'Magic' } } }),
      'MODEL_FILE_INVALID',
      /tokenizer\.json/,
    ],
    [
      'labels that do not fit the output',
      () => folderOf('labels', classifierBytes(40, 3), { 'config.json': { id2label: { 0: 'a', 1: 'b' } } }),
      'MODEL_FILE_INVALID',
      /3 numbers for 2 classes/,
    ],
  ])('refuses %s, and takes another model after it', async (_what, path, code, message) => {
    const loading = path().then((found) => load(engine, found))
    await expect(loading).rejects.toMatchObject({ code, message: expect.stringMatching(message) as string })
    await using(bundled('sensor'), async (model) => expect(model.sizeBytes).toBe(197_500))
  })

  const file = async (name: string, content: Uint8Array | string): Promise<string> => {
    await writeFile(join(dir, name), content)
    return join(dir, name)
  }

  it('ends a run that is under way when it is unloaded, and waits for it', async () => {
    await load(engine, bundled('sensor'))
    const many = Array<number>(64 * 4096).fill(1)
    const tensors = [floats('values', [4096, 64], many), floats('mask', [4096, 64], many)]
    const running = codeOf(workOf(engine, { kind: 'infer', tensors }))
    // it is queued in this turn, and computes from the next one on
    await new Promise((resolve) => setImmediate(resolve))
    await engine.unload()
    expect(await running).toBe('ENGINE_FAILED')
    expect(engine.stats().running).toBe(0)
  })

  it('refuses a model that does not fit into memory, with the numbers', async () => {
    const poor = new OnnxEngine({ log: silentLogger, availableBytes: () => 300 * 1024 * 1024 })
    await expect(load(poor, bundled('embedding'))).rejects.toMatchObject({
      code: 'MODEL_LOAD_FAILED',
      message: expect.stringMatching(/needs 134 MiB, and 300 MiB of memory/) as string,
    })
  })

  it('finds the tokenizer above a folder of graphs', async () => {
    const folder = join(dir, 'exported', 'onnx')
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, 'model.onnx'), encoderBytes(700, 8))
    await cp(join(dirname(bundled('embedding')), 'tokenizer.json'), join(dir, 'exported', 'tokenizer.json'))
    await using(join(folder, 'model.onnx'), async (model) => expect(model.features).toEqual(['embed', 'infer']))
  })

  it('refuses an output that turns out larger than a tensor may be', async () => {
    const nodes = [{ op: 'Expand', inputs: ['x', 'shape'], outputs: ['z'] }]
    const weights = [{ name: 'shape', shape: [2], data: BigInt64Array.of(600_000n, 3n) }]
    const inputs = [{ name: 'x', type: FLOAT, shape: ['n', 3] }]
    const outputs = [{ name: 'z', type: FLOAT, shape: ['many', 3] }]
    await using(await file('large.onnx', adderBytes({ nodes, weights, inputs, outputs })), async () => {
      const work: Work = { kind: 'infer', tensors: [floats('x', [1, 3], [1, 2, 3])] }
      await expect(workOf(engine, work)).rejects.toThrow(/output z \[600000, 3\] would have 7200000 bytes/)
    })
  })
})
