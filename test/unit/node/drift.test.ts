/** Delivered speed against the measured one: when it counts as drift, and that a model is measured again, once, in peace. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ModelSpeed } from '../../../mesh/protocol/index.ts'
import { sleep, type Clock } from '../../../mesh/runtime/index.ts'
import {
  afterAnswer,
  DRIFT_ANSWERS,
  DRIFT_SHARE_MAX,
  DRIFT_SHARE_MIN,
  hasDrifted,
  MEASURED_AGAIN_MS,
  MEASURED_AGAIN_MS_MAX,
  nextIntervalMs,
  NO_DRIFT,
  type DeliveredSpeed,
  type Drift,
} from '../../../node/capability/index.ts'
import type { Engine, EngineStats, GenerationEvent, GenerationRequest, LoadedModel, LoadRequest } from '../../../node/engines/index.ts' // prettier-ignore
import { Company } from '../../../node/models/company.ts'
import { join2, setup, startAttempt } from './node-agent.harness.ts'
import { temporaryDirectory, turn, until } from './support.ts'

const SPEED: ModelSpeed = {
  prefillTokensPerSecond: 1000,
  decode: [
    { sequences: 1, tokensPerSecond: 100 },
    { sequences: 4, tokensPerSecond: 200 },
  ],
  measuredAtMs: 1,
}
const shown = (decodeShare: number, prefillShare = 1): DeliveredSpeed => ({
  prefillTokens: 100,
  prefillMs: 100 / prefillShare,
  decodeTokens: 50,
  decodeMs: 500 / decodeShare,
  contextTokens: 150,
})
const after = (shares: readonly number[], from: Drift = NO_DRIFT): Drift =>
  shares.reduce((drift, share) => afterAnswer(drift, SPEED, shown(share)), from)
const times = (count: number, share: number): number[] => Array.from({ length: count }, () => share)

describe('drift', () => {
  it('is what enough answers in a row say, slower or faster, of prefill or decode', () => {
    expect(hasDrifted(after(times(DRIFT_ANSWERS, 0.5)))).toBe(true)
    expect(hasDrifted(after(times(DRIFT_ANSWERS, 2)))).toBe(true)
    expect(hasDrifted(after(times(DRIFT_ANSWERS - 1, 0.5)))).toBe(false)
    const slowPrefill = times(DRIFT_ANSWERS, 0).reduce((drift) => afterAnswer(drift, SPEED, shown(1, 0.5)), NO_DRIFT)
    expect(slowPrefill).toEqual({ prefill: -DRIFT_ANSWERS, decode: 0 })
    expect(hasDrifted(slowPrefill)).toBe(true)
  })

  it('begins anew with one answer as measured, or off to the other side', () => {
    expect(after([...times(4, 0.5), 1, ...times(4, 0.5)]).decode).toBe(-4)
    expect(after([...times(4, 0.5), 2]).decode).toBe(1)
  })

  it('is none inside its band, whatever the answers', () => {
    const within = fc.double({ min: DRIFT_SHARE_MIN + 0.01, max: DRIFT_SHARE_MAX - 0.01, noNaN: true })
    fc.assert(
      fc.property(fc.array(within, { maxLength: 50 }), (shares) => {
        expect(hasDrifted(after(shares))).toBe(false)
      }),
    )
  })

  it('takes no notice of answers that are too short, too quick to time, or too long to compare', () => {
    for (const change of [
      { decodeTokens: 5, prefillTokens: 5 },
      { decodeMs: 1, prefillMs: 1 },
      { contextTokens: 9000 },
      { contextTokens: Number.NaN },
      { decodeTokens: Number.NaN, prefillMs: Number.NaN },
    ])
      // prettier-ignore
      expect(afterAnswer(NO_DRIFT, SPEED, { ...shown(0.1, 0.1), ...change })).toEqual(NO_DRIFT)
    const parallelOnly = { ...SPEED, decode: [{ sequences: 4, tokensPerSecond: 200 }] }
    expect(afterAnswer(NO_DRIFT, parallelOnly, shown(0.1))).toEqual(NO_DRIFT)
  })

  it('that a measurement did not bear out is looked into less and less often', () => {
    const slower = { ...SPEED, decode: [{ sequences: 1, tokensPerSecond: 40 }] }
    expect(nextIntervalMs(MEASURED_AGAIN_MS, SPEED, slower)).toBe(MEASURED_AGAIN_MS)
    expect(nextIntervalMs(MEASURED_AGAIN_MS, SPEED, SPEED)).toBe(2 * MEASURED_AGAIN_MS)
    expect(nextIntervalMs(MEASURED_AGAIN_MS_MAX, SPEED, SPEED)).toBe(MEASURED_AGAIN_MS_MAX)
    expect(nextIntervalMs(4 * MEASURED_AGAIN_MS, SPEED, slower)).toBe(MEASURED_AGAIN_MS)
  })
})

describe('company', () => {
  it('knows who had the machine alone', () => {
    const company = new Company()
    const first = company.enter()
    expect(first.wasAlone).toBe(true)
    const second = company.enter()
    expect([first.wasAlone, second.wasAlone, company.running]).toEqual([false, false, 2])
    first.leave()
    first.leave()
    expect(company.running).toBe(1)
    // who stays is not alone afterwards: it was not all the time
    expect(second.wasAlone).toBe(false)
    second.leave()
    const third = company.enter()
    expect(third.wasAlone).toBe(true)
    let isInterrupted = false
    const over = company.measure(() => (isInterrupted = true))
    expect([third.wasAlone, company.isMeasuring]).toEqual([false, true])
    company.enter()
    expect(isInterrupted).toBe(true)
    over()
    over()
    expect(company.isMeasuring).toBe(false)
  })
})

/** Makes tokens at a pace that the test sets. */
class PacedEngine implements Engine {
  readonly #clock: Clock
  tokensPerSecond = 100
  measurements = 0
  #running = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  async load({ slots }: LoadRequest): Promise<LoadedModel> {
    const numerics = { engineBuild: 'paced 1', flashAttention: false, batchTokens: 1, threads: 1 }
    return { engine: 'echo', contextTokens: 4096, slots, parameters: 0, quantization: 'none', sizeBytes: 0, hasChatTemplate: true, features: [], numerics } // prettier-ignore
  }

  async *generate(request: GenerationRequest, signal: AbortSignal): AsyncGenerator<GenerationEvent, void, undefined> {
    if (request.id === 'measure-0') this.measurements++
    this.#running++
    try {
      await sleep(this.#clock, 100, signal)
      const beganMs = this.#clock.nowMs()
      for (let index = 0; index < request.maxTokens; index++) {
        if (index > 0) await sleep(this.#clock, 1000 / this.tokensPerSecond, signal)
        yield { type: 'tokens', index, ids: [index], text: 'x' }
      }
      const usage = { promptTokens: 100, cachedTokens: 0, completionTokens: request.maxTokens }
      const timing = { waitMs: 0, prefillMs: 100, decodeMs: this.#clock.nowMs() - beganMs }
      yield { type: 'end', finishReason: 'length', text: '', usage, timing }
    } finally {
      this.#running--
    }
  }

  stats(): EngineStats {
    return { running: this.#running, prefillTokensPending: 0, memoryBytes: 0 }
  }

  async unload(): Promise<void> {}
}

type Attempt = Awaited<ReturnType<typeof startAttempt>>

/** Takes what comes, to its end. */
function drain(channel: Attempt): void {
  const reading = async (): Promise<void> => {
    for (;;) if ((await channel.receive()) === undefined) return channel.close()
  }
  reading().catch(() => {
    // the node has gone meanwhile
  })
}

/** An agent that has been measured at 100 tokens/s in an earlier life, and the means to let answers run. */
async function measured(othersShare: () => number | undefined = () => 0) {
  const dataDir = await temporaryDirectory()
  const engines: PacedEngine[] = []
  const life = () =>
    setup({
      dataDir,
      engine: (clock) => {
        engines.push(new PacedEngine(clock))
        return engines.at(-1)!
      },
      watchOthers: async () => async () => othersShare(),
    })
  const first = await life()
  await first.agent.start()
  const speedOf = ({ agent }: typeof first): ModelSpeed | undefined => agent.models()[0]?.capability.speed
  await until('it is measured', () => speedOf(first) !== undefined, { clock: first.clock, stepMs: 10 })
  expect(speedOf(first)!.decode[0]!.tokensPerSecond).toBeCloseTo(100, -1)
  let isStopped = false
  void first.agent.stop().then(() => (isStopped = true))
  await until('its first life is over', () => isStopped, { clock: first.clock, stepMs: 500 })

  const made = await life()
  const { clock, network, agent, transport } = made
  const home = join2(network, clock)
  await agent.start()
  await until('what was measured is known', () => speedOf(made) !== undefined, { clock, stepMs: 10 })
  const engine = engines.at(-1)!
  expect(engine.measurements).toBe(0)
  const pass = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 250) {
      await clock.advance(250)
      await turn()
    }
  }
  let letter = 0
  const begin = () => startAttempt(home, transport, 'abcdefghijklmnopqrstuvwxyz'[letter++]!, { maxTokens: 40 })
  /** One answer after the other, some time apart. */
  const answer = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      const channel = await begin()
      drain(channel)
      await until('it runs', () => agent.status().running > 0, { clock, stepMs: 5 })
      await until('it has ended', () => agent.status().running === 0, { clock, stepMs: 5 })
      await pass(10_000)
    }
  }
  const decode = (): number => home.records().at(-1)!.models[0]!.speed!.decode[0]!.tokensPerSecond
  return { ...made, home, engine, answer, begin, pass, decode }
}

