/** What every engine promises of work (see the port), run against each that has models which do some. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SkeinError, workResultFault, type Work, type WorkResult } from '../../mesh/protocol/index.ts'
import type { Engine, LoadedModel } from '../../node/engines/index.ts'
import { codeOf } from './engine.suite.ts'

export interface EngineWorkSuiteInit {
  readonly name: string
  /** An engine without a model. */
  make(): Engine
  load(engine: Engine): Promise<LoadedModel>
  /** One of each kind that the model does; those of texts have several. */
  readonly works: readonly Work[]
  /** Work that does not fit the model's signature, with the parameter that is at fault. */
  readonly misfits?: readonly (readonly [work: Work, param: string])[]
}

/** How far two runs of one text may lie apart: the shape of a batch moves the last bits. */
const TOLERANCE = 1e-5
const KINDS = ['embed', 'classify', 'infer'] as const

type TextWork = Extract<Work, { readonly texts: readonly string[] }>

const WORDS: Readonly<Record<Work['kind'], Work>> = {
  embed: { kind: 'embed', texts: ['a'] },
  classify: { kind: 'classify', texts: ['a'] },
  infer: { kind: 'infer', tensors: [{ name: 'x', type: 'float32', shape: [1], data: new Uint8Array(4) }] },
}

const hasTexts = (work: Work): work is TextWork => work.kind !== 'infer'

export function numbersOf(vector: Uint8Array): number[] {
  const view = new DataView(vector.buffer, vector.byteOffset, vector.byteLength)
  return Array.from({ length: vector.length / 4 }, (_, i) => view.getFloat32(4 * i, true))
}

function expectClose(actual: WorkResult, expected: WorkResult): void {
  expect(actual.kind).toBe(expected.kind)
  if (actual.kind === 'embed' && expected.kind === 'embed') {
    expect(actual.vectors).toHaveLength(expected.vectors.length)
    actual.vectors.forEach((vector, i) => {
      const other = numbersOf(expected.vectors[i]!)
      const apart = Math.max(...numbersOf(vector).map((value, at) => Math.abs(value - other[at]!)))
      expect(apart).toBeLessThanOrEqual(TOLERANCE)
    })
  } else if (actual.kind === 'classify' && expected.kind === 'classify') {
    expect(actual.classes).toHaveLength(expected.classes.length)
    actual.classes.forEach((classes, i) => {
      const scores = new Map(expected.classes[i]!.map(({ label, score }) => [label, score]))
      for (const { label, score } of classes)
        expect(Math.abs(score - (scores.get(label) ?? Number.NaN))).toBeLessThanOrEqual(TOLERANCE)
    })
  } else expect(actual).toEqual(expected)
}

/** The results for the texts one by one, joined. */
function joined(results: readonly WorkResult[]): WorkResult {
  const [first] = results
  if (first?.kind === 'embed')
    return { ...first, vectors: results.flatMap((each) => (each.kind === 'embed' ? each.vectors : [])) }
  if (first?.kind === 'classify')
    return { ...first, classes: results.flatMap((each) => (each.kind === 'classify' ? each.classes : [])) }
  return first!
}

