import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { SkeinError, type EngineKind } from '../../../mesh/protocol/index.ts'
import { ManualClock, SeededRandom, silentLogger } from '../../../mesh/runtime/index.ts'
import { Measurements } from '../../../node/capability/index.ts'
import { createEngine, type Engine } from '../../../node/engines/index.ts'
import { ModelHost, type ModelFile } from '../../../node/models/index.ts'
import { after, ScriptedEngine, scriptedFile, temporaryDirectory, until } from './support.ts'

interface Setup {
  readonly clock: ManualClock
  readonly host: ModelHost
  readonly announced: string[]
  readonly problems: SkeinError[]
  readonly wanted: ModelHost[]
}

const never = new AbortController().signal

async function setup(
  engine: (kind: EngineKind, clock: ManualClock, onExit: (error: SkeinError) => void) => Engine,
  file: ModelFile = scriptedFile(),
  dir?: string,
): Promise<Setup> {
  const clock = new ManualClock()
  const announced: string[] = []
  const problems: SkeinError[] = []
  const wanted: ModelHost[] = []
  const path = join(dir ?? (await temporaryDirectory()), 'measurements.json')
  const host: ModelHost = new ModelHost(
    {
      clock,
      random: new SeededRandom(1),
      log: silentLogger,
      createEngine: (kind, { onExit }) => engine(kind, clock, onExit!),
      measurements: await Measurements.open(path, silentLogger),
      hardwareFingerprint: async () => 'machine',
      onCapability: () => announced.push(host.capability.residency),
      onLoad: () => {},
      onProblem: (error) => problems.push(error),
      onWanted: (wantedHost) => wanted.push(wantedHost),
      onIdle: () => {},
    },
    file,
    { slots: 2 },
  )
  after(() => host.stop())
  return { clock, host, announced, problems, wanted }
}

