import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { asModelDigest, LIMITS, SkeinError } from '../../../mesh/protocol/index.ts'
import {
  adaptedManifest,
  manifestDigest,
  manifestText,
  onnxManifest,
  parseManifest,
} from '../../../node/models/store/index.ts'
import { chooseGraph, filesOfGraph, nameInHub } from '../../../node/models/store/onnx-files.ts'
import { parseReference, type HubReference } from '../../../node/models/store/reference.ts'

const digest = (digit: string): ReturnType<typeof asModelDigest> => asModelDigest(`sha256:${digit.repeat(64)}`)
const [A, B, C] = [digest('a'), digest('b'), digest('c')]

const onnx = onnxManifest([
  { role: 'model', digest: A },
  { role: 'tokenizer', digest: B },
  { role: 'tokenizer config', digest: C },
])
const pair = adaptedManifest(A, [
  { digest: B, scale: 0.5 },
  { digest: C, scale: -0 },
])

describe('a manifest', () => {
  it('is a text that is read as what it was made of, and whose digest is that of the model', () => {
    for (const manifest of [onnx, pair, onnxManifest([{ role: 'model', digest: A }])])
      expect(parseManifest(manifestText(manifest))).toEqual(manifest)
    expect(manifestText(onnx)).toBe(`model ${A}\ntokenizer ${B}\ntokenizer config ${C}\n`)
    expect(manifestText(pair)).toBe(`skein adapted model 1\nbase ${A}\nlora ${B} 0.5\nlora ${C} 0\n`)
    const hash = createHash('sha256').update(manifestText(onnx)).digest('hex')
    expect(manifestDigest(onnx)).toBe(`sha256:${hash}`)
  })

  it('of a file by itself has the digest of that file', () => {
    expect(manifestDigest(onnxManifest([{ role: 'model', digest: A }]))).toBe(A)
  })

  it('gives every file a place of its own in one folder', () => {
    expect(onnx.files.map(({ name }) => name)).toEqual(['model.onnx', 'tokenizer.json', 'tokenizer_config.json'])
    expect(pair.files.map(({ name }) => name)).toEqual(['base.gguf', 'adapter-1.gguf', 'adapter-2.gguf'])
  })

  it.each([
    ['nothing', ''],
    ['a line without an end', `model ${A}`],
    ['a path that leads elsewhere', `../../../etc/passwd ${A}\n`],
    ['a path in place of what a file is', `model ${A}\n/etc/passwd ${B}\n`],
    ['a role that no model has', `model ${A}\nplugin ${B}\n`],
    ['a file twice', `model ${A}\ntokenizer ${B}\ntokenizer ${C}\n`],
    ['the model twice', `model ${A}\nmodel ${B}\n`],
    ['another order', `tokenizer ${B}\nmodel ${A}\n`],
    ['no model', `tokenizer ${B}\nconfig ${C}\n`],
    ['settings without a tokenizer', `model ${A}\nconfig ${C}\n`],
    ['a digest that is none', `model sha256:${'g'.repeat(64)}\n`],
    ['capitals', `model ${A.toUpperCase()}\n`],
    ['an empty line', `model ${A}\n\n`],
    ['ends of lines of another kind', `model ${A}\r\n`],
    ['more files than a model has', `model ${A}\n${`tokenizer ${B}\n`.repeat(9)}`],
    ['no base', `skein adapted model 1\nlora ${B} 1\n`],
    ['no adapter', `skein adapted model 1\nbase ${A}\n`],
    ['too many adapters', `skein adapted model 1\nbase ${A}\n${`lora ${B} 1\n`.repeat(LIMITS.adaptersMax + 1)}`],
    ['a scale that is none', `skein adapted model 1\nbase ${A}\nlora ${B} much\n`],
    ['a scale that is infinite', `skein adapted model 1\nbase ${A}\nlora ${B} 1e999\n`],
    ['a scale in another form', `skein adapted model 1\nbase ${A}\nlora ${B} 1.0\n`],
    ['a scale of -0', `skein adapted model 1\nbase ${A}\nlora ${B} -0\n`],
    ['another version', `skein adapted model 2\nbase ${A}\nlora ${B} 1\n`],
    ['more than it may have', `model ${A}\n`.padEnd(LIMITS.modelManifestBytesMax + 1, ' ')],
  ])('with %s is refused', (_what, text) => {
    expect(() => parseManifest(text)).toThrow(expect.objectContaining({ code: 'MODEL_FILE_INVALID' }) as Error)
  })

  it('of the most adapters is within its bound', () => {
    const adapters = Array.from({ length: LIMITS.adaptersMax }, () => ({ digest: B, scale: -1.2345678901234567e-100 }))
    const text = manifestText(adaptedManifest(A, adapters))
    expect(parseManifest(text).files).toHaveLength(LIMITS.adaptersMax + 1)
  })
})

