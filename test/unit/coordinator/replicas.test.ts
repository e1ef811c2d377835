/** Replicas over a directory of announced nodes, in hand-moved time: what is ordered, of whom, why, and what comes of it. */
import { describe, expect, it } from 'vitest'
import { Directory } from '../../../coordinator/directory/index.ts'
import {
  Replicas,
  type ProfileStore,
  type ReplicaMode,
  type ReplicaOrder,
} from '../../../coordinator/residency/index.ts'
import { DemandProfile } from '../../../coordinator/residency/profile.ts'
import { MemoryNetwork, type MemoryPeerTransport } from '../../../mesh/network/index.ts'
import {
  SkeinError,
  type CapabilityRecord,
  type ControlOrder,
  type LoadReport,
  type ModelCapability,
  type PeerId,
  type ReplicaConsent,
} from '../../../mesh/protocol/index.ts'
import { ManualClock, SeededRandom, silentLogger } from '../../../mesh/runtime/index.ts'
import { capability, DIGEST, OTHER_DIGEST, speed } from './snapshots.ts'

const MINUTE_MS = 60_000
const QUARTER_MS = 15 * MINUTE_MS
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
const MIDNIGHT_MS = Date.parse('2026-11-23T00:00:00Z')
const WORK = { prefillTokens: 200, decodeTokens: 400 }
/** One slot of 100 tokens/s. */
const RESIDENT = capability({ slots: 1, speed: speed(1000, [1, 100]), sizeBytes: 2 ** 30, loadMs: 4000 })
const RESTING: ModelCapability = { ...RESIDENT, residency: 'disk' }

class Harness {
  readonly clock: ManualClock
  readonly #network: MemoryNetwork
  readonly directory: Directory
  readonly sent: { readonly to: string; readonly order: ControlOrder }[] = []
  readonly seen: ReplicaOrder[] = []
  readonly replicas: Replicas
  aheadMs = 0
  unreachable = false
  #loads = 0
  #records = 0

  constructor(mode: ReplicaMode = 'auto', store?: ProfileStore, wallMs = MIDNIGHT_MS) {
    const clock = (this.clock = new ManualClock(wallMs))
    this.#network = new MemoryNetwork({ clock, random: new SeededRandom(1) })
    const { peerId: self } = this.#network.join('home', ['coordinator']).self
    const directory = (this.directory = new Directory({ clock, log: silentLogger }, self))
    this.replicas = new Replicas(
      {
        ...{ clock, directory, log: silentLogger, epoch: 3 },
        aheadMs: () => this.aheadMs,
        send: async (peerId, order) => {
          if (this.unreachable) throw new SkeinError('NODE_LOST', 'the node cannot be told')
          this.sent.push({ to: directory.entry(peerId)!.name, order })
        },
        ...(store && { store }),
      },
      mode,
    )
    this.replicas.watch((order) => this.seen.push(order))
  }

  async start(): Promise<this> {
    await this.replicas.start()
    return this
  }

  node(name: string, models: ModelCapability[], load: Partial<LoadReport> = {}): MemoryPeerTransport {
    const transport = this.#network.join(name, ['node'])
    const { peerId, certificate } = transport.self
    this.directory.connected({ peerId, certificate, isSelf: false })
    this.announce(transport, models)
    this.load(peerId, load)
    return transport
  }

