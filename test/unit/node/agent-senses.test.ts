/** How warm a machine is and what it takes, as its coordinators hear it. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checker, LoadReportSchema } from '../../../mesh/protocol/index.ts'
import { ManualClock } from '../../../mesh/runtime/index.ts'
import { AgentSenses, SENSES_MS } from '../../../node/agent/agent-senses.ts'
import { NOTHING_KNOWN, type Known, type Observations, type Sense, type Senses } from '../../../node/policy/index.ts'
import { join2, setup } from './node-agent.harness.ts'
import { until } from './support.ts'

class SensesTwin implements Senses {
  now: Partial<Observations> = {}
  readonly asked: ReadonlySet<Sense>[] = []

  wallMs(): number {
    return 0
  }

  async read(wanted: ReadonlySet<Sense>): Promise<Observations> {
    this.asked.push(wanted)
    return { ...NOTHING_KNOWN, ...this.now }
  }
}

function watched() {
  const clock = new ManualClock()
  const twin = new SensesTwin()
  let changes = 0
  const senses = new AgentSenses(clock, twin, () => changes++)
  const sees = async (now: Partial<Observations>): Promise<object> => {
    twin.now = now
    await clock.advance(SENSES_MS)
    return senses.sensed
  }
  return { clock, twin, senses, sees, changes: () => changes }
}

const isLoad = checker(LoadReportSchema)
const loadOf = (more: object): object => ({
  ...{ sequence: 1, models: [], memoryFreeBytes: 1, cordoned: false, draining: false },
  ...more,
})

describe('what an agent senses', () => {
  it('is told in whole degrees and watts, and what is unknown is absent', async () => {
    const { senses, sees, twin, changes } = watched()
    await senses.look()
    expect([senses.sensed, changes()]).toEqual([{}, 0])
    expect(await sees({ temperature: 61.4, watts: 37.6 })).toEqual({ temperatureCelsius: 61, watts: 38 })
    expect(await sees({ temperature: 61.4 })).toEqual({ temperatureCelsius: 61 })
    expect(await sees({ watts: 0.2 })).toEqual({ watts: 0 })
    expect(await sees({})).toEqual({})
    expect(changes()).toBe(4)
    for (const wanted of twin.asked) expect([...wanted]).toEqual(['temperature', 'watts'])
  })

  it('is no reason for a report while it trembles', async () => {
    const { senses, sees, changes } = watched()
    await senses.look()
    await sees({ temperature: 61, watts: 200 })
    for (const [temperature, watts] of [
      [61.9, 209],
      [60.1, 191],
      [61.5, 204.4],
    ] as const)
      // prettier-ignore
      expect(await sees({ temperature, watts })).toEqual({ temperatureCelsius: 61, watts: 200 })
    expect(changes()).toBe(1)
    expect(await sees({ temperature: 62, watts: 209 })).toEqual({ temperatureCelsius: 62, watts: 200 })
    expect(await sees({ temperature: 62, watts: 189.6 })).toEqual({ temperatureCelsius: 62, watts: 190 })
    expect(await sees({ temperature: 62, watts: 4 })).toEqual({ temperatureCelsius: 62, watts: 4 })
    expect(await sees({ temperature: 62, watts: 4.9 })).toEqual({ temperatureCelsius: 62, watts: 4 })
    expect(changes()).toBe(4)
  })

  it('is looked at a second time soon, then seldom, and no more when it is stopped', async () => {
    const { clock, senses, twin } = watched()
    await senses.look()
    await clock.advance(1000)
    expect(twin.asked).toHaveLength(2)
    await clock.advance(6 * SENSES_MS)
    expect(twin.asked).toHaveLength(8)
    senses.stop()
    await clock.advance(6 * SENSES_MS)
    expect(twin.asked).toHaveLength(8)
  })

  it('is always what a load report may say, whatever a sensor says', async () => {
    const value: fc.Arbitrary<Known<number>> = fc.oneof(fc.double(), fc.constant('unknown' as const))
    await fc.assert(
      fc.asyncProperty(fc.array(fc.record({ temperature: value, watts: value }), { maxLength: 6 }), async (all) => {
        const { senses, sees } = watched()
        await senses.look()
        for (const now of all) expect(loadOf(await sees(now))).toSatisfy(isLoad)
      }),
    )
  })
})

describe('a load report', () => {
  it('is refused with what no machine can be, and read with members of a later version', () => {
    const fine = [
      {},
      { temperatureCelsius: 0, watts: 0 },
      { temperatureCelsius: 150, watts: 100_000 },
      { mood: 'good' },
    ]
    for (const more of fine) expect(loadOf(more)).toSatisfy(isLoad)
    const bad = [-1, 0.5, 1e6, '61', null]
    for (const odd of bad)
      for (const name of ['temperatureCelsius', 'watts']) expect(loadOf({ [name]: odd })).not.toSatisfy(isLoad)
  })

  it('says how warm the machine is, and again when that is another', async () => {
    const senses = new SensesTwin()
    senses.now = { temperature: 48.2 }
    const { clock, network, agent } = await setup({ senses })
    const home = join2(network, clock)
    await agent.start()
    const newest = () => home.loads().at(-1)
    await until('it is told', () => newest()?.temperatureCelsius === 48, { clock, stepMs: 50 })
    expect(newest()).not.toHaveProperty('watts')
    senses.now = { temperature: 71, watts: 38 }
    await until('the new one is told', () => newest()?.watts === 38, { clock, stepMs: 200 })
    expect(newest()).toMatchObject({ temperatureCelsius: 71, watts: 38 })
    const reports = home.loads().length
    await clock.advance(5 * SENSES_MS)
    expect(home.loads().length).toBe(reports)
  })

  it('says nothing of it where nobody looks', async () => {
    const { clock, network, agent } = await setup()
    const home = join2(network, clock)
    await agent.start()
    await until('it reports', () => home.loads().length > 0, { clock, stepMs: 50 })
    for (const name of ['temperatureCelsius', 'watts']) expect(home.loads()[0]).not.toHaveProperty(name)
  })
})