describe('the graph that is taken from a repository', () => {
  const chosen = (reference: string, paths: readonly string[]): string | undefined => {
    const files = paths.map((path) => ({ path, sizeBytes: 1 }))
    return chooseGraph(files, parseReference(reference) as HubReference)?.path
  }
  const all = ['onnx/model_fp16.onnx', 'onnx/model_quantized.onnx', 'model.onnx', 'onnx/model.onnx', 'config.json']

  it('is the first of four places, unless a variant or a file is named', () => {
    expect(chosen('hf:o/r', all)).toBe('onnx/model.onnx')
    expect(chosen('hf:o/r', all.slice(0, 3))).toBe('model.onnx')
    expect(chosen('hf:o/r', all.slice(0, 2))).toBe('onnx/model_quantized.onnx')
    expect(chosen('hf:o/r:FP16', all)).toBe('onnx/model_fp16.onnx')
    expect(chosen('hf:o/r:quantized', all)).toBe('onnx/model_quantized.onnx')
    expect(chosen('hf:o/r:model.onnx', all)).toBe('model.onnx')
    expect(chosen('hf:o/r', ['spots.onnx'])).toBe('spots.onnx')
  })

  it('is none where a GGUF file is meant', () => {
    const both = [...all, 'm-Q4_K_M.gguf', 'm-F16.gguf']
    expect(chosen('hf:o/r', both)).toBeUndefined()
    expect(chosen('hf:o/r:q4_k_m', both)).toBeUndefined()
    expect(chosen('hf:o/r:m-F16.gguf', both)).toBeUndefined()
    expect(chosen('hf:o/r:onnx', both)).toBe('onnx/model.onnx')
    expect(chosen('hf:o/r:quantized', both)).toBe('onnx/model_quantized.onnx')
    expect(chosen('hf:o/r', ['README.md'])).toBeUndefined()
  })

  it.each([
    ['hf:o/r:int3', all, 'MODEL_REFERENCE_INVALID', 'no model in int3; it has onnx/model_fp16.onnx, '],
    ['hf:o/r:other.onnx', all, 'MODEL_REFERENCE_INVALID', 'no file other.onnx; it has '],
    ['hf:o/r', ['a.onnx', 'b.onnx'], 'MODEL_REFERENCE_INVALID', 'it has a.onnx, b.onnx'],
    ['hf:o/r', ['onnx/model.onnx', 'onnx/model.onnx_data'], 'MODEL_FILE_INVALID', 'onnx/model.onnx_data, which is not'],
  ])('of %s is not guessed at', (reference, paths, code, message) => {
    let thrown: unknown
    try {
      chosen(reference, paths)
    } catch (error) {
      thrown = error
    }
    expect(thrown).toBeInstanceOf(SkeinError)
    expect(thrown).toMatchObject({ code, message: expect.stringContaining(message) as string })
  })

  it('has beside it what its tokenizer is beside of, in one place', () => {
    const paths = [
      'onnx/model.onnx',
      'tokenizer.json',
      'config.json',
      '1_Pooling/config.json',
      'onnx/config.json',
      'vocab.txt',
    ]
    const files = paths.map((path) => ({ path, sizeBytes: 1 }))
    const names = (graph: string): string[] =>
      filesOfGraph({ path: graph, sizeBytes: 1 }, files).map(({ file }) => file.path)
    expect(names('onnx/model.onnx')).toEqual([
      'onnx/model.onnx',
      'tokenizer.json',
      'config.json',
      '1_Pooling/config.json',
    ])
    expect(names('other/model.onnx')).toEqual(['other/model.onnx'])
  })

  it('is called as its repository, with the variant that it is', () => {
    expect(nameInHub('notes', 'onnx/model.onnx')).toBe('notes')
    expect(nameInHub('notes', 'onnx/model_fp16.onnx')).toBe('notes-fp16')
    expect(nameInHub('notes', 'spots.onnx')).toBe('spots')
  })
})