export function engineWorkSuite(init: EngineWorkSuiteInit): void {
  describe(`Engine at work: ${init.name}`, () => {
    let engine: Engine
    let model: LoadedModel
    let asked = 0
    const never = new AbortController().signal
    const does = (work: Work, signal: AbortSignal = never): Promise<WorkResult> =>
      engine.work!({ id: `work-${++asked}`, work }, signal)
    const each = init.works.map((work) => [work.kind, work] as const)
    const ofTexts = init.works.filter(hasTexts).map((work) => [work.kind, work] as const)

    beforeAll(async () => {
      engine = init.make()
      model = await init.load(engine)
    }, 60_000)
    afterAll(() => engine.unload())

    it('says what its model does', () => {
      const kinds = init.works.map(({ kind }) => kind)
      expect(model.features.filter((feature) => KINDS.some((kind) => kind === feature)).toSorted()).toEqual(
        kinds.toSorted(),
      )
    })

    it.each(each)('%s gives a whole result, the same again', async (_kind, work) => {
      const result = await does(work)
      expect(workResultFault(work, result)).toBeUndefined()
      expectClose(await does(work), result)
      if (result.kind !== 'infer') expect(result.promptTokens).toBeGreaterThan(0)
      expect(engine.stats().running).toBe(0)
    })

    it.each(ofTexts)('%s of several texts is that of each', async (_kind, work) => {
      expect(work.texts.length).toBeGreaterThan(1)
      const singles: WorkResult[] = []
      for (const text of work.texts) singles.push(await does({ ...work, texts: [text] }))
      expectClose(await does(work), joined(singles))
    })

    it.each(ofTexts)('%s of pieces of work side by side gives each its own', async (_kind, work) => {
      const alone: WorkResult[] = []
      for (const text of work.texts) alone.push(await does({ ...work, texts: [text] }))
      const together = await Promise.all(work.texts.map((text) => does({ ...work, texts: [text] })))
      together.forEach((result, i) => expectClose(result, alone[i]!))
    })

    it.each(ofTexts)('%s takes an empty text', async (_kind, work) => {
      const empty = { ...work, texts: [''] }
      expect(workResultFault(empty, await does(empty))).toBeUndefined()
    })

    it.each(ofTexts)('%s refuses a text longer than its context', async (_kind, work) => {
      const long = { ...work, texts: [work.texts[0]!, 'geese fly on '.repeat(model.contextTokens)] }
      expect(await codeOf(does(long))).toBe('CONTEXT_LENGTH_EXCEEDED')
    })

    it('vectors have length 1, also those that are cut', async () => {
      const work = init.works.find(({ kind }) => kind === 'embed')
      if (work?.kind !== 'embed') return
      const whole = await does(work)
      if (whole.kind !== 'embed') throw new TypeError('no vectors')
      const size = whole.vectors[0]!.length / 4
      const dimensions = Math.ceil(size / 2)
      const cut = await does({ ...work, dimensions })
      if (cut.kind !== 'embed') throw new TypeError('no vectors')
      for (const vector of [...whole.vectors, ...cut.vectors])
        expect(Math.hypot(...numbersOf(vector))).toBeCloseTo(1, 4)
      const first = numbersOf(whole.vectors[0]!).slice(0, dimensions)
      const length = Math.hypot(...first)
      numbersOf(cut.vectors[0]!).forEach((value, i) => expect(value).toBeCloseTo(first[i]! / length, 4))
      await expect(does({ ...work, dimensions: size + 1 })).rejects.toMatchObject({
        code: 'INVALID_REQUEST',
        param: 'dimensions',
      })
    })

    it('classes are scores from the likeliest on', async () => {
      const work = init.works.find(({ kind }) => kind === 'classify')
      if (work === undefined) return
      const result = await does(work)
      if (result.kind !== 'classify') throw new TypeError('no classes')
      for (const classes of result.classes) {
        const scores = classes.map(({ score }) => score)
        expect(scores).toEqual(scores.toSorted((a, b) => b - a))
        for (const score of scores) expect(score >= 0 && score <= 1).toBe(true)
      }
    })

    it.each(KINDS.filter((kind) => !init.works.some((work) => work.kind === kind)))(
      'refuses %s, naming the parameter',
      async (kind) => {
        await expect(does(WORDS[kind])).rejects.toMatchObject({ code: 'INVALID_REQUEST', param: expect.any(String) })
      },
    )

    it.each(init.misfits ?? [])('refuses what does not fit its signature: %o', async (work, param) => {
      await expect(does(work)).rejects.toMatchObject({ code: 'INVALID_REQUEST', param })
      expect(engine.stats().running).toBe(0)
    })

    it.each(each)('%s throws the reason of an abort, before and while it works', async (_kind, work) => {
      const reason = new SkeinError('CLIENT_CLOSED', 'the client hung up')
      await expect(does(work, AbortSignal.abort(reason))).rejects.toBe(reason)
      const controller = new AbortController()
      const working = does(work, controller.signal)
      controller.abort(reason)
      await expect(working).rejects.toBe(reason)
      expect(workResultFault(work, await does(work))).toBeUndefined()
    })

    it('is without a model when it is unloaded, and takes one again', async () => {
      const [work] = init.works
      const running = codeOf(does(work!))
      await engine.unload()
      expect(await running).toBe('ENGINE_FAILED')
      expect(await codeOf(does(work!))).toBe('ENGINE_FAILED')
      await init.load(engine)
      expect(workResultFault(work!, await does(work!))).toBeUndefined()
    }, 30_000)
  })
}
