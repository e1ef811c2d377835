/** What callers may rely on, on the bundled ONNX models themselves: hostile numbers, any unit, batches that change nothing. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { dot, embed, readTokenizer } from '../../eval/embedding.ts'
import { openModel, type OnnxModel } from '../../eval/onnx.ts'
import { judge, WINDOW, type Window } from '../../eval/sensor.ts'

const everywhere = (value: (i: number) => number): Float32Array =>
  Float32Array.from({ length: WINDOW }, (_, i) => value(i))
const windowOf = (value: (i: number) => number, present: (i: number) => boolean = () => true): Window => ({
  kind: 'x',
  label: 'normal',
  readings: everywhere(value),
  mask: everywhere((i) => (present(i) ? 1 : 0)),
})
/** A quiet afternoon, with a little noise that a hash of the position decides. */
const calm = (i: number): number => 21 + Math.sin(i / 20) + 0.1 * (((i * 7919) % 17) / 17 - 0.5)

describe('the bundled sensor model', () => {
  let model: OnnxModel
  let threshold: number
  beforeAll(async () => {
    model = await openModel('node/models/bundled/sensor/model.onnx')
    threshold = Number(model.metadata.get('threshold'))
  })
  afterAll(() => model.session.release())

  it('says in its metadata what it needs and means', () => {
    expect(model.session.inputNames).toEqual(['values', 'mask'])
    expect(model.session.outputNames).toEqual(['anomaly', 'probabilities'])
    const classes = JSON.parse(model.metadata.get('classes')!) as string[]
    expect(classes).toEqual(['normal', 'spike', 'stuck', 'drift', 'dropout', 'step', 'noise_burst'])
    expect(threshold).toBeGreaterThan(0)
    expect(threshold).toBeLessThan(1)
    expect(model.metadata.get('version')).toMatch(/^\d+$/)
  })

  it('finds a spike, a step and a gap, and nothing in a calm window', async () => {
    const [quiet, spike, step, gap] = await judge(model, [
      windowOf(calm),
      windowOf((i) => calm(i) + (i === 40 ? 9 : 0)),
      windowOf((i) => calm(i) + (i >= 40 ? 6 : 0)),
      windowOf(calm, (i) => i < 20 || i > 40),
    ])
    expect(quiet!.anomaly).toBeLessThan(threshold)
    for (const one of [spike!, step!, gap!]) expect(one.anomaly).toBeGreaterThan(threshold)
  })

  it('needs no unit: °C, °F and raw steps are one', async () => {
    const spiked = (i: number): number => calm(i) + (i === 30 ? 2 : 0)
    const units = [
      spiked,
      (i: number) => spiked(i) * 1.8 + 32,
      (i: number) => spiked(i) * 1000,
      (i: number) => spiked(i) / 64,
    ]
    const [first, ...others] = await judge(
      model,
      units.map((unit) => windowOf(unit)),
    )
    for (const other of others) expect(Math.abs(other.anomaly - first!.anomaly)).toBeLessThan(0.02)
  })

  it('tells numbers from 0 to 1 whatever comes in', async () => {
    const hostile = [
      windowOf(
        () => 0,
        () => false,
      ),
      windowOf(() => 0),
      windowOf(() => NaN),
      windowOf((i) => (i % 2 === 0 ? Infinity : -Infinity)),
      windowOf((i) => (i === 9 ? 3e38 : calm(i))),
      windowOf((i) => (i % 2 === 0 ? 1e15 : -1e15)),
      windowOf((i) => 1e-38 * i),
      windowOf(calm, (i) => i === 5),
    ]
    for (const { anomaly, probabilities } of await judge(model, hostile)) {
      expect(anomaly).toBeGreaterThanOrEqual(0)
      expect(anomaly).toBeLessThanOrEqual(1)
      expect(probabilities.reduce((sum, each) => sum + each, 0)).toBeCloseTo(1, 4)
    }
  })

  it('takes NaN and what is masked for missing alike', async () => {
    const hole = (i: number): boolean => i < 10 || i > 12
    const [masked, nan, other] = await judge(model, [
      windowOf(calm, hole),
      windowOf((i) => (hole(i) ? calm(i) : NaN)),
      windowOf((i) => (hole(i) ? calm(i) : 1e6), hole),
    ])
    expect(nan!.anomaly).toBeCloseTo(masked!.anomaly, 5)
    expect(other!.anomaly).toBeCloseTo(masked!.anomaly, 5)
  })
})

describe('the bundled embedding model', () => {
  let model: OnnxModel
  const tokenize = readTokenizer()
  beforeAll(async () => {
    model = await openModel('node/models/bundled/embedding/model.onnx')
  })
  afterAll(() => model.session.release())

  it('has the standard names, and vectors of length 1', async () => {
    expect(model.session.inputNames).toEqual(['input_ids', 'attention_mask'])
    expect(model.session.outputNames).toEqual(['sentence_embedding'])
    const [vector] = await embed(model, tokenize, ['The keys are in the drawer.'])
    expect(vector!.length).toBe(Number(model.metadata.get('dimensions')))
    expect(dot(vector!, vector!)).toBeCloseTo(1, 4)
  })

  it('gives a text one vector, alone or beside longer ones', async () => {
    const long = 'Shopping list: milk, eggs, bread. '.repeat(40)
    const [alone] = await embed(model, tokenize, ['washer is broken'])
    const [beside] = await embed(model, tokenize, ['washer is broken', long])
    expect(dot(alone!, beside!)).toBeCloseTo(1, 4)
  })

  it('puts synonyms, names and codes near, and other things far', async () => {
    const near = async (a: string, b: string): Promise<number> => {
      const [one, two] = await embed(model, tokenize, [a, b])
      return dot(one!, two!)
    }
    const other = await near('the washing machine is leaking', 'train tickets to Oslo are booked')
    expect(await near('the washing machine is leaking', 'laundry machine loses water')).toBeGreaterThan(other + 0.2)
    expect(await near('ask Wrzosniak about QX-88213', 'wrzosniak')).toBeGreaterThan(other + 0.2)
    expect(await near('ask Wrzosniak about QX-88213', 'QX-88213')).toBeGreaterThan(other + 0.2)
  })

  it('takes any text, of any length', async () => {
    const vectors = await embed(model, tokenize, ['', ' ', '🙂', '\u0000', 'x'.repeat(20_000), '钥匙在抽屉里'])
    for (const vector of vectors)
      expect(vector.every((each) => Number.isFinite(each) && Math.abs(each) <= 1)).toBe(true)
  })
})
