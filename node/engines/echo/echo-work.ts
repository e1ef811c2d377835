/**
 * What the echo engine does in one step, in place of a model: texts that share trigrams have vectors that lie close, the
 * class of a text is its outer shape, and tensors come back as they were. Nothing but the request decides.
 */
import { SkeinError, type ClassScore, type Work, type WorkResult } from '../../../mesh/protocol/index.ts'
import { piecesOf } from './echo-pieces.ts'

const DIMENSIONS = 64
const GRAM_LENGTH = 3

/** The first that fits. */
const SHAPES: readonly { readonly label: string; readonly fits: (text: string) => boolean }[] = [
  { label: 'empty', fits: (text) => text === '' },
  { label: 'number', fits: (text) => /^[\d.,+-]+$/.test(text) },
  { label: 'question', fits: (text) => text.endsWith('?') },
  { label: 'word', fits: (text) => !/\s/.test(text) },
  { label: 'sentence', fits: () => true },
]
/** Of the shape that fits; the others share the rest. */
const SCORE = 0.75

/** @throws SkeinError INVALID_REQUEST, CONTEXT_LENGTH_EXCEEDED. */
export function echoWork(work: Work, contextTokens: number): WorkResult {
  switch (work.kind) {
    case 'embed': {
      const promptTokens = tokensOf(work.texts, contextTokens)
      const { dimensions = DIMENSIONS } = work
      if (dimensions > DIMENSIONS)
        throw new SkeinError('INVALID_REQUEST', `its vectors have ${DIMENSIONS} numbers, not ${dimensions}`, {
          param: 'dimensions',
        })
      return { kind: 'embed', vectors: work.texts.map((text) => vectorOf(text, dimensions)), promptTokens }
    }
    case 'classify': {
      const promptTokens = tokensOf(work.texts, contextTokens)
      return { kind: 'classify', classes: work.texts.map(classesOf), promptTokens }
    }
    case 'infer':
      return { kind: 'infer', tensors: work.tensors }
  }
}

function tokensOf(texts: readonly string[], contextTokens: number): number {
  let sum = 0
  for (const text of texts) {
    const tokens = piecesOf(text).length
    if (tokens > contextTokens)
      throw new SkeinError('CONTEXT_LENGTH_EXCEEDED', `a text of ${tokens} tokens; the context has ${contextTokens}`)
    sum += tokens
  }
  return sum
}

/** FNV-1a. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

function vectorOf(text: string, dimensions: number): Uint8Array {
  const sums = new Float64Array(DIMENSIONS)
  const padded = `^${text}$`
  for (let at = 0; at <= Math.max(0, padded.length - GRAM_LENGTH); at++) {
    const hash = hashOf(padded.slice(at, at + GRAM_LENGTH))
    sums[hash % DIMENSIONS]! += hash & 0x8000_0000 ? 1 : -1
  }
  const shown = sums.subarray(0, dimensions)
  const length = Math.hypot(...shown)
  // all grams fell elsewhere, or against each other
  if (length === 0) shown[0] = 1
  const bytes = new DataView(new ArrayBuffer(4 * dimensions))
  shown.forEach((value, i) => bytes.setFloat32(4 * i, length === 0 ? value : value / length, true))
  return new Uint8Array(bytes.buffer)
}

function classesOf(text: string): ClassScore[] {
  const trimmed = text.trim()
  const { label } = SHAPES.find(({ fits }) => fits(trimmed))!
  const others = SHAPES.filter((shape) => shape.label !== label)
  const rest = (1 - SCORE) / others.length
  return [{ label, score: SCORE }, ...others.map((shape) => ({ label: shape.label, score: rest }))]
}