describe('ModelHost', () => {
  it('is announced as loading with what its file says, then as resident with what the engine found', async () => {
    const engine = new ScriptedEngine(false)
    const { host, announced } = await setup(() => engine, { ...scriptedFile(), contextTokens: 77 })
    host.start()
    expect(host.capability).toMatchObject({ residency: 'loading', contextTokens: 77, slots: 2 })
    engine.onProgress(0.5)
    expect(host.loadedShare).toBe(0.5)
    engine.finishLoading()
    await until('it is resident', () => host.isResident)
    expect(announced).toEqual(['resident'])
    expect(host.capability).toMatchObject({ contextTokens: 100, numerics: { engineBuild: 'scripted 1' } })
  })

  it('is announced with what its engine is expected to do, then with what it does', async () => {
    const engine = new ScriptedEngine(false)
    const { host } = await setup(() => engine, { ...scriptedFile(), engine: 'llama', hasChatTemplate: false })
    host.start()
    expect(host.capability.features).toEqual(['completion', 'json', 'logprobs'])
    engine.finishLoading()
    await until('it is resident', () => host.isResident)
    expect(host.capability.features).toEqual(['chat', 'completion', 'logprobs'])
  })

  it('gives its slots and no more', async () => {
    const { host } = await setup(() => new ScriptedEngine())
    host.start()
    const slots = [host.acquire(), host.acquire(), host.acquire()]
    expect(slots.map((slot) => slot !== undefined)).toEqual([true, true, false])
    slots[0]!.release()
    slots[0]!.release()
    expect(host.running).toBe(1)
    expect(host.load.running).toBe(1)
  })

  it('loads again after a crash, later after each', async () => {
    const engines: ScriptedEngine[] = []
    const { clock, host, announced } = await setup(() => {
      engines.push(new ScriptedEngine())
      return engines.at(-1)!
    })
    host.start()
    const waits: number[] = []
    for (let crashes = 1; crashes <= 3; crashes++) {
      await until('it is resident', () => host.isResident)
      const crashedAtMs = clock.nowMs()
      host.crashed(engines.at(-1)!, new SkeinError('ENGINE_CRASHED', 'gone'))
      expect(host.capability.residency).toBe('loading')
      await until('it is loaded again', () => engines.length === crashes + 1, { clock, stepMs: 10 })
      waits.push(clock.nowMs() - crashedAtMs)
    }
    expect(waits[0]).toBeGreaterThanOrEqual(250)
    expect(waits[1]).toBeGreaterThan(waits[0]! * 1.01)
    expect(waits[2]).toBeGreaterThan(waits[1]! * 1.01)
    expect(engines.slice(0, 3).every((engine) => engine.isUnloaded)).toBe(true)
    await until('it is resident', () => host.isResident)
    expect(announced.filter((residency) => residency === 'loading').length).toBe(3)
  })

  it('takes no notice of the crash of an engine that was replaced', async () => {
    const engines: ScriptedEngine[] = []
    const { clock, host } = await setup(() => {
      engines.push(new ScriptedEngine())
      return engines.at(-1)!
    })
    host.start()
    await until('it is resident', () => host.isResident)
    host.crashed(engines[0]!, new SkeinError('ENGINE_CRASHED', 'gone'))
    await until('it is loaded again', () => engines.length === 2 && host.isResident, { clock, stepMs: 50 })
    host.crashed(engines[0]!, new SkeinError('ENGINE_CRASHED', 'gone, told late'))
    expect(host.isResident).toBe(true)
  })

  it.each([
    ['while it is idle', true],
    ['while it loads', false],
  ])('loads again after its engine died %s', async (_, isResident) => {
    const engines: { engine: ScriptedEngine; exit: (error: SkeinError) => void }[] = []
    const { clock, host, announced, problems } = await setup((_kind, _clock, exit) => {
      engines.push({ engine: new ScriptedEngine(false), exit })
      return engines.at(-1)!.engine
    })
    host.start()
    if (isResident) engines[0]!.engine.finishLoading()
    await until('it is as far as it shall be', () => host.isResident === isResident)
    const diedAtMs = clock.nowMs()
    engines[0]!.exit(new SkeinError('ENGINE_CRASHED', 'killed'))
    // told, and only then believed to be loaded: what it says of itself came before
    engines[0]!.engine.finishLoading()
    expect(host.capability.residency).toBe('loading')
    const slot = host.acquire()!
    const ready = host.ready(never)
    await until('another engine loads', () => engines.length === 2, { clock, stepMs: 10 })
    expect(clock.nowMs() - diedAtMs).toBeGreaterThanOrEqual(250)
    engines[1]!.engine.finishLoading()
    expect(await ready).toBe(engines[1]!.engine)
    slot.release()
    engines[0]!.exit(new SkeinError('ENGINE_CRASHED', 'killed, told again'))
    expect(host.isResident).toBe(true)
    expect(announced).toEqual(isResident ? ['resident', 'loading', 'resident'] : ['resident'])
    expect(problems).toEqual([])
  })

  it('gives up a file that is no model, and tells everyone who waits', async () => {
    const engine = new ScriptedEngine(false)
    engine.loadError = new SkeinError('MODEL_FILE_INVALID', 'x.gguf: cut')
    const { host, problems } = await setup(() => engine)
    host.start()
    const waiting = expect(host.ready(never)).rejects.toMatchObject({ code: 'MODEL_FILE_INVALID' })
    engine.finishLoading()
    await waiting
    expect(problems.map((error) => error.code)).toEqual(['MODEL_FILE_INVALID'])
    expect(host.acquire()).toBeUndefined()
    expect(engine.isUnloaded).toBe(true)
  })

  it('measures once, keeps it, and takes the kept one after a restart', async () => {
    const dir = await temporaryDirectory()
    const file: ModelFile = { ...scriptedFile(), path: 'echo:?tps=500' }
    const echo = (kind: EngineKind, clock: ManualClock): Engine => createEngine(kind, { clock, log: silentLogger })
    const first = await setup(echo, file, dir)
    first.host.start()
    await until('it is measured', () => first.host.capability.speed !== undefined, { clock: first.clock, stepMs: 1 })
    const { speed } = first.host.capability
    expect(speed!.decode.map((point) => point.sequences)).toEqual([1, 2])
    await first.host.stop()
    let second = await setup(echo, file, dir)
    second.host.start()
    // No time passes on this clock: a paced engine could not be measured.
    await until('the kept measurement is found', () => second.host.capability.speed !== undefined)
    expect(second.host.capability.speed).toEqual(speed)
    second = await setup(echo, file)
    second.host.start()
    await until('it is resident', () => second.host.isResident)
    expect(second.host.capability.speed).toBeUndefined()
  })

  it('lets a request go before its measurement, and measures when it is idle again', async () => {
    const file: ModelFile = { ...scriptedFile(), path: 'echo:?tps=10' }
    const engines: Engine[] = []
    const { clock, host } = await setup((kind, time) => {
      engines.push(createEngine(kind, { clock: time, log: silentLogger }))
      return engines[0]!
    }, file)
    host.start()
    await until('it measures', () => (engines[0]?.stats().running ?? 0) > 0)
    const slot = host.acquire()!
    const engine = await host.ready(never)
    expect(engine.stats().running).toBe(0)
    await clock.advance(60_000)
    expect(host.capability.speed).toBeUndefined()
    slot.release()
    await until('it is measured', () => host.capability.speed !== undefined, { clock, stepMs: 50 })
  })

  it('stops while it loads', async () => {
    const engine = new ScriptedEngine(false)
    const { host } = await setup(() => engine)
    host.start()
    await host.stop()
    expect(engine.isUnloaded).toBe(true)
    await expect(host.ready(never)).rejects.toMatchObject({ code: 'NODE_DRAINING' })
  })

  it('rests when nobody uses it, and is wanted again by the next request, which waits for it', async () => {
    const engines: ScriptedEngine[] = []
    const { host, announced, wanted } = await setup(() => {
      engines.push(new ScriptedEngine(false))
      return engines.at(-1)!
    })
    expect(host.capability.residency).toBe('disk')
    const early = host.acquire()!
    expect(wanted).toEqual([host])
    host.start()
    engines[0]!.finishLoading()
    expect(await host.ready(never)).toBe(engines[0])
    expect(await host.rest()).toBe(false)
    early.release()
    expect(await host.rest()).toBe(true)
    expect([host.isResident, announced.at(-1), engines[0]!.isUnloaded]).toEqual([false, 'disk', true])
    const slot = host.acquire()!
    const ready = host.ready(never)
    expect(wanted).toEqual([host, host])
    host.start()
    engines[1]!.finishLoading()
    expect(await ready).toBe(engines[1])
    slot.release()
  })

  it('is wanted again when a request came while it was being unloaded', async () => {
    const engine = new ScriptedEngine()
    const { host, wanted } = await setup(() => engine)
    host.start()
    await until('it is resident', () => host.isResident)
    const resting = host.rest()
    const slot = host.acquire()!
    expect(wanted).toEqual([])
    await resting
    expect(wanted).toEqual([host])
    slot.release()
  })

  it('tells those who wait why it cannot be loaded now, and is tried again for the next', async () => {
    const { host, wanted } = await setup(() => new ScriptedEngine())
    const slot = host.acquire()!
    const ready = host.ready(never)
    host.refuse(new SkeinError('NO_FREE_SLOT', 'no memory'))
    await expect(ready).rejects.toMatchObject({ message: 'no memory' })
    slot.release()
    host.acquire()
    expect(wanted.length).toBe(2)
    host.start()
    await expect(host.ready(never)).resolves.toBeInstanceOf(ScriptedEngine)
  })

  it('reports the load of a server that tells it: others take its slots, and one that is full has none', async () => {
    const engine = new ScriptedEngine()
    const { host } = await setup(() => engine)
    host.start()
    await until('it is resident', () => host.isResident)
    expect(host.load).toEqual({ digest: host.file.digest, running: 0, prefillTokensPending: 0 })
    engine.server = { others: 1, isFull: false, waiting: 0, kvUse: 0.25 }
    expect(host.load).toMatchObject({ running: 1, waiting: 0, kvUse: 0.25 })
    engine.server = { others: 40, isFull: false, waiting: 0 }
    expect(host.load.running, 'no more than it has').toBe(2)
    engine.server = { others: 0, isFull: true, waiting: 3 }
    expect(host.load).toMatchObject({ running: 2, waiting: 3 })
    // what it reports is not what it may run: the coordinator may know better
    expect(host.acquire()).toBeDefined()
  })
})
