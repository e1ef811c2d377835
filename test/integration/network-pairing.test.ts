/** Joining by a pairing code, on real hosts: over an address, over mDNS, and what guessing, waiting and false meshes get. */
import { describe, expect, it } from 'vitest'
import { openMembership, PairingKey, type PeerHost } from '../../mesh/network/index.ts'
import { LIMITS } from '../../mesh/protocol/index.ts'
import { components, startHost, temporaryDirectory } from './network.harness.ts'

const tcpOf = (host: PeerHost): string => host.addresses().find((address) => address.includes('/tcp/'))!

async function pairWith(code: string, where: { bootstrap?: readonly string[]; mdns?: boolean }, name = 'b') {
  const dataDir = await temporaryDirectory()
  const { store } = await openMembership(components, {
    ...{ dataDir, name, roles: ['node'], invite: code, mayCreate: false },
    mdns: where.mdns ?? false,
    bootstrap: where.bootstrap ?? [],
  })
  return store
}

/** Another code than `code`, of the same form. */
const wrong = (code: string): string => (code.startsWith('A') ? 'B' : 'A') + code.slice(1)

describe('a pairing code', () => {
  it('lets one machine in, however it was typed, and says who', async () => {
    const a = await startHost('a')
    const { code, triesLeft } = a.pair()
    expect(code).toMatch(/^[2-9A-HJ-NP-Z]{4}-[2-9A-HJ-NP-Z]{4}$/)
    expect(triesLeft).toBe(LIMITS.pairingTriesMax)
    const typed = ` ${code!.toLowerCase().replace('-', ' ')} `
    const store = await pairWith(typed, { bootstrap: [tcpOf(a)] })
    expect(store.certificate).toMatchObject({ meshId: a.meshId, name: 'b', roles: ['node'] })
    expect(store.remembered[0]?.peerId).toBe(a.self.peerId)
    expect(a.pairing()).toMatchObject({ state: 'used', joined: { peerId: store.certificate.peerId, name: 'b' } })
    expect(a.pairing()).not.toHaveProperty('code')
    await expect(pairWith(code!, { bootstrap: [tcpOf(a)] })).rejects.toMatchObject({ code: 'INVITE_INVALID' })
  })

  it('holds no more after a few wrong ones', async () => {
    const a = await startHost('a')
    const code = a.pair().code!
    for (let tries = 1; tries <= LIMITS.pairingTriesMax; tries++) {
      await expect(pairWith(wrong(code), { bootstrap: [tcpOf(a)] })).rejects.toMatchObject({ code: 'INVITE_INVALID' })
      expect(a.pairing()?.triesLeft).toBe(LIMITS.pairingTriesMax - tries)
    }
    expect(a.pairing()?.state).toBe('spent')
    await expect(pairWith(code, { bootstrap: [tcpOf(a)] })).rejects.toMatchObject({ code: 'INVITE_INVALID' })
  })

  it('is none before one is made, when it was taken back, and when a newer one was made', async () => {
    const a = await startHost('a')
    expect(a.pairing()).toBeUndefined()
    const first = a.pair().code!
    const second = a.pair().code!
    await expect(pairWith(first, { bootstrap: [tcpOf(a)] })).rejects.toMatchObject({ code: 'INVITE_INVALID' })
    a.endPairing()
    expect(a.pairing()?.state).toBe('over')
    await expect(pairWith(second, { bootstrap: [tcpOf(a)] })).rejects.toMatchObject({ code: 'INVITE_INVALID' })
  })

  it('joins no mesh that lets anybody in without knowing the code', async () => {
    const a = await startHost('a')
    const code = a.pair().code!
    const truth = PairingKey.prototype.isRequest
    PairingKey.prototype.isRequest = () => true
    try {
      await expect(pairWith(wrong(code), { bootstrap: [tcpOf(a)] })).rejects.toMatchObject({
        code: 'CERTIFICATE_INVALID',
      })
    } finally {
      PairingKey.prototype.isRequest = truth
    }
  })

  it('is asked for nowhere else than where the joiner was told', async () => {
    const a = await startHost('a')
    const other = await startHost('other')
    const code = a.pair().code!
    await expect(pairWith(code, { bootstrap: [tcpOf(other)] })).rejects.toMatchObject({ code: 'INVITE_INVALID' })
    expect(a.pairing()?.triesLeft).toBe(LIMITS.pairingTriesMax)
    await expect(pairWith(code, { bootstrap: ['/ip4/127.0.0.1/tcp/1'] })).rejects.toMatchObject({ code: 'DIAL_FAILED' })
  })

  it('finds the coordinator that shows it with mDNS', async () => {
    const a = await startHost('a', { mdns: true })
    const store = await pairWith(a.pair().code!, { mdns: true })
    expect(store.certificate.meshId).toBe(a.meshId)
  })
})
