import { describe, expect, it } from 'vitest'
import { asTaskId, INBOUND, LIMITS, type Frame } from '../../../mesh/protocol/index.ts'
import type { ManualClock } from '../../../mesh/runtime/index.ts'
import type { NodeAgent } from '../../../node/index.ts'
import { join2, setup, startAttempt, type ControlTwin } from './node-agent.harness.ts'
import { ScriptedEngine, temporaryDirectory, until } from './support.ts'

const TASK = asTaskId(`task_${'a'.repeat(24)}`)

type Held = Extract<Frame, { type: 'control.held' }>['attempts']
const heldOn = (home: ControlTwin, stream: number): Held[] =>
  home.streams[stream]!.frames.flatMap(({ frame }) => (frame.type === 'control.held' ? [frame.attempts] : []))

async function ready(init: Parameters<typeof setup>[0] = {}) {
  const engine = new ScriptedEngine()
  const made = await setup({ engine: () => engine, ...init })
  const home = join2(made.network, made.clock)
  await made.agent.start()
  await welcomed(made.agent)
  await until('the model is resident', () => made.agent.models()[0]?.capability.residency === 'resident')
  return { ...made, engine, home }
}

const welcomed = (agent: NodeAgent, clock?: ManualClock): Promise<void> =>
  until('it is welcomed', () => agent.status().coordinators[0]?.state === 'welcomed', clock && { clock, stepMs: 10 })

describe('what is held', () => {
  it('is told on every new stream, behind the record, also when it is nothing', async () => {
    const { home, clock } = await ready()
    await until('it is told', () => heldOn(home, 0).length > 0)
    expect(heldOn(home, 0)).toEqual([[]])
    expect(home.streams[0]!.frames.map(({ frame }) => frame.type).slice(0, 2)).toEqual([
      'control.announce',
      'control.held',
    ])
    home.channel.abort(new RangeError('broken'))
    await until('there is a new stream', () => home.streams.length === 2, { clock, stepMs: 10 })
    await until('it is told', () => heldOn(home, 1).length > 0)
    expect(heldOn(home, 1)).toEqual([[]])
  })

  it('is told on change, and released by the coordinator', async () => {
    const { home, transport, engine, agent, clock } = await ready()
    const channel = await startAttempt(home, transport)
    await until('it runs', () => engine.attempts.length === 1)
    const run = engine.attempts[0]!
    run.tokens([1, 2])
    await until('tokens are out', () => run.events.length === 0)
    expect(heldOn(home, 0)).toEqual([[]])
    channel.abort(new RangeError('the stream alone breaks'))
    await until('it is told', () => heldOn(home, 0).length === 2)
    expect(heldOn(home, 0).at(-1)).toEqual([{ taskId: TASK, fence: 1, index: 2, ended: false }])
    await home.channel.send({ type: 'control.release', attempts: [{ taskId: TASK, fence: 1 }] })
    await until('it is told', () => heldOn(home, 0).length === 3)
    expect(heldOn(home, 0).at(-1)).toEqual([])
    await until('the slot is free', () => agent.status().running === 0)
    await clock.advance(LIMITS.loadReportIntervalMs)
    expect(home.loads().at(-1)!.models[0]!.running).toBe(0)
  })

  it('is told to a coordinator that comes back, which takes it up', async () => {
    const { home, transport, engine, agent, clock, network } = await ready()
    await startAttempt(home, transport)
    await until('it runs', () => engine.attempts.length === 1)
    network.crash(home.transport)
    await until('it is noticed', () => agent.status().coordinators[0]?.state === 'connecting')
    engine.attempts[0]!.tokens([1])
    await clock.advance(5000)
    network.attach(home.transport)
    await until('it is told', () => home.streams.length === 2 && heldOn(home, 1).length === 1)
    expect(heldOn(home, 1)).toEqual([[{ taskId: TASK, fence: 1, index: 1, ended: false }]])
    const channel = await home.transport.open(transport.self.peerId, 'attempt', INBOUND.attemptCoordinator)
    await channel.send({ type: 'attempt.attach', taskId: TASK, heldFence: 1, fence: 2, from: 0 })
    expect((await channel.receive())?.type).toBe('attempt.accepted')
    expect(await channel.receive()).toMatchObject({ type: 'attempt.tokens', fence: 2, index: 0 })
    await until('it is told', () => heldOn(home, 1).length === 2)
    expect(heldOn(home, 1).at(-1)).toEqual([])
  })
})

