import { beforeEach, describe, expect, it } from 'vitest'
import { Directory } from '../../../coordinator/directory/index.ts'
import {
  asMeshId,
  asPeerId,
  LIMITS,
  type CapabilityRecord,
  type Certificate,
  type LoadReport,
} from '../../../mesh/protocol/index.ts'
import { ManualClock, silentLogger, type Clock } from '../../../mesh/runtime/index.ts'
import { promptPrefix } from '../../../coordinator/scheduler/index.ts'
import { capability, DIGEST, speed } from './snapshots.ts'

const SELF = asPeerId('self')
const NODE = asPeerId('node-1')
/** Silence between suspicion and loss. */
const SUSPECT_MS = (LIMITS.suspectAfterMs + LIMITS.lostAfterMs) / 2
const EXPECTED = { prefillTokens: 1000, decodeTokens: 100 }

const certificate = (name: string): Certificate => ({
  meshId: asMeshId('mesh'),
  peerId: asPeerId(name),
  name,
  roles: ['node'],
  serial: 1,
  issuedAtMs: 0,
  expiresAtMs: Number.MAX_SAFE_INTEGER,
})

const load = (running: number, init: Partial<LoadReport> = {}): LoadReport => ({
  sequence: 1,
  models: [{ digest: DIGEST, running, prefillTokensPending: 0 }],
  memoryFreeBytes: 1,
  cordoned: false,
  draining: false,
  ...init,
})

