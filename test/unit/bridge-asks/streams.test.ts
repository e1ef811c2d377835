import { describe, expect, it } from 'vitest'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import { ManualClock, silentLogger } from '../../../mesh/runtime/index.ts'
import { parseStreamRules, SensorStreams, type SensorVerdict } from '../../../firmware-bridge/streams/index.ts'
import { sessionOf, SessionsTwin } from './support.ts'

const NORMAL: SensorVerdict = { label: 'normal', score: 0.01 }
const SPIKE: SensorVerdict = { label: 'spike', score: 0.91234 }

async function watching(toml: string) {
  const clock = new ManualClock()
  const sessions = new SessionsTwin()
  const counts = new Map<string, number>()
  const looks: { readonly model: string; readonly values: readonly number[]; readonly window: number }[] = []
  const says: { verdict: SensorVerdict | SkeinError } = { verdict: NORMAL }
  const models = {
    look: (model: string, _device: string, values: readonly number[], window: number) => {
      looks.push({ model, values, window })
      return says.verdict instanceof SkeinError ? Promise.reject(says.verdict) : Promise.resolve(says.verdict)
    },
  }
  const tally = { count: (reason: string) => void counts.set(reason, (counts.get(reason) ?? 0) + 1) }
  const parts = { sessions, models, clock, log: silentLogger, tally }
  const streams = new SensorStreams(parts, parseStreamRules(toml, 'streams.toml'))
  await streams.start()
  sessions.join(sessionOf('uno'))
  /** Readings, and then time for the next look. */
  const reads = async (...values: number[]): Promise<void> => {
    sessions.reads('uno', 'temperature', ...values)
    await clock.advance(60_000)
  }
  const told = () => sessions.to('uno').filter((message) => message.kind === 'class')
  return { clock, sessions, streams, looks, says, counts, reads, told }
}

const RULE = '[[stream]]\ncapability = "temperature"\n'
const some = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

describe('the file of streams', () => {
  it('has defaults for all but the capability', () => {
    expect(parseStreamRules(RULE, 'f')).toEqual([
      { capability: 'temperature', model: 'skein-sensor', window: 64, every: 60, threshold: 0.5, tell: 'crossing' },
    ])
  })

  it.each([
    ['[[stream]]\ncapability = ', 'f: line 2'],
    ['[[stream]]\nmodel = "x"', '/stream/0'],
    [`${RULE}threshold = 2`, '/stream/0/threshold'],
    [`${RULE}treshold = 0.2`, '/stream/0'],
    ['capability = "temperature"', 'f: '],
  ])('that is %j is refused where it is wrong', (text, where) => {
    expect(() => parseStreamRules(text, 'f')).toThrow(where)
  })
})

describe('a watched sensor', () => {
  it('is looked at by its newest readings, once there are some, and not too often', async () => {
    const bench = await watching(`${RULE}window = 16`)
    await bench.reads(...some(7))
    expect(bench.looks).toHaveLength(0)
    await bench.reads(7)
    expect(bench.looks).toEqual([{ model: 'skein-sensor', values: some(8), window: 16 }])
    bench.sessions.reads('uno', 'temperature', ...some(30))
    await bench.clock.advance(59_999)
    expect(bench.looks).toHaveLength(2)
    bench.sessions.reads('uno', 'temperature', 1)
    await bench.clock.advance(1)
    bench.sessions.reads('uno', 'temperature', 99)
    await bench.clock.advance(0)
    expect(bench.looks).toHaveLength(3)
    expect(bench.looks[2]!.values).toEqual([...some(30).slice(-14), 1, 99])
  })

  it('is told of when its score crosses the threshold, both ways, and once', async () => {
    const bench = await watching(RULE)
    await bench.reads(...some(8))
    expect(bench.told()).toEqual([])
    bench.says.verdict = SPIKE
    await bench.reads(90)
    await bench.reads(91)
    expect(bench.told()).toEqual([{ kind: 'class', c: 'temperature', label: 'spike', score: 0.912 }])
    bench.says.verdict = { label: 'step', score: 0.9 }
    await bench.reads(92)
    bench.says.verdict = NORMAL
    await bench.reads(20)
    expect(bench.told().map(({ label }) => label)).toEqual(['spike', 'step', 'normal'])
  })

  it('is told of after each look where the rule says so', async () => {
    const bench = await watching(`${RULE}tell = "always"`)
    await bench.reads(...some(8))
    await bench.reads(9)
    expect(bench.told()).toHaveLength(2)
  })

  it('is told of again when the device did not hear it', async () => {
    const bench = await watching(RULE)
    bench.says.verdict = SPIKE
    bench.sessions.become('uno', 'sleeping')
    await bench.reads(...some(8))
    bench.sessions.become('uno', 'ready')
    await bench.reads(9)
    expect(bench.told()).toHaveLength(1)
    expect(bench.counts.get('stream_offline')).toBe(1)
  })

  it('is the one of its rule', async () => {
    const bench = await watching(`${RULE}device = "esp"`)
    await bench.reads(...some(10))
    bench.sessions.reads('uno', 'humidity', ...some(10))
    expect(bench.streams.watched).toBe(0)
    expect(bench.looks).toHaveLength(0)
  })

  it('is looked at by what was read in the last seconds', async () => {
    const bench = await watching(`${RULE}seconds = 10`)
    for (const [atMs, ...values] of [
      [1000, ...some(8)],
      [5000, ...some(8)],
      [11_001, 60],
      // a clock that went back makes nothing older
      [1000, 99],
    ] as const) {
      bench.sessions.readsAt(atMs, 'uno', 'temperature', ...values)
      await bench.clock.advance(60_000)
    }
    const later = [...some(8), 60]
    expect(bench.looks.map(({ values }) => values)).toEqual([some(8), [...some(8), 0], later, [...later, 99]])
  })

  it('has what models say of it among its readings', async () => {
    const bench = await watching(RULE)
    bench.says.verdict = SPIKE
    await bench.reads(...some(8))
    await bench.reads(9)
    expect(bench.sessions.recorded).toEqual([
      ['uno.temperature_anomaly', 0.912],
      ['uno.temperature_class', 'spike'],
      ['uno.temperature_anomaly', 0.912],
      ['uno.temperature_class', 'spike'],
    ])
  })

  it('is looked at again after a failure', async () => {
    const bench = await watching(RULE)
    bench.says.verdict = new SkeinError('SATURATED', 'busy')
    await bench.reads(...some(8))
    bench.says.verdict = SPIKE
    await bench.reads(9)
    expect(bench.counts.get('stream_failed')).toBe(1)
    expect(bench.told()).toHaveLength(1)
  })
})
