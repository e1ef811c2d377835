/**
 * How well the bundled embedding model finds notes, beside BM25 on the same notes and queries. Both sets are held out; the
 * second is written by hand, by none of the generator's templates.
 */
import { readFileSync } from 'node:fs'
import { Tokenizer } from '@huggingface/tokenizers'
import { Tensor } from 'onnxruntime-node'
import { print } from '../bench/stats.ts'
import type { Figure } from './figure.ts'
import { openModel, pathOf, share, type OnnxModel } from './onnx.ts'

const FOLDER = 'node/models/bundled/embedding'
const TOKENS_MAX = 256
const BATCH = 64

export type Tokenize = (text: string) => readonly number[]

/** The model's own tokenizer, from the standard file beside it. */
export function readTokenizer(): Tokenize {
  const definition = JSON.parse(readFileSync(pathOf(`${FOLDER}/tokenizer.json`), 'utf8')) as object
  const tokenizer = new Tokenizer(definition, {})
  return (text) => tokenizer.encode(text).ids
}

/** Unit vectors of the texts; a text of more than 256 tokens counts by its beginning. */
export async function embed(model: OnnxModel, tokenize: Tokenize, texts: readonly string[]): Promise<Float32Array[]> {
  const vectors: Float32Array[] = []
  for (let start = 0; start < texts.length; start += BATCH) {
    const rows = texts.slice(start, start + BATCH).map((text) => tokenize(text).slice(0, TOKENS_MAX))
    const length = Math.max(1, ...rows.map((row) => row.length))
    const tensor = (value: (row: readonly number[], i: number) => number): Tensor => {
      const padded = rows.flatMap((row) => Array.from({ length }, (_, i) => BigInt(value(row, i))))
      return new Tensor('int64', BigInt64Array.from(padded), [rows.length, length])
    }
    const outputs = await model.session.run({
      input_ids: tensor((row, i) => row[i] ?? 0),
      attention_mask: tensor((row, i) => (i < row.length ? 1 : 0)),
    })
    const output = outputs['sentence_embedding']!
    const [, size] = output.dims as [number, number]
    const data = output.data as Float32Array
    rows.forEach((_, i) => vectors.push(data.slice(i * size, (i + 1) * size)))
  }
  return vectors
}

export function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!
  return sum
}

/** Words as the baseline sees them: folded as the model's tokenizer folds. */
export const wordsOf = (text: string): string[] =>
  text
    .normalize('NFD')
    .replace(/\p{Mn}/gu, '')
    .toLowerCase()
    .match(/[\p{L}\p{N}]+/gu) ?? []

const K1 = 1.2
const B = 0.75
/** What the best note by words gains beside a likeness of at most 1. */
const WORDS_WEIGHT = 0.15

/** Okapi BM25 of each note for each query. */
export function bm25(notes: readonly string[], queries: readonly string[]): number[][] {
  const bags = notes.map((note) => {
    const bag = new Map<string, number>()
    for (const word of wordsOf(note)) bag.set(word, (bag.get(word) ?? 0) + 1)
    return bag
  })
  const lengths = notes.map((note) => wordsOf(note).length)
  const usual = lengths.reduce((sum, length) => sum + length, 0) / lengths.length
  const known = new Map<string, number>()
  for (const bag of bags) for (const word of bag.keys()) known.set(word, (known.get(word) ?? 0) + 1)
  return queries.map((query) => {
    const words = wordsOf(query)
    return bags.map((bag, i) =>
      words.reduce((sum, word) => {
        const count = bag.get(word)
        if (count === undefined) return sum
        const found = known.get(word)!
        const rarity = Math.log(1 + (notes.length - found + 0.5) / (found + 0.5))
        return sum + (rarity * count * (K1 + 1)) / (count + K1 * (1 - B + (B * lengths[i]!) / usual))
      }, 0),
    )
  })
}

/** Rank of the right note, from 1; of notes with one score the earlier one is found first. */
export const rankOf = (scores: readonly number[], answer: number): number =>
  1 + scores.filter((score, i) => score > scores[answer]! || (score === scores[answer] && i < answer)).length

/** Both scores as one: the likeness, and the words as a share of the best note's. */
export function fuse(likeness: readonly number[], words: readonly number[]): number[] {
  const best = Math.max(...words) || 1
  return likeness.map((each, i) => each + (WORDS_WEIGHT * words[i]!) / best)
}

