/** Energy: counters as the kernel lays them out, tools, rules of thumb, and what a run takes above the idle machine. */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ModelSpeedSchema, SkeinError, checker, type Hardware, type ModelSpeed } from '../../../mesh/protocol/index.ts'
import { ManualClock, silentLogger, type Clock } from '../../../mesh/runtime/index.ts'
import {
  estimatedEnergy,
  estimateWatts,
  hardwareOf,
  joulesBetween,
  measureEnergy,
  NO_METER,
  readRapl,
  SystemEnergy,
  type EnergyMeter,
  type RaplReading,
} from '../../../node/capability/index.ts'
import { createEngine, echoDigest, type Engine } from '../../../node/engines/index.ts'
import { FACTS, join2, setup, startAttempt } from './node-agent.harness.ts'
import { digestOf, temporaryDirectory, until } from './support.ts'

const never = new AbortController().signal

/** A powercap directory: `zone/file` to text. */
async function powercap(files: Readonly<Record<string, string>>): Promise<string> {
  const dir = await temporaryDirectory()
  for (const [path, text] of Object.entries(files)) {
    await mkdir(join(dir, path, '..'), { recursive: true })
    await writeFile(join(dir, path), text)
  }
  return dir
}
const zone = (name: string, microjoules: number | string, range: number | string = 262_143_328_850) => ({
  [`${name}/name`]: 'package-0\n',
  [`${name}/energy_uj`]: `${microjoules}\n`,
  [`${name}/max_energy_range_uj`]: `${range}\n`,
})
const counters = (reading: RaplReading): object =>
  typeof reading === 'string'
    ? { reading }
    : Object.fromEntries([...reading].map(([name, { microjoules }]) => [name, microjoules]))

describe('the counters of the processors', () => {
  it('are read of each package once: not of its parts, its second door, or the platform around it', async () => {
    const dir = await powercap({
      ...zone('intel-rapl:0', 1000),
      ...zone('intel-rapl:1', 2000),
      ...zone('intel-rapl:0:0', 400),
      ...zone('intel-rapl-mmio:0', 1000),
      ...zone('intel-rapl:2', 9000),
      'intel-rapl:2/name': 'psys\n',
      'intel-rapl/enabled': '1',
      ...zone('dtpm', 7),
    })
    expect(counters(await readRapl(dir))).toEqual({ 'intel-rapl:0': 1000, 'intel-rapl:1': 2000 })
  })

  it('tell joules between two readings, over the point where they begin anew', async () => {
    const dir = await powercap({ ...zone('intel-rapl:0', 5_000_000, 10_000_000), ...zone('intel-rapl:1', 0) })
    const before = await readRapl(dir)
    await writeFile(join(dir, 'intel-rapl:0/energy_uj'), '9000000')
    await writeFile(join(dir, 'intel-rapl:1/energy_uj'), '2000000')
    const middle = await readRapl(dir)
    expect(joulesBetween(before, middle, 1000)).toBeCloseTo(6)
    await writeFile(join(dir, 'intel-rapl:0/energy_uj'), '500000')
    expect(joulesBetween(middle, await readRapl(dir), 1000)).toBeCloseTo(1.5)
  })

  it('that jump, began anew at an unknown point, or are gone, tell nothing', async () => {
    const dir = await powercap({ ...zone('intel-rapl:0', 5_000_000, 'none'), ...zone('intel-rapl:1', 8_000_000, 100) })
    const before = await readRapl(dir)
    await writeFile(join(dir, 'intel-rapl:0/energy_uj'), '1')
    await writeFile(join(dir, 'intel-rapl:1/energy_uj'), '1')
    expect(joulesBetween(before, await readRapl(dir), 1000)).toBeUndefined()
    // a million watts
    await writeFile(join(dir, 'intel-rapl:0/energy_uj'), '1005000000000')
    expect(joulesBetween(before, await readRapl(dir), 1000)).toBeUndefined()
    expect(joulesBetween(before, new Map(), 1000)).toBeUndefined()
    expect(joulesBetween(before, before, 0)).toBeUndefined()
    expect(joulesBetween(before, before, Number.NaN)).toBeUndefined()
  })

  it.each(['', 'abc', '-5', '1e9', '0x10', '12 34', '9'.repeat(20), '9'.repeat(2_000_000)])(
    'that say garbage are none: %#',
    async (text) => {
      expect(await readRapl(await powercap(zone('intel-rapl:0', text)))).toBe('none')
    },
  )

  it('that are directories, pipes or links to nowhere are none, and nothing waits for them', async () => {
    const dir = await powercap({ 'intel-rapl:1/name': 'package-1', 'intel-rapl:2/name': 'package-2' })
    await mkdir(join(dir, 'intel-rapl:0/energy_uj'), { recursive: true })
    if (process.platform !== 'win32') execFileSync('mkfifo', [join(dir, 'intel-rapl:1/energy_uj')])
    await symlink('/nowhere', join(dir, 'intel-rapl:2/energy_uj'))
    await symlink('intel-rapl:3', join(dir, 'intel-rapl:3'))
    expect(await readRapl(dir)).toBe('none')
    expect(await readRapl(join(dir, 'not-there'))).toBe('none')
  })

  /** For root no mode of a file forbids anything; this one does. */
  const FORBIDDEN = '/proc/sys/vm/compact_memory'
  it.runIf(existsSync(FORBIDDEN))('that may not be read are told apart from none', async () => {
    const dir = await powercap({ 'intel-rapl:0/name': 'package-0', ...zone('intel-rapl:1', 7) })
    await symlink(FORBIDDEN, join(dir, 'intel-rapl:0/energy_uj'))
    expect(counters(await readRapl(dir))).toEqual({ 'intel-rapl:1': 7 })
    await writeFile(join(dir, 'intel-rapl:1/energy_uj'), '')
    expect(await readRapl(dir)).toBe('denied')
    if (process.getuid?.() === 0) return
    const own = await powercap(zone('intel-rapl:0', 7))
    await chmod(join(own, 'intel-rapl:0/energy_uj'), 0)
    expect(await readRapl(own)).toBe('denied')
  })
})

