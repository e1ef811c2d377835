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
import { capability, DIGEST } from './snapshots.ts'

const SELF = asPeerId('self')
const NODE = asPeerId('node-1')

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
    await clock.advance(LIMITS.suspectAfterMs + LIMITS.suspectAfterMs / 3)
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
    const reservation = directory.reserve(NODE, DIGEST)
    expect(running()).toBe(3)
    directory.report(NODE, load(3))
    expect(running()).toBe(3)
    reservation.release()
    reservation.release()
    expect(running()).toBe(2)
    directory.report(NODE, load(0))
    const [a, b] = [directory.reserve(NODE, DIGEST), directory.reserve(NODE, DIGEST)]
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
    directory.entry(NODE)!.markFull(DIGEST)
    expect(running()).toBe(capability().slots)
    directory.report(NODE, load(1))
    expect(running()).toBe(1)
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
})
