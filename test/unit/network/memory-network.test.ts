import { describe, expect, it } from 'vitest'
import { MemoryDiscovery, MemoryNetwork } from '../../../mesh/network/index.ts'
import { INBOUND } from '../../../mesh/protocol/index.ts'
import { ManualClock, SeededRandom } from '../../../mesh/runtime/index.ts'

describe('MemoryNetwork', () => {
  it('delivers a frame when the clock has moved by its latency', async () => {
    const clock = new ManualClock()
    const network = new MemoryNetwork({ clock, random: new SeededRandom(1) }, { latencyMs: 40 })
    const [a, b] = [network.join('a', ['coordinator']), network.join('b')]
    const heard: number[] = []
    b.handle('control', INBOUND.controlCoordinator, async (channel) => {
      for (let frame = await channel.receive(); frame !== undefined; frame = await channel.receive())
        heard.push(clock.nowMs())
    })
    const channel = await a.open(b.self.peerId, 'control', INBOUND.controlNode)
    await channel.send({ type: 'control.heartbeat', sequence: 1 })
    await clock.advance(39)
    expect(heard).toEqual([])
    await clock.advance(1)
    expect(heard).toEqual([40])
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
})
