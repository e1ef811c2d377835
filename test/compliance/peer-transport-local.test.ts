/** A member in the process of another one: what the two send each other goes through memory. */
import { temporaryDirectory } from '../fixtures/temporary.ts'
import { startHost } from '../integration/network.harness.ts'
import { peerTransportSuite } from './peer-transport.suite.ts'

peerTransportSuite('LocalMember', async () => {
  const a = await startHost('a')
  const b = await a.local({ dataDir: await temporaryDirectory(), name: 'b' })
  return { a, b, connected: Promise.resolve(), crashB: () => b.leave(), close: () => a.stop() }
})

peerTransportSuite('the host of a LocalMember', async () => {
  const host = await startHost('a')
  const local = await host.local({ dataDir: await temporaryDirectory(), name: 'b' })
  return { a: local, b: host, connected: Promise.resolve(), crashB: () => void host.stop(), close: () => host.stop() }
})