describe('a directive', () => {
  const isRefused = async (home: ControlTwin, made: Awaited<ReturnType<typeof ready>>): Promise<boolean> => {
    const channel = await startAttempt(home, made.transport, 'z')
    const frame = await channel.receive()
    return frame?.type === 'attempt.failed' && frame.code === 'NODE_DRAINING'
  }

  it('to cordon is told back at once, and outlives a restart until uncordon', async () => {
    const dataDir = await temporaryDirectory()
    const made = await ready({ dataDir })
    const { home, agent } = made
    await home.channel.send({ type: 'control.directive', directive: 'cordon' })
    await until('it is cordoned', () => agent.status().isCordoned)
    // no time has passed since the last report
    await until('it is told', () => home.loads().at(-1)!.cordoned)
    expect(home.loads().at(-1)).toMatchObject({ cordoned: true, draining: false })
    expect(await isRefused(home, made)).toBe(true)
    await agent.stop()

    const again = await ready({ dataDir })
    expect(again.agent.status()).toMatchObject({ isCordoned: true, isDraining: false })
    expect(again.home.loads()[0]).toMatchObject({ cordoned: true })
    expect(await isRefused(again.home, again)).toBe(true)
    await again.home.channel.send({ type: 'control.directive', directive: 'uncordon' })
    await until('it is told', () => !again.home.loads().at(-1)!.cordoned)
    await again.agent.stop()

    const last = await ready({ dataDir })
    expect(last.agent.status().isCordoned).toBe(false)
  })

  it('to drain asks for what runs to be moved, and is taken back by uncordon', async () => {
    const made = await ready()
    const { home, agent, transport, engine } = made
    const channel = await startAttempt(home, transport)
    await until('it runs', () => engine.attempts.length === 1)
    await home.channel.send({ type: 'control.directive', directive: 'drain' })
    await until('it is told', () => home.loads().at(-1)!.draining)
    expect(home.loads().at(-1)).toMatchObject({ cordoned: true, draining: true })
    expect(agent.status()).toMatchObject({ isCordoned: true, isDraining: true, running: 1 })
    engine.attempts[0]!.tokens([1])
    expect((await channel.receive())?.type).toBe('attempt.accepted')
    expect((await channel.receive())?.type).toBe('attempt.tokens')
    await home.channel.send({ type: 'control.directive', directive: 'uncordon' })
    await until('it is told', () => !home.loads().at(-1)!.draining)
    expect(agent.status()).toMatchObject({ isCordoned: false, isDraining: false })
  })
})

describe('a stop', () => {
  it('is told at once, and over as soon as the coordinator has moved what runs', async () => {
    const { home, agent, transport, engine, clock } = await ready()
    const channel = await startAttempt(home, transport)
    await until('it runs', () => engine.attempts.length === 1)
    const beganMs = clock.nowMs()
    const stopping = agent.stop()
    await until('it is told', () => home.loads().at(-1)!.draining)
    expect(clock.nowMs()).toBe(beganMs)
    await channel.send({ type: 'attempt.cancel', fence: 1 })
    await stopping
    expect(clock.nowMs()).toBe(beganMs)
    expect(home.frames.at(-1)?.type).toBe('control.goodbye')
  })

  it('of a node on which nothing runs takes no time', async () => {
    const { home, agent, clock } = await ready()
    const beganMs = clock.nowMs()
    await agent.stop()
    expect(clock.nowMs()).toBe(beganMs)
    expect(home.frames.at(-1)?.type).toBe('control.goodbye')
  })
})

describe('a link whose stream lasted', () => {
  it('opens the next one within 50 ms, and has patience with those that do not last', async () => {
    const { home, agent, clock } = await ready()
    await clock.advance(LIMITS.lostAfterMs)
    const brokenAtMs = clock.nowMs()
    home.channel.abort(new RangeError('the node was asleep'))
    await until('there is a new stream', () => home.streams.length === 2, { clock, stepMs: 5 })
    expect(clock.nowMs() - brokenAtMs).toBeLessThanOrEqual(50)
    await welcomed(agent)
    const againMs = clock.nowMs()
    home.channel.abort(new RangeError('a coordinator that resets'))
    await until('there is a third', () => home.streams.length === 3, { clock, stepMs: 5 })
    expect(clock.nowMs() - againMs).toBeGreaterThanOrEqual(125)
  })
})
