/**
 * Texts and tensors in front of an ONNX model. The tokenizers in test/fixtures/tokenizers are of the three families that
 * text models have, trained by Python's `tokenizers` (0.23) on pages of docs/; beside each are samples with the ids that it
 * gives there, without truncation and padding.
 */
import { readFileSync } from 'node:fs'
import { Tokenizer } from '@huggingface/tokenizers'
import { describe, expect, it } from 'vitest'
import { LIMITS, SkeinError, type Tensor } from '../../../mesh/protocol/index.ts'
import type { OnnxSummary } from '../../../node/engines/onnx/onnx-head.ts'
import { checkTensors } from '../../../node/engines/onnx/signature.ts'
import { batchesOf } from '../../../node/engines/onnx/text-model.ts'
import { unitVector } from '../../../node/engines/unit-vector.ts'

interface Golden {
  readonly tokenizer: object
  readonly samples: readonly (readonly [text: string, ids: readonly number[]])[]
}

describe.each(['wordpiece', 'bytelevel', 'unigram'])('a tokenizer of the family %s', (family) => {
  const path = new URL(`../../fixtures/tokenizers/${family}.json`, import.meta.url)
  const { tokenizer, samples } = JSON.parse(readFileSync(path, 'utf8')) as Golden

  it('gives the ids that the original library gives', () => {
    const ours = new Tokenizer(tokenizer, {})
    expect(samples.length).toBe(150)
    expect(samples.filter(([text, ids]) => JSON.stringify(ours.encode(text).ids) !== JSON.stringify(ids))).toEqual([])
  })
})

const summary: OnnxSummary = {
  sizeBytes: 0,
  inputs: [
    { name: 'x', type: 'float32', shape: ['n', 3] },
    { name: 'y', type: 'int64', shape: ['n'] },
    { name: 'on', type: 'bool' },
  ],
  outputs: [{ name: 'z', type: 'float64', shape: ['n', 'n'] }],
  metadata: new Map(),
  parameters: 0,
  quantization: 'F32',
}
const x: Tensor = { name: 'x', type: 'float32', shape: [2, 3], data: new Uint8Array(24) }
const y: Tensor = { name: 'y', type: 'int64', shape: [2], data: new Uint8Array(16) }
const on: Tensor = { name: 'on', type: 'bool', shape: [1, 1], data: Uint8Array.of(1) }

function refusal(tensors: readonly Tensor[]): string {
  try {
    checkTensors(summary, tensors)
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(SkeinError)
    expect(thrown).toMatchObject({ code: 'INVALID_REQUEST', param: 'inputs' })
    return (thrown as SkeinError).message
  }
  throw new SkeinError('INTERNAL', 'it was taken')
}

describe('the signature of a model', () => {
  it('takes what fits, in any order, with a length of any size', () => {
    checkTensors(summary, [on, y, x])
    const seven = { data: new Uint8Array(7 * 12), shape: [7, 3] }
    checkTensors(summary, [{ ...x, ...seven }, { ...y, shape: [7], data: new Uint8Array(56) }, on])
  })

  it.each<[string, Tensor[], RegExp]>([
    ['an input that is missing', [x, on], /y is missing.*x, y, on/],
    ['one that the model does not have', [x, y, on, { ...x, name: 'w\n' }], /no input w\?; it takes x, y, on/],
    ['one given twice', [x, x, y, on], /x is given twice/],
    ['another type', [x, { ...y, type: 'float64' }, on], /y is int64, and float64/],
    ['another rank', [x, { ...y, shape: [2, 1] }, on], /y has the shape \[2, 1\], and the model takes \[n\]/],
    ['another length', [{ ...x, shape: [3, 2] }, y, on], /x has the shape \[3, 2\], and the model takes \[n, 3\]/],
    ['lengths that disagree', [x, { ...y, shape: [1], data: new Uint8Array(8) }, on], /y .*\[1\].*n is 2 in another/],
    ['bytes that do not fill it', [{ ...x, data: new Uint8Array(23) }, y, on], /x has 23 bytes.*float32 \[2, 3\]/],
    ['a length of 0', [{ ...x, shape: [0, 3], data: new Uint8Array() }, y, on], /x is empty/],
    ['a bool that is neither', [x, y, { ...on, data: Uint8Array.of(2) }], /neither 0 nor 1/],
  ])('refuses %s, naming it', (_what, tensors, message) => {
    expect(refusal(tensors)).toMatch(message)
  })

  it('refuses before anything is computed what would come out too large', () => {
    const n = 1000
    const tensors: Tensor[] = [
      { ...x, shape: [n, 3], data: new Uint8Array(12 * n) },
      { ...y, shape: [n], data: new Uint8Array(8 * n) },
      on,
    ]
    expect(8 * n * n).toBeGreaterThan(LIMITS.workTensorBytesMax)
    expect(refusal(tensors)).toMatch(/output z \[1000, 1000\] would have 8000000 bytes/)
  })
})

describe('batches of texts', () => {
  const rows = (...lengths: number[]) => lengths.map((length) => ({ ids: Array.from({ length }, () => 0) }))
  const shape = (some: { ids: readonly number[] }[][]): number[][] =>
    some.map((each) => each.map((row) => row.ids.length))

  it('have texts of alike length, within the bound with their padding', () => {
    expect(shape(batchesOf(rows(9, 1, 8, 2, 1), 16))).toEqual([[1, 1, 2], [8], [9]])
    expect(shape(batchesOf(rows(100), 16)), 'one that is too long goes alone').toEqual([[100]])
    expect(shape(batchesOf(rows(...Array<number>(130).fill(1)), 1e6)).map((some) => some.length)).toEqual([64, 64, 2])
  })
})

describe('a unit vector', () => {
  const floats = (data: Uint8Array): number[] => [...new Float32Array(data.slice().buffer)]

  it('has length 1, also of its first numbers alone', () => {
    expect(floats(unitVector(Float64Array.of(3, 4, 12), 2))).toEqual([0.6000000238418579, 0.800000011920929])
    expect(floats(unitVector(Float64Array.of(0, -7)))).toEqual([0, -1])
  })

  it.each([
    ['more numbers than there are', [1, 2], 3, 'INVALID_REQUEST'],
    ['nothing but zeros', [0, 0], 2, 'ENGINE_FAILED'],
    ['what is no number', [NaN, 1], 2, 'ENGINE_FAILED'],
    ['infinity', [Infinity, 1], 2, 'ENGINE_FAILED'],
  ])('is not made of %s', (_what, numbers, dimensions, code) => {
    expect(() => unitVector(Float64Array.from(numbers), dimensions)).toThrow(expect.objectContaining({ code }) as Error)
  })
})
