/** Where things are drawn: the topology, the lanes, the courses. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { lanesOf, marksOf, ROWS_MAX } from '../../../../clients/web/mesh/lanes.ts'
import { layoutOf, type PlaceKind, type Thing } from '../../../../clients/web/mesh/layout.ts'
import { emptySeries, SAMPLES_MAX, withSample } from '../../../../clients/web/mesh/series.ts'
import { bar, live, node } from './fixtures.ts'

const thing = (id: string, kind: PlaceKind = 'node'): Thing => ({ id, name: id, kind })

describe('the topology', () => {
  const things = fc.uniqueArray(
    fc.record({
      id: fc.string({ minLength: 1, maxLength: 8 }),
      kind: fc.constantFrom<PlaceKind>('node', 'cloud', 'bridge'),
    }),
    { selector: ({ id }) => id, maxLength: 60 },
  )

  it('places everything once, within the picture and apart, at any width', () => {
    fc.assert(
      fc.property(things, fc.integer({ min: 300, max: 2000 }), (list, width) => {
        const { places, height } = layoutOf(
          list.map(({ id, kind }) => thing(id, kind)),
          width,
        )
        expect(places.map(({ id }) => id).sort()).toEqual(list.map(({ id }) => id).sort())
        for (const { x, y } of places) {
          expect(x).toBeGreaterThanOrEqual(0)
          expect(x).toBeLessThanOrEqual(width)
          expect(y).toBeGreaterThanOrEqual(0)
          expect(y).toBeLessThanOrEqual(height)
        }
        expect(new Set(places.map(({ x, y }) => `${x} ${y}`)).size).toBe(list.length)
      }),
    )
  })

  it('does not depend on the order in which members are told', () => {
    fc.assert(
      fc.property(things, (list) => {
        const named = list.map(({ id, kind }) => thing(id, kind))
        const byId = (a: Thing, b: Thing): number => (a.id < b.id ? -1 : 1)
        expect(layoutOf(named.toReversed(), 900).places.toSorted(byId)).toEqual(
          layoutOf(named, 900).places.toSorted(byId),
        )
      }),
    )
  })

  it('one node stands at the side of the coordinator, whose name is below it', () => {
    const { places, center } = layoutOf([thing('attic')], 900)
    expect(places).toMatchObject([{ y: center.y }])
    expect(places[0]!.x).toBeGreaterThan(center.x + 150)
  })

  it('has the cloud above, bridges below, and nodes at the sides', () => {
    const { places, center } = layoutOf([thing('a'), thing('b'), thing('sky', 'cloud'), thing('house', 'bridge')], 900)
    const at = (id: string) => places.find((place) => place.id === id)!
    expect(at('sky').y).toBeLessThan(center.y)
    expect(at('house').y).toBeGreaterThan(center.y)
    expect([at('a').x > center.x, at('b').x < center.x]).toEqual([true, true])
  })

  it('draws cards where there is room, and dots on a phone or for a crowd', () => {
    const few = Array.from({ length: 5 }, (_, i) => thing(`n${i}`))
    const crowd = Array.from({ length: 50 }, (_, i) => thing(`n${i}`))
    expect([layoutOf(few, 1000), layoutOf(few, 360), layoutOf(crowd, 1000)].map(({ density }) => density)).toEqual([
      'card',
      'dot',
      'dot',
    ])
  })
})

describe('lanes', () => {
  const window = { fromMs: 1000, toMs: 2000 }

  it('has a lane for each node that can answer, bars of a part of the window, and rows for those beside each other', () => {
    const tasks = [
      live('task_a', [bar(1, 'desk', 1100, 1300)], { state: 'completed' }),
      live('task_b', [bar(1, 'desk', 1200)]),
      live('task_c', [bar(1, 'desk', 1400, 1500)], { state: 'completed' }),
    ]
    const { lanes } = lanesOf([node('desk'), node('attic'), node('bare', { models: [] })], tasks, window)
    expect(lanes.map(({ name, rows }) => [name, rows])).toEqual([
      ['attic', 1],
      ['desk', 2],
    ])
    expect(lanes[1]!.bars.map(({ row, x, width, isRunning }) => [row, x, width, isRunning])).toEqual([
      [0, 0.1, expect.closeTo(0.2), false],
      [1, 0.2, expect.closeTo(0.8), true],
      [0, 0.4, expect.closeTo(0.1), false],
    ])
  })

  it('draws a move from the end of one bar to the beginning of the next, also to a node that is gone', () => {
    const moved = live('task_a', [bar(1, 'desk', 1100, 1500), bar(2, 'gone', 1500, undefined, 'lost')])
    const { lanes, moves } = lanesOf([node('desk')], [moved], window)
    expect(lanes.map(({ name }) => name)).toEqual(['desk', 'gone'])
    expect(moves).toEqual([
      { task: moved, attempt: 2, from: { lane: 0, row: 0, x: 0.5 }, to: { lane: 1, row: 0, x: 0.5 }, reason: 'lost' },
    ])
  })

  it('leaves out what ended before the window, and its moves', () => {
    const old = live('task_a', [bar(1, 'desk', 10, 20), bar(2, 'attic', 20, 90, 'drain')], { state: 'completed' })
    const { lanes, moves } = lanesOf([], [old], window)
    expect([lanes, moves]).toEqual([[], []])
  })

  it('never lets bars of one row overlap, as long as there are rows', () => {
    const spans = fc.array(fc.tuple(fc.integer({ min: 1000, max: 1900 }), fc.integer({ min: 1, max: 300 })), {
      maxLength: 20,
    })
    fc.assert(
      fc.property(spans, (list) => {
        const tasks = list.map(([fromMs, ms], i) =>
          live(`task_${i}`, [bar(1, 'desk', fromMs, fromMs + ms)], { state: 'completed' }),
        )
        const bars = lanesOf([node('desk')], tasks, window).lanes[0]!.bars
        const rows = new Map<number, number>()
        for (const { row, bar: own } of bars) {
          if (row < ROWS_MAX - 1) expect(own.fromMs).toBeGreaterThanOrEqual(rows.get(row) ?? 0)
          rows.set(row, own.toMs!)
        }
      }),
    )
  })

  it.each([60_000, 300_000, 900_000])('marks %i ms in round steps, from now backwards', (span) => {
    const marks = marksOf({ fromMs: 0, toMs: span })
    expect(marks[0]).toEqual({ x: 1, agoMs: 0 })
    expect(marks.length).toBeLessThanOrEqual(7)
    expect(marks.at(-1)!.x).toBeGreaterThanOrEqual(0)
  })
})

describe('courses', () => {
  const sample = (atMs: number, generated = 0) => ({ atMs, generated, running: 1, waiting: 2 })

  it('says tokens a second over the last seconds', () => {
    const series = [sample(0), sample(2000, 100), sample(4000, 300)].reduce(withSample, emptySeries())
    expect(series.tokensPerSecond).toEqual([0, 50, 75])
    expect(series.seconds).toEqual([0, 2, 4])
    expect([series.running.at(-1), series.waiting.at(-1)]).toEqual([1, 2])
  })

  it('is bounded, and passes over a clock that was put back', () => {
    let series = emptySeries()
    for (let i = 0; i < SAMPLES_MAX + 10; i++) series = withSample(series, sample(i * 1000, i))
    expect(series.seconds).toHaveLength(SAMPLES_MAX)
    expect(withSample(series, sample(5))).toBe(series)
  })
})
