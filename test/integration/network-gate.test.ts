/** What strangers, and members that misbehave, can reach of a real host. */
import { describe, expect, it } from 'vitest'
import { encodeSigned, generateIdentity, sign, type PeerHost } from '../../mesh/network/index.ts'
import { dhtProtocol, INBOUND, LIMITS, PROTOCOLS, SkeinError } from '../../mesh/protocol/index.ts'
import { components, connectedTo, inviteOf, startHost, until } from './network.harness.ts'
import { closeOf, dialAsMember, dialRaw, endOf, sayHello, sendFrame } from './network.raw-peer.ts'

const LIBRARY_PROTOCOLS = [
  '/ipfs/id/1.0.0',
  '/ipfs/id/push/1.0.0',
  '/ipfs/ping/1.0.0',
  '/libp2p/circuit/relay/0.2.0/hop',
]

/** A coordinator that serves control and attempt. */
function serving(host: PeerHost): void {
  host.handle('control', INBOUND.controlCoordinator, async (channel) => {
    while ((await channel.receive()) !== undefined) await channel.send({ type: 'control.heartbeat', sequence: 0 })
  })
  host.handle('attempt', INBOUND.attemptNode, async (channel) => {
    while ((await channel.receive()) !== undefined) await channel.send({ type: 'attempt.accepted', fence: 0 })
  })
}

describe('a stranger', () => {
  it('gets nothing but hello and join, and is put out in time', async () => {
    const host = await startHost('a', { prepare: serving })
    const connection = await dialRaw(host)
    const closed = closeOf(connection)
    const { createHash } = await import('node:crypto')
    const tag = createHash('sha256').update(host.meshId).digest('hex').slice(0, 16)
    const protocols = [...LIBRARY_PROTOCOLS, dhtProtocol(tag), PROTOCOLS.control, PROTOCOLS.attempt]
    for (const protocol of protocols) {
      const stream = await connection.newStream(protocol)
      if (stream.status === 'open') stream.send(new Uint8Array(32))
      expect(await endOf(stream), protocol).toEqual({ status: 'reset', bytes: 0 })
    }
    expect(host.counters()['stream_refused']).toBe(protocols.length)
    expect(host.members()).toEqual([])
    await closed
    expect(host.counters()['hello_timeout']).toBe(1)
  })

  it('is told why its certificate is refused, and put out', async () => {
    const host = await startHost('a')
    const identity = await generateIdentity(components.random)
    const forged = await sign(identity, 'certificate', { ...host.self.certificate, peerId: identity.peerId })
    const connection = await dialRaw(host, identity)
    await sayHello(connection, forged)
    await closeOf(connection)
    expect(host.counters()['hello_refused']).toBe(1)
    expect(host.members()).toEqual([])
  })

  it('cannot use the certificate of another', async () => {
    const host = await startHost('a')
    const member = await generateIdentity(components.random)
    const certificate = await host.authority!.issue({ peerId: member.peerId, name: 'm', roles: ['node'] })
    const connection = await dialRaw(host)
    await sayHello(connection, certificate)
    await closeOf(connection)
    expect(host.members()).toEqual([])
  })
})

describe('a member that misbehaves', () => {
  const faults: [string, (send: (bytes: Uint8Array) => void) => void, string][] = [
    ['garbage', (send) => send(Uint8Array.from([5, 0xfe, 1, 2, 3, 4])), 'frame_malformed'],
    ['a length without end', (send) => send(new Uint8Array(8).fill(0xff)), 'frame_malformed'],
    ['an oversized frame', (send) => send(Uint8Array.from([0xff, 0xff, 0xff, 0x7f])), 'frame_too_large'],
  ]
  for (const [what, misbehave, counter] of faults)
    it(`has its stream reset for ${what}, and nothing else`, async () => {
      const host = await startHost('a', { prepare: serving })
      const connection = await dialAsMember(host)
      await until(() => host.members().length === 1)
      const stream = await connection.newStream(PROTOCOLS.control)
      const ended = endOf(stream)
      misbehave((bytes) => void stream.send(bytes))
      expect(await ended).toEqual({ status: 'reset', bytes: 0 })
      expect(host.counters()[counter]).toBe(1)
      expect(host.members()).toHaveLength(1)
    })

  it('has its stream reset for a frame out of order', async () => {
    const host = await startHost('a', { prepare: serving })
    const connection = await dialAsMember(host)
    const stream = await connection.newStream(PROTOCOLS.control)
    const ended = endOf(stream)
    sendFrame(stream, { type: 'attempt.cancel', fence: 1 })
    expect(await ended).toEqual({ status: 'reset', bytes: 0 })
    expect(host.counters()['frame_unexpected']).toBe(1)
  })

  it('cannot make us hold a frame in a million pieces', async () => {
    const host = await startHost('a', { prepare: serving })
    const connection = await dialAsMember(host)
    const stream = await connection.newStream(PROTOCOLS.attempt)
    const ended = endOf(stream)
    // announces a legal frame of 4 MiB, then sends it byte by byte
    stream.send(Uint8Array.from([0x80, 0x80, 0x80, 0x02]))
    for (let i = 0; i < 20_000 && stream.status === 'open'; i++) {
      stream.send(Uint8Array.from([0]))
      if (i % 100 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    expect((await ended).status).toBe('reset')
    expect(host.counters()['frame_malformed']).toBe(1)
  })

  it('cannot make us hold more than the limits when its stream is not read', async () => {
    const gate = Promise.withResolvers<void>()
    const host = await startHost('a', {
      prepare: (prepared) => prepared.handle('attempt', INBOUND.attemptNode, () => gate.promise),
    })
    const connection = await dialAsMember(host)
    const stream = await connection.newStream(PROTOCOLS.attempt)
    const before = process.memoryUsage().arrayBuffers
    const frame = { type: 'attempt.cancel', fence: 1 } as const
    let sent = 0
    while (sendFrame(stream, frame) && sent < 4_000_000) sent++
    // the window is shut: what was taken is bounded, and the rest waits at the sender
    expect(sent).toBeLessThan(4_000_000)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 1024 * 1024)
    gate.resolve()
  })
})

describe('revocation', () => {
  it('closes the connections of the revoked, and keeps it out everywhere', async () => {
    const a = await startHost('a')
    const b = await startHost('b', { invite: await inviteOf(a) })
    const c = await startHost('c', { invite: await inviteOf(a), bootstrap: b.addresses() })
    await Promise.all([connectedTo(a, b.self.peerId), connectedTo(c, b.self.peerId), connectedTo(c, a.self.peerId)])
    const told = Promise.withResolvers<void>()
    a.watch({ disconnected: (member) => member.peerId === b.self.peerId && told.resolve() })
    const signed = await a.revoke(b.self.peerId)
    await told.promise
    expect(a.members().map((member) => member.peerId)).toEqual([c.self.peerId])
    // as `control.revocations` would bring it
    await c.applyRevocations(signed)
    expect(c.members().map((member) => member.peerId)).toEqual([a.self.peerId])
    expect(encodeSigned(c.revocations()!)).toEqual(encodeSigned(signed))
    await expect(b.connect(a.self.peerId)).rejects.toMatchObject({ code: 'NOT_A_MEMBER' })
    await expect(a.connect(b.self.peerId)).rejects.toBeInstanceOf(SkeinError)
    await expect(c.connect(b.self.peerId)).rejects.toBeInstanceOf(SkeinError)
    expect(LIMITS.revocationsMax).toBeGreaterThan(1)
  })
})