const figuresOfRanks = (ranks: readonly number[]) => ({
  first: share(ranks.map((rank) => rank === 1)),
  five: share(ranks.map((rank) => rank <= 5)),
  mrr: ranks.reduce((sum, rank) => sum + 1 / rank, 0) / ranks.length,
})

interface NoteSet {
  readonly notes: readonly string[]
  readonly queries: readonly (readonly [kind: string, text: string, note: number])[]
}

const readSet = (name: string): NoteSet =>
  JSON.parse(readFileSync(pathOf(`test/eval/bundled/${name}.json`), 'utf8')) as NoteSet

/** For each kind of query, the least share of BM25's mean reciprocal rank that is good enough. */
const LEAST: Readonly<Record<string, number>> = {
  'generated paraphrase': 2.2,
  // of topics that it knows no word of: words alone are as good
  'generated topic': 0.9,
  'generated exact': 0.95,
  'generated french': 1.05,
  'by hand paraphrase': 1.2,
  'by hand keywords': 0.9,
}
const SENTENCES_PER_SECOND_LEAST = 50
const SIZE_MAX_BYTES = 6_000_000

type Say = (line: string) => void

async function figuresOf(model: OnnxModel, tokenize: Tokenize, name: string, set: NoteSet, say: Say) {
  const texts = set.queries.map(([, text]) => text)
  const notes = await embed(model, tokenize, set.notes)
  const queries = await embed(model, tokenize, texts)
  const words = bm25(set.notes, texts)
  return [...new Set(set.queries.map(([kind]) => kind))].flatMap((kind): Figure[] => {
    const rows = set.queries.flatMap((query, row) => (query[0] === kind ? [row] : []))
    const ranks = (scoresOf: (row: number) => readonly number[]) =>
      figuresOfRanks(rows.map((row) => rankOf(scoresOf(row), set.queries[row]![2])))
    const ours = ranks((row) => notes.map((note) => dot(note, queries[row]!)))
    const theirs = ranks((row) => words[row]!)
    const both = ranks((row) =>
      fuse(
        notes.map((note) => dot(note, queries[row]!)),
        words[row]!,
      ),
    )
    for (const [of, { first, five, mrr }] of Object.entries({ model: ours, BM25: theirs, 'both together': both }))
      say(`  ${name} ${kind}, ${of}: recall@1 ${first.toFixed(3)}, @5 ${five.toFixed(3)}, MRR ${mrr.toFixed(3)}`)
    const least = LEAST[`${name} ${kind}`]
    if (least === undefined) return []
    return [{ name: `embedding, ${name} ${kind}: MRR by BM25's`, value: ours.mrr / theirs.mrr, least, of: rows.length }]
  })
}

/**
 * Runs the model on its held-out notes: generated ones, and notes written by hand hidden among them. Each kind of query is
 * told by `say`, BM25 beside it.
 */
export async function evaluateEmbedding(say: Say = print): Promise<readonly Figure[]> {
  const model = await openModel(`${FOLDER}/model.onnx`)
  try {
    const tokenize = readTokenizer()
    const generated = readSet('embedding')
    const byHand = readSet('embedding-by-hand')
    const mixed: NoteSet = {
      notes: [...generated.notes, ...byHand.notes],
      queries: byHand.queries.map(([kind, text, note]) => [kind, text, note + generated.notes.length]),
    }
    const figures = [
      ...(await figuresOf(model, tokenize, 'generated', generated, say)),
      ...(await figuresOf(model, tokenize, 'by hand', mixed, say)),
    ]
    const sample = generated.notes.slice(0, 200)
    const beganMs = performance.now()
    for (const note of sample) await embed(model, tokenize, [note])
    const perSecond = (1000 * sample.length) / (performance.now() - beganMs)
    const least = SENTENCES_PER_SECOND_LEAST
    return [
      ...figures,
      { name: 'embedding, sentences per second on one core', value: perSecond, least, of: sample.length },
      { name: `embedding, bytes below ${SIZE_MAX_BYTES}`, value: SIZE_MAX_BYTES - model.sizeBytes, least: 0, of: 1 },
    ]
  } finally {
    await model.session.release()
  }
}
