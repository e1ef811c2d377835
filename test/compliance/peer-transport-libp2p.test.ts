import { connectedTo, inviteOf, startHost } from '../integration/network.harness.ts'
import { peerTransportSuite } from './peer-transport.suite.ts'

peerTransportSuite('Libp2pPeerTransport', async () => {
  const a = await startHost('a')
  const b = await startHost('b', { invite: await inviteOf(a) })
  return {
    a,
    b,
    connected: Promise.all([connectedTo(a, b.self.peerId), connectedTo(b, a.self.peerId)]).then(() => undefined),
    crashB: () => void b.stop(),
    close: async () => {
      await Promise.all([a.stop(), b.stop()])
    },
  }
})
