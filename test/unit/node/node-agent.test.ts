import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  LIMITS,
  parseCapabilityRecord,
  readCanonical,
  SkeinError,
  type CapabilityRecord,
  type Signed,
} from '../../../mesh/protocol/index.ts'
import { ManualClock, SeededRandom, silentLogger } from '../../../mesh/runtime/index.ts'
import { decodeSigned, discoveryKey, MemoryDiscovery, MemoryNetwork, sign } from '../../../mesh/network/index.ts'
import { hardwareOf, RecordIssuer } from '../../../node/capability/index.ts'
import { Announcer } from '../../../node/agent/announcer.ts'
import { createEngine, echoDigest } from '../../../node/engines/index.ts'
import { createNodeAgent } from '../../../node/index.ts'
import { ControlTwin, FACTS, identity, join2, MODEL, setup, startAttempt } from './node-agent.harness.ts'
import { after, ScriptedEngine, temporaryDirectory, until } from './support.ts'

describe('the node agent announces', () => {
  it('itself to a coordinator before its model is loaded, and again when it is', async () => {
    const engine = new ScriptedEngine(false)
    const { clock, network, agent } = await setup({
      engine: () => engine,
      labels: { room: 'desk' },
      tier: 'cloud',
      price: { inputPerMillion: 0.15, outputPerMillion: 0.6 },
    })
    const home = join2(network, clock)
    await agent.start()
    await until('it is announced', () => home.records().length > 0)
    expect(home.frames[0]!.type).toBe('control.announce')
    expect(home.records()[0]).toMatchObject({
      name: 'desk-pc',
      hardware: { cpu: { threads: 2 } },
      power: 'mains',
      labels: { room: 'desk' },
      tier: 'cloud',
      price: { inputPerMillion: 0.15, outputPerMillion: 0.6 },
      models: [{ digest: echoDigest(MODEL), aliases: ['lab'], residency: 'loading' }],
    })
    engine.finishLoading()
    await until('it is announced again', () => home.records().at(-1)!.models[0]!.residency === 'resident')
    const sequences = home.records().map((record) => record.sequence)
    expect(sequences).toEqual([...new Set(sequences)].sort((a, b) => a - b))
    await until('it is welcomed', () => agent.status().coordinators[0]?.state === 'welcomed')
  })

  it('knows the way to its coordinators and back, by heartbeats', async () => {
    const { clock, network, agent } = await setup()
    const home = join2(network, clock)
    await agent.start()
    const beat = () => home.frames.findLast((frame) => frame.type === 'control.heartbeat')
    await until('it beats', () => beat() !== undefined, { clock, stepMs: 50 })
    expect(agent.status().coordinators[0]).not.toHaveProperty('roundTripMs')
    const { sequence } = beat() as { sequence: number }
    await home.channel.send({ type: 'control.heartbeat', sequence: 77, echo: { sequence, heldMs: 0 } })
    const known = () => agent.status().coordinators[0]?.roundTripMs
    await until('the way is known', () => known() !== undefined, { clock, stepMs: 5 })
    expect(known()).toBeGreaterThanOrEqual(0)
    expect(known()).toBeLessThan(200)
    await until('it sends back what it heard', () => home.frames.some((frame) => frame.type === 'control.heartbeat' && frame.echo !== undefined), { clock, stepMs: 50 }) // prettier-ignore
  })

  it('its speed once measured', async () => {
    const { clock, network, agent } = await setup({ models: ['echo:?tps=500'] })
    const home = join2(network, clock)
    await agent.start()
    await until('a speed is announced', () => home.records().some((record) => record.models[0]?.speed), {
      clock,
      stepMs: 1,
    })
    expect(clock.nowMs()).toBeLessThan(2000)
  })

  it('itself in the DHT, and renews its record at a third of its validity', async () => {
    const { clock, network, transport, agent } = await setup()
    await agent.start()
    const { peerId } = transport.self
    for (const key of [
      discoveryKey.mesh(),
      discoveryKey.role('node'),
      discoveryKey.model(echoDigest(MODEL)),
      discoveryKey.capability('cpu:16g'),
    ])
      expect(network.providers.get(key)?.has(peerId), key).toBe(true)
    const published = (): CapabilityRecord =>
      parseCapabilityRecord(readCanonical(decodeSigned(network.records.get(peerId)!).payload))
    await until('the model is resident there', () => published().models[0]?.residency === 'resident')
    const { sequence, expiresAtMs } = published()
    await clock.advance(LIMITS.capabilityValidityMs / 3)
    await until('a newer record is there', () => published().sequence > sequence)
    expect(published().expiresAtMs).toBeGreaterThan(expiresAtMs)
  })

  it('models that can be used and reports the others', async () => {
    const dir = await temporaryDirectory()
    const bad = join(dir, 'bad.gguf')
    await writeFile(bad, 'no model')
    const { clock, network, agent } = await setup({ models: [bad, join(dir, 'none.gguf'), MODEL] })
    const home = join2(network, clock)
    await agent.start()
    await until('it is announced', () => home.records().length > 0)
    expect(
      home
        .records()
        .at(-1)!
        .models.map((model) => model.aliases[0]),
    ).toEqual(['lab'])
    expect(agent.problems().map(({ path }) => path)).toEqual(expect.arrayContaining([bad, join(dir, 'none.gguf')]))
    expect(agent.models().map((model) => model.capability.aliases[0])).toEqual(['lab'])
  })

  it('at once what changed while its first record was being signed', async () => {
    const clock = new ManualClock()
    const { promise: signed, resolve: release } = Promise.withResolvers<void>()
    let isSigning = false
    const issuer = await RecordIssuer.open(
      {
        clock,
        log: silentLogger,
        sign: async (record) => {
          isSigning = true
          await signed
          return sign(identity, 'capability', record)
        },
      },
      join(await temporaryDirectory(), 'capability.json'),
    )
    const network = new MemoryNetwork({ clock, random: new SeededRandom(4) })
    const { peerId, certificate } = network.join('desk-pc', ['node']).self
    const powers: string[] = []
    let power: 'mains' | 'battery' = 'mains'
    const announcer = new Announcer({
      clock,
      log: silentLogger,
      issuer,
      discovery: new MemoryDiscovery(network, peerId),
      content: () => ({
        meshId: certificate.meshId,
        peerId,
        name: 'desk-pc',
        hardware: hardwareOf(FACTS),
        models: [],
        power,
        tier: 'edge',
        labels: {},
        addresses: [],
      }),
      onRecord: ({ record }) => powers.push(record.power),
    })
    const starting = announcer.start()
    await until('the first record is being signed', () => isSigning)
    power = 'battery'
    announcer.changed()
    release()
    await starting
    await until('the change is announced', () => powers.length === 2)
    expect(powers).toEqual(['mains', 'battery'])
    announcer.stop()
    await issuer.settled()
  })

  it('nothing when it is stopped before it has started', async () => {
    const { agent, network, clock } = await setup()
    const home = join2(network, clock)
    const starting = agent.start()
    await agent.stop()
    await expect(starting).rejects.toMatchObject({ code: 'SHUTTING_DOWN' })
    await clock.advance(1000)
    expect(home.streams).toEqual([])
    expect(agent.models()).toEqual([])
  })

  it('no longer a model that its engine refuses', async () => {
    const engine = new ScriptedEngine(false)
    engine.loadError = new SkeinError('MODEL_LOAD_FAILED', 'echo:lab: too large')
    const { clock, network, agent } = await setup({ engine: () => engine })
    const home = join2(network, clock)
    await agent.start()
    await until('it is announced', () => home.records().at(-1)?.models.length === 1)
    engine.finishLoading()
    await until('it is withdrawn', () => home.records().at(-1)!.models.length === 0)
    expect(agent.problems().map(({ error }) => error.code)).toEqual(['MODEL_LOAD_FAILED'])
  })

  it('itself to a coordinator in its own process', async () => {
    const clock = new ManualClock()
    const network = new MemoryNetwork({ clock, random: new SeededRandom(4) })
    const transport = network.join('both', ['coordinator', 'node'])
    const home = new ControlTwin(transport, clock)
    const agent = createNodeAgent(
      {
        transport,
        discovery: new MemoryDiscovery(network, transport.self.peerId),
        clock,
        random: new SeededRandom(5),
        log: silentLogger,
        sign: (record) => sign(identity, 'capability', record),
        createEngine,
        probeDevices: () => Promise.reject(new RangeError('none')),
        runCommand: () => Promise.reject(new RangeError('ENOENT')),
      },
      { models: [], name: 'both', dataDir: await temporaryDirectory() },
    )
    after(() => agent.stop())
    await agent.start()
    await until('it is announced', () => home.records().length === 1)
  })

  it.each([
    [{ name: 'two words' }, 'name'],
    [{ labels: { 'No Good': 'x' } }, 'label No Good'],
    [{ slots: 0 }, 'slots'],
    [{ price: { inputPerMillion: -1, outputPerMillion: 0 } }, 'price'],
  ])('nothing that is malformed: %j', async (wrong, what) => {
    await expect(setup(wrong)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(what) as string,
    })
  })
})