describe('the machine’s own meters', () => {
  const made = (init: { dir: string; battery?: number | 'unknown'; nvidia?: (asked: number) => string }) => {
    const clock = new ManualClock()
    let asked = 0
    const meter = new SystemEnergy({
      clock,
      raplDir: init.dir,
      power: { readWatts: async () => init.battery ?? 'unknown' },
      hasNvidia: () => init.nvidia !== undefined,
      run: async () => init.nvidia!(asked++),
    })
    return { clock, meter }
  }
  const none = () => powercap({})

  it('are the processors’ counters', async () => {
    const dir = await powercap(zone('intel-rapl:0', 1_000_000))
    const { clock, meter } = made({ dir, battery: 30 })
    const span = await meter.begin()
    await writeFile(join(dir, 'intel-rapl:0/energy_uj'), '41000000')
    await clock.advance(2000)
    expect(await span!.end()).toEqual({ joules: 40, ms: 2000, source: 'rapl' })
  })

  it('are the mean draw of NVIDIA’s GPUs, and of processors beside them', async () => {
    const dir = await powercap(zone('intel-rapl:0', 0))
    const { clock, meter } = made({ dir, nvidia: () => '100.0\n50.0\n' })
    const span = await meter.begin()
    for (let i = 0; i < 4; i++) await clock.advance(500)
    await writeFile(join(dir, 'intel-rapl:0/energy_uj'), '10000000')
    expect(await span!.end()).toEqual({ joules: 310, ms: 2000, source: 'rapl+nvml' })
    const alone = made({ dir: await none(), nvidia: () => '100\n' })
    const other = await alone.meter.begin()
    await alone.clock.advance(1000)
    expect(await other!.end()).toEqual({ joules: 100, ms: 1000, source: 'nvml' })
    // nothing is asked for any more
    expect(alone.clock.pendingTimers).toBe(0)
  })

  it('are the battery, where nothing else tells', async () => {
    const { clock, meter } = made({ dir: await none(), battery: 12 })
    const span = await meter.begin()
    await clock.advance(1000)
    expect(await span!.end()).toEqual({ joules: 12, ms: 1000, source: 'battery' })
  })

  it.each(['', 'No devices were found', '[N/A]', '-5', '1e99', '99999'])(
    'are none where tools talk nonsense: %s',
    async (text) => {
      expect(await made({ dir: await none(), nvidia: () => text }).meter.begin()).toBeUndefined()
    },
  )

  it('are none where nothing tells, and one that is forgotten ends by itself', async () => {
    expect(await made({ dir: await none() }).meter.begin()).toBeUndefined()
    const { clock, meter } = made({ dir: await none(), battery: 12 })
    await meter.begin()
    for (let i = 0; i < 130; i++) await clock.advance(500)
    expect(clock.pendingTimers).toBe(0)
  })
})

