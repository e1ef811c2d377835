import { describe, expect, it } from 'vitest'
import { asSkeinError, SkeinError, type ModelSpeed } from '../../../mesh/protocol/index.ts'
import { ManualClock, silentLogger } from '../../../mesh/runtime/index.ts'
import { measureModel } from '../../../node/capability/index.ts'
import { createEngine, type Engine } from '../../../node/engines/index.ts'
import { digestOf, until } from './support.ts'

async function echo(clock: ManualClock, label: string, slots: number): Promise<Engine> {
  const engine = createEngine('echo', { clock, log: silentLogger })
  await engine.load({ path: label, digest: digestOf('a'), slots })
  return engine
}

/** Measures under a clock that moves in small steps, and tells how long it took of that clock. */
async function measured(
  clock: ManualClock,
  engine: Engine,
  slots: number,
): Promise<{ speed: ModelSpeed; tookMs: number }> {
  const beganMs = clock.nowMs()
  let speed: ModelSpeed | undefined
  let error: SkeinError | undefined
  measureModel(engine, clock, { slots }).then(
    (value) => (speed = value),
    (thrown: unknown) => (error = asSkeinError(thrown)),
  )
  await until('the measurement ends', () => speed !== undefined || error !== undefined, { clock, stepMs: 1 })
  if (error) throw error
  return { speed: speed!, tookMs: clock.nowMs() - beganMs }
}

describe('measureModel', () => {
  it('finds the rates that the engine has, alone and together', async () => {
    const clock = new ManualClock()
    const { speed } = await measured(clock, await echo(clock, 'echo:?tps=100&prefill=2000', 4), 4)
    expect(speed.prefillTokensPerSecond).toBeGreaterThan(1500)
    expect(speed.prefillTokensPerSecond).toBeLessThan(2500)
    expect(speed.decode.map((point) => point.sequences)).toEqual([1, 4])
    expect(speed.decode[0]!.tokensPerSecond).toBeGreaterThan(80)
    expect(speed.decode[0]!.tokensPerSecond).toBeLessThan(125)
    expect(speed.decode[1]!.tokensPerSecond).toBeGreaterThan(320)
    expect(speed.decode[1]!.tokensPerSecond).toBeLessThan(500)
    expect(speed.measuredAtMs).toBeGreaterThan(1_800_000_000_000)
  })

  it('takes a fast model less than 300 ms', async () => {
    const clock = new ManualClock()
    const { tookMs } = await measured(clock, await echo(clock, 'echo:?tps=1000&prefill=16000', 4), 4)
    expect(tookMs).toBeLessThan(300)
  })

  it('measures one sequence when there is but one slot', async () => {
    const clock = new ManualClock()
    const { speed } = await measured(clock, await echo(clock, 'echo:?tps=500', 1), 1)
    expect(speed.decode.map((point) => point.sequences)).toEqual([1])
  })

  it('is over within its bound on a slow machine, and says what it saw till then', async () => {
    const clock = new ManualClock()
    const { speed, tookMs } = await measured(clock, await echo(clock, 'echo:?tps=2&prefill=10', 4), 4)
    expect(tookMs).toBeLessThanOrEqual(10_100)
    expect(speed.decode[0]!.tokensPerSecond).toBeGreaterThan(1.5)
    expect(speed.decode[0]!.tokensPerSecond).toBeLessThan(2.5)
  })

  it('says so when nothing could be measured in time', async () => {
    const clock = new ManualClock()
    const engine = await echo(clock, 'echo:?tps=0.1&prefill=1', 1)
    await expect(measured(clock, engine, 1)).rejects.toMatchObject({ code: 'ENGINE_FAILED' })
    await until('the engine is free', () => engine.stats().running === 0)
  })

  it('gives way at once', async () => {
    const clock = new ManualClock()
    const engine = await echo(clock, 'echo:?tps=10', 4)
    const giveWay = new AbortController()
    const measuring = measureModel(engine, clock, { slots: 4, signal: giveWay.signal })
    const outcome = expect(measuring).rejects.toMatchObject({ code: 'NO_FREE_SLOT' })
    await until('it runs', () => engine.stats().running > 0)
    giveWay.abort(new SkeinError('NO_FREE_SLOT', 'a request came'))
    await outcome
    await until('the engine is free', () => engine.stats().running === 0)
  })
})