  announce({ self: { peerId, certificate } }: MemoryPeerTransport, models: ModelCapability[]): void {
    const record: CapabilityRecord = {
      ...{ meshId: certificate.meshId, peerId, name: certificate.name, sequence: ++this.#records },
      issuedAtMs: this.clock.wallMs(),
      expiresAtMs: this.clock.wallMs() + 1e10,
      hardware: { cpu: { model: 'x', architecture: 'x64', threads: 1 }, memoryBytes: 1, gpus: [], platform: 'linux' },
      ...{ models, power: 'mains', tier: 'edge', labels: {}, addresses: [] },
    }
    this.directory.announce(peerId, record)
  }

  load(peerId: PeerId, load: Partial<LoadReport>, consent: ReplicaConsent = 'load'): void {
    this.directory.report(peerId, {
      ...{ sequence: this.#loads++, models: [], memoryFreeBytes: 8 * 2 ** 30, cordoned: false, draining: false },
      ...(consent !== 'off' && { replicas: consent }),
      ...load,
    })
  }

  /** Every slot of `transport` is taken, for some 20 s each. */
  fill({ self: { peerId } }: MemoryPeerTransport, slots = 1): void {
    for (let i = 0; i < slots; i++) this.directory.reserve(peerId, DIGEST, { prefillTokens: 0, decodeTokens: 2000 })
  }

  /** Demand that outgrows one full node within some seconds. */
  async outgrow(ms = 12_000): Promise<void> {
    for (let passedMs = 0; passedMs < ms; passedMs += 1000) {
      this.replicas.arrived(DIGEST, WORK)
      await this.clock.advance(1000)
    }
  }

  says({ self: { peerId } }: MemoryPeerTransport, state: 'accepted' | 'refused' | 'done' | 'failed', index = -1): void {
    const { order } = this.sent.at(index)!.order
    this.replicas.outcome(peerId, {
      type: 'control.outcome',
      order,
      state,
      ...(state === 'refused' && { message: 'no' }),
    })
  }
}

describe('a model that demand has outgrown', () => {
  it('is ordered of the node that has it on the disk, once, with the reason in words', async () => {
    const h = await new Harness().start()
    const busy = h.node('busy', [RESIDENT])
    h.node('resting', [RESTING])
    h.fill(busy)
    await h.outgrow(9000)
    expect(h.sent).toEqual([])
    await h.outgrow(3000)
    expect(h.sent).toEqual([
      { to: 'resting', order: { type: 'control.order', order: 3 * 2 ** 20, digest: DIGEST, fetch: false } },
    ])
    expect(h.seen[0]).toMatchObject({ cause: 'demand', state: 'sent', node: { name: 'resting' } })
    expect(h.seen[0]!.reason).toMatch(
      /^requests wait .* s for a slot, .* the demand of the last minutes is \d+ % of what 1 node can do$/,
    )
    expect(h.replicas.views()(DIGEST)).toMatchObject({ resident: 1, onDisk: 1, order: { state: 'sent' } })
    await h.outgrow(3000)
    expect(h.sent).toHaveLength(1)
  })

  it('is ordered though its holder was silent for a moment', async () => {
    const h = await new Harness().start()
    const busy = h.node('busy', [RESIDENT])
    h.node('resting', [RESTING])
    h.fill(busy)
    await h.outgrow(6000)
    h.directory.entry(busy.self.peerId)!.setLiveness('suspect')
    await h.outgrow(2000)
    h.directory.entry(busy.self.peerId)!.setLiveness('connected')
    await h.outgrow(4000)
    expect(h.sent).toHaveLength(1)
  })

  it('is not ordered for a burst that is worked off in seconds', async () => {
    const h = await new Harness().start()
    const busy = h.node('busy', [RESIDENT])
    h.node('resting', [RESTING])
    const { peerId } = busy.self
    for (let burst = 0; burst < 5; burst++) {
      const held = h.directory.reserve(peerId, DIGEST, { prefillTokens: 0, decodeTokens: 600 })
      await h.outgrow(6000)
      held.release()
      await h.clock.advance(3000)
    }
    expect(h.sent).toEqual([])
  })

  it('is ordered of another when the first refuses, and of nobody when all have', async () => {
    const h = await new Harness().start()
    const busy = h.node('busy', [RESIDENT])
    const [a, b] = [h.node('a', [RESTING]), h.node('b', [RESTING])]
    const transportOf = (name: string) => (name === 'a' ? a : b)
    h.fill(busy)
    await h.outgrow()
    h.says(transportOf(h.sent[0]!.to), 'refused')
    while (h.sent.length === 1) await h.outgrow(1000)
    expect(new Set(h.sent.map(({ to }) => to))).toEqual(new Set(['a', 'b']))
    h.says(transportOf(h.sent[1]!.to), 'refused')
    h.fill(busy)
    await h.outgrow(20_000)
    expect(h.sent).toHaveLength(2)
    expect(h.replicas.views()(DIGEST).hindrance).toContain('refused or failed lately')
    expect(h.replicas.stats().orders).toEqual({ 'sent demand': 2, refused: 2 })
  })

  it('is never ordered of a node whose owner refuses, that drains, or that is away', async () => {
    const h = await new Harness().start()
    const busy = h.node('busy', [RESIDENT])
    const refusing = h.node('refusing', [RESTING])
    h.load(refusing.self.peerId, {}, 'off')
    h.node('draining', [RESTING], { draining: true, cordoned: true })
    h.node('cordoned', [RESTING], { cordoned: true })
    const gone = h.node('gone', [RESTING])
    h.directory.disconnected(gone.self.peerId, h.directory.entry(gone.self.peerId)!.session)
    h.fill(busy)
    await h.outgrow(30_000)
    expect(h.sent).toEqual([])
    const { hindrance } = h.replicas.views()(DIGEST)
    for (const why of ['refusing: its owner takes no orders', 'draining: takes no work'])
      expect(hindrance).toContain(why)
  })

  it('is fetched where the owner lets it be, and nobody has it on the disk', async () => {
    const h = await new Harness().start()
    const busy = h.node('busy', [RESIDENT])
    const other = capability({ digest: OTHER_DIGEST, sizeBytes: 2 ** 30 })
    h.node('keeps', [other])
    const fetches = h.node('fetches', [other], { replicas: 'fetch' })
    h.fill(busy)
    // one that takes so long to come is ordered later
    await h.outgrow(20_000)
    expect(h.sent).toEqual([])
    for (let i = 0; i < 120 && h.sent.length === 0; i++) {
      h.fill(busy)
      await h.outgrow(1000)
    }
    expect(h.sent).toMatchObject([{ to: 'fetches', order: { fetch: true } }])
    h.says(fetches, 'accepted')
    expect(h.seen.at(-1)).toMatchObject({ state: 'accepted', fetch: true })
  })

  it('is not ordered while a node loads it, nor at once after one has', async () => {
    const h = await new Harness().start()
    const busy = h.node('busy', [RESIDENT])
    const loading = h.node('loading', [{ ...RESTING, residency: 'loading' }])
    const third = h.node('third', [RESTING])
    h.fill(busy)
    await h.outgrow(20_000)
    expect(h.sent).toEqual([])
    h.announce(loading, [RESTING])
    await h.outgrow(3000)
    expect(h.sent).toHaveLength(1)
    const ordered = h.sent[0]!.to === 'third' ? third : loading
    h.says(ordered, 'done')
    h.announce(ordered, [RESIDENT])
    h.fill(busy)
    h.fill(ordered, 5)
    await h.outgrow(25_000)
    expect(h.sent).toHaveLength(1)
    h.fill(busy, 5)
    h.fill(ordered, 5)
    await h.outgrow(10_000)
    expect(h.sent).toHaveLength(2)
  })

  it('is ordered anew when the node is lost, or was never reached', async () => {
    const h = await new Harness().start()
    const busy = h.node('busy', [RESIDENT])
    const a = h.node('a', [RESTING])
    h.fill(busy)
    await h.outgrow()
    expect(h.sent).toHaveLength(1)
    h.directory.disconnected(a.self.peerId, h.directory.entry(a.self.peerId)!.session)
    expect(h.seen.at(-1)).toMatchObject({ state: 'lost', message: 'the node is gone' })
    h.unreachable = true
    h.node('b', [RESTING])
    h.fill(busy, 3)
    await h.outgrow(20_000)
    expect(h.seen.at(-1)).toMatchObject({ state: 'lost', node: { name: 'b' }, message: 'the node cannot be told' })
  })

  it('is left alone when replicas are off, and seen all the same', async () => {
    const h = await new Harness('off').start()
    const busy = h.node('busy', [RESIDENT])
    h.node('resting', [RESTING])
    h.fill(busy)
    await h.outgrow(20_000)
    expect(h.sent).toEqual([])
    const view = h.replicas.views()(DIGEST)
    expect(view).toMatchObject({ resident: 1, onDisk: 1 })
    expect(view.requestsPerMinute).toBeGreaterThan(5)
    expect(view.loadShare).toBeGreaterThan(0.5)
    expect(h.replicas.stats()).toEqual({ mode: 'off', orders: {} })
  })

  it('is nothing to do for a model that nobody has, or that no node has in memory', async () => {
    const h = await new Harness().start()
    await h.outgrow(20_000)
    h.node('resting', [RESTING])
    h.aheadMs = 60_000
    await h.outgrow(20_000)
    expect(h.sent).toEqual([])
    expect(h.replicas.views()(OTHER_DIGEST)).toEqual({ resident: 0, loading: 0, onDisk: 0, requestsPerMinute: 0 })
  })

  it('leaves no timer behind', async () => {
    const h = await new Harness().start()
    await h.clock.advance(5000)
    await h.replicas.stop()
    expect(h.clock.pendingTimers).toBe(0)
  })
})

describe('a peak that was learned', () => {
  /** What days teach on which ten requests come from 08:00 on. */
  function learned(days: number): unknown {
    const profile = new DemandProfile()
    for (let quarter = 0; quarter <= 96 * days; quarter++) {
      profile.look(MIDNIGHT_MS + quarter * QUARTER_MS, quarter * QUARTER_MS)
      for (let i = 0; i < 10 && quarter % 96 === 32; i++) profile.arrived(DIGEST, WORK)
    }
    return JSON.parse(JSON.stringify(profile.save()))
  }
  /** A node that has the model on its disk; it is 06:00 after so many days. */
  function resting(days: number, saved = learned(days)): Promise<Harness> {
    const store = { load: async () => saved, save: async () => {} }
    const h = new Harness('auto', store, MIDNIGHT_MS + days * DAY_MS + 6 * HOUR_MS)
    h.node('resting', [RESTING])
    return h.start()
  }

  it('has the model in memory before it begins, once', async () => {
    const h = await resting(2)
    // a load takes 4 s
    await h.clock.advance(2 * HOUR_MS - MINUTE_MS - 7000)
    expect(h.sent).toEqual([])
    await h.clock.advance(3000)
    expect(h.sent).toMatchObject([{ to: 'resting', order: { digest: DIGEST, fetch: false } }])
    expect(h.seen[0]).toMatchObject({
      cause: 'peak',
      reason: 'some 10 requests are expected in the quarter of an hour that begins in 2 min',
    })
    const { peerId } = [...h.directory.entries()][0]!
    h.replicas.outcome(peerId, { type: 'control.outcome', order: h.sent[0]!.order.order, state: 'done' })
    // its node has unloaded it again
    await h.clock.advance(14 * MINUTE_MS)
    expect(h.sent).toHaveLength(1)
  })

  it('is none after one day', async () => {
    const h = await resting(1)
    await h.clock.advance(3 * HOUR_MS)
    expect(h.sent).toEqual([])
  })

  it('asks again, and not without end, when the order was refused', async () => {
    const h = await resting(2)
    await h.clock.advance(2 * HOUR_MS - MINUTE_MS)
    const { peerId } = [...h.directory.entries()][0]!
    for (let minute = 0; minute < 20; minute++) {
      const { order } = h.sent.at(-1)!.order
      h.replicas.outcome(peerId, { type: 'control.outcome', order, state: 'refused' })
      await h.clock.advance(MINUTE_MS)
    }
    expect(h.sent.length).toBeGreaterThan(1)
    expect(h.sent.length).toBeLessThan(6)
  })

  it('orders nothing where the holders can do it, and one more where they cannot', async () => {
    const h = await resting(2)
    const here = h.node('here', [RESIDENT])
    await h.clock.advance(2 * HOUR_MS)
    expect(h.sent).toEqual([])
    h.announce(here, [{ ...RESIDENT, speed: speed(1000, [1, 5]) }])
    await h.clock.advance(2000)
    expect(h.sent).toMatchObject([{ to: 'resting' }])
  })

  it('has nothing fetched', async () => {
    const h = await resting(2)
    const [entry] = [...h.directory.entries()]
    h.load(entry!.peerId, {}, 'off')
    h.node('fetches', [capability({ digest: OTHER_DIGEST })], { replicas: 'fetch' })
    await h.clock.advance(2 * HOUR_MS)
    expect(h.sent).toEqual([])
    expect(h.replicas.views()(DIGEST).hindrance).toBe('no other node has it on the disk')
  })

  it('is kept when its quarter is over, and learned anew from what is damaged', async () => {
    const saves: unknown[] = []
    const store: ProfileStore = { load: async () => 'damaged', save: async (profile) => void saves.push(profile) }
    const h = await new Harness('auto', store, MIDNIGHT_MS).start()
    h.replicas.arrived(DIGEST, WORK)
    await h.clock.advance(QUARTER_MS - 1000)
    expect(saves).toEqual([])
    await h.clock.advance(2000)
    expect(saves).toHaveLength(1)
    const { profile, isRestored } = DemandProfile.restore(JSON.parse(JSON.stringify(saves[0])))
    expect([isRestored, ...profile.models()]).toEqual([true, DIGEST])
    await h.replicas.stop()
  })
})