/** Tells so many watts while idle and while `engine` runs. */
const meterOf = (
  clock: Clock,
  engine: () => Engine | undefined,
  idleWatts: number,
  busyWatts: number,
): EnergyMeter => ({
  // prettier-ignore
  begin: async () => {
    const watts = (engine()?.stats().running ?? 0) > 0 ? busyWatts : idleWatts
    const beganMs = clock.nowMs()
    let isBusy = watts === busyWatts
    const cancel = clock.timer(50, () => (isBusy ||= (engine()?.stats().running ?? 0) > 0))
    return {
      end: async () => {
        cancel()
        const ms = clock.nowMs() - beganMs
        return { joules: ((isBusy ? busyWatts : idleWatts) * ms) / 1000, ms, source: 'rapl' }
      },
    }
  },
})
const SPEED: ModelSpeed = {
  prefillTokensPerSecond: 1000,
  decode: [{ sequences: 1, tokensPerSecond: 20 }],
  measuredAtMs: 1,
}

describe('joules per token', () => {
  const engineAt = async (clock: ManualClock, rate: number): Promise<Engine> => {
    const engine = createEngine('echo', { clock, log: silentLogger })
    await engine.load({ path: `echo:?tps=${rate}`, digest: digestOf('a'), slots: 1 })
    return engine
  }

  it('are what a run takes above the idle machine, over its tokens', async () => {
    const clock = new ManualClock()
    const engine = await engineAt(clock, 20)
    let energy: { joulesPerToken: number; source: string } | undefined
    void measureEnergy(engine, clock, meterOf(clock, () => engine, 10, 40), { speed: SPEED, signal: never }).then((found) => (energy = found)) // prettier-ignore
    await until('it is measured', () => energy !== undefined, { clock, stepMs: 5 })
    // 30 W above idle at 20 tokens/s
    expect(energy!.joulesPerToken).toBeGreaterThan(1.3)
    expect(energy!.joulesPerToken).toBeLessThan(1.7)
    expect(energy!.source).toBe('rapl')
  })

  it('are not told where nothing tells, or a run takes no more than nothing', async () => {
    const clock = new ManualClock()
    const engine = await engineAt(clock, 1000)
    expect(await measureEnergy(engine, clock, NO_METER, { speed: SPEED, signal: never })).toBeUndefined()
    let isOver = false
    let energy: unknown = 'none yet'
    void measureEnergy(engine, clock, meterOf(clock, () => engine, 40, 40), { speed: SPEED, signal: never }).then((found) => [(energy = found), (isOver = true)]) // prettier-ignore
    await until('it is over', () => isOver, { clock, stepMs: 5 })
    expect(energy).toBeUndefined()
  })

  it('give way at once, and end what they had begun', async () => {
    const clock = new ManualClock()
    const engine = await engineAt(clock, 20)
    for (const waitMs of [300, 1800]) {
      const giveWay = new AbortController()
      const measuring = measureEnergy(engine, clock, meterOf(clock, () => engine, 10, 40), { speed: SPEED, signal: giveWay.signal }) // prettier-ignore
      const outcome = expect(measuring).rejects.toMatchObject({ code: 'NO_FREE_SLOT' })
      for (let passed = 0; passed < waitMs; passed += 10) await until('time passes', () => true, undefined).then(() => clock.advance(10)) // prettier-ignore
      giveWay.abort(new SkeinError('NO_FREE_SLOT', 'a request came'))
      await outcome
      await until('the engine is free', () => engine.stats().running === 0)
      expect(clock.pendingTimers).toBe(0)
    }
  })

  it('are estimated by threads, or by GPUs, and bounded', () => {
    const gpu = (vendor: 'nvidia' | 'apple', backend: 'cuda' | 'metal' | 'none', gib: number): Hardware['gpus'][number] => ({ name: 'x', vendor, backend, memoryBytes: gib * 1024 ** 3 }) // prettier-ignore
    const machine = (...gpus: Hardware['gpus']): Hardware => ({ ...hardwareOf(FACTS), gpus })
    expect(estimateWatts(machine(), 4)).toBe(29)
    expect(estimateWatts(machine())).toBe(11)
    expect(estimateWatts(machine(gpu('nvidia', 'cuda', 12)))).toBe(155)
    expect(estimateWatts(machine(gpu('nvidia', 'cuda', 141)))).toBe(361)
    expect(estimateWatts(machine(gpu('apple', 'metal', 40)))).toBe(41)
    expect(estimateWatts(machine(gpu('nvidia', 'none', 12)), 4)).toBe(29)
    expect(estimatedEnergy(SPEED, 40, 'owner')).toEqual({ joulesPerToken: 2, source: 'owner' })
    expect(estimatedEnergy({ ...SPEED, decode: [{ sequences: 1, tokensPerSecond: 0 }] }, 40, 'owner')).toBeUndefined()
  })

  it('of a record are bounded', () => {
    const isSpeed = checker(ModelSpeedSchema)
    expect(isSpeed({ ...SPEED, energy: { joulesPerToken: 1, source: 'rapl' } })).toBe(true)
    for (const energy of [
      { joulesPerToken: -1, source: 'rapl' },
      { joulesPerToken: Number.NaN, source: 'rapl' },
      { joulesPerToken: 1, source: 'sun' },
      {},
    ])
      // prettier-ignore
      expect(isSpeed({ ...SPEED, energy })).toBe(false)
  })
})