describe('a model that no longer is as fast as it was measured', () => {
  it('is measured again when nobody uses it, and announced with what came out; not again within the hour', async () => {
    const { engine, answer, pass, decode, dataDir, clock } = await measured()
    await answer(DRIFT_ANSWERS)
    expect(engine.measurements).toBe(0)
    engine.tokensPerSecond = 40
    await answer(DRIFT_ANSWERS - 1)
    expect(engine.measurements).toBe(0)
    await answer(1)
    await until('the new figure is announced', () => Math.abs(decode() - 40) < 5, { clock, stepMs: 50 })
    expect(engine.measurements).toBe(1)
    const kept = (): ModelSpeed[] =>
      Object.values(JSON.parse(readFileSync(join(dataDir, 'measurements.json'), 'utf8')) as Record<string, ModelSpeed>)
    await until('it is kept', () => Math.abs(kept()[0]!.decode[0]!.tokensPerSecond - 40) < 5)
    expect(kept()).toHaveLength(1)
    // as fast as before, and soon: that is not looked into at once
    engine.tokensPerSecond = 100
    await answer(DRIFT_ANSWERS + 1)
    await pass(5000)
    expect(engine.measurements).toBe(1)
    await pass(MEASURED_AGAIN_MS)
    await answer(1)
    await until('it is measured once more', () => decode() > 90, { clock, stepMs: 50 })
    expect(engine.measurements).toBe(2)
  })

  it('is not, where other programs were what slowed it', async () => {
    const { engine, answer } = await measured(() => 0.5)
    engine.tokensPerSecond = 40
    await answer(2 * DRIFT_ANSWERS)
    expect(engine.measurements).toBe(0)
  })

  it('is believed where the system does not tell what others take', async () => {
    const { engine, answer, decode, clock } = await measured(() => undefined)
    engine.tokensPerSecond = 40
    await answer(DRIFT_ANSWERS)
    await until('the new figure is announced', () => decode() < 50, { clock, stepMs: 50 })
  })

  it('waits while its owner wants no work here', async () => {
    const { engine, answer, home, pass, agent, decode, clock } = await measured()
    engine.tokensPerSecond = 40
    await answer(DRIFT_ANSWERS - 1)
    const last = answer(1)
    await until('the last one runs', () => agent.status().running === 1, { clock, stepMs: 5 })
    await home.channel.send({ type: 'control.directive', directive: 'cordon' })
    await last
    await pass(180_000)
    expect(engine.measurements).toBe(0)
    await home.channel.send({ type: 'control.directive', directive: 'uncordon' })
    await until('it is measured', () => decode() < 50, { clock, stepMs: 50 })
  })

  it('gives way to whoever comes, and is measured later', async () => {
    const { engine, answer, begin, decode, clock, agent } = await measured()
    engine.tokensPerSecond = 40
    await answer(DRIFT_ANSWERS - 1)
    const last = answer(1)
    await until('it is being measured', () => engine.measurements === 1, { clock, stepMs: 20 })
    const channel = await begin()
    await until('the answer runs', () => agent.status().running === 1)
    expect(engine.stats().running).toBeLessThanOrEqual(1)
    await last
    drain(channel)
    expect(decode()).toBeGreaterThan(90)
    await until('it is measured', () => decode() < 50, { clock, stepMs: 100 })
    expect(engine.measurements).toBe(2)
  })
})
