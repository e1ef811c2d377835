import { describe, expect, it } from 'vitest'
import { MemoryDiscovery, MemoryNetwork } from '../../../mesh/network/index.ts'
import { INBOUND } from '../../../mesh/protocol/index.ts'
import { ManualClock, SeededRandom, type Clock } from '../../../mesh/runtime/index.ts'

describe('MemoryNetwork', () => {
  /** Two members, a stream between them, and the times at which the second hears a frame of it. */
  async function listening(latencyMs: number, clockOfB?: ManualClock) {
    const clock = new ManualClock()
    const network = new MemoryNetwork({ clock, random: new SeededRandom(1) }, { latencyMs })
    const [a, b] = [network.join('a', ['coordinator']), network.join('b', ['node'], clockOfB)]
    await clockOfB?.advance(0)
    const heard: [number, number][] = []
    b.handle('control', INBOUND.controlCoordinator, async (channel) => {
      for (let frame = await channel.receive(); frame !== undefined; frame = await channel.receive())
        if (frame.type === 'control.heartbeat') heard.push([frame.sequence, clock.nowMs()])
    })
    const open = async () => {
      const opening = a.open(b.self.peerId, 'control', INBOUND.controlNode)
      await clock.advance(0)
      await clockOfB?.advance(0)
      await clock.advance(2 * latencyMs)
      return opening
    }
    return { clock, network, a, b, heard, open }
  }
  const beat = (sequence: number) => ({ type: 'control.heartbeat', sequence }) as const

  it('opens a stream in one round trip, and delivers a frame when the clock has moved by its latency', async () => {
    const { clock, heard, open } = await listening(40)
    const channel = await open()
    expect(clock.nowMs()).toBe(80)
    await channel.send(beat(1))
    await clock.advance(39)
    expect(heard).toEqual([])
    await clock.advance(1)
    expect(heard).toEqual([[1, 120]])
  })

  it('keeps the order within a stream, whatever each frame takes, and lets streams overtake each other', async () => {
    const { clock, network, a, b, heard, open } = await listening(1)
    const [first, second] = [await open(), await open()]
    const delays = [50, 10, 5]
    network.path(a.self.peerId, b.self.peerId).delayMs = () => delays.shift() ?? 0
    await first.send(beat(1))
    await first.send(beat(2))
    await second.send(beat(3))
    const startMs = clock.nowMs()
    await clock.advance(60)
    expect(heard).toEqual([
      [3, startMs + 5],
      [1, startMs + 50],
      [2, startMs + 50],
    ])
  })

  it('holds back what is sent on a stalled way, and only that way', async () => {
    const { clock, network, a, b, heard, open } = await listening(1)
    const channel = await open()
    const path = network.path(a.self.peerId, b.self.peerId)
    path.stall()
    await channel.send(beat(1))
    await channel.send(beat(2))
    const opening = open()
    await clock.advance(1000)
    expect([heard, network.isStalled(b.self.peerId, a.self.peerId)]).toEqual([[], true])
    path.resume()
    await clock.advance(1)
    expect(heard.map(([sequence]) => sequence)).toEqual([1, 2])
    // a call into the void is not answered later either
    await expect(Promise.race([opening, Promise.resolve('waits')])).resolves.toBe('waits')
  })

  it('breaks a connection that may be dialled again', async () => {
    const { network, a, b, open } = await listening(0)
    const channel = await open()
    network.reset(a.self.peerId, b.self.peerId)
    await expect(channel.receive()).rejects.toMatchObject({ code: 'STREAM_TRUNCATED' })
    expect([a.members().length, network.openEnds()]).toEqual([0, []])
    await open()
    expect([a.members().length, network.openEnds()]).toEqual([1, ['a', 'b']])
  })

  it('tells nobody of a member that vanished, until its next process comes', async () => {
    const { network, a, b, open } = await listening(0)
    const channel = await open()
    network.vanish(b)
    await channel.send(beat(1))
    expect([channel.closed.aborted, a.members().length]).toEqual([false, 1])
    const next = network.revive(b)
    expect(channel.closed.aborted).toBe(true)
    expect(next.self.peerId).toBe(b.self.peerId)
    await expect(a.connect(next.self.peerId)).resolves.toMatchObject({ peerId: b.self.peerId })
  })

  it('does not reach a member whose own clock stands still', async () => {
    const clockOfB = new ManualClock()
    const { heard, open, network, a, b } = await listening(0, clockOfB)
    const channel = await open()
    await channel.send(beat(1))
    network.reset(a.self.peerId, b.self.peerId)
    expect([heard, b.members().length]).toEqual([[], 1])
    await clockOfB.advance(0)
    expect([heard, b.members().length]).toEqual([[[1, 0]], 0])
  })

  it('cuts, heals, crashes and brings back', async () => {
    const network = new MemoryNetwork({ clock: new ManualClock(), random: new SeededRandom(1) })
    const [a, b] = [network.join('a'), network.join('b')]
    const told: string[] = []
    a.watch({
      connected: (member) => told.push(`+${member.certificate.name}`),
      disconnected: (member) => told.push(`-${member.certificate.name}`),
    })
    network.cut(a, b)
    await expect(a.connect(b.self.peerId)).rejects.toMatchObject({ code: 'DIAL_FAILED' })
    network.heal(a, b)
    network.crash(b)
    await expect(b.connect(a.self.peerId)).rejects.toMatchObject({ code: 'DIAL_FAILED' })
    network.attach(b)
    expect(told).toEqual(['+b', '-b', '+b', '-b', '+b'])
    expect(b.self.peerId).toMatch(/^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/)
  })

  it('finds who advertises a key, until it no longer does', async () => {
    const network = new MemoryNetwork({ clock: new ManualClock(), random: new SeededRandom(1) })
    const [a, b] = [network.join('a'), network.join('b')]
    const [atA, atB] = [a, b].map((member) => new MemoryDiscovery(network, member.self.peerId)) as [
      MemoryDiscovery,
      MemoryDiscovery,
    ]
    const find = async (key: string): Promise<string[]> => {
      const found: string[] = []
      for await (const peer of atA.find(key)) found.push(peer)
      return found
    }
    atB.advertise(['mesh', 'class:gpu'])
    expect(await find('class:gpu')).toEqual([b.self.peerId])
    atB.advertise(['mesh'])
    expect(await find('class:gpu')).toEqual([])
    await atB.publish(Uint8Array.of(1))
    expect(await atA.lookup(b.self.peerId)).toEqual(Uint8Array.of(1))
    expect(await atB.lookup(a.self.peerId)).toBeUndefined()
  })

  it('does not take the late word of a connection that ended for the end of the next one', async () => {
    const calls: (() => void)[] = []
    const standing: Clock = { wallMs: () => 0, nowMs: () => 0, timer: (_, fire) => (calls.push(fire), () => {}) }
    const network = new MemoryNetwork({ clock: new ManualClock(), random: new SeededRandom(1) })
    const [a, b] = [network.join('a', ['coordinator']), network.join('b', ['node'], standing)]
    const told: string[] = []
    b.watch({ connected: () => told.push('connected'), disconnected: () => told.push('disconnected') })
    for (const call of calls.splice(0)) call()
    network.reset(a.self.peerId, b.self.peerId)
    network.connect(a.self.peerId, b.self.peerId)
    // as a process that stood still hears it: what is new first
    for (const call of calls.splice(0).reverse()) call()
    expect(b.members().map(({ peerId }) => peerId)).toEqual([a.self.peerId])
    expect(told).toEqual(['connected', 'disconnected', 'connected'])
  })
})