describe('Directory', () => {
  let clock: ManualClock
  let directory: Directory
  const member = { peerId: NODE, certificate: certificate('node-1'), isSelf: false }
  const record = (sequence: number, init: Partial<CapabilityRecord> = {}): CapabilityRecord => ({
    meshId: asMeshId('mesh'),
    peerId: NODE,
    name: 'node-1',
    sequence,
    issuedAtMs: clock.wallMs(),
    expiresAtMs: clock.wallMs() + LIMITS.capabilityValidityMs,
    hardware: { cpu: { model: 'x', architecture: 'x64', threads: 2 }, memoryBytes: 1, gpus: [], platform: 'linux' },
    models: [capability()],
    power: 'mains',
    tier: 'edge',
    labels: {},
    addresses: [],
    ...init,
  })
  const running = (): number | undefined => directory.snapshot().nodes[0]?.models.get(DIGEST)?.running

  beforeEach(() => {
    clock = new ManualClock()
    directory = new Directory({ clock, log: silentLogger }, SELF)
    directory.start()
  })

  it('suspects a silent node, then loses it, and hears it again', async () => {
    const lost: [string, number][] = []
    directory.watch({ lost: (peerId, session) => lost.push([peerId, session]) })
    const session = directory.connected(member)
    directory.announce(NODE, record(1))
    await clock.advance(SUSPECT_MS)
    expect(directory.snapshot().nodes[0]).toMatchObject({ isSuspect: true, isConnected: true })
    directory.heard(NODE)
    expect(directory.snapshot().nodes[0]?.isSuspect).toBe(false)
    expect(lost).toEqual([])
    await clock.advance(LIMITS.lostAfterMs * 1.5)
    expect(directory.snapshot().nodes[0]?.isConnected).toBe(false)
    expect(lost).toEqual([[NODE, session]])
  })

  it('does not take its own standstill for the silence of a node', async () => {
    directory.connected(member)
    // A clock that jumps over many sweeps at once, as an event loop that was blocked sees it
    const late = new ManualClock()
    let nowMs = 0
    const jumping: Clock = {
      wallMs: () => late.wallMs(),
      nowMs: () => nowMs,
      timer: (delayMs, fire) => late.timer(delayMs, fire),
    }
    const blocked = new Directory({ clock: jumping, log: silentLogger }, SELF)
    blocked.start()
    blocked.connected(member)
    nowMs = 30_000
    await late.advance(LIMITS.suspectAfterMs / 6)
    expect(blocked.snapshot().nodes[0]).toMatchObject({ isConnected: true, isSuspect: false })
    blocked.stop()
  })

  it('refuses records that are older, expired or of another peer', () => {
    directory.connected(member)
    directory.announce(NODE, record(5))
    expect(() => directory.announce(NODE, record(4))).toThrow(/older/)
    expect(() => directory.announce(NODE, record(6, { peerId: asPeerId('other') }))).toThrow(/another peer/)
    const expiresAtMs = clock.wallMs() - LIMITS.clockSkewMs - 1
    expect(() => directory.announce(NODE, record(7, { expiresAtMs }))).toThrow(/expired/)
    expect(directory.entry(NODE)?.record?.sequence).toBe(5)
  })

  it('counts what was dispatched since the last report, and other coordinators by report', () => {
    directory.connected(member)
    directory.announce(NODE, record(1))
    directory.report(NODE, load(2))
    expect(running()).toBe(2)
    const reservation = directory.reserve(NODE, DIGEST, EXPECTED)
    expect(running()).toBe(3)
    directory.report(NODE, load(3))
    expect(running()).toBe(3)
    reservation.release()
    reservation.release()
    expect(running()).toBe(2)
    directory.report(NODE, load(0))
    const [a, b] = [directory.reserve(NODE, DIGEST, EXPECTED), directory.reserve(NODE, DIGEST, EXPECTED)]
    // A report written before ours arrived must not hide them
    directory.report(NODE, load(0))
    expect(running()).toBe(2)
    a.release()
    b.release()
    expect(running()).toBe(0)
  })

  it('believes a node that says it is full until its next report', () => {
    directory.connected(member)
    directory.announce(NODE, record(1))
    directory.entry(NODE)!.markFull(DIGEST, clock.nowMs())
    expect(running()).toBe(capability().slots)
    directory.report(NODE, load(1))
    expect(running()).toBe(1)
  })

  it('believes it no longer than a report takes, since that may have overtaken the refusal', async () => {
    directory.connected(member)
    directory.announce(NODE, record(1))
    directory.report(NODE, load(0))
    directory.entry(NODE)!.markFull(DIGEST, clock.nowMs())
    await clock.advance(LIMITS.loadReportIntervalMs)
    expect(running()).toBe(capability().slots)
    await clock.advance(LIMITS.loadReportIntervalMs)
    expect(running()).toBe(0)
  })

  it('the end of an older control stream does not end a newer one', () => {
    const first = directory.connected(member)
    const second = directory.connected(member)
    directory.disconnected(NODE, first)
    expect(directory.snapshot().nodes[0]?.isConnected).toBe(true)
    directory.disconnected(NODE, second)
    expect(directory.snapshot().nodes[0]?.isConnected).toBe(false)
  })

  it('what ran in the life before a newer control stream is lost', () => {
    const lost: [string, number][] = []
    directory.watch({ lost: (peerId, session) => lost.push([peerId, session]) })
    const first = directory.connected(member)
    expect(lost).toEqual([])
    directory.connected(member)
    expect(lost).toEqual([[NODE, first]])
  })

  it('the end of a control stream from before a node was forgotten does not end a newer one', () => {
    const first = directory.connected(member)
    directory.forget(NODE)
    directory.connected(member)
    directory.disconnected(NODE, first)
    expect(directory.snapshot().nodes[0]?.isConnected).toBe(true)
  })

  it('resolves aliases and digests, nodes that are here first', () => {
    directory.connected(member)
    directory.announce(NODE, record(1))
    expect(directory.resolve('tiny')).toEqual([DIGEST])
    expect(directory.resolve(DIGEST)).toEqual([DIGEST])
    expect(directory.resolve('huge')).toEqual([])
  })

  it('forgets who is no member at once, and who stays away in time', async () => {
    const lost: string[] = []
    directory.watch({ lost: (peerId) => lost.push(peerId) })
    directory.connected(member)
    directory.forget(NODE)
    expect(lost).toEqual([NODE])
    expect(directory.snapshot().nodes).toEqual([])
    const session = directory.connected(member)
    directory.disconnected(NODE, session)
    await clock.advance(LIMITS.forgottenAfterMs - 1000)
    expect(directory.snapshot().nodes).toHaveLength(1)
    await clock.advance(2000)
    expect(directory.snapshot().nodes).toEqual([])
  })

  it('forgets failures by half in a minute', async () => {
    directory.connected(member)
    const entry = directory.entry(NODE)!
    entry.addFailure(clock.nowMs())
    entry.addFailure(clock.nowMs())
    expect(entry.failuresAt(clock.nowMs())).toBe(2)
    expect(entry.failuresAt(clock.nowMs() + 60_000)).toBeCloseTo(1)
    expect(entry.failuresAt(clock.nowMs() + 600_000)).toBe(0)
  })

  describe('what the scheduler is told', () => {
    const snapshot = () => directory.snapshot().nodes[0]!
    const seen = () => snapshot().models.get(DIGEST)!

    beforeEach(() => {
      directory.connected(member)
      directory.announce(NODE, record(1))
    })

    it('a failure is forgotten while nothing else happens', async () => {
      directory.entry(NODE)!.addFailure(clock.nowMs())
      expect(snapshot().recentFailures).toBe(1)
      await clock.advance(60_000)
      expect(snapshot().recentFailures).toBeCloseTo(0.5)
    })

    it('a silence that ended counts as a part of a failure', async () => {
      await clock.advance(SUSPECT_MS)
      expect(snapshot()).toMatchObject({ isSuspect: true, recentFailures: 0 })
      directory.heard(NODE)
      expect(snapshot()).toMatchObject({ isSuspect: false, recentFailures: 0.5 })
    })

    it('a new life of a node is not held against the one before', () => {
      const entry = directory.entry(NODE)!
      for (let i = 0; i < 5; i++) entry.addFailure(clock.nowMs())
      directory.disconnected(NODE, entry.session)
      directory.connected(member)
      expect(snapshot().isTripped).toBe(false)
    })

    it('after five failures in a row the breaker opens, then one task may try', async () => {
      const entry = directory.entry(NODE)!
      for (let i = 0; i < 5; i++) entry.addFailure(clock.nowMs())
      expect(snapshot().isTripped).toBe(true)
      for (let i = 0; i < 31; i++) {
        directory.heard(NODE)
        await clock.advance(1000)
      }
      expect(snapshot().isTripped).toBe(false)
      const untold = directory.reserve(NODE, DIGEST, EXPECTED)
      expect(snapshot().isTripped).toBe(true)
      untold.release()
      expect(snapshot().isTripped).toBe(false)
      const trial = directory.reserve(NODE, DIGEST, EXPECTED)
      expect(snapshot().isTripped).toBe(true)
      entry.addSuccess()
      trial.release()
      expect(snapshot().isTripped).toBe(false)
    })

    it('a cordoned node takes no new work, nor does a draining one', () => {
      expect(snapshot().isDraining).toBe(false)
      directory.report(NODE, load(0, { cordoned: true }))
      expect(snapshot().isDraining).toBe(true)
      directory.report(NODE, load(0, { draining: true }))
      expect(snapshot().isDraining).toBe(true)
    })

    it('where it is, and what it costs', () => {
      expect(snapshot()).toMatchObject({ isCloud: false })
      expect(snapshot().price).toBeUndefined()
      const price = { inputPerMillion: 1, outputPerMillion: 2 }
      directory.announce(NODE, record(2, { tier: 'cloud', price }))
      expect(snapshot()).toMatchObject({ isCloud: true, price })
    })

    it('prompts sent since the report are pending, until they are worked off or a report counts them', async () => {
      directory.report(NODE, load(0))
      await clock.advance(10)
      const reservation = directory.reserve(NODE, DIGEST, EXPECTED)
      expect(seen().prefillTokensPending).toBe(1000)
      await clock.advance(500)
      expect(seen().prefillTokensPending).toBe(500)
      directory.report(NODE, load(1, { models: [{ digest: DIGEST, running: 1, prefillTokensPending: 400 }] }))
      expect(seen().prefillTokensPending).toBe(400)
      await clock.advance(200)
      expect(seen().prefillTokensPending).toBe(200)
      reservation.release()
    })

    it('a slot is free when what is left of its answer was decoded', async () => {
      const reservation = directory.reserve(NODE, DIGEST, EXPECTED)
      // 1,000 tokens to prefill at 1,000 a second, then 100 to decode at 100 a second
      expect(seen().slotFreeMs).toEqual([2000])
      await clock.advance(1000)
      reservation.progress(50)
      await clock.advance(100)
      expect(seen().slotFreeMs).toEqual([500])
      reservation.progress(100)
      await clock.advance(100)
      expect(seen().slotFreeMs[0]).toBeGreaterThan(0)
      reservation.release()
      expect(seen().slotFreeMs).toEqual([])
    })

    it('how long it lately took until a slot became free while all were in use', async () => {
      const all = Array.from({ length: capability().slots }, () => directory.reserve(NODE, DIGEST, EXPECTED))
      expect(seen().turnMs).toBeUndefined()
      await clock.advance(700)
      all[0]!.release()
      expect(seen().turnMs).toBe(700)
    })

    it('the speed that was delivered', async () => {
      const entry = directory.entry(NODE)!
      for (let i = 0; i < 8; i++) {
        const reservation = directory.reserve(NODE, DIGEST, EXPECTED)
        await clock.advance(2000)
        directory.heard(NODE)
        reservation.progress(1)
        await clock.advance(400)
        directory.heard(NODE)
        reservation.progress(10)
        reservation.release()
        entry.learn(DIGEST, reservation.sample(1000))
      }
      expect(seen().prefillCorrection).toBeCloseTo(0.5, 1)
      expect(seen().decodeCorrection).toBeCloseTo(0.25, 1)
      // It claims the double from now on: no more is believed than was delivered.
      directory.announce(
        NODE,
        record(2, { models: [capability({ speed: { ...speed(2000, [1, 200]), measuredAtMs: 2 } })] }),
      )
      expect(seen().prefillCorrection).toBeCloseTo(0.25, 1)
    })

    it('nothing is learned of a prefill whose cached part is not known, nor of one that waited for the model', () => {
      const known = directory.reserve(NODE, DIGEST, EXPECTED)
      known.progress(1)
      expect(known.sample()).toMatchObject({ prefillTokens: 0 })
      expect(known.sample(700)).toMatchObject({ prefillTokens: 700 })
      directory.announce(NODE, record(2, { models: [capability({ residency: 'disk', loadMs: 500 })] }))
      const cold = directory.reserve(NODE, DIGEST, EXPECTED)
      cold.progress(1)
      expect(cold.sample(1000)).toMatchObject({ prefillTokens: 0 })
    })

    it('of a model that is being loaded, what is left of it', async () => {
      directory.announce(NODE, record(2, { models: [capability({ residency: 'loading', loadMs: 1000 })] }))
      expect(seen().capability.loadMs).toBe(1000)
      await clock.advance(600)
      expect(seen().capability.loadMs).toBe(400)
      await clock.advance(600)
      expect(seen().capability.loadMs).toBeGreaterThan(0)
    })

    it('which prompts it lately decoded, in this life of it', () => {
      const prefix = promptPrefix({ kind: 'text', text: 'x'.repeat(1000) })
      expect(seen().cachedBytes(prefix)).toBe(0)
      directory.entry(NODE)!.remember(DIGEST, prefix)
      expect(seen().cachedBytes(prefix)).toBe(960)
      expect(directory.snapshot().warmest!(DIGEST, prefix)?.peerId).toBe(NODE)
      directory.connected(member)
      expect(seen().cachedBytes(prefix)).toBe(0)
      directory.forget(NODE)
      expect(directory.snapshot().warmest!(DIGEST, prefix)).toBeUndefined()
    })

    it('slots in use hold what they decode, and nothing else', () => {
      const entry = directory.entry(NODE)!
      const prefixes = ['a', 'b', 'c', 'd'].map((letter) => promptPrefix({ kind: 'text', text: letter.repeat(100) }))
      for (const prefix of prefixes) entry.remember(DIGEST, prefix)
      for (let i = 0; i < 3; i++) directory.reserve(NODE, DIGEST, EXPECTED)
      expect(prefixes.map((prefix) => seen().cachedBytes(prefix))).toEqual([0, 0, 0, 64])
    })
  })
})