describe('a node', () => {
  const MODELS = ['echo:?tps=100&prefill=2000']

  it('announces an estimate, marked so, where nothing tells', async () => {
    const { agent, network, clock } = await setup({ models: MODELS })
    const home = join2(network, clock)
    await agent.start()
    const energy = () => home.records().at(-1)?.models[0]?.speed?.energy
    await until('it is announced', () => energy() !== undefined, { clock, stepMs: 5 })
    // 11 W at 100 tokens/s
    expect(energy()!.source).toBe('estimated')
    expect(energy()!.joulesPerToken).toBeGreaterThan(0.08)
    expect(energy()!.joulesPerToken).toBeLessThan(0.15)
  })

  it('announces what its meters told once measured, beside no answer, and knows it after a restart', async () => {
    const dataDir = await temporaryDirectory()
    const engines: Engine[] = []
    const life = async () => {
      let meter = NO_METER
      const made = await setup({
        models: MODELS,
        dataDir,
        engine: (clock) => {
          engines.push(createEngine('echo', { clock, log: silentLogger }))
          meter = meterOf(clock, () => engines.at(-1), 10, 40)
          return engines.at(-1)!
        },
        energy: { begin: () => meter.begin() },
      })
      const home = join2(made.network, made.clock)
      await made.agent.start()
      const energy = () => home.records().at(-1)?.models[0]?.speed?.energy
      return { ...made, home, energy }
    }
    const { agent, clock, home, transport, energy } = await life()
    await until('an estimate is announced', () => energy()?.source === 'estimated', { clock, stepMs: 5 })
    // somebody comes while it is metered
    await clock.advance(500)
    const channel = await startAttempt(home, transport, 'a', { digest: echoDigest(MODELS[0]!) })
    const frames: string[] = []
    void (async () => {
      for (let frame = await channel.receive(); frame !== undefined; frame = await channel.receive()) frames.push(frame.type) // prettier-ignore
      await channel.close()
    })()
    await until('it is answered', () => frames.includes('attempt.end'), { clock, stepMs: 5 })
    expect(energy()!.source).toBe('estimated')
    await until('it is metered', () => energy()?.source === 'rapl', { clock, stepMs: 5 })
    const metered = energy()!
    expect(metered.joulesPerToken).toBeGreaterThan(0.25)
    expect(metered.joulesPerToken).toBeLessThan(0.4)
    let isStopped = false
    void agent.stop().then(() => (isStopped = true))
    await until('its first life is over', () => isStopped, { clock, stepMs: 500 })
    const second = await life()
    await until('it is announced', () => second.energy() !== undefined, { clock: second.clock, stepMs: 5 })
    expect(second.energy()).toEqual(metered)
  })
})
