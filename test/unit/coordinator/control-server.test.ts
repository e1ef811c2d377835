/** The coordinator's end of control streams, and its look-ups, over the network's memory twin. */
import { describe, expect, it } from 'vitest'
import { ControlServer, DhtFeed, Directory } from '../../../coordinator/directory/index.ts'
import { MemoryNetwork, type Discovery } from '../../../mesh/network/index.ts'
import { INBOUND, SkeinError, type CapabilityRecord, type Signed } from '../../../mesh/protocol/index.ts'
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
