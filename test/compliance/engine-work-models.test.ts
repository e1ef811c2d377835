/** What engines with models of their own promise of work: the models that come with Skein, a classifier, a GGUF encoder. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll } from 'vitest'
import { asModelDigest, type EngineKind, type Tensor, type Work } from '../../mesh/protocol/index.ts'
import { silentLogger, SystemClock } from '../../mesh/runtime/index.ts'
import { createEngine } from '../../node/engines/index.ts'
import { writeEncoder } from '../fixtures/models/encoder.ts'
import { classifierBytes } from '../fixtures/onnx.ts'
import { engineWorkSuite } from './engine-work.suite.ts'

const components = { clock: new SystemClock(), log: silentLogger }
const digest = asModelDigest(`sha256:${'0'.repeat(64)}`)
const TEXTS = ['the goose leads', 'the river runs to the sea', 'sea', 'Whoever tires falls back.', 'Grüße 😀 an alle']
const repository = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url))

let dir: string
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'skein-work-'))
  await writeEncoder(join(dir, 'encoder.gguf'))
  const fixture = await readFile(repository('test/fixtures/tokenizers/wordpiece.json'), 'utf8')
  const { tokenizer } = JSON.parse(fixture) as { tokenizer: object }
  await writeFile(join(dir, 'tokenizer.json'), JSON.stringify(tokenizer))
  await writeFile(join(dir, 'config.json'), JSON.stringify({ id2label: { 0: 'low', 1: 'middle', 2: 'high' } }))
  await writeFile(join(dir, 'model.onnx'), classifierBytes(700, 3))
})
afterAll(() => rm(dir, { recursive: true, force: true }))

const tensor = (name: string, shape: number[], numbers: Float32Array | BigInt64Array): Tensor => ({
  name,
  type: numbers instanceof Float32Array ? 'float32' : 'int64',
  shape,
  data: new Uint8Array(numbers.buffer),
})
const ids = tensor('input_ids', [1, 3], BigInt64Array.of(7n, 8n, 9n))
const mask = tensor('attention_mask', [1, 3], BigInt64Array.of(1n, 1n, 1n))
const values = tensor(
  'values',
  [2, 64],
  Float32Array.from({ length: 128 }, (_, i) => Math.sin(i / 9)),
)
const present = tensor('mask', [2, 64], new Float32Array(128).fill(1))
const empty = (of: Tensor): Tensor => ({ ...of, shape: [0, 64], data: new Uint8Array() })
const infer = (...tensors: Tensor[]): Work => ({ kind: 'infer', tensors })

function suite(
  name: string,
  kind: EngineKind,
  path: () => string,
  works: readonly Work[],
  misfits: readonly (readonly [Work, string])[],
): void {
  engineWorkSuite({
    name,
    make: () => createEngine(kind, components),
    load: (engine) => engine.load({ path: path(), digest, slots: 2, threads: 1 }),
    works,
    misfits,
  })
}

suite(
  'onnx with the bundled embedding model',
  'onnx',
  () => repository('node/models/bundled/embedding/model.onnx'),
  [{ kind: 'embed', texts: TEXTS }, infer(ids, mask)],
  [
    [infer(ids), 'inputs'],
    [infer(ids, { ...mask, shape: [3] }), 'inputs'],
  ],
)
suite(
  'onnx with the bundled sensor model',
  'onnx',
  () => repository('node/models/bundled/sensor/model.onnx'),
  [infer(values, present)],
  [
    [infer(values, { ...present, shape: [1, 128] }), 'inputs'],
    // of which the library would stop its process
    [infer(empty(values), empty(present)), 'inputs'],
  ],
)
suite(
  'onnx with a classifier',
  'onnx',
  () => join(dir, 'model.onnx'),
  [{ kind: 'classify', texts: TEXTS }, infer(ids, mask)],
  [],
)
suite(
  'llama with a model for embeddings',
  'llama',
  () => join(dir, 'encoder.gguf'),
  [{ kind: 'embed', texts: TEXTS }],
  [],
)