describe('a control stream', () => {
  it('beats when nothing else was said, and reports load at most every loadReportIntervalMs', async () => {
    const { clock, network, agent, transport } = await setup({ engine: () => new ScriptedEngine(), slots: 64 })
    const home = join2(network, clock)
    await agent.start()
    await until('the model is resident', () => agent.models()[0]?.capability.residency === 'resident')
    await clock.advance(1000)
    const begin = clock.nowMs()
    for (let i = 0; i < 20; i++) {
      await startAttempt(home, transport, 'abcdefghijklmnopqrstuvwxyz'[i])
      await clock.advance(50)
    }
    await clock.advance(2000)
    const { frames } = home.streams[0]!
    const loads = frames.filter(({ frame, atMs }) => frame.type === 'control.load' && atMs >= begin)
    const gaps = loads.slice(1).map(({ atMs }, i) => atMs - loads[i]!.atMs)
    expect(loads.length).toBeGreaterThanOrEqual(4)
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(LIMITS.loadReportIntervalMs)
    const last = loads.at(-1)!.frame
    expect(last.type === 'control.load' && last.load.models[0]?.running).toBe(20)
    const silences = frames.slice(1).map(({ atMs }, i) => atMs - frames[i]!.atMs)
    expect(Math.max(...silences)).toBeLessThanOrEqual(LIMITS.heartbeatIntervalMs + 2)
    expect(frames.some(({ frame }) => frame.type === 'control.heartbeat')).toBe(true)
  })

  it('is replaced when the coordinator falls silent, in time and with growing patience', async () => {
    const { clock, network, agent } = await setup()
    const home = join2(network, clock)
    await agent.start()
    await until('it is welcomed', () => agent.status().coordinators[0]?.state === 'welcomed')
    home.doesBeat = false
    const silentAtMs = clock.nowMs()
    await until('the stream is reset', () => home.streams[0]!.channel.closed.aborted, { clock, stepMs: 50 })
    expect(clock.nowMs() - silentAtMs).toBeGreaterThanOrEqual(LIMITS.lostAfterMs)
    expect(clock.nowMs() - silentAtMs).toBeLessThanOrEqual(1.3 * LIMITS.lostAfterMs)
    await until('it tries again', () => home.streams.length === 3, { clock, stepMs: 50 })
    home.doesBeat = true
    await until('it is welcomed again', () => agent.status().coordinators[0]?.state === 'welcomed', {
      clock,
      stepMs: 50,
    })
    expect(home.streams.at(-1)!.frames[0]!.frame.type).toBe('control.announce')
  })

  it('comes back as soon as the coordinator is connected again', async () => {
    const { clock, network, agent, transport } = await setup()
    const home = join2(network, clock)
    await agent.start()
    await until('it is welcomed', () => agent.status().coordinators[0]?.state === 'welcomed')
    network.cut(transport, home.transport)
    await clock.advance(60_000)
    expect(agent.status().coordinators[0]?.state).toBe('connecting')
    network.heal(transport, home.transport)
    // No time passes: the back-off would still run.
    await until('it is welcomed again', () => agent.status().coordinators[0]?.state === 'welcomed')
  })

  it.each([-1_502_299, LIMITS.capabilityValidityMs + 1])(
    'begins with a record that holds, though the wall clock was set by %i ms',
    async (byMs) => {
      const { clock, network, agent, transport } = await setup()
      const home = join2(network, clock)
      await agent.start()
      await until('its speed is known', () => home.records().at(-1)?.models[0]?.speed !== undefined)
      clock.setWall(byMs)
      network.cut(transport, home.transport)
      await clock.advance(5000)
      network.heal(transport, home.transport)
      const holds = ({ issuedAtMs, expiresAtMs }: CapabilityRecord): boolean =>
        issuedAtMs <= clock.wallMs() && clock.wallMs() < expiresAtMs
      await until('a record of the new time is announced', () => holds(home.records().at(-1)!))
    },
  )

  it('is tried again when the connection broke just as it opened', async () => {
    const { clock, network, agent, transport } = await setup()
    const home = join2(network, clock)
    const members = transport.members.bind(transport)
    let hidden = 0
    transport.members = () => (home.streams.length === 1 && hidden++ === 0 ? [] : members())
    await agent.start()
    await until('it is welcomed', () => agent.status().coordinators[0]?.state === 'welcomed', { clock, stepMs: 10 })
    expect([hidden, home.streams.length]).toEqual([1, 2])
    // neither by the DHT nor by a new connection: the link itself did not give up
    expect(clock.nowMs()).toBeLessThan(1000)
  })

  it('is opened to coordinators that only the DHT names, and only to real ones', async () => {
    const { clock, network, agent, transport } = await setup()
    const home = join2(network, clock)
    const liar = new ControlTwin(network.join('liar', ['node']), clock)
    for (const twin of [home, liar]) {
      network.cut(transport, twin.transport)
      new MemoryDiscovery(network, twin.transport.self.peerId).advertise([discoveryKey.role('coordinator')])
    }
    await agent.start()
    await clock.advance(100)
    expect(home.records()).toEqual([])
    // Reachable from now on, and found by looking again.
    network.heal(transport, home.transport)
    network.heal(transport, liar.transport)
    await until('it is announced', () => home.records().length > 0, { clock, stepMs: 100 })
    await clock.advance(60_000)
    expect(liar.records()).toEqual([])
    expect(agent.status().coordinators.map(({ peerId }) => peerId)).toEqual([home.transport.self.peerId])
  })

  it('hands revocations on, and ends when they are not to be believed', async () => {
    const seen: Signed[] = []
    const { clock, network, agent } = await setup({
      onRevocations: async (signed) => {
        seen.push(signed)
        if (seen.length === 2) throw new SkeinError('CERTIFICATE_INVALID', 'not signed by the mesh')
      },
    })
    const home = join2(network, clock)
    await agent.start()
    await until('it is welcomed', () => agent.status().coordinators[0]?.state === 'welcomed')
    const revocations = { payload: new Uint8Array([1]), signature: new Uint8Array(64) }
    const { channel } = home.streams[0]!
    await channel.send({ type: 'control.revocations', revocations })
    await until('the first is taken', () => seen.length === 1)
    expect(channel.closed.aborted).toBe(false)
    await channel.send({ type: 'control.revocations', revocations })
    await until('the stream is reset', () => channel.closed.aborted)
  })

  it('ends with goodbye after the running answers', async () => {
    const engine = new ScriptedEngine()
    const { clock, network, agent, transport } = await setup({ engine: () => engine })
    const home = join2(network, clock)
    await agent.start()
    await until('it is welcomed', () => agent.status().coordinators[0]?.state === 'welcomed')
    await startAttempt(home, transport)
    await until('it runs', () => engine.attempts.length === 1)
    const stopping = agent.stop()
    await clock.advance(1000)
    expect(home.loads().at(-1)).toMatchObject({ draining: true, cordoned: false })
    expect(home.frames.some((frame) => frame.type === 'control.goodbye')).toBe(false)
    engine.attempts[0]!.end()
    await stopping
    expect(home.streams[0]!.frames.at(-1)!.frame).toMatchObject({ type: 'control.goodbye' })
    expect(engine.isUnloaded).toBe(true)
    expect(agent.status().coordinators).toEqual([])
  })
})
