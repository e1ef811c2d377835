/** The coordinator's end of control streams, and its look-ups, over the network's memory twin. */
import { describe, expect, it } from 'vitest'
import { ControlServer, DhtFeed, Directory } from '../../../coordinator/directory/index.ts'
import { MemoryNetwork, type Discovery } from '../../../mesh/network/index.ts'
import { INBOUND, LIMITS, SkeinError, type CapabilityRecord, type Signed } from '../../../mesh/protocol/index.ts'
import { ManualClock, SeededRandom, silentLogger } from '../../../mesh/runtime/index.ts'
import { capability } from './snapshots.ts'

function setup() {
  const clock = new ManualClock()
  const network = new MemoryNetwork({ clock, random: new SeededRandom(7) })
  const transport = network.join('home', ['coordinator'])
  const node = network.join('desk-pc', ['node'])
  const directory = new Directory({ clock, log: silentLogger }, transport.self.peerId)
  const { peerId, certificate } = node.self
  const record: CapabilityRecord = {
    meshId: certificate.meshId,
    peerId,
    name: 'desk-pc',
    sequence: 1,
    issuedAtMs: clock.wallMs(),
    expiresAtMs: clock.wallMs() + 1e9,
    hardware: { cpu: { model: 'x', architecture: 'x64', threads: 1 }, memoryBytes: 1, gpus: [], platform: 'linux' },
    models: [capability()],
    power: 'mains',
    tier: 'edge',
    labels: {},
    addresses: [],
  }
  return { clock, transport, node, directory, openRecord: async () => record }
}

const signed = (bytes: number): Signed => ({ payload: new Uint8Array(bytes), signature: new Uint8Array(64) })

describe('ControlServer', () => {
  it('does not wait for a node that reads nothing when it stops', async () => {
    const { clock, transport, node, directory, openRecord } = setup()
    const components = { clock, log: silentLogger, transport, directory, openRecord }
    const server = new ControlServer({ ...components, revocations: () => signed(60_000) })
    server.start()
    const channel = await node.open(transport.self.peerId, 'control', INBOUND.controlNode)
    await channel.send({ type: 'control.announce', capability: signed(8) })
    await clock.advance(10)
    expect(directory.entry(node.self.peerId)?.liveness).toBe('connected')
    for (let i = 0; i < 20; i++) server.pushRevocations()
    let isStopped = false
    const stopping = server.stop().then(() => (isStopped = true))
    await clock.advance(10)
    expect(isStopped).toBe(false)
    await clock.advance(1000)
    await stopping
    expect(directory.entry(node.self.peerId)?.liveness).toBe('disconnected')
  })
})

describe('a node that goes', () => {
  it.each([
    ['left', 'with a goodbye'],
    ['lost', 'without one'],
  ])('has %s %s', async (what) => {
    const { clock, transport, node, directory, openRecord } = setup()
    const components = { clock, log: silentLogger, transport, directory, openRecord }
    new ControlServer({ ...components, revocations: () => undefined }).start()
    const changes: string[] = []
    directory.watch({ changed: (change) => changes.push(`${change.name} ${change.what}`) })
    const channel = await node.open(transport.self.peerId, 'control', INBOUND.controlNode)
    await channel.send({ type: 'control.announce', capability: signed(8) })
    await clock.advance(10)
    if (what === 'left') await channel.send({ type: 'control.goodbye', reason: 'enough' })
    else channel.abort(new SkeinError('NODE_LOST', 'it fell over'))
    await clock.advance(50)
    expect(changes).toEqual(['desk-pc joined', `desk-pc ${what}`])
  })
})

describe('heartbeats', () => {
  it('come back from the node, and show the way there and back; an echo that cannot be shows nothing', async () => {
    const { clock, transport, node, directory, openRecord } = setup()
    const components = { clock, log: silentLogger, transport, directory, openRecord }
    new ControlServer({ ...components, revocations: () => undefined }).start()
    const channel = await node.open(transport.self.peerId, 'control', INBOUND.controlNode)
    await channel.send({ type: 'control.announce', capability: signed(8) })
    const heard: { sequence: number; atMs: number; echo?: { sequence: number }; probe?: Uint8Array }[] = []
    const reading = (async () => {
      for (let frame = await channel.receive(); frame !== undefined; frame = await channel.receive())
        if (frame.type === 'control.heartbeat') heard.push({ ...frame, atMs: clock.nowMs() })
    })()
    reading.catch(() => {})
    const link = () => directory.entry(node.self.peerId)!.link
    while (heard.length === 0) await clock.advance(50)
    await clock.advance(100)
    const { sequence, atMs } = heard[0]!
    await channel.send({ type: 'control.heartbeat', sequence: 3, echo: { sequence: sequence + 1000, heldMs: 0 } })
    await clock.advance(10)
    expect(link()).toEqual({})
    const heldMs = clock.nowMs() - atMs
    await channel.send({ type: 'control.heartbeat', sequence: 4, echo: { sequence, heldMs } })
    await clock.advance(10)
    expect(link().roundTripMs).toBeGreaterThanOrEqual(0)
    expect(link().roundTripMs).toBeLessThan(60)
    while (!heard.some(({ echo }) => echo?.sequence === 4)) await clock.advance(50)
    expect(heard.some(({ probe }) => probe !== undefined)).toBe(false)
    const load = { sequence: 5, models: [], memoryFreeBytes: 0, cordoned: false, draining: false, mayProbe: true }
    await channel.send({ type: 'control.load', load })
    const probes = () => heard.filter(({ probe }) => probe?.length === LIMITS.linkProbeBytesMax)
    while (probes().length === 0) await clock.advance(50)
    for (let i = 0; i < 100; i++) {
      await channel.send({ type: 'control.heartbeat', sequence: 10 + i })
      await clock.advance(500)
    }
    expect(probes()).toHaveLength(1)
  })
})

describe('DhtFeed', () => {
  it('pauses after a look-up that fails at once', async () => {
    const { clock, transport, directory, openRecord } = setup()
    let looked = 0
    const discovery: Discovery = {
      advertise: () => {},
      publish: () => Promise.resolve(),
      lookup: () => Promise.resolve(undefined),
      find: () => {
        // without the pause it would never let go of the event loop
        if (++looked > 1000) throw new RangeError('asked without end')
        throw new SkeinError('SHUTTING_DOWN', 'the network is not running')
      },
    }
    const feed = new DhtFeed({ clock, log: silentLogger, transport, directory, discovery, openRecord })
    feed.start()
    await clock.advance(500)
    expect(looked).toBe(1)
    await clock.advance(1000)
    expect(looked).toBe(2)
    await feed.stop()
    expect(clock.pendingTimers).toBe(0)
  })
})
